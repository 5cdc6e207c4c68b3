// Helpers for tests of every folder: where fixtures and the data beside the project are.
#pragma once

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include "igq/error.h"

namespace igq::test {

/// tests/fixtures of the source tree.
inline std::filesystem::path fixtures() { return std::filesystem::path(IGQ_SOURCE_DIR) / "tests" / "fixtures"; }

/// The folder `shared` beside the project or up to two levels further out; empty when there is none. Tests that need
/// it:
///   const auto shared = test::find_shared();
///   if (shared.empty()) GTEST_SKIP() << test::kNoShared;
inline std::filesystem::path find_shared() {
  std::filesystem::path folder = IGQ_SOURCE_DIR;
  for (int level = 0; level < 3; ++level) {
    folder = folder.parent_path();
    std::error_code ignored;
    if (std::filesystem::is_directory(folder / "shared" / "data", ignored)) return folder / "shared";
  }
  return {};
}
inline constexpr const char* kNoShared =
    "no folder shared/data beside the project; the data for this test is not there";

/// max |a_i - b_i| of two sequences of the same length; infinity when one of the numbers is not finite. std::max alone
/// passes over NaN.
template <typename A, typename B>
double largest_difference(const A& a, const B& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double largest = std::size(a) == std::size(b) ? 0.0 : kInfinity;
  for (std::size_t i = 0; i < std::size(a) && i < std::size(b); ++i) {
    const double gap = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(gap <= largest)) largest = std::isfinite(gap) ? gap : kInfinity;
  }
  return largest;
}

/// max |a_i|; infinity when one of them is not finite.
template <typename A>
double largest_size(const A& a) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double largest = 0.0;
  for (std::size_t i = 0; i < std::size(a); ++i) {
    const double size = std::abs(static_cast<double>(a[i]));
    if (!(size <= largest)) largest = std::isfinite(size) ? size : kInfinity;
  }
  return largest;
}

/// An empty folder below the system's temporary folder, removed on destruction.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "igq_test_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
/// Makes the folder too where there is none.
inline void write_text(const std::filesystem::path& path, const std::string& bytes) {
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// The text of the Error that body() throws; empty when it throws none.
template <typename Body>
std::string error_text(Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace igq::test
