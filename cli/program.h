// The igq program as a function: cli/main.cc calls it, and so does `python -m igq`.
#pragma once

namespace igq::cli {

/// Parses the command line and runs one verb. Returns the exit code: 0 ok, 1 failed, 2 usage, 3 a quality gate not
/// met. Every fault is one line on stderr; nothing is thrown.
int run_program(int argc, char** argv);

}  // namespace igq::cli
