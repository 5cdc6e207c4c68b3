// The calls that Linux has and other POSIX systems (macOS, BSD) have not, with what stands in for them there.
// Everything above uses POSIX alone. -DIGQ_PLAIN_POSIX=ON builds the stand-ins on Linux, so that they are compiled and
// tested.
#pragma once

#include <fcntl.h>

#include <atomic>
#include <cstdint>
#include <filesystem>

namespace igq::platform {

/// A folder that names are looked up in; only that.
#if defined(O_PATH)
inline constexpr int kOpenFolder = O_PATH | O_DIRECTORY | O_CLOEXEC;
#else
inline constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
#endif

/// Sleeps while `word` holds `value`; may wake without a reason.
void wait_while(std::atomic<std::uint32_t>& word, std::uint32_t value) noexcept;
void wake_all(std::atomic<std::uint32_t>& word) noexcept;

/// Differs from call to call and from process to process; no secret.
std::uint64_t random_number() noexcept;

/// A file without a name in a folder; -1 where the system or the file system has none such.
int open_unnamed(int folder, unsigned mode) noexcept;
/// Gives it one that is not taken; errno as a result.
int link_unnamed(int file, int folder, const char* name) noexcept;

/// rename() that never replaces; errno as a result, ENOSYS or EINVAL where there is no such thing.
int rename_to_free(int folder, const char* from, const char* to) noexcept;

/// Gives `fd` the access list of the file `path`, or none where that has none. False when it cannot have it. Systems
/// other than Linux: true, without a list.
bool copy_access_list(const std::filesystem::path& path, int fd);

/// Processors on which this thread may run; 0 where the system does not say.
int affine_processors() noexcept;

/// The largest resident memory of the process so far, in bytes.
double peak_resident_bytes() noexcept;

}  // namespace igq::platform
