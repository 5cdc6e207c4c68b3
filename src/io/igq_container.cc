#include "io/igq_container.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/fail.h"
#include "base/hash.h"
#include "io/bit_pack.h"
#include "io/json_fields.h"

namespace igq {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the .igq format is little-endian");

// The first byte is not ASCII and the line ends break when something treats the file as text (as PNG does).
constexpr std::array<unsigned char, 8> kMagic = {0x89, 'I', 'G', 'Q', '\r', '\n', 0x1A, '\n'};
constexpr std::uint64_t kAlign = 64;
constexpr std::uint64_t kMaxHeader = std::uint64_t{64} << 20;
constexpr std::size_t kMaxTensors = 1 << 20;
constexpr std::size_t kMaxRank = 8;
constexpr std::int64_t kMaxDimension = std::int64_t{1} << 40;
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 48;
/// Codes per piece of a streamed read: 256 KiB at 8 bits stay in the second-level cache while hashed and unpacked.
constexpr std::uint64_t kChunkCodes = std::uint64_t{1} << 18;
constexpr std::uint64_t kChunkBytes = std::uint64_t{1} << 18;

/// The first 64 bytes of the file.
struct Preamble {
  std::array<unsigned char, 8> magic = kMagic;
  std::uint32_t version = 0;
  std::uint32_t reserved = 0;
  std::uint64_t header_size = 0;
  std::uint64_t payload_offset = 0;
  std::uint64_t payload_size = 0;
  std::uint64_t reserved2 = 0;
  std::uint64_t header_checksum = 0;  ///< of the bytes from 64 to payload_offset
  std::uint64_t checksum = 0;         ///< of the 56 bytes before
};
static_assert(sizeof(Preamble) == 64);
constexpr std::size_t kPreambleHashed = 56;

constexpr std::uint64_t aligned(std::uint64_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

constexpr std::array<std::pair<StoredType, std::string_view>, 3> kTypes{
    {{StoredType::kF32, "f32"}, {StoredType::kI32, "i32"}, {StoredType::kCodes, "u8"}}};

std::string_view type_name(StoredType type) {
  return std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& e) { return e.first == type; })->second;
}

/// Bytes of `count` values; count <= kMaxCount, so nothing overflows.
std::uint64_t stored_size(StoredType type, int bits, std::uint64_t count) {
  return type == StoredType::kCodes ? packed_size(count, bits) : 4 * count;
}

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  static constexpr std::array<std::byte, kAlign> kZeros{};
  Hasher hasher;
  hasher.update(bytes);
  hasher.update(std::span(kZeros).first(aligned(bytes.size()) - bytes.size()));
  return hasher.digest();
}

std::uint64_t parse_checksum(const json& value) {
  const std::string& text = json_string(value, "checksum");
  std::uint64_t digest = 0;
  const bool shaped = text.size() == 21 && text.starts_with("xxh3:");
  const char* end = text.data() + text.size();
  if (!shaped || std::from_chars(text.data() + 5, end, digest, 16).ptr != end) {
    fail("'checksum' is not of the form xxh3:0123456789abcdef");
  }
  return digest;
}

void write_padding(OutputFile& file) {
  static constexpr std::array<std::byte, kAlign> kZeros{};
  file.write(std::span(kZeros).first(aligned(file.written()) - file.written()));
}

}  // namespace

const OutputKind kIgqOutput{"an .igq file", [](const InputFile& file) {
                              Preamble preamble;
                              const auto bytes = std::as_writable_bytes(std::span(&preamble, 1));
                              file.read(0, bytes);
                              return preamble.magic == kMagic &&
                                     ((preamble.version > kIgqVersion && preamble.version < 1000) ||
                                      hash_bytes(bytes.first(kPreambleHashed)) == preamble.checksum);
                            }};

std::uint64_t StoredTensor::count() const {
  std::uint64_t product = 1;
  for (const std::int64_t d : shape) product *= static_cast<std::uint64_t>(d);
  return product;
}

void write_container(const std::filesystem::path& path, json header, std::span<const TensorToStore> tensors,
                     std::uint32_t version, bool overwrite) {
  assert(version >= 1 && version <= kIgqVersion);
  assert(header.is_object() && !header.contains("tensors"));
  std::uint64_t offset = 0;
  json table = json::array();
  for (const TensorToStore& tensor : tensors) {
    json entry{{"name", tensor.name},         {"dtype", type_name(tensor.type)},
               {"shape", tensor.shape},       {"offset", offset},
               {"size", tensor.bytes.size()}, {"checksum", hash_text(checksum_of(tensor.bytes))}};
    if (tensor.type == StoredType::kCodes) entry["bits"] = tensor.bits;
    table.push_back(std::move(entry));
    offset += aligned(tensor.bytes.size());
  }
  header["tensors"] = std::move(table);
  // Texts from outside (file names, labels) may not be UTF-8; what is not becomes U+FFFD.
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);

  Preamble preamble;
  preamble.version = version;
  preamble.header_size = text.size();
  preamble.payload_offset = aligned(sizeof(Preamble) + text.size());
  preamble.payload_size = offset;
  if (text.size() > kMaxHeader) {
    fail("cannot write {}: its header would have {} bytes, at most {} are allowed: shorten labels or report",
         path.string(), text.size(), kMaxHeader);
  }
  text.resize(preamble.payload_offset - sizeof(Preamble), '\0');
  preamble.header_checksum = hash_bytes(std::as_bytes(std::span(text)));
  preamble.checksum = hash_bytes(std::as_bytes(std::span(&preamble, 1)).first(kPreambleHashed));

  OutputFile file(path, overwrite, &kIgqOutput);
  file.write(std::as_bytes(std::span(&preamble, 1)));
  file.write(text);
  for (const TensorToStore& tensor : tensors) {
    file.write(tensor.bytes);
    write_padding(file);
  }
  file.commit();
}

