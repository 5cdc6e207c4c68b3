#include "detection/rle.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/fail.h"

namespace igq::detection {
namespace {

std::uint32_t pixels_of(int height, int width) {
  return static_cast<std::uint32_t>(height) * static_cast<std::uint32_t>(width);
}

/// Adds runs one after the other; empty ones between others join their neighbours, those at the end are dropped.
class RunWriter {
 public:
  RunWriter(int height, int width, std::string_view what) : what_(what), rle_{height, width, {}} {}

  void add(std::int64_t run) {
    const std::int64_t pixels = pixels_of(rle_.height, rle_.width);
    if (run < 0 || run > pixels - total_)
      fail("{}: its run lengths pass the {} pixels of the picture ({} x {})", what_, pixels, rle_.width, rle_.height);
    total_ += run;
    const bool value = seen_++ % 2 != 0;
    if (run == 0 && seen_ > 1) return;
    if (!rle_.counts.empty() && value == last_) {
      rle_.counts.back() += static_cast<std::uint32_t>(run);
    } else {
      rle_.counts.push_back(static_cast<std::uint32_t>(run));
      last_ = value;
    }
  }
  Rle finish() {
    const std::int64_t pixels = pixels_of(rle_.height, rle_.width);
    if (total_ != pixels)
      fail("{}: its run lengths add up to {} pixels, the picture has {} ({} x {})", what_, total_, pixels, rle_.width,
           rle_.height);
    return std::move(rle_);
  }
  std::size_t seen() const { return seen_; }

 private:
  std::string_view what_;
  Rle rle_;
  std::int64_t total_ = 0;
  std::size_t seen_ = 0;
  bool last_ = false;
};

}  // namespace

void check_mask_size(std::int64_t height, std::int64_t width, std::string_view what) {
  constexpr std::int64_t kMostPixels = 2147483647, kLongest = 1000000;
  if (height < 1 || width < 1 || height > kLongest || width > kLongest || height > kMostPixels / width)
    fail("{}: {} x {} pixels; sides of masks are from 1 to {}, and their product at most 2^31 - 1", what, width, height,
         kLongest);
}

Rle rle_from_mask(std::span<const std::uint8_t> mask, int height, int width) {
  Rle rle{height, width, {}};
  bool last = false;
  std::uint32_t run = 0;
  for (int x = 0; x < width; ++x) {
    for (int y = 0; y < height; ++y) {
      const bool value = mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + x] != 0;
      if (value != last) {
        rle.counts.push_back(run);
        run = 0;
        last = value;
      }
      ++run;
    }
  }
  if (run > 0) rle.counts.push_back(run);
  return rle;
}

std::vector<std::uint8_t> rle_to_mask(const Rle& rle) {
  std::vector<std::uint8_t> mask(pixels_of(rle.height, rle.width), 0);
  std::size_t position = 0;
  const auto height = static_cast<std::size_t>(rle.height), width = static_cast<std::size_t>(rle.width);
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    const std::size_t end = position + rle.counts[i];
    if (i % 2 != 0)
      for (std::size_t p = position; p < end; ++p) mask[p % height * width + p / height] = 1;
    position = end;
  }
  return mask;
}

std::string rle_to_text(const Rle& rle) {
  std::string text;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    std::int64_t value = rle.counts[i];
    if (i > 2) value -= rle.counts[i - 2];
    bool more = true;
    while (more) {
      int group = static_cast<int>(value & 0x1f);
      value >>= 5;
      more = (group & 0x10) != 0 ? value != -1 : value != 0;
      if (more) group |= 0x20;
      text.push_back(static_cast<char>(group + 48));
    }
  }
  return text;
}

Rle rle_from_text(std::string_view text, int height, int width, std::string_view what) {
  constexpr int kMostGroups = 7;  // 35 bits hold every difference of two runs
  RunWriter runs(height, width, what);
  std::int64_t before[2] = {0, 0};  // the last two runs, to which the text's differences refer
  for (std::size_t p = 0; p < text.size();) {
    std::int64_t value = 0;
    for (int k = 0;; ++k) {
      if (p == text.size()) fail("{}: its run lengths end in the middle of a number", what);
      const int group = static_cast<unsigned char>(text[p++]) - 48;
      if (group < 0 || group > 63 || k == kMostGroups) fail("{}: 'counts' is not COCO's text of run lengths", what);
      value |= static_cast<std::int64_t>(group & 0x1f) << (5 * k);
      if ((group & 0x20) != 0) continue;
      if ((group & 0x10) != 0) value |= -(std::int64_t{1} << (5 * (k + 1)));
      break;
    }
    if (runs.seen() > 2) value += before[0];
    runs.add(value);
    before[0] = std::exchange(before[1], value);
  }
  return runs.finish();
}

