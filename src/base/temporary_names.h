// The temporary files a process has at the moment, so that a signal handler can remove them, and how they are called.
// Private to igq.
#pragma once

#include <string>
#include <string_view>

namespace igq {

/// The place of `name` in folder `folder_fd` (AT_FDCWD: the name is a path), to be given up when the file is gone or
/// has its final name; -1 when there is no place, and the file stays if the process is killed.
int register_temporary(int folder_fd, const std::string& name) noexcept;
void forget_temporary(int place) noexcept;

/// Whether OutputFile calls a temporary file for the target of this name (without folders) so.
bool is_temporary_of(std::string_view target, std::string_view name);

}  // namespace igq
