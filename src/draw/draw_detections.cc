#include "draw/draw_detections.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/fail.h"
#include "draw/canvas.h"
#include "draw/font.h"

namespace igq::draw {
namespace {

constexpr int kMaskWeight = 110;  // of 256: the picture stays visible below
constexpr int kOutlineWeight = 230;

/// Pixels of a letter's cell; a picture of 480 rows gets letters twice the font's grid.
int scale_for(const Image& image) { return std::clamp((std::min(image.width, image.height) + 120) / 240, 1, 16); }

/// The nearest pixel's edge, within a pixel of the picture so that frames outside stay outside.
int edge(float v, int size) {
  return static_cast<int>(std::lround(std::clamp(static_cast<double>(v), -1.0, size + 1.0)));
}

Area area_of(const detection::Box& box, const Image& image) {
  Area area{edge(box.x1, image.width), edge(box.y1, image.height), edge(box.x2, image.width),
            edge(box.y2, image.height)};
  area.right = std::max(area.right, area.left + 1);  // an empty box is still seen
  area.bottom = std::max(area.bottom, area.top + 1);
  return area;
}

void check(const Drawn& d, const Image& image) {
  for (const float v : {d.box.x1, d.box.y1, d.box.x2, d.box.y2})
    if (!std::isfinite(v)) fail("cannot draw a box whose corner is {}", v);
  if (!d.mask.counts.empty() && (d.mask.height != image.height || d.mask.width != image.width))
    fail("cannot draw a mask of {} x {} pixels on a picture of {} x {}", d.mask.width, d.mask.height, image.width,
         image.height);
}

/// Blends the mask over the picture; pixels with a neighbour outside the mask form its outline.
void draw_mask(Canvas& canvas, const detection::Rle& rle, const Colour& colour) {
  if (rle.counts.empty()) return;
  const std::vector<std::uint8_t> mask = detection::rle_to_mask(rle);
  const auto set = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < rle.width && y < rle.height &&
           mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(rle.width) + static_cast<std::size_t>(x)] != 0;
  };
  for (int y = 0; y < rle.height; ++y) {
    for (int x = 0; x < rle.width; ++x) {
      if (!set(x, y)) continue;
      const bool inner = set(x - 1, y) && set(x + 1, y) && set(x, y - 1) && set(x, y + 1);
      canvas.blend(x, y, colour, inner ? kMaskWeight : kOutlineWeight);
    }
  }
}

/// Finds places for plates beside their boxes where no other plate is.
class Plates {
 public:
  explicit Plates(const Area& picture) : picture_(picture) {}

  Area place(const Area& box, int width, int height) {
    const int rows[] = {box.top - height, box.top, box.bottom, box.bottom - height};
    const int columns[] = {box.left, box.right - width};
    Area best = moved_in({box.left, rows[0], box.left + width, rows[0] + height});
    for (const int top : rows) {
      for (const int left : columns) {
        const Area plate = moved_in({left, top, left + width, top + height});
        // Moved along the box's edge it still belongs to it, across the edge it would not.
        if (plate.top != top || taken(plate)) continue;
        taken_.push_back(plate);
        return plate;
      }
    }
    taken_.push_back(best);
    return best;
  }

 private:
  bool taken(const Area& plate) const {
    return std::any_of(taken_.begin(), taken_.end(), [&](const Area& other) { return plate.overlaps(other); });
  }
  Area moved_in(Area a) const {
    const int dx = std::max(std::min(0, picture_.right - a.right), picture_.left - a.left);
    const int dy = std::max(std::min(0, picture_.bottom - a.bottom), picture_.top - a.top);
    return {a.left + dx, a.top + dy, a.right + dx, a.bottom + dy};
  }

  Area picture_;
  std::vector<Area> taken_;
};

std::string label_of(const Drawn& d, std::span<const std::string> labels) {
  const bool known = d.category >= 0 && static_cast<std::size_t>(d.category) < labels.size();
  const std::string name = known ? labels[static_cast<std::size_t>(d.category)] : fmt::format("class {}", d.category);
  return fmt::format("{} {:.2f}", name, d.score);
}

}  // namespace

void draw_detections(Image& image, std::span<const Drawn> detections, std::span<const std::string> labels) {
  for (const Drawn& d : detections) check(d, image);
  std::vector<const Drawn*> best_first;
  for (const Drawn& d : detections) best_first.push_back(&d);
  std::stable_sort(best_first.begin(), best_first.end(),
                   [](const Drawn* a, const Drawn* b) { return a->score > b->score; });

  Canvas canvas(image);
  const int scale = scale_for(image);
  for (auto d = best_first.rbegin(); d != best_first.rend(); ++d)
    draw_mask(canvas, (*d)->mask, category_colour((*d)->category));
  for (auto d = best_first.rbegin(); d != best_first.rend(); ++d)
    canvas.frame(area_of((*d)->box, image), scale, category_colour((*d)->category));

  // Plates are placed best first, so that the best lie where one looks for them, and painted in the other order.
  Plates plates(canvas.area());
  struct Plate {
    Area area;
    std::string text;
    Colour colour;
  };
  std::vector<Plate> placed;
  for (const Drawn* d : best_first) {
    std::string text = label_of(*d, labels);
    const int width = text_width(code_points(text).size(), scale) + 4 * scale, height = (kGlyphHeight + 3) * scale;
    placed.push_back(
        {plates.place(area_of(d->box, image), width, height), std::move(text), category_colour(d->category)});
  }
  for (auto plate = placed.rbegin(); plate != placed.rend(); ++plate) {
    canvas.fill(plate->area, plate->colour);
    canvas.text(plate->area.left + 2 * scale, plate->area.top + 2 * scale, plate->text, scale,
                text_colour(plate->colour));
  }
}

}  // namespace igq::draw
