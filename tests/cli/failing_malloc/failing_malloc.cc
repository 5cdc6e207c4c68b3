// A malloc of which one call fails (IGQ_FAIL_AT=n, from 0), or all from there on (IGQ_FAIL_FOR_GOOD too); preloaded
// before the program. With IGQ_COUNT_CALLS the number of calls is the last line of standard error.
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

std::atomic<long> calls{0};
long fail_at = -1;
bool for_good = false, counts = false;

[[gnu::constructor]] void read_environment() {
  if (const char* at = std::getenv("IGQ_FAIL_AT")) fail_at = std::atol(at);
  for_good = std::getenv("IGQ_FAIL_FOR_GOOD") != nullptr;
  counts = std::getenv("IGQ_COUNT_CALLS") != nullptr;
}

[[gnu::destructor]] void print_calls() {
  char line[32];
  const int length = std::snprintf(line, sizeof line, "\n%ld\n", calls.load());
  if (counts && ::write(STDERR_FILENO, line, static_cast<std::size_t>(length)) < 0) std::_Exit(1);
}

bool fails() {
  const long call = calls++;
  const bool now = fail_at >= 0 && (for_good ? call >= fail_at : call == fail_at);
  if (now) errno = ENOMEM;
  return now;
}

}  // namespace

extern "C" {
void* malloc(std::size_t size) { return fails() ? nullptr : __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) { return fails() ? nullptr : __libc_calloc(count, size); }
void* realloc(void* old, std::size_t size) { return fails() ? nullptr : __libc_realloc(old, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return fails() ? nullptr : __libc_memalign(alignment, size);
}
int posix_memalign(void** to, std::size_t alignment, std::size_t size) {
  *to = fails() ? nullptr : __libc_memalign(alignment, size);
  return *to == nullptr ? ENOMEM : 0;
}
}
