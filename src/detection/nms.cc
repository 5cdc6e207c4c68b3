#include "detection/nms.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace igq::detection {
namespace {

/// Kept boxes, a column per coordinate, so that a candidate is compared with kLanes of them at once.
class KeptBoxes {
 public:
  explicit KeptBoxes(std::size_t capacity) {
    for (auto* column : {&x1_, &y1_, &x2_, &y2_, &area_}) column->reserve(round_up(capacity));
  }

  /// Whether a kept box has an IoU with `box` above `threshold`.
  bool cover(const Box& box, float area, float threshold) const {
    for (std::size_t begin = 0; begin < count_; begin += kLanes) {
      int above = 0;
      for (std::size_t i = begin; i < begin + kLanes; ++i) {
        const float left = std::max(x1_[i], box.x1), top = std::max(y1_[i], box.y1);
        const float right = std::min(x2_[i], box.x2), bottom = std::min(y2_[i], box.y2);
        const float w = std::max(0.0f, right - left), h = std::max(0.0f, bottom - top);
        const float inter = w * h;
        above |= inter / (area_[i] + area - inter) > threshold ? 1 : 0;
      }
      if (above != 0) return true;
    }
    return false;
  }

  void add(const Box& box, float area) {
    if (count_ % kLanes == 0) {  // places yet unused hold NaN, which is above no threshold
      for (auto* column : {&x1_, &y1_, &x2_, &y2_, &area_})
        column->resize(count_ + kLanes, std::numeric_limits<float>::quiet_NaN());
    }
    x1_[count_] = box.x1;
    y1_[count_] = box.y1;
    x2_[count_] = box.x2;
    y2_[count_] = box.y2;
    area_[count_] = area;
    ++count_;
  }

 private:
  static constexpr std::size_t kLanes = 16;
  static std::size_t round_up(std::size_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

  std::size_t count_ = 0;
  std::vector<float> x1_, y1_, x2_, y2_, area_;
};

std::vector<int> nms_in_order(std::span<const Box> boxes, std::span<const int> order, float iou_threshold,
                              std::size_t max_kept) {
  std::vector<int> kept;
  KeptBoxes chosen(std::min(max_kept, order.size()));
  for (const int i : order) {
    if (kept.size() >= max_kept) break;
    const Box& box = boxes[static_cast<std::size_t>(i)];
    const float area = box.width() * box.height();
    if (chosen.cover(box, area, iou_threshold)) continue;
    chosen.add(box, area);
    kept.push_back(i);
  }
  return kept;
}

}  // namespace

std::vector<int> order_by_score(std::span<const float> scores) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
    return x > y;
  });
  return order;
}

std::vector<int> nms(std::span<const Box> boxes, std::span<const float> scores, float iou_threshold,
                     std::size_t max_kept) {
  assert(boxes.size() == scores.size());
  return nms_in_order(boxes, order_by_score(scores), iou_threshold, max_kept);
}

std::vector<int> batched_nms(std::span<const Box> boxes, std::span<const float> scores, std::span<const int> ids,
                             float iou_threshold, std::size_t max_kept, std::size_t split_threshold) {
  assert(boxes.size() == scores.size() && boxes.size() == ids.size());
  if (boxes.empty()) return {};
  float largest = -std::numeric_limits<float>::infinity();
  for (const Box& b : boxes) largest = std::max({largest, b.x1, b.y1, b.x2, b.y2});
  std::vector<Box> moved(boxes.size());
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const float offset = static_cast<float>(ids[i]) * (largest + 1.0f);
    const Box& b = boxes[i];
    moved[i] = {b.x1 + offset, b.y1 + offset, b.x2 + offset, b.y2 + offset};
  }
  const std::vector<int> order = order_by_score(scores);
  if (boxes.size() < split_threshold) return nms_in_order(moved, order, iou_threshold, max_kept);

  std::map<int, std::vector<int>> by_id;
  for (const int i : order) by_id[ids[static_cast<std::size_t>(i)]].push_back(i);
  std::vector<char> keep(boxes.size(), 0);
  for (const auto& [id, members] : by_id)
    for (const int i : nms_in_order(moved, members, iou_threshold, kKeepAll)) keep[static_cast<std::size_t>(i)] = 1;
  std::vector<int> kept;
  for (const int i : order) {
    if (kept.size() >= max_kept) break;
    if (keep[static_cast<std::size_t>(i)] != 0) kept.push_back(i);
  }
  return kept;
}

}  // namespace igq::detection
