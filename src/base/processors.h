// How many threads to use where nobody says: what the environment asks for, else what this process may really have.
#pragma once

#include <filesystem>
#include <optional>

namespace igq {

/// Processors of time per second that control groups leave this process (2.5: two and a half); nothing without a quota.
/// The smallest on the way from the process's group to the root, of version 2 (cpu.max) and version 1
/// (cpu.cfs_quota_us / cpu.cfs_period_us). `root`: where /proc/self and the mounted groups are looked for (tests).
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// Processors this process may run on (affinity).
int allowed_processors();
/// The smaller of allowed_processors() and the quota rounded down; at least 1.
int usable_processors(const std::filesystem::path& root = "/");

/// What set_default_threads() or DefaultThreads said, else IGQ_NUM_THREADS, else OMP_NUM_THREADS (its first number),
/// else usable_processors(). Error when a variable holds anything but a number from 1 to 1024.
int default_threads();
/// For the whole process, 0 for none: an explicit choice comes before the environment.
void set_default_threads(int threads);

/// The same for this thread while it lives; 0 changes nothing.
class DefaultThreads {
 public:
  explicit DefaultThreads(int threads);
  ~DefaultThreads();
  DefaultThreads(const DefaultThreads&) = delete;
  DefaultThreads& operator=(const DefaultThreads&) = delete;

 private:
  int before_;
};

}  // namespace igq
