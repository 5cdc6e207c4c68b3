#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
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

std::string read_file(const fs::path& path, std::uint64_t limit) {
  const InputFile file(path);
  if (file.size() > limit) fail("{} is too large: {} bytes, at most {} are read", path.string(), file.size(), limit);
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

namespace {

/// Removes what killed processes left of earlier writes to `target`: "<target>.<number>.tmp" that nobody has locked.
/// Numbers of processes do not tell: they are used again, and mean nothing in other containers and on other machines.
void remove_leftovers(const fs::path& target) {
  const std::string prefix = target.filename().string() + ".";
  const fs::path folder = target.parent_path().empty() ? fs::path(".") : target.parent_path();
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(".tmp") || name.size() <= prefix.size() + 4) continue;
    if (name.find_first_not_of("0123456789", prefix.size()) != name.size() - 4) continue;
    const int fd = ::open(entry->path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlink(entry->path().c_str());
    ::close(fd);
  }
}

/// Creates and locks "<target>.<number>.tmp"; -1 and errno when that fails. The lock is held until the file is closed.
int create_temporary(const fs::path& target, fs::path& temporary) {
  for (std::uint64_t number = static_cast<std::uint64_t>(::getpid()), last = number + 16;; ++number) {
    temporary = target;
    temporary += fmt::format(".{}.tmp", number);
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST && number < last) continue;  // another container's, or no file system with locks
    if (fd < 0) return -1;
    ::flock(fd, LOCK_EX);  // where it fails, nobody else can lock and remove it either
    struct stat info {};
    if (::fstat(fd, &info) != 0 || info.st_nlink > 0 || number == last) return fd;
    ::close(fd);  // taken for a leftover between creation and lock
  }
}

}  // namespace

OutputFile::OutputFile(fs::path path, bool overwrite) : path_(std::move(path)), overwrite_(overwrite) {
  std::error_code ignored;
  if (path_.empty()) fail("cannot write a file without a name");
  if (fs::is_directory(path_, ignored)) fail("cannot write {}: it is a directory", path_.string());
  if (fs::exists(path_, ignored)) {
    // A rename would replace the device itself, /dev/null for everyone.
    if (!fs::is_regular_file(path_, ignored)) fail("cannot write {}: it is not a regular file", path_.string());
    if (!overwrite_) fail("{} exists: give --overwrite to replace it", path_.string());
    if (fs::is_symlink(path_, ignored))
      path_ = fs::canonical(path_, ignored);  // what it points to is replaced, not the link
  }
  remove_leftovers(path_);
  fd_ = create_temporary(path_, temporary_);
  if (fd_ < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
}

void OutputFile::write(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
  written_ += bytes.size();
}

void OutputFile::commit() {
  if (::fsync(fd_) != 0 && errno != EINVAL) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  std::error_code ignored;
  if (!overwrite_ && fs::exists(path_, ignored)) fail("{} exists: give --overwrite to replace it", path_.string());
  // Renamed while it is open: closing gives up the lock that keeps others from taking it for a leftover.
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  ::close(fd_);
  fd_ = -1;
}

void write_file(const fs::path& path, std::string_view text, bool overwrite) {
  OutputFile file(path, overwrite);
  file.write(text);
  file.commit();
}

}  // namespace igq