void refuse_newer(const std::filesystem::path& path, const UnknownField& field) {
  fail("{} was made by a newer igq: {}: update igq or quantize again with this one", path.string(), field.what());
}

ContainerReader::ContainerReader(const std::filesystem::path& path) : file_(path) { read_header(); }

void ContainerReader::damaged(const std::string& what) const {
  fail("{} is damaged: {}: copy it again from its source or make it anew with igq quantize", file_.path().string(),
       what);
}

void ContainerReader::read_header() {
  const std::string name = file_.path().string();
  Preamble preamble;
  const auto bytes = std::as_writable_bytes(std::span(&preamble, 1));
  const std::size_t head = std::min<std::uint64_t>(file_.size(), sizeof(Preamble));
  file_.read(0, bytes.first(head));
  if (head < kMagic.size() || preamble.magic != kMagic) {
    fail("{} is not an .igq file: give a file written by igq quantize", name);
  }
  if (head < sizeof(Preamble)) damaged(fmt::format("it ends after {} bytes", head));
  // Before the checksum: a newer version may lay out what follows differently.
  if (preamble.version > kIgqVersion) {
    fail("{} has format version {}, this igq reads versions 1 to {}: update igq or quantize again with this one", name,
         preamble.version, kIgqVersion);
  }
  if (hash_bytes(bytes.first(kPreambleHashed)) != preamble.checksum) {
    damaged("the checksum of its first 64 bytes fails");
  }
  if (preamble.version == 0 || preamble.reserved != 0 || preamble.reserved2 != 0) {
    damaged("its first 64 bytes make no sense");
  }

  // Each comparison rules out overflow in the next.
  if (preamble.header_size > kMaxHeader) damaged(fmt::format("it claims a header of {} bytes", preamble.header_size));
  if (preamble.payload_offset != aligned(sizeof(Preamble) + preamble.header_size)) damaged("its payload is misplaced");
  if (preamble.payload_offset > file_.size() || preamble.payload_size != file_.size() - preamble.payload_offset) {
    damaged(fmt::format("it has {} bytes, {} of header and {} of tensors were expected", file_.size(),
                        preamble.payload_offset, preamble.payload_size));
  }
  version_ = preamble.version;
  payload_offset_ = preamble.payload_offset;
  payload_size_ = preamble.payload_size;

  std::string text(preamble.payload_offset - sizeof(Preamble), '\0');
  file_.read(sizeof(Preamble), std::as_writable_bytes(std::span(text)));
  const bool intact = hash_bytes(std::as_bytes(std::span(text))) == preamble.header_checksum;
  if (!intact) damaged("the checksum of its header fails");
  std::string fault;
  try {
    header_ = parse_json(std::string_view(text).substr(0, preamble.header_size));
    std::uint64_t expected = 0;
    const json& table = json_array(json_at(header_, "tensors"), "tensors", kMaxTensors);
    tensors_.reserve(table.size());
    for (const json& entry : table) {
      tensors_.push_back(parse_tensor(entry));
      StoredTensor& tensor = tensors_.back();
      // Each tensor starts where the one before ends: no overlap, no bytes that no checksum guards.
      if (tensor.offset != expected) fail("tensor '{}' starts at {}, not {}", tensor.name, tensor.offset, expected);
      if (aligned(tensor.size) > payload_size_ - expected) fail("tensor '{}' lies beyond the end", tensor.name);
      expected += aligned(tensor.size);
      if (!index_.emplace(tensor.name, tensors_.size() - 1).second) fail("two tensors are called '{}'", tensor.name);
    }
    if (expected != payload_size_) fail("its tensors take {} bytes of {}", expected, payload_size_);
  } catch (const UnknownField& e) {
    refuse_newer(file_.path(), e);
  } catch (const Error& e) {
    fault = e.what();
  }
  if (!fault.empty()) damaged(fault);
}

