// Reading files with every size checked; output_file.h writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace igq {

/// A file open for reading at any offset. Reads copy (pread) instead of mapping: a file that is truncated while it is
/// mapped kills the process with SIGBUS, a short read is an Error.
class InputFile {
 public:
  /// Throws Error naming the path when it does not open or is not a regular file.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept : path_(std::move(other.path_)), fd_(other.fd_), size_(other.size_) {
    other.fd_ = -1;
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  InputFile& operator=(InputFile&&) = delete;

  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  /// Fills `out` from `offset`; Error when the file ends before (it was truncated). Thread safe.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Whether its first bytes are these.
  bool begins_with(std::string_view text) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

/// Whether `path` is a regular file (or a link to one); false when it cannot be asked.
bool is_file(const std::filesystem::path& path) noexcept;

/// The whole file as text/bytes; Error when it is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 30);

}  // namespace igq