Rle rle_from_counts(std::span<const std::int64_t> counts, int height, int width, std::string_view what) {
  RunWriter runs(height, width, what);
  for (const std::int64_t count : counts) runs.add(count);
  return runs.finish();
}

Rle rle_union(std::span<const Rle> parts) {
  // The edges of all runs of ones; a pixel belongs to the union where more runs have begun than ended.
  std::vector<std::pair<std::uint32_t, int>> edges;
  for (const Rle& part : parts) {
    std::uint32_t position = 0;
    for (std::size_t i = 0; i < part.counts.size(); ++i) {
      if (i % 2 != 0 && part.counts[i] > 0) {
        edges.emplace_back(position, 1);
        edges.emplace_back(position + part.counts[i], -1);
      }
      position += part.counts[i];
    }
  }
  std::sort(edges.begin(), edges.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first
                              : a.second > b.second;  // a run that begins where another ends joins it
  });
  Rle whole{parts.front().height, parts.front().width, {}};
  std::uint32_t last = 0;
  int depth = 0;
  for (const auto& [position, step] : edges) {
    const bool was_set = depth > 0;
    depth += step;
    if (was_set == (depth > 0)) continue;
    whole.counts.push_back(position - last);
    last = position;
  }
  const std::uint32_t pixels = pixels_of(whole.height, whole.width);
  if (last < pixels || whole.counts.empty()) whole.counts.push_back(pixels - last);
  return whole;
}

std::uint64_t rle_area(const Rle& rle) {
  std::uint64_t area = 0;
  for (std::size_t i = 1; i < rle.counts.size(); i += 2) area += rle.counts[i];
  return area;
}

std::array<double, 4> rle_box(const Rle& rle) {
  const auto height = static_cast<std::uint32_t>(rle.height);
  std::uint32_t left = static_cast<std::uint32_t>(rle.width), top = height, right = 0, bottom = 0, position = 0;
  for (std::size_t i = 0; i < rle.counts.size(); ++i) {
    const std::uint32_t start = position;
    position += rle.counts[i];
    if (i % 2 == 0 || rle.counts[i] == 0) continue;
    const std::uint32_t first = start / height, last = (position - 1) / height;
    left = std::min(left, first);
    right = std::max(right, last);
    top = first < last ? 0 : std::min(top, start % height);
    bottom = first < last ? height - 1 : std::max(bottom, (position - 1) % height);
  }
  if (left > right || top > bottom) return {0.0, 0.0, 0.0, 0.0};
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left + 1),
          static_cast<double>(bottom - top + 1)};
}

double box_iou(const std::array<double, 4>& detection, const std::array<double, 4>& truth, bool crowd) {
  const double w = std::fmin(detection[2] + detection[0], truth[2] + truth[0]) - std::fmax(detection[0], truth[0]);
  if (w <= 0) return 0.0;
  const double h = std::fmin(detection[3] + detection[1], truth[3] + truth[1]) - std::fmax(detection[1], truth[1]);
  if (h <= 0) return 0.0;
  const double area = detection[2] * detection[3], inter = w * h;
  return inter / (crowd ? area : area + truth[2] * truth[3] - inter);
}

double rle_iou(const Rle& detection, const Rle& truth, bool crowd) {
  if (box_iou(rle_box(detection), rle_box(truth), crowd) <= 0) return 0.0;
  if (detection.height != truth.height || detection.width != truth.width) return -1.0;
  std::uint64_t inter = 0;
  std::size_t a = 0, b = 0;  // the run each mask is in
  std::uint64_t end_a = detection.counts[0], end_b = truth.counts[0], position = 0;
  while (a < detection.counts.size() && b < truth.counts.size()) {
    const std::uint64_t end = std::min(end_a, end_b);
    if (a % 2 != 0 && b % 2 != 0) inter += end - position;
    position = end;
    if (end_a == end && ++a < detection.counts.size()) end_a += detection.counts[a];
    if (end_b == end && ++b < truth.counts.size()) end_b += truth.counts[b];
  }
  if (inter == 0) return 0.0;
  const std::uint64_t area = rle_area(detection);
  return static_cast<double>(inter) / static_cast<double>(crowd ? area : area + rle_area(truth) - inter);
}

}  // namespace igq::detection
