#include "recipe.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/fail.h"
#include "base/file.h"
#include "common.h"
#include "detectors/detector_file.h"
#include "igq/version.h"
#include "io/json_fields.h"

namespace igq::cli {
namespace {

constexpr const char* kFormat = "igq recipe 1";
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 20;

/// Options that say which files, how to run and what to print; every other one decides the result.
constexpr std::array<std::string_view, 21> kUndecided{"help",       "calib",
                                                      "output",     "overwrite",
                                                      "data-dir",   "class-order",
                                                      "limit",      "max-drop",
                                                      "threads",    "isa",
                                                      "execution",  "perturbation-cache",
                                                      "json",       "recipe",
                                                      "from",       "write-recipe",
                                                      "dry-run",    "skip-bad-images",
                                                      "labels",     "label-embeddings",
                                                      "min-speedup"};

std::string long_name(const CLI::Option& option) { return option.get_lnames().empty() ? "" : option.get_lnames()[0]; }

bool decides(const CLI::Option& option) {
  const std::string name = long_name(option);
  return !name.empty() && std::find(kUndecided.begin(), kUndecided.end(), name) == kUndecided.end();
}

/// The deciding option of this name; null without.
const CLI::Option* deciding(const CLI::App& verb, const std::string& name) {
  for (const CLI::Option* option : verb.get_options([](const CLI::Option*) { return true; }))
    if (decides(*option) && long_name(*option) == name) return option;
  return nullptr;
}

void append(std::vector<std::string>& out, const CLI::Option& option, const std::vector<std::string>& values) {
  if (option.get_items_expected_max() == 0) {  // a flag
    out.push_back("--" + long_name(option));
    return;
  }
  for (const std::string& value : values) out.push_back("--" + long_name(option) + "=" + value);
}

std::vector<std::string> arguments_of_recipe(const CLI::App& verb, const std::string& path) {
  const nlohmann::json recipe = parse_json(read_file(path, kMaxBytes));
  if (!recipe.is_object() || recipe.value("format", nlohmann::json()) != kFormat || !recipe.contains("options") ||
      !recipe["options"].is_object())
    fail("{} is no recipe: `igq quantize ... --write-recipe FILE` writes one", path);
  for (const auto& [key, value] : recipe.items())
    if (key != "format" && key != "igq" && key != "options") fail("{}: unknown key '{}'", path, key);
  if (const nlohmann::json made = recipe.value("igq", nlohmann::json()); made != IGQ_VERSION)
    note(fmt::format("igq: {} was written by version {}; defaults may be other ones in {}", path,
                     made.is_string() ? made.get<std::string>() : "unknown", IGQ_VERSION));
  std::vector<std::string> arguments;
  for (const auto& [key, value] : recipe["options"].items()) {
    const CLI::Option* option = deciding(verb, key);
    if (option == nullptr) fail("{}: '{}' is no option of igq quantize that decides its result", path, key);
    std::vector<std::string> values;
    if (!value.is_array()) fail("{}: '{}' is no list of texts", path, key);
    for (const nlohmann::json& item : value) {
      if (!item.is_string()) fail("{}: '{}' is no list of texts", path, key);
      values.push_back(item.get<std::string>());
    }
    append(arguments, *option, values);
  }
  return arguments;
}

/// Words of the settings that a file's provenance has; 'quoted' ones may hold blanks.
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    const bool quoted = text[at] == '\'';
    std::size_t end = text.find(quoted ? "' --" : " ", at + 1);
    if (quoted && end == std::string::npos) end = text.rfind('\'');
    end = std::min(end, text.size());
    words.push_back(text.substr(at + (quoted ? 1 : 0), end - at - (quoted ? 1 : 0)));
    at = end + 1;
  }
  return words;
}

std::vector<std::string> arguments_of_file(const CLI::App& verb, const std::string& path) {
  if (!is_igq_file(path)) fail("--from {}: no .igq file", path);
  const Provenance provenance =
      is_detector_file(path) ? load_detector_file(path).provenance : load_igq(path).provenance;
  const std::vector<std::string> words = words_of(provenance.settings);
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const CLI::Option* option = words[i].starts_with("--") ? deciding(verb, words[i].substr(2)) : nullptr;
    if (option == nullptr) fail("{} was made with '{}', which this version does not know", path, words[i]);
    const bool flag = option->get_items_expected_max() == 0;
    if (!flag && i + 1 == words.size()) fail("{}: its settings end after '{}'", path, words[i]);
    append(arguments, *option, flag ? std::vector<std::string>{} : std::vector<std::string>{words[++i]});
  }
  // The held-back images are those that are left over, so that the same folder is split as it was then.
  if (provenance.calibration_images > 0)
    append(arguments, *deciding(verb, "samples"), {std::to_string(provenance.calibration_images)});
  return arguments;
}

/// The value of `--name VALUE` or `--name=VALUE`; empty without.
std::string value_of(const std::vector<std::string>& arguments, const std::string& name) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (arguments[i] == "--") break;
    if (arguments[i].starts_with(name + "=")) return arguments[i].substr(name.size() + 1);
    if (arguments[i] == name && i + 1 < arguments.size()) return arguments[i + 1];
  }
  return {};
}

}  // namespace

const OutputKind kRecipeOutput{"a recipe of igq", [](const InputFile& file) {
                                 const nlohmann::json found = parse_json(read_file(file.path(), kMaxBytes));
                                 return found.is_object() && found.value("format", nlohmann::json()) == kFormat;
                               }};

nlohmann::json recipe_json(const CLI::App& verb) {
  nlohmann::json options = nlohmann::json::object();
  for (const CLI::Option* option : verb.get_options([](const CLI::Option*) { return true; }))
    if (decides(*option) && option->count() > 0)
      options[long_name(*option)] =
          option->get_items_expected_max() == 0 ? std::vector<std::string>{} : option->results();
  return {{"format", kFormat}, {"igq", IGQ_VERSION}, {"options", std::move(options)}};
}

std::vector<std::string> expand_recipe(const CLI::App& app, std::vector<std::string> arguments) {
  if (arguments.empty() || arguments[0] != "quantize") return arguments;
  const CLI::App& verb = *app.get_subcommand("quantize");
  const std::string recipe = value_of(arguments, "--recipe"), from = value_of(arguments, "--from");
  if (recipe.empty() && from.empty()) return arguments;
  if (!recipe.empty() && !from.empty()) fail("--recipe and --from are given, each a whole setting: leave one out");
  const std::vector<std::string> taken =
      recipe.empty() ? arguments_of_file(verb, from) : arguments_of_recipe(verb, recipe);
  for (const std::string& token : taken) {
    const std::string name = token.substr(0, token.find('='));
    for (const std::string& given : arguments)
      if (given == name || given.starts_with(name + "="))
        fail("{} is given beside {}, which has it already: leave one out", name, recipe.empty() ? from : recipe);
  }
  arguments.insert(arguments.begin() + 1, taken.begin(), taken.end());
  return arguments;
}

}  // namespace igq::cli
