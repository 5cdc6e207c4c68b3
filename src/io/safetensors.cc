// Reading of safetensors: 8 bytes of header size (little-endian), a JSON header {name: {dtype, shape, data_offsets}},
// the tensors end to end. The header is believed in nothing: it decides how much is allocated and where is read.
#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/file.h"
#include "base/output_file.h"
#include "io/float_formats.h"
#include "io/json_fields.h"

namespace igq {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

/// The limit of the format's own reader.
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::uint64_t kMaxIndex = 100'000'000;
constexpr std::size_t kMaxRank = 16;
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 48;
constexpr JsonLimits kLimits{.depth = 16};
/// Bytes of a 16- or 64-bit tensor read at a time.
constexpr std::size_t kChunk = std::size_t{1} << 20;

enum class Use { kRead, kIgnore, kRefuse };

/// Every type of the format; `bits` checks the sizes of those that are ignored too.
struct Dtype {
  std::string_view name;
  int bits;
  Use use;
};
constexpr std::array<Dtype, 21> kDtypes{
    {{"F64", 64, Use::kRead},      {"F32", 32, Use::kRead},      {"F16", 16, Use::kRead},
     {"BF16", 16, Use::kRead},     {"I64", 64, Use::kIgnore},    {"I32", 32, Use::kIgnore},
     {"I16", 16, Use::kIgnore},    {"I8", 8, Use::kIgnore},      {"U64", 64, Use::kIgnore},
     {"U32", 32, Use::kIgnore},    {"U16", 16, Use::kIgnore},    {"U8", 8, Use::kIgnore},
     {"BOOL", 8, Use::kIgnore},    {"C64", 64, Use::kRefuse},    {"F8_E4M3", 8, Use::kRefuse},
     {"F8_E5M2", 8, Use::kRefuse}, {"F8_E8M0", 8, Use::kRefuse}, {"F6_E2M3", 6, Use::kRefuse},
     {"F6_E3M2", 6, Use::kRefuse}, {"F4", 4, Use::kRefuse},      {"F8_E4M3FNUZ", 8, Use::kRefuse}}};

struct Entry {
  Dtype type;
  Shape shape;
  std::uint64_t begin = 0, end = 0;  ///< within the data
  std::uint64_t count = 0;
};

Entry parse_entry(const std::string& name, const json& value, std::uint64_t data_size) {
  Entry entry;
  const std::string& dtype = json_string(json_at(value, "dtype"), "dtype");
  const auto known = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& d) { return d.name == dtype; });
  if (known == kDtypes.end()) fail("tensor '{}' has the unknown type '{}'", name, dtype);
  entry.type = *known;
  if (entry.type.use == Use::kRefuse) fail("tensor '{}' is of type {}, igq reads F64, F32, F16 and BF16", name, dtype);
  entry.count = 1;
  for (const json& d : json_array(json_at(value, "shape"), "shape", kMaxRank)) {
    const auto dimension = static_cast<std::uint64_t>(json_int(d, "shape", 0, std::int64_t{1} << 40));
    if (dimension != 0 && entry.count > kMaxCount / dimension) fail("tensor '{}' has an absurd shape", name);
    entry.count *= dimension;
    entry.shape.push_back(static_cast<std::int64_t>(dimension));
  }
  const json& offsets = json_array(json_at(value, "data_offsets"), "data_offsets", 2);
  if (offsets.size() != 2) fail("tensor '{}' does not have two data_offsets", name);
  entry.begin = json_uint64(offsets[0], "data_offsets");
  entry.end = json_uint64(offsets[1], "data_offsets");
  if (entry.begin > entry.end) fail("tensor '{}' ends before it begins", name);
  if (entry.end > data_size) fail("tensor '{}' lies beyond the end of the file", name);
  const std::uint64_t bits = entry.count * static_cast<std::uint64_t>(known->bits);
  if (bits % 8 != 0 || entry.end - entry.begin != bits / 8) {
    fail("tensor '{}' has {} bytes, its shape and type need {}", name, entry.end - entry.begin, (bits + 7) / 8);
  }
  return entry;
}

