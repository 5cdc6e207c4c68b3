// Makes and takes apart .igq bytes from docs/format.md alone, with right checksums, so that tests reach the checks that
// lie behind the checksums.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "base/json.h"
#include "base/hash.h"
#include "tests/test_util.h"

namespace igq::test {

/// The parts of an .igq file; to_bytes() recomputes what the edits made wrong, except what is overridden.
struct Forged {
  std::string magic = "\x89IGQ\r\n\x1a\n";
  std::uint32_t version = 1;
  std::string header;  ///< JSON text
  std::string payload;

  static Forged from(const std::string& bytes) {
    Forged f;
    std::uint64_t header_size = 0, payload_offset = 0;
    f.magic = bytes.substr(0, 8);
    std::memcpy(&f.version, bytes.data() + 8, 4);
    std::memcpy(&header_size, bytes.data() + 16, 8);
    std::memcpy(&payload_offset, bytes.data() + 24, 8);
    f.header = bytes.substr(64, header_size);
    f.payload = bytes.substr(payload_offset);
    return f;
  }
  nlohmann::json json() const { return nlohmann::json::parse(header); }
  void set_json(const nlohmann::json& j) { header = j.dump(); }

  /// Recomputes the checksum of tensor `index` after its bytes were edited.
  void mend_checksum(std::size_t index) {
    nlohmann::json j = json();
    auto& t = j["tensors"][index];
    const auto offset = t["offset"].get<std::size_t>();
    const std::size_t size = (t["size"].get<std::size_t>() + 63) / 64 * 64;
    t["checksum"] = hash_text(hash_bytes(std::as_bytes(std::span(payload).subspan(offset, size))));
    set_json(j);
  }

  std::string to_bytes() const {
    std::string padded = header;
    padded.resize((header.size() + 63) / 64 * 64, '\0');
    return preamble(header.size(), 64 + padded.size(), payload.size(), hash_bytes(std::as_bytes(std::span(padded)))) +
           padded + payload;
  }
  std::string preamble(std::uint64_t header_size, std::uint64_t payload_offset, std::uint64_t payload_size,
                       std::uint64_t header_checksum) const {
    std::string p = magic;
    const auto put = [&p](auto value) { p.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
    put(version);
    put(std::uint32_t{0});
    put(header_size);
    put(payload_offset);
    put(payload_size);
    put(std::uint64_t{0});
    put(header_checksum);
    put(hash_bytes(std::as_bytes(std::span(p))));
    return p;
  }
};

}  // namespace igq::test
