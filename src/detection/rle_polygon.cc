// Polygons to run lengths as pycocotools does it (rleFrPoly of maskApi.c): corners on a grid five times as fine as the
// pixels, edges walked in unit steps of their longer axis, and a column of pixels entered or left wherever the walk
// passes from 5 m + 2 to 5 m + 3. pycocotools walks every step; here only those passages are computed, with the same
// arithmetic, so that the work is bounded by the picture and not by the coordinates.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/fail.h"
#include "detection/rle.h"

namespace igq::detection {
namespace {

constexpr int kFine = 5;
constexpr double kFarthest = 1e8;  // five times it is still an int

struct Point {
  int x, y;
};

Point fine_point(const double* xy, std::string_view what) {
  for (int i = 0; i < 2; ++i)
    if (!(std::fabs(xy[i]) <= kFarthest)) fail("{}: a polygon has the coordinate {}", what, xy[i]);
  return {static_cast<int>(kFine * xy[0] + .5), static_cast<int>(kFine * xy[1] + .5)};
}

class ColumnCrossings {
 public:
  ColumnCrossings(int height, int width) : height_(height), width_(width) {}

  /// Adds where the edge passes the columns of the picture. An edge of one point passes none.
  void add_edge(Point from, Point to) {
    const int dx = std::abs(to.x - from.x), dy = std::abs(to.y - from.y);
    if (dx == 0) return;
    if (dx >= dy ? from.x > to.x : from.y > to.y) std::swap(from, to);
    if (dx >= dy)
      add_flat(from, to, dx);
    else
      add_steep(from, to, dy);
  }

  Rle runs() && {
    places_.push_back(static_cast<std::uint32_t>(height_) * static_cast<std::uint32_t>(width_));
    std::sort(places_.begin(), places_.end());
    Rle rle{height_, width_, {}};
    std::uint32_t last = 0;
    bool join = false;  // an empty run joins its two neighbours
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const std::uint32_t run = places_[i] - last;
      last = places_[i];
      if (join) {
        rle.counts.back() += run;
        join = false;
      } else if (run == 0 && i > 0) {
        join = true;
      } else {
        rle.counts.push_back(run);
      }
    }
    return rle;
  }

 private:
  /// Columns m whose passage 5 m + 2 -> 5 m + 3 lies within low..high.
  std::pair<int, int> columns(int low, int high) const {
    const int first = low <= 2 ? 0 : (low - 2 + kFine - 1) / kFine;
    const int last = high < 3 ? -1 : (high - 3) / kFine;
    return {first, std::min(last, width_ - 1)};
  }

  void add_flat(Point from, Point to, int dx) {
    const double slope = static_cast<double>(to.y - from.y) / dx;
    const auto [first, last] = columns(from.x, to.x);
    for (int m = first; m <= last; ++m) {
      const int t = kFine * m + 2 - from.x;
      add(m, std::min(static_cast<int>(from.y + slope * t + .5), static_cast<int>(from.y + slope * (t + 1) + .5)));
    }
  }

  void add_steep(Point from, Point to, int dy) {
    const double slope = static_cast<double>(to.x - from.x) / dy;
    const auto x_at = [&](int t) { return static_cast<int>(from.x + slope * t + .5); };
    const auto [first, last] = columns(std::min(from.x, to.x), std::max(from.x, to.x));
    for (int m = first; m <= last; ++m) {
      // The step t that passes: x is below 5 m + 3 on one side of it and not on the other.
      const int edge = kFine * m + 3;
      const auto beyond = [&](int t) { return slope > 0 ? x_at(t) >= edge : x_at(t) < edge; };
      int t = static_cast<int>(std::clamp(std::ceil((edge - .5 - from.x) / slope), 1.0, static_cast<double>(dy)));
      while (t > 1 && beyond(t - 1)) --t;
      while (t < dy && !beyond(t)) ++t;
      add(m, from.y + t - 1);
    }
  }

  void add(int column, int fine_y) {
    const double y = (static_cast<double>(fine_y) + .5) / kFine - .5;
    const double row = std::ceil(std::clamp(y, 0.0, static_cast<double>(height_)));
    places_.push_back(static_cast<std::uint32_t>(column) * static_cast<std::uint32_t>(height_) +
                      static_cast<std::uint32_t>(row));
  }

  int height_, width_;
  std::vector<std::uint32_t> places_;
};

}  // namespace

Rle rle_from_polygon(std::span<const double> xy, int height, int width, std::string_view what) {
  const std::size_t corners = xy.size() / 2;
  ColumnCrossings crossings(height, width);
  for (std::size_t i = 0; i < corners; ++i)
    crossings.add_edge(fine_point(xy.data() + 2 * i, what), fine_point(xy.data() + (i + 1) % corners * 2, what));
  return std::move(crossings).runs();
}

}  // namespace igq::detection
