// Recipes: the options of `igq quantize` that decide the result, kept in a JSON file or taken from an .igq file, so
// that the same model and images give the same bytes again.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/output_file.h"
#include "models/igq_file.h"

namespace igq::cli {

/// A file that write-recipe wrote: what begins as one does.
extern const OutputKind kRecipeOutput;

/// {"format": "igq recipe 1", "igq": version, "options": {"bits": ["w4a4"], ...}} with every deciding option that was
/// given on `verb`'s command line.
nlohmann::json recipe_json(const CLI::App& verb);

/// The arguments of the command line (without the program's name), those of `--recipe FILE` or `--from FILE.igq` put
/// behind the verb. Error: both are given, the file is none, has unknown keys, or an option that is given beside it
/// too.
std::vector<std::string> expand_recipe(const CLI::App& app, std::vector<std::string> arguments);

}  // namespace igq::cli
