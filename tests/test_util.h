// Helpers for tests of every folder: where fixtures and the data beside the project are.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

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

/// An empty folder below the system's temporary folder, removed on destruction.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "igq_test_XXXXXX").string();
    const char* made = mkdtemp(pattern.data());
    path_ = made != nullptr ? made : "";
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace igq::test
