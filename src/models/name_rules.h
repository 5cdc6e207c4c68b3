// How the names of tensors are rewritten, for whoever knows the names of some package.
#pragma once

#include <string>
#include <string_view>

namespace igq {

/// One replacement in a name; applied once, in the order of the tables.
struct NameRule {
  std::string_view from, to;
};

/// Whether `name` began with `start`, which is gone then.
inline bool strip_start(std::string& name, std::string_view start) {
  if (!name.starts_with(start)) return false;
  name.erase(0, start.size());
  return true;
}

/// By the first rule that fits.
template <typename Rules>
void replace_start(std::string& name, const Rules& rules) {
  for (const NameRule& rule : rules)
    if (strip_start(name, rule.from)) {
      name.insert(0, rule.to);
      return;
    }
}

inline void replace_part(std::string& name, const NameRule& rule) {
  const auto at = name.find(rule.from);
  if (at != std::string::npos) name.replace(at, rule.from.size(), rule.to);
}

}  // namespace igq
