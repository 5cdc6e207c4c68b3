// Checksums of files and payloads: XXH3, 64 bit, streamed. Guards against damage, not against an adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace igq {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(std::span<const std::byte> bytes);
  std::uint64_t digest() const;

 private:
  void* state_;
};

std::uint64_t hash_bytes(std::span<const std::byte> bytes);
/// "xxh3:0123456789abcdef", the form stored in files and printed.
std::string hash_text(std::uint64_t digest);

}  // namespace igq
