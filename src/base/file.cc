#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fail.h"

namespace igq {

namespace fs = std::filesystem;

InputFile::InputFile(fs::path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // a pipe without a writer would wait for ever
  if (fd_ < 0) fail("cannot open {}: {}", path_.string(), std::strerror(errno));
  struct stat info {};
  if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd_);
    fail("cannot read {}: not a regular file", path_.string());
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

bool InputFile::begins_with(std::string_view text) const {
  if (size_ < text.size()) return false;
  std::string head(text.size(), '\0');
  read(0, std::as_writable_bytes(std::span(head)));
  return head == text;
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot read {}: {}", path_.string(), std::strerror(errno));
    if (n == 0)
      fail("{} is truncated: it ends at byte {}, {} bytes more were expected", path_.string(), offset + done,
           out.size() - done);
    done += static_cast<std::size_t>(n);
  }
}

bool is_file(const fs::path& path) noexcept {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string read_file(const fs::path& path, std::uint64_t limit) {
  const InputFile file(path);
  if (file.size() > limit) fail("{} is too large: {} bytes, at most {} are read", path.string(), file.size(), limit);
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace igq
