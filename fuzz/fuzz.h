// What the fuzzers share: an input taken apart, an input as a file that costs no disk, and faults that are not the
// program's.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "igq/error.h"

namespace igq::fuzz {

/// Runs `body`; an Error is the right answer to a bad input, everything else ends the process and is a finding.
template <typename Body>
void expect_error_or_success(Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    if (std::strlen(e.what()) == 0) std::abort();  // an error must say something
  }
}

/// Takes bytes off the front of an input, zeros when it is used up.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(reinterpret_cast<const char*>(data), size) {}
  std::uint8_t byte() {
    if (data_.empty()) return 0;
    const auto value = static_cast<std::uint8_t>(data_.front());
    data_.remove_prefix(1);
    return value;
  }
  int below(int bound) { return (byte() | byte() << 8) % bound; }
  /// Up to the next zero byte, which is dropped.
  std::string_view text() {
    const std::string_view value = data_.substr(0, data_.find('\0'));
    data_.remove_prefix(value.size() < data_.size() ? value.size() + 1 : value.size());
    return value;
  }
  std::string_view rest() const { return data_; }

 private:
  std::string_view data_;
};

/// One file in memory, rewritten for each input; it has a path of its own.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", 0)), path_("/proc/self/fd/" + std::to_string(fd_)) {
    if (fd_ < 0) std::abort();
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  const std::filesystem::path& with(std::string_view bytes) {
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      std::abort();
    return path_;
  }

 private:
  int fd_;
  std::filesystem::path path_;
};

}  // namespace igq::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
