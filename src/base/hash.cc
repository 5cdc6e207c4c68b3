#include "base/hash.h"

#include <xxhash.h>

#include "base/fail.h"

namespace igq {

Hasher::Hasher() : state_(XXH3_createState()) {
  if (state_ == nullptr) fail("out of memory");
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_));
}
Hasher::~Hasher() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void Hasher::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_), bytes.data(), bytes.size());
}
std::uint64_t Hasher::digest() const { return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_)); }

std::uint64_t hash_bytes(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
std::string hash_text(std::uint64_t digest) { return fmt::format("xxh3:{:016x}", digest); }

}  // namespace igq
