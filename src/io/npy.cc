#include "io/npy.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>

#include "base/fail.h"
#include "base/file.h"
#include "base/finite.h"
#include "io/float_formats.h"

namespace igq {
namespace {

constexpr std::string_view kNpyMagic = "\x93NUMPY";
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;

/// The text between `before` and `after`; empty when they are not there.
std::string_view between(std::string_view text, std::string_view before, char after) {
  const auto at = text.find(before);
  if (at == std::string_view::npos) return {};
  const auto begin = at + before.size(), end = text.find(after, begin);
  return end == std::string_view::npos ? std::string_view() : text.substr(begin, end - begin);
}

}  // namespace

std::string npy_header(const std::vector<std::int64_t>& shape) {
  static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", shape[i]);
  text += shape.size() == 1 ? ",), }" : "), }";
  constexpr std::size_t kBefore = 10;
  const std::size_t padded = (kBefore + text.size() + 1 + 63) / 64 * 64;
  text.resize(padded - kBefore - 1, ' ');
  text += '\n';
  std::string header(kNpyMagic);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

NpyArray read_npy(const std::filesystem::path& path) {
  const std::string file = read_file(path, kMaxBytes);
  const auto refuse = [&](const std::string& why) { fail("{} is no array that igq reads: {}", path.string(), why); };
  if (file.size() < 12 || !file.starts_with(kNpyMagic)) refuse("it does not begin as a .npy file");
  const bool first = file[6] == 1;
  if (!first && file[6] != 2 && file[6] != 3) refuse(fmt::format("its version is {}", int{file[6]}));
  const std::size_t before = first ? 10 : 12;
  std::uint32_t length = 0;
  std::memcpy(&length, file.data() + 8, first ? 2 : 4);
  if (length > file.size() - before) refuse("its header is cut off");
  const std::string_view header = std::string_view(file).substr(before, length);
  const std::string_view type = between(header, "'descr': '", '\''), shape = between(header, "'shape': (", ')');
  if (header.find("'fortran_order': False") == std::string_view::npos)
    refuse("it is not in C order; save numpy.ascontiguousarray(x)");
  const std::size_t size = type == "<f4" ? 4 : type == "<f8" ? 8 : type == "<f2" ? 2 : 0;
  if (size == 0) refuse(fmt::format("its values are '{}', not float32; save x.astype('float32')", type));
  NpyArray array;
  std::uint64_t count = 1;
  for (const char *p = shape.data(), *end = p + shape.size(); p < end;) {
    std::int64_t side = -1;
    const auto parsed = std::from_chars(p, end, side);
    if (parsed.ec != std::errc() || side < 0 || array.shape.size() == 8) refuse("its shape makes no sense");
    if (side > 0 && count > kMaxBytes / static_cast<std::uint64_t>(side)) refuse("its shape is larger than the file");
    count *= static_cast<std::uint64_t>(side);
    array.shape.push_back(side);
    for (p = parsed.ptr; p < end && (*p == ',' || *p == ' ');) ++p;
  }
  const char* data = file.data() + before + length;
  if (count * size != file.size() - before - length)
    refuse(fmt::format("it has {} bytes of values, its shape {}", file.size() - before - length, count * size));
  array.values.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (size == 4) {
      std::memcpy(&array.values[i], data + i * 4, 4);
    } else if (size == 8) {
      double value = 0.0;
      std::memcpy(&value, data + i * 8, 8);
      array.values[i] = static_cast<float>(value);
    } else {
      std::uint16_t half = 0;
      std::memcpy(&half, data + i * 2, 2);
      array.values[i] = float_of_half(half);
    }
  }
  if (!all_finite(array.values)) refuse("it holds values that are not finite");
  return array;
}

const OutputKind kNpyOutput{"a .npy file", [](const InputFile& file) { return file.begins_with(kNpyMagic); }};

}  // namespace igq
