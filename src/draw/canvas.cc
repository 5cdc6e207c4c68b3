#include "draw/canvas.h"

#include <algorithm>
#include <cmath>

#include "draw/font.h"

namespace igq::draw {

Colour category_colour(int category) {
  // Hues a golden ratio apart (Knuth's multiplicative hashing), full brightness.
  const double hue =
      std::fmod(0.08 + 0.61803398874989485 * static_cast<double>(static_cast<unsigned>(category) % 4096u), 1.0);
  Colour colour;
  for (std::size_t c = 0; c < 3; ++c) {
    const double angle = std::fabs(std::fmod(hue * 6.0 + 4.0 * static_cast<double>(3 - c), 6.0) - 3.0) - 1.0;
    colour[c] = static_cast<std::uint8_t>(std::lround(255.0 * (0.15 + 0.85 * std::clamp(angle, 0.0, 1.0))));
  }
  return colour;
}

Colour text_colour(const Colour& background) {
  const int luma = 299 * background[0] + 587 * background[1] + 114 * background[2];
  return luma > 128 * 1000 ? Colour{0, 0, 0} : Colour{255, 255, 255};
}

void Canvas::blend(int x, int y, const Colour& colour, int weight) {
  if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return;
  std::uint8_t* pixel = image_.row(y) + 3 * static_cast<std::ptrdiff_t>(x);
  for (std::size_t c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>((pixel[c] * (256 - weight) + colour[c] * weight + 128) >> 8);
}

void Canvas::fill(const Area& wanted, const Colour& colour) {
  const int bottom = std::min(wanted.bottom, image_.height), right = std::min(wanted.right, image_.width);
  for (int y = std::max(wanted.top, 0); y < bottom; ++y)
    for (int x = std::max(wanted.left, 0); x < right; ++x) set(x, y, colour);
}

void Canvas::frame(const Area& a, int thickness, const Colour& colour) {
  const int t = std::min({thickness, a.right - a.left, a.bottom - a.top});
  fill({a.left, a.top, a.right, a.top + t}, colour);
  fill({a.left, a.bottom - t, a.right, a.bottom}, colour);
  fill({a.left, a.top, a.left + t, a.bottom}, colour);
  fill({a.right - t, a.top, a.right, a.bottom}, colour);
}

void Canvas::text(int x, int y, std::string_view utf8, int scale, const Colour& colour) {
  const int width = kGlyphWidth * scale, height = kGlyphHeight * scale;
  for (const char32_t code : code_points(utf8)) {
    if (x >= image_.width) return;
    const auto ink = scaled_glyph(code, scale);
    for (int gy = 0; gy < height; ++gy)
      for (int gx = 0; gx < width; ++gx)
        if (ink[static_cast<std::size_t>(gy * width + gx)] != 0) set(x + gx, y + gy, colour);
    x += kAdvance * scale;
  }
}

int text_width(std::size_t characters, int scale) {
  return (static_cast<int>(std::min<std::size_t>(characters, 1u << 20)) * kAdvance - 1) * scale;
}

}  // namespace igq::draw
