#include "base/processors.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fail.h"
#include "base/platform.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

constexpr int kMostThreads = 1024;

/// One mounted hierarchy of control groups: where it is mounted and which group is its root there.
struct Hierarchy {
  fs::path mounted;
  std::string group;
  bool version2 = false;
};

/// /proc writes blanks in paths as \040 and the like.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool lists(std::string_view commas, std::string_view word) {
  while (!commas.empty()) {
    const std::size_t end = std::min(commas.find(','), commas.size());
    if (commas.substr(0, end) == word) return true;
    commas.remove_prefix(std::min(end + 1, commas.size()));
  }
  return false;
}

/// The hierarchies that limit processor time, of /proc/self/mountinfo:
/// "ID PARENT DEVICE ROOT MOUNT OPTIONS [FIELDS...] - TYPE SOURCE SUPER_OPTIONS".
std::vector<Hierarchy> mounted_hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream in(root / "proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string skipped, group, at, type, source, options;
    words >> skipped >> skipped >> skipped >> group >> at;
    while (words >> skipped && skipped != "-") {
    }
    if (!(words >> type >> source >> options)) continue;
    if (type == "cgroup2" || (type == "cgroup" && lists(options, "cpu")))
      found.push_back({root / fs::path(unescape(at)).relative_path(), unescape(group), type == "cgroup2"});
  }
  return found;
}

/// The process's group by /proc/self/cgroup ("ID:CONTROLLERS:PATH"; of version 2 "0::PATH").
std::optional<std::string> own_group(const fs::path& root, bool version2) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (version2 ? controllers.empty() : lists(controllers, "cpu")) return line.substr(second + 1);
  }
  return std::nullopt;
}

std::optional<double> positive_number(const std::string& text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value > 0.0)) return std::nullopt;  // "max", -1
  return value;
}

std::string word_of(const fs::path& file, int which) {
  std::ifstream in(file);
  std::string word;
  for (int i = 0; i <= which; ++i)
    if (!(in >> word)) return {};
  return word;
}

std::optional<double> quota_of(const fs::path& group, bool version2) {
  const auto time = positive_number(version2 ? word_of(group / "cpu.max", 0) : word_of(group / "cpu.cfs_quota_us", 0));
  const auto period =
      positive_number(version2 ? word_of(group / "cpu.max", 1) : word_of(group / "cpu.cfs_period_us", 0));
  if (!time) return std::nullopt;
  return *time / period.value_or(100000.0);
}

/// Where the group's files lie: in a container the mount often shows nothing but the container's own group, and the
/// process's path may be that of the machine outside.
fs::path folder_of(const Hierarchy& hierarchy, std::string group) {
  if (hierarchy.group != "/" && group.starts_with(hierarchy.group)) group.erase(0, hierarchy.group.size());
  std::error_code ignored;
  const fs::path folder = (hierarchy.mounted / fs::path(group).relative_path()).lexically_normal();
  const std::string inside = hierarchy.mounted.lexically_normal().string();
  return folder.string().starts_with(inside) && fs::is_directory(folder, ignored) ? folder : hierarchy.mounted;
}

/// A number of threads a variable asks for; nothing when it is not set or empty.
std::optional<int> threads_in(const char* variable, bool list) {
  const char* set = std::getenv(variable);
  if (set == nullptr || *set == '\0') return std::nullopt;
  std::string_view text(set);
  if (list) text = text.substr(0, text.find(','));
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  int threads = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
  if (error != std::errc{} || end != text.data() + text.size() || threads < 1 || threads > kMostThreads)
    fail("{} in the environment is '{}', not a number of threads from 1 to {}", variable, set, kMostThreads);
  return threads;
}

std::atomic<int> chosen_for_all{0};
/// Without memory of its own to be found on first use, which could fail.
#if defined(__ELF__)
__attribute__((tls_model("initial-exec")))
#endif
thread_local int chosen_here = 0;

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for (const Hierarchy& hierarchy : mounted_hierarchies(root)) {
    const auto group = own_group(root, hierarchy.version2);
    if (!group) continue;
    const fs::path top = hierarchy.mounted.lexically_normal();
    fs::path at = folder_of(hierarchy, *group).lexically_normal();
    while (true) {
      const auto quota = quota_of(at, hierarchy.version2);
      if (quota && (!least || *quota < *least)) least = quota;
      if (at == top || !at.has_relative_path()) break;
      at = at.parent_path();
    }
  }
  return least;
}

int allowed_processors() {
  if (const int affine = platform::affine_processors(); affine > 0) return affine;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int usable_processors(const fs::path& root) {
  const int allowed = allowed_processors();
  const auto quota = cpu_quota(root);
  if (!quota || *quota >= allowed) return allowed;
  return std::max(1, static_cast<int>(*quota));
}

int default_threads() {
  if (chosen_here > 0) return chosen_here;
  if (const int chosen = chosen_for_all.load(); chosen > 0) return chosen;
  if (const auto own = threads_in("IGQ_NUM_THREADS", false)) return *own;
  if (const auto openmp = threads_in("OMP_NUM_THREADS", true)) return *openmp;
  return std::min(usable_processors(), kMostThreads);
}

void set_default_threads(int threads) {
  if (threads < 0 || threads > kMostThreads)
    fail("{} threads asked for: give a number from 1 to {}, or 0 for the default", threads, kMostThreads);
  chosen_for_all.store(threads);
}

DefaultThreads::DefaultThreads(int threads) : before_(chosen_here) {
  if (threads > 0) chosen_here = threads;
}

DefaultThreads::~DefaultThreads() { chosen_here = before_; }

}  // namespace igq
