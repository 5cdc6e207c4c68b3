// fail("...", args): throw igq::Error with a fmt-formatted line (what, where, how to mend it).
#pragma once

#include <fmt/format.h>

#include <utility>

#include "igq/error.h"

namespace igq {

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace igq
