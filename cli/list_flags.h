// Flags that take several values, before positional arguments: `--img-size 448 photo.jpg` gives a size and a
// photograph.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace igq::cli {

/// The arguments (without the program's name), in order, with "--" where the values of a list end: at the first
/// argument that the flag's own checks refuse. The parser by itself would take what follows for another value.
std::vector<std::string> end_lists(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace igq::cli