class SafetensorsFile final : public TensorSource {
 public:
  explicit SafetensorsFile(const fs::path& path) : file_(path) { read_header(); }

  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  std::string origin() const override { return file_.path().string(); }
  std::vector<std::string> unread() const override {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_)
      if (entry.type.use != Use::kRead) names.push_back(name);
    return names;
  }
  /// Whether the file has the tensor, of whatever type.
  bool lists(const std::string& name) const { return entries_.contains(name); }

  AlignedBuffer<float> read(const std::string& name) const override {
    if (!shapes_.contains(name)) fail("{} has no tensor '{}'", origin(), name);
    const Entry& entry = entries_.at(name);
    AlignedBuffer<float> values(entry.count);
    if (entry.type.name == "F32") {
      file_.read(data_ + entry.begin, std::as_writable_bytes(std::span(values.data(), values.size())));
      return values;
    }
    const std::size_t width = static_cast<std::size_t>(entry.type.bits) / 8, step = kChunk / width;
    AlignedBuffer<std::byte> chunk(std::min<std::size_t>(kChunk, entry.count * width));
    for (std::size_t at = 0; at < entry.count; at += step) {
      const std::size_t n = std::min<std::size_t>(step, entry.count - at);
      file_.read(data_ + entry.begin + at * width, {chunk.data(), n * width});
      convert(entry.type, chunk.data(), n, values.data() + at);
    }
    return values;
  }

 private:
  static void convert(const Dtype& type, const std::byte* from, std::size_t count, float* to) {
    if (type.name == "F64") {
      for (std::size_t i = 0; i < count; ++i) {
        double value = 0.0;
        std::memcpy(&value, from + i * sizeof(value), sizeof(value));
        to[i] = static_cast<float>(value);
      }
      return;
    }
    const bool brain = type.name == "BF16";
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, from + i * sizeof(bits), sizeof(bits));
      to[i] = brain ? float_of_bfloat16(bits) : float_of_half(bits);
    }
  }

  void read_header() {
    std::array<std::byte, 8> size_bytes{};
    if (file_.size() < size_bytes.size()) refuse("it has only {} bytes", file_.size());
    file_.read(0, size_bytes);
    const auto size = std::bit_cast<std::uint64_t>(size_bytes);
    if (size > kMaxHeader) refuse("it claims a header of {} bytes, the format allows {}", size, kMaxHeader);
    if (size > file_.size() - 8) {
      refuse("it claims a header of {} bytes and has {} bytes in all", size, file_.size());
    }
    std::string text(size, '\0');
    file_.read(8, std::as_writable_bytes(std::span(text)));
    data_ = 8 + size;
    std::string fault;
    try {
      if (!text.starts_with('{')) fail("its header is no JSON object");
      parse_entries(parse_json(text, kLimits), file_.size() - data_);
    } catch (const Error& e) {
      fault = e.what();
    }
    if (!fault.empty()) refuse("{}", fault);
  }

  void parse_entries(const json& header, std::uint64_t data_size) {
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") continue;
      Entry entry = parse_entry(name, value, data_size);
      if (entry.type.use == Use::kRead) shapes_[name] = entry.shape;
      entries_[name] = std::move(entry);
    }
    // The tensors lie end to end and fill the file: none overlap, and a file cut short or glued is noticed.
    std::vector<std::pair<const std::string*, const Entry*>> order;
    for (const auto& [name, entry] : entries_) order.emplace_back(&name, &entry);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
    });
    std::uint64_t expected = 0;
    for (const auto& [name, entry] : order) {
      if (entry->begin != expected) {
        fail("tensor '{}' begins at byte {} of the data where {} was expected ({})", *name, entry->begin, expected,
             entry->begin < expected ? "it overlaps another" : "there is a gap");
      }
      expected = entry->end;
    }
    if (expected != data_size) fail("its tensors take {} bytes and {} follow the header", expected, data_size);
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{} is damaged or not a safetensors file: {}: download or copy it again", file_.path().string(),
         fmt::format(format, std::forward<Args>(args)...));
  }

  InputFile file_;
  std::uint64_t data_ = 0;                ///< offset of the data in the file
  std::map<std::string, Entry> entries_;  ///< all tensors, those that are not served too
  std::map<std::string, Shape> shapes_;
};

