#include "list_flags.h"

#include <algorithm>

#include "verbs.h"

namespace igq::cli {
namespace {

/// Whether each part of the argument passes every check of the option.
bool is_value(const CLI::Option& option, const std::string& argument) {
  if (argument.empty() || (argument.size() > 1 && argument[0] == '-')) return false;
  const char delimiter = option.get_delimiter();
  for (std::size_t from = 0; from <= argument.size();) {
    const std::size_t end = delimiter == '\0' ? std::string::npos : argument.find(delimiter, from);
    std::string part = argument.substr(from, end == std::string::npos ? end : end - from);
    // Checks are numbered; asking for one too many throws.
    try {
      for (int i = 0;; ++i)
        if (!(*const_cast<CLI::Option&>(option).get_validator(i))(part).empty()) return false;
    } catch (const CLI::OptionNotFound&) {
    }
    if (end == std::string::npos) break;
    from = end + 1;
  }
  return true;
}

}  // namespace

std::vector<std::string> end_lists(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  const CLI::App* verb = nullptr;
  for (const CLI::App* known : verbs_of(app))
    if (!arguments.empty() && known->get_name() == arguments[0]) verb = known;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    out.push_back(argument);
    if (verb == nullptr || i < 1 || argument.size() < 2 || argument[0] != '-') continue;
    if (argument == "--") {
      out.insert(out.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    const CLI::Option* option = verb->get_option_no_throw(argument);
    if (option == nullptr || option->get_items_expected_max() < 2) continue;
    int count = 0;
    while (i + 1 < arguments.size() && count < option->get_items_expected_max() &&
           is_value(*option, arguments[i + 1])) {
      out.push_back(arguments[++i]);
      ++count;
    }
    // The parser takes the mark away only where it would have gone on.
    if (count > 0 && (count < option->get_items_expected_max() || option->get_allow_extra_args())) out.push_back("--");
  }
  return out;
}

}  // namespace igq::cli
