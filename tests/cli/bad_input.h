// A row of the table of bad input in docs/reliability.md: how the fault is made and what igq must say.
#pragma once

#include <functional>
#include <vector>

#include "tests/cli/program.h"

namespace igq::test {

/// One row: what is wrong, how it is made inside the test's folder, the command, and a part of what igq must say.
struct Row {
  std::string wrong;
  std::function<void(const std::filesystem::path&)> make;
  std::string command;
  int exit_code;
  std::string says;
  std::string before = "";  // in the shell, before the program
};
inline void PrintTo(const Row& row, std::ostream* out) { *out << row.command; }

inline const std::string kPredict = "predict model images/coat/0047.png";

/// Wrong models: bad_input_models.cc.
std::vector<Row> model_rows();
/// Files that contradict themselves or ask for too much: bad_input_hostile.cc.
std::vector<Row> hostile_rows();

}  // namespace igq::test
