// Text from files and names, made fit for a terminal: on one line, without characters that command it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/text.h"

namespace igq {

/// Hands `text` to sink(std::string_view) in pieces: control characters as \n, \r, \t, \x1b; those of C1, line
/// separators and changes of direction as \u009b; bytes that are not UTF-8 as \xff; everything else as it is.
/// `lines`: line breaks and tabs stay. Allocates nothing.
template <typename Sink>
void escape_controls(std::string_view text, bool lines, const Sink& sink) {
  static constexpr const char* kDigits = "0123456789abcdef";
  const auto hex = [&](unsigned byte) {
    const std::array<char, 4> shown{'\\', 'x', kDigits[byte >> 4 & 15], kDigits[byte & 15]};
    sink(std::string_view(shown.data(), shown.size()));
  };
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    if (byte < 0x80) {
      if (byte == '\n' || byte == '\r' || byte == '\t')
        sink(lines ? text.substr(0, 1) : std::string_view(byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : "\\t"));
      else if (byte < 0x20 || byte == 0x7F)
        hex(byte);
      else
        sink(text.substr(0, 1));
      text.remove_prefix(1);
      continue;
    }
    const std::size_t size = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    std::uint32_t point = byte & (size == 4 ? 0x07 : size == 3 ? 0x0F : 0x1F);
    bool valid = byte >= 0xC2 && byte <= 0xF4 && text.size() >= size;
    for (std::size_t i = 1; valid && i < size; ++i) {
      const auto next = static_cast<unsigned char>(text[i]);
      valid = (next & 0xC0) == 0x80;
      point = point << 6 | (next & 0x3FU);
    }
    valid = valid && (size < 3 || point >= (size == 3 ? 0x800U : 0x10000U)) && point <= 0x10FFFF &&
            (point < 0xD800 || point > 0xDFFF);
    if (!valid) {
      hex(byte);
      text.remove_prefix(1);
      continue;
    }
    const bool commands = point < 0xA0 || point == 0x61C || point == 0xFEFF || (point >= 0x200E && point <= 0x200F) ||
                          (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
    if (commands) {
      const std::array<char, 6> shown{'\\',
                                      'u',
                                      kDigits[point >> 12 & 15],
                                      kDigits[point >> 8 & 15],
                                      kDigits[point >> 4 & 15],
                                      kDigits[point & 15]};
      sink(std::string_view(shown.data(), shown.size()));
    } else {
      sink(text.substr(0, size));
    }
    text.remove_prefix(size);
  }
}

}  // namespace igq
