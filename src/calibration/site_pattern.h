// Regular expressions of site names, as users write them (--keep, --site-bits).
#pragma once

#include <regex>
#include <string>

namespace igq {

/// ECMAScript's syntax. Error for what is none, and for what no name of a site needs and the standard library does not
/// bear: back references, numbers of more than four digits in braces, more than 50 open parentheses, more than 1,000
/// characters. Matching takes time linear in the name, whatever the expression.
std::regex site_pattern(const std::string& text);

}  // namespace igq
