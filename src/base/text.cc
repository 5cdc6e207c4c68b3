#include "base/text.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace igq {
namespace {

/// A code point and the bytes it takes; 0 bytes where there is no well-formed UTF-8 (Unicode, table 3-7).
struct CodePoint {
  std::uint32_t value = 0;
  std::size_t size = 0;
};

CodePoint decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  std::uint32_t value = lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = value < (size == 2 ? 0x80u : size == 3 ? 0x800u : 0x10000u);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return {};
  return {value, size};
}

/// Control characters of the second half of Latin-1, line and paragraph separators, marks of direction.
bool is_unseen(std::uint32_t c) {
  return (c >= 0x80 && c <= 0x9F) || c == 0x61C || (c >= 0x200E && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto to = std::back_inserter(out);
  while (!text.empty()) {
    const CodePoint c = decode(text);
    if (c.size == 0) {
      fmt::format_to(to, "\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (c.value == '\n') {
      out += "\\n";
    } else if (c.value == '\r') {
      out += "\\r";
    } else if (c.value == '\t') {
      out += "\\t";
    } else if (c.value < 0x20 || c.value == 0x7F) {
      fmt::format_to(to, "\\x{:02x}", c.value);
    } else if (is_unseen(c.value)) {
      fmt::format_to(to, "\\u{:04x}", c.value);
    } else {
      out.append(text.substr(0, c.size));
    }
    text.remove_prefix(c.size == 0 ? 1 : c.size);
  }
  return out;
}

std::string message_line(std::string_view text) {
  constexpr std::size_t kLongest = 8000, kBegin = 6000, kEnd = 1500;
  std::string line = printable(text);
  if (line.size() <= kLongest) return line;
  const auto inside = [&line](std::size_t at) { return (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80; };
  std::size_t begin = kBegin, end = line.size() - kEnd;
  while (inside(begin)) --begin;
  while (inside(end)) ++end;  // the last byte of a text is followed by none that continues it
  return fmt::format("{} [{} bytes] {}", std::string_view(line).substr(0, begin), end - begin,
                     std::string_view(line).substr(end));
}

}  // namespace igq
