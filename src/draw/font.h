// A small fixed-width bitmap font for labels on pictures: the printable ASCII characters on a 5 x 8 grid (the last row
// is for descenders), drawn at whole multiples of it with smoothed diagonals.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace igq::draw {

inline constexpr int kGlyphWidth = 5, kGlyphHeight = 8, kAdvance = kGlyphWidth + 1;

/// Whether the cell (x, y) of a character's grid is ink. `code` is a Unicode code point; all but the printable ASCII
/// characters are an empty frame.
bool glyph_ink(char32_t code, int x, int y);

/// The code points of UTF-8 text; bytes that are no UTF-8 are U+FFFD.
std::vector<char32_t> code_points(std::string_view utf8);

/// A character at `scale` times its grid: [kGlyphHeight * scale][kGlyphWidth * scale], 1 where there is ink.
std::vector<std::uint8_t> scaled_glyph(char32_t code, int scale);

}  // namespace igq::draw
