// COCO's run-length masks: lengths of alternating runs of 0 and 1 down the columns of a picture, the first of them of
// zeros (it may be 0). Equal to pycocotools' maskApi.c (Dollar and Lin, 2015) in every bit.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace igq::detection {

struct Rle {
  int height = 0, width = 0;
  std::vector<std::uint32_t> counts;

  bool operator==(const Rle&) const = default;
};

/// Error unless both sides are from 1 to 1,000,000 and the picture has at most 2^31 - 1 pixels; `what` names it.
void check_mask_size(std::int64_t height, std::int64_t width, std::string_view what);

/// From a mask [height, width] of bytes, row-major, zero or not. An empty picture has no runs.
Rle rle_from_mask(std::span<const std::uint8_t> mask, int height, int width);
/// The inverse: zeros and ones.
std::vector<std::uint8_t> rle_to_mask(const Rle& rle);

/// COCO's text: differences to the run before the previous one, five bits to a character.
std::string rle_to_text(const Rle& rle);
/// The inverse. Error when the text is no such text or its runs do not add up to the picture; `what` names it. Empty
/// runs between others, which the text of no tool has, are joined.
Rle rle_from_text(std::string_view text, int height, int width, std::string_view what);
/// From uncompressed runs, with the same errors.
Rle rle_from_counts(std::span<const std::int64_t> counts, int height, int width, std::string_view what);

/// The mask of a polygon x0 y0 x1 y1 ... in pixels, at least one point; parts outside the picture are cut. Error when a
/// coordinate is not finite or beyond +-1e8 pixels; `what` names it.
Rle rle_from_polygon(std::span<const double> xy, int height, int width, std::string_view what);
/// The union of masks of one size (there is at least one).
Rle rle_union(std::span<const Rle> parts);

std::uint64_t rle_area(const Rle& rle);
/// The tight box x, y, width, height; zeros for a mask without a run of ones.
std::array<double, 4> rle_box(const Rle& rle);

/// Intersection over union of boxes x, y, width, height in double; over the detection's area where `crowd`.
double box_iou(const std::array<double, 4>& detection, const std::array<double, 4>& truth, bool crowd);
/// The same of masks; 0 where their tight boxes do not meet, -1 when the pictures differ in size.
double rle_iou(const Rle& detection, const Rle& truth, bool crowd);

}  // namespace igq::detection
