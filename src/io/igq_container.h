// The container under a .igq file: a JSON header and named tensors, every byte guarded by a checksum (docs/format.md).
// It knows nothing of models; src/models/igq_file.h says what lies in it.
//
// Read with pread into own memory, not mapped: a mapped file that someone truncates kills the process with SIGBUS, and
// the codes are unpacked on loading anyway, so a mapping would save no copy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/aligned_buffer.h"
#include "base/file.h"
#include "base/output_file.h"
#include "io/json_fields.h"
#include "io/tensor_source.h"

namespace igq {

/// The newest format version this library reads. It writes the oldest one that can hold a model, which the caller
/// knows.
inline constexpr std::uint32_t kIgqVersion = 3;

enum class StoredType {
  kF32,
  kI32,
  kCodes,  ///< "u8": bit-packed codes of 2 to 8 bits (bit_pack.h)
};

/// One entry of the header's tensor table.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  Shape shape;
  int bits = 0;                 ///< kCodes: 2 to 8, otherwise 0
  std::uint64_t offset = 0;     ///< from the start of the payload, a multiple of 64
  std::uint64_t size = 0;       ///< bytes, without the padding after it
  std::uint64_t checksum = 0;   ///< XXH3 of the bytes and the padding after them
  std::uint64_t count() const;  ///< product of the shape
};

/// What write_container stores; `bytes` must stay alive during the call.
struct TensorToStore {
  std::string name;
  StoredType type = StoredType::kF32;
  Shape shape;
  int bits = 0;
  std::span<const std::byte> bytes;
};

/// A file that begins as .igq files do, with the checksum of its beginning right; damaged further on, or of a newer
/// version, it still is one.
extern const OutputKind kIgqOutput;

/// Writes `header` (an object without the key "tensors") and the tensors in the given order. The file appears under
/// `path` whole or not at all, and the same arguments give the same bytes.
void write_container(const std::filesystem::path& path, nlohmann::json header, std::span<const TensorToStore> tensors,
                     std::uint32_t version, bool overwrite);

/// Error: the file was made by a newer igq, with a field that this one does not know.
[[noreturn]] void refuse_newer(const std::filesystem::path& path, const UnknownField& field);

class ContainerReader {
 public:
  /// Reads and checks everything except the tensors' contents. Error (path, what, how to mend it) for a file that is
  /// not an .igq file, is of a newer version, or is damaged.
  explicit ContainerReader(const std::filesystem::path& path);

  std::uint32_t version() const { return version_; }
  const nlohmann::json& header() const { return header_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  ///< in file order
  const StoredTensor* find(const std::string& name) const;               ///< null when there is none
  std::uint64_t file_size() const { return file_.size(); }

  // The reads check the tensor's checksum (Error when it fails) and its type (assert). Thread safe.
  AlignedBuffer<float> read_f32(const StoredTensor& tensor) const;
  AlignedBuffer<std::int32_t> read_i32(const StoredTensor& tensor) const;
  /// Unpacked to signed codes.
  AlignedBuffer<std::int8_t> read_codes(const StoredTensor& tensor) const;

 private:
  void read_plain(const StoredTensor& tensor, std::span<std::byte> out) const;
  [[noreturn]] void damaged(const std::string& what) const;
  void read_header();
  StoredTensor parse_tensor(const nlohmann::json& entry) const;

  InputFile file_;
  std::uint32_t version_ = 0;
  std::uint64_t payload_offset_ = 0, payload_size_ = 0;
  nlohmann::json header_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::size_t> index_;
};

/// Whether the file opens and starts with the magic of .igq files; never throws.
bool has_igq_magic(const std::filesystem::path& path);

/// The format version that the first bytes of such a file name, unchecked; 0 for any other file. Never throws.
std::uint32_t igq_version_of(const std::filesystem::path& path);

}  // namespace igq