StoredTensor ContainerReader::parse_tensor(const json& entry) const {
  StoredTensor tensor;
  tensor.name = json_string(json_at(entry, "name"), "name");
  const std::string& type = json_string(json_at(entry, "dtype"), "dtype");
  const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& e) { return e.second == type; });
  if (known == kTypes.end()) fail("tensor '{}' has an unknown dtype '{}'", tensor.name, type);
  tensor.type = known->first;
  if (tensor.type == StoredType::kCodes) {
    tensor.bits = static_cast<int>(json_int(json_at(entry, "bits"), "bits", kMinCodeBits, kMaxCodeBits));
  }
  std::uint64_t count = 1;
  for (const json& d : json_array(json_at(entry, "shape"), "shape", kMaxRank)) {
    const auto dimension = static_cast<std::uint64_t>(json_int(d, "shape", 1, kMaxDimension));
    if (count > kMaxCount / dimension) fail("tensor '{}' has an absurd shape", tensor.name);
    count *= dimension;
    tensor.shape.push_back(static_cast<std::int64_t>(dimension));
  }
  tensor.offset = json_uint64(json_at(entry, "offset"), "offset");
  tensor.size = json_uint64(json_at(entry, "size"), "size");
  if (tensor.size != stored_size(tensor.type, tensor.bits, count)) {
    fail("tensor '{}' has {} bytes, its shape needs {}", tensor.name, tensor.size,
         stored_size(tensor.type, tensor.bits, count));
  }
  tensor.checksum = parse_checksum(json_at(entry, "checksum"));
  json_only(entry, fmt::format("tensor '{}'", tensor.name),
            {"name", "dtype", "bits", "shape", "offset", "size", "checksum"});
  return tensor;
}

const StoredTensor* ContainerReader::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void ContainerReader::read_plain(const StoredTensor& tensor, std::span<std::byte> out) const {
  assert(out.size() == tensor.size);
  Hasher hasher;
  for (std::uint64_t at = 0; at < tensor.size; at += kChunkBytes) {
    const auto piece = out.subspan(at, std::min(kChunkBytes, tensor.size - at));
    file_.read(payload_offset_ + tensor.offset + at, piece);
    hasher.update(piece);
  }
  std::array<std::byte, kAlign> padding;
  const auto rest = std::span(padding).first(aligned(tensor.size) - tensor.size);
  file_.read(payload_offset_ + tensor.offset + tensor.size, rest);
  hasher.update(rest);
  if (hasher.digest() != tensor.checksum) damaged(fmt::format("the checksum of its tensor '{}' fails", tensor.name));
}

AlignedBuffer<float> ContainerReader::read_f32(const StoredTensor& tensor) const {
  assert(tensor.type == StoredType::kF32);
  AlignedBuffer<float> values(tensor.count());
  read_plain(tensor, std::as_writable_bytes(std::span(values.data(), values.size())));
  return values;
}

AlignedBuffer<std::int32_t> ContainerReader::read_i32(const StoredTensor& tensor) const {
  assert(tensor.type == StoredType::kI32);
  AlignedBuffer<std::int32_t> values(tensor.count());
  read_plain(tensor, std::as_writable_bytes(std::span(values.data(), values.size())));
  return values;
}

AlignedBuffer<std::int8_t> ContainerReader::read_codes(const StoredTensor& tensor) const {
  assert(tensor.type == StoredType::kCodes);
  const std::uint64_t count = tensor.count();
  AlignedBuffer<std::int8_t> codes(count);
  const std::uint64_t total = aligned(tensor.size);
  AlignedBuffer<std::byte> buffer(std::min(total, packed_size(kChunkCodes, tensor.bits) + kAlign));
  Hasher hasher;
  for (std::uint64_t done = 0; done < count; done += kChunkCodes) {
    const std::uint64_t now = std::min(kChunkCodes, count - done);
    const std::uint64_t begin = packed_size(done, tensor.bits);  // kChunkCodes is a multiple of 8: a whole byte
    const std::uint64_t end = done + now == count ? total : packed_size(done + now, tensor.bits);
    const auto piece = std::span(buffer.data(), end - begin);
    file_.read(payload_offset_ + tensor.offset + begin, piece);
    hasher.update(piece);
    unpack_codes(piece.first(packed_size(now, tensor.bits)), tensor.bits, {codes.data() + done, now});
  }
  if (hasher.digest() != tensor.checksum) damaged(fmt::format("the checksum of its tensor '{}' fails", tensor.name));
  return codes;
}

namespace {

/// The beginning of a file that starts as .igq files do, zeros where it ends early; no magic for any other file.
Preamble unchecked_preamble(const std::filesystem::path& path) {
  Preamble preamble;
  preamble.magic = {};
  try {
    const InputFile file(path);
    file.read(
        0,
        std::as_writable_bytes(std::span(&preamble, 1)).first(std::min<std::uint64_t>(file.size(), sizeof preamble)));
  } catch (const Error&) {
    preamble.magic = {};
  }
  return preamble;
}

}  // namespace

bool has_igq_magic(const std::filesystem::path& path) { return unchecked_preamble(path).magic == kMagic; }

std::uint32_t igq_version_of(const std::filesystem::path& path) {
  const Preamble preamble = unchecked_preamble(path);
  return preamble.magic == kMagic ? preamble.version : 0;
}

}  // namespace igq
