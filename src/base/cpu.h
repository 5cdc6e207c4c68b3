// What /proc/cpuinfo calls the processor.
#pragma once

#include <string>
#include <string_view>

namespace igq {

/// "model name" (x86), or a name for maker and part (ARM); "unknown CPU" where it says neither.
std::string cpu_name_in(std::string_view cpuinfo);

}  // namespace igq
