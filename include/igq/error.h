// The one exception type of igq: something a user can cause and mend.
#pragma once

#include <stdexcept>
#include <string>

namespace igq {

/// Thrown for every fault a user can cause (file, flag, shape, value). The text says what, where and how to mend it
/// in one line. Faults that only a bug can cause are assertions instead.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace igq
