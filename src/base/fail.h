// fail("...", args): throw igq::Error with a fmt-formatted line (what, where, how to mend it).
#pragma once

#include <fmt/format.h>

#include <utility>

#include "base/text.h"
#include "igq/error.h"

namespace igq {

/// The text is one line whatever the arguments hold: names and contents of files are made printable.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(message_line(fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace igq
