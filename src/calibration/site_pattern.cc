#include "calibration/site_pattern.h"

#include <cctype>
#include <cstddef>

#include "base/fail.h"

namespace igq {
namespace {

constexpr std::size_t kMostCharacters = 1000;
constexpr int kMostOpen = 50, kMostDigits = 4;  // libstdc++ recurses for parentheses and adds up digits without a check

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

/// What the standard library does not bear, or nothing.
const char* too_much(const std::string& text) {
  if (text.size() > kMostCharacters) return "it has more than 1000 characters";
  int open = 0, digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (++i < text.size() && is_digit(text[i])) return "back references are not supported";
      digits = 0;
      continue;
    }
    digits = is_digit(text[i]) ? digits + 1 : 0;
    if (digits > kMostDigits) return "it has a number of more than 4 digits";
    // Counted in brackets too, where they mean themselves: nothing that is refused for that is of use.
    if (text[i] == '(' && ++open > kMostOpen) return "it has more than 50 parentheses";
  }
  return nullptr;
}

}  // namespace

std::regex site_pattern(const std::string& text) {
  if (const char* why = too_much(text)) fail("'{}' is no expression for names of sites: {}", text, why);
  try {
#ifdef __GLIBCXX__
    // Breadth first: the default follows every way through the expression, exponentially many of them.
    return std::regex(text, std::regex::ECMAScript | std::regex_constants::__polynomial);
#else
    return std::regex(text);
#endif
  } catch (const std::regex_error& e) {
    fail("'{}' is not a regular expression: {}", text, e.what());
  }
}

}  // namespace igq
