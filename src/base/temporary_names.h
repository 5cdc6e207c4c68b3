// The temporary files a process has at the moment, so that a signal handler can remove them. Private to base.
#pragma once

#include <string>

namespace igq {

/// The place of `name` in folder `folder_fd` (AT_FDCWD: the name is a path), to be given up when the file is gone or
/// has its final name; -1 when there is no place, and the file stays if the process is killed.
int register_temporary(int folder_fd, const std::string& name) noexcept;
void forget_temporary(int place) noexcept;

}  // namespace igq
