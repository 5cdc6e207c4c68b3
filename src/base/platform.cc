#include "base/platform.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <ctime>
#include <vector>

#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#endif

namespace igq::platform {

double peak_resident_bytes() noexcept {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  return static_cast<double>(usage.ru_maxrss);
#else
  return static_cast<double>(usage.ru_maxrss) * 1024.0;
#endif
}

namespace {

std::uint64_t number_of_the_moment() noexcept {
  static std::atomic<std::uint64_t> calls{0};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_nsec) ^ static_cast<std::uint64_t>(now.tv_sec) << 30 ^
         static_cast<std::uint64_t>(::getpid()) << 44 ^ calls.fetch_add(1) << 20;
}

}  // namespace

#if defined(__linux__)

void wait_while(std::atomic<std::uint32_t>& word, std::uint32_t value) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake_all(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

std::uint64_t random_number() noexcept {
  std::uint64_t number = 0;
  return ::getrandom(&number, sizeof(number), GRND_NONBLOCK) == sizeof(number) ? number : number_of_the_moment();
}

int open_unnamed(int folder, unsigned mode) noexcept {
  if (::access("/proc/self/fd", X_OK) == 0) return ::openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
  errno = ENOSYS;  // without /proc it could not be given a name
  return -1;
}

int link_unnamed(int file, int folder, const char* name) noexcept {
  char self[32];
  std::snprintf(self, sizeof self, "/proc/self/fd/%d", file);
  return ::linkat(AT_FDCWD, self, folder, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

int rename_to_free(int folder, const char* from, const char* to) noexcept {
  constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE
  return ::syscall(SYS_renameat2, folder, from, folder, to, kNoReplace) == 0 ? 0 : errno;
}

bool copy_access_list(const std::filesystem::path& path, int fd) {
  constexpr const char* kAccessList = "system.posix_acl_access";
  std::vector<char> list(4096);
  const ssize_t size = ::getxattr(path.c_str(), kAccessList, list.data(), list.size());
  if (size > 0) return ::fsetxattr(fd, kAccessList, list.data(), static_cast<std::size_t>(size), 0) == 0;
  if (size < 0 && errno == ERANGE) return false;
  ::fremovexattr(fd, kAccessList);  // one that the folder gives to new files
  return true;
}

int affine_processors() noexcept {
  // A machine of more than 1024 processors needs a larger set than cpu_set_t.
  for (int most = CPU_SETSIZE; most <= 1 << 16; most *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(most));
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(most));
    CPU_ZERO_S(bytes, set);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return 0;
}

#else

void wait_while(std::atomic<std::uint32_t>& word, std::uint32_t value) noexcept { word.wait(value); }
void wake_all(std::atomic<std::uint32_t>& word) noexcept { word.notify_all(); }

std::uint64_t random_number() noexcept { return number_of_the_moment(); }

int open_unnamed(int, unsigned) noexcept {
  errno = ENOSYS;
  return -1;
}
int link_unnamed(int, int, const char*) noexcept { return ENOSYS; }
int rename_to_free(int, const char*, const char*) noexcept { return ENOSYS; }

bool copy_access_list(const std::filesystem::path&, int) { return true; }

int affine_processors() noexcept { return 0; }

#endif

}  // namespace igq::platform
