// The few strokes that draw_detections is made of. Everything is cut at the picture's edges.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "io/image.h"

namespace igq::draw {

using Colour = std::array<std::uint8_t, 3>;

/// Pixels left..right-1, top..bottom-1.
struct Area {
  int left = 0, top = 0, right = 0, bottom = 0;

  bool overlaps(const Area& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool within(const Area& other) const {
    return left >= other.left && top >= other.top && right <= other.right && bottom <= other.bottom;
  }
};

/// A bright colour for each category; neighbours are far apart in hue.
Colour category_colour(int category);
/// Black or white, whichever reads better on `background`.
Colour text_colour(const Colour& background);

class Canvas {
 public:
  explicit Canvas(Image& image) : image_(image) {}

  Area area() const { return {0, 0, image_.width, image_.height}; }
  void set(int x, int y, const Colour& colour) { blend(x, y, colour, 256); }
  /// `weight` of the colour in 1 / 256; the pixel keeps the rest.
  void blend(int x, int y, const Colour& colour, int weight);
  void fill(const Area& area, const Colour& colour);
  /// The frame within the area, `thickness` pixels wide.
  void frame(const Area& area, int thickness, const Colour& colour);
  /// Letters with the upper left corner at (x, y); UTF-8.
  void text(int x, int y, std::string_view utf8, int scale, const Colour& colour);

 private:
  Image& image_;
};

/// Pixels that text of so many characters takes.
int text_width(std::size_t characters, int scale);

}  // namespace igq::draw