class ShardedTensors final : public TensorSource {
 public:
  explicit ShardedTensors(const fs::path& index) : index_(index) {
    std::string fault;
    std::map<std::string, std::string> files;  // tensor -> file name
    try {
      const json header = parse_json(read_file(index_, kMaxIndex), kLimits);
      const json& map = json_at(header, "weight_map");
      if (!map.is_object()) fail("'weight_map' is not an object");
      for (const auto& [tensor, file] : map.items()) {
        const std::string& name = json_string(file, "weight_map");
        if (name.empty() || name == "." || name == ".." || name.find_first_of("/\\") != std::string::npos) {
          fail("it names the shard '{}', which is not a file beside it", name);
        }
        files[tensor] = name;
      }
    } catch (const Error& e) {
      fault = e.what();
    }
    if (!fault.empty()) fail("{} cannot be used: {}: download or copy it again", index_.string(), fault);
    for (const auto& [tensor, file] : files) add(tensor, file);
  }

  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  std::string origin() const override { return index_.string(); }
  std::vector<std::string> unread() const override { return unread_; }
  AlignedBuffer<float> read(const std::string& name) const override {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end()) fail("{} has no tensor '{}'", origin(), name);
    return found->second->read(name);
  }

 private:
  void add(const std::string& tensor, const std::string& file) {
    auto& shard = shards_[file];
    if (shard == nullptr) {
      const fs::path path = index_.parent_path() / file;
      std::error_code ignored;
      if (!fs::exists(path, ignored)) {
        fail("{} names the shard '{}', which is not there: download or copy it too", index_.string(), file);
      }
      shard = std::make_unique<SafetensorsFile>(path);
    }
    if (!shard->lists(tensor)) {
      fail("{} promises tensor '{}' in '{}', which lacks it: download or copy both again", index_.string(), tensor,
           file);
    }
    const auto shape = shard->shapes().find(tensor);
    if (shape == shard->shapes().end()) {
      unread_.push_back(tensor);
      return;
    }
    shapes_[tensor] = shape->second;
    shard_of_[tensor] = shard.get();
  }

  fs::path index_;
  std::map<std::string, std::unique_ptr<SafetensorsFile>> shards_;
  std::map<std::string, const SafetensorsFile*> shard_of_;
  std::map<std::string, Shape> shapes_;
  std::vector<std::string> unread_;
};

}  // namespace

std::unique_ptr<TensorSource> open_safetensors(const fs::path& path) { return std::make_unique<SafetensorsFile>(path); }

std::unique_ptr<TensorSource> open_sharded_safetensors(const fs::path& index) {
  return std::make_unique<ShardedTensors>(index);
}

void write_safetensors(const fs::path& path, const TensorSource& tensors, bool overwrite) {
  json header{{"__metadata__", {{"format", "pt"}}}};
  std::uint64_t offset = 0;
  for (const auto& [name, shape] : tensors.shapes()) {
    std::uint64_t bytes = sizeof(float);
    for (const std::int64_t d : shape) bytes *= static_cast<std::uint64_t>(d);
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned, as the format's own writer has it
  const std::uint64_t size = text.size();

  OutputFile file(path, overwrite);
  file.write(std::as_bytes(std::span(&size, 1)));
  file.write(text);
  for (const auto& [name, shape] : tensors.shapes()) {
    const AlignedBuffer<float> values = tensors.read(name);
    file.write(std::as_bytes(std::span(values.data(), values.size())));
  }
  file.commit();
}

}  // namespace igq
