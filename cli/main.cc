// The igq program; everything is in program.cc, which the Python package runs as well.
#include "program.h"

int main(int argc, char** argv) { return igq::cli::run_program(argc, argv); }
