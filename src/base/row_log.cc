#include "base/row_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/fail.h"
#include "base/hash.h"

namespace igq {
namespace {

constexpr std::uint32_t kMaxFault = 1 << 16;

/// Reads ahead in large pieces.
class Reader {
 public:
  explicit Reader(int fd) : fd_(fd), buffer_(std::size_t{1} << 20) {}
  /// Whether `size` bytes from `offset` are there.
  bool read(std::uint64_t offset, void* to, std::size_t size) {
    auto* out = static_cast<char*>(to);
    while (size > 0) {
      if (offset < begin_ || offset >= begin_ + held_) {
        ssize_t n = 0;
        do n = ::pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(offset));
        while (n < 0 && errno == EINTR);
        if (n <= 0) return false;
        begin_ = offset;
        held_ = static_cast<std::uint64_t>(n);
      }
      const auto part = std::min<std::uint64_t>(size, begin_ + held_ - offset);
      std::memcpy(out, buffer_.data() + (offset - begin_), part);
      out += part;
      offset += part;
      size -= part;
    }
    return true;
  }

 private:
  int fd_;
  std::vector<char> buffer_;
  std::uint64_t begin_ = 0, held_ = 0;
};

}  // namespace

RowLog::RowLog(std::filesystem::path path, const std::string& key, std::size_t row_bytes)
    : path_(std::move(path)),
      head_(fmt::format("igq rows 1: {} row_bytes {}\n", key, row_bytes)),
      row_bytes_(row_bytes) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd_ < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) fail("{} is being written by another run", path_.string());
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) fail("{} is not a regular file", path_.string());
    std::string stored(head_.size(), '\0');
    const bool whole = Reader(fd_).read(0, stored.data(), stored.size());
    // A kill may have cut off the first line itself.
    const auto size = static_cast<std::size_t>(info.st_size);
    if (!whole && size < head_.size() && stored.compare(0, size, head_, 0, size) == 0) {
      if (::ftruncate(fd_, 0) != 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
      pending_ = head_;
      flush();
    } else if (stored != head_) {
      fail(
          "{} holds rows of another run (model, settings or images differ): remove it, or add --overwrite to start "
          "anew",
          path_.string());
    }
    const std::uint64_t end = scan([&](std::span<const std::byte>, const std::string& fault) { count(fault); });
    if (::ftruncate(fd_, static_cast<off_t>(end)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0)
      fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

RowLog::~RowLog() {
  if (fd_ >= 0) ::close(fd_);
}

void RowLog::append(std::span<const std::byte> row, std::string_view fault) {
  fault = fault.substr(0, kMaxFault);
  const auto length = static_cast<std::uint32_t>(fault.size());
  const std::size_t begin = pending_.size();
  pending_.append(reinterpret_cast<const char*>(row.data()), row_bytes_);
  pending_.append(reinterpret_cast<const char*>(&length), sizeof length);
  pending_.append(fault);
  const std::uint64_t sum = hash_bytes(std::as_bytes(std::span(pending_).subspan(begin)));
  pending_.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  count(fault);
}

void RowLog::count(std::string_view fault) {
  ++rows_;
  if (!fault.empty() && faults_++ == 0) first_fault_ = fault;
}

void RowLog::flush() {
  std::size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t n = ::write(fd_, pending_.data() + done, pending_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
  pending_.clear();
}

std::uint64_t RowLog::scan(const std::function<void(std::span<const std::byte>, const std::string&)>& body) const {
  Reader reader(fd_);
  std::uint64_t offset = head_.size();
  std::string record, fault;
  for (;;) {
    std::uint32_t length = 0;
    std::uint64_t sum = 0;
    if (!reader.read(offset + row_bytes_, &length, sizeof length) || length > kMaxFault) return offset;
    record.resize(row_bytes_ + sizeof length + length);
    if (!reader.read(offset, record.data(), record.size()) || !reader.read(offset + record.size(), &sum, sizeof sum) ||
        hash_bytes(std::as_bytes(std::span(record))) != sum)
      return offset;
    fault.assign(record, row_bytes_ + sizeof length, length);
    body(std::as_bytes(std::span(record)).first(row_bytes_), fault);
    offset += record.size() + sizeof sum;
  }
}

void RowLog::for_each(const std::function<void(std::span<const std::byte>, const std::string&)>& body) const {
  std::int64_t seen = 0;
  scan([&](std::span<const std::byte> row, const std::string& fault) {
    ++seen;
    body(row, fault);
  });
  if (seen != rows_) fail("{} changed while it was read", path_.string());
}

void RowLog::remove() { ::unlink(path_.c_str()); }

}  // namespace igq
