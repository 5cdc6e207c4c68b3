#include "detectors/rpn.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/fail.h"
#include "detection/anchors.h"
#include "detection/nms.h"

namespace igq {
namespace {

/// Indices of the `count` best scores, best first; equal scores in ascending order of index, NaN last.
std::vector<int> best(std::span<const float> scores, std::size_t count) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [scores](int a, int b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    const bool nan_x = std::isnan(x), nan_y = std::isnan(y);
    if (nan_x != nan_y) return nan_y;
    if (!nan_x && x != y) return x > y;
    return a < b;
  };
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(order.begin(), middle, order.end(), better);
  order.resize(count);
  std::sort(order.begin(), order.end(), better);
  return order;
}

}  // namespace

float sigmoid(float x) { return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(x)))); }

Rpn::Rpn(const ModelBuilder& builder, RpnConfig config) : config_(std::move(config)) {
  conv_ = builder.conv("rpn_conv", {config_.in_channels, config_.channels, 3, 1, 1}, true);
  scores_ = builder.conv("rpn_cls", {config_.channels, config_.anchors(), 1, 1, 0}, true);
  deltas_ = builder.conv("rpn_reg", {config_.channels, 4 * config_.anchors(), 1, 1, 0}, true);
}

void Rpn::forward(ExecContext& context, std::span<const FeatureMap> pyramid, std::vector<FeatureMap>& scores,
                  std::vector<FeatureMap>& deltas) const {
  scores.resize(pyramid.size());
  deltas.resize(pyramid.size());
  for (std::size_t i = 0; i < pyramid.size(); ++i) {
    const ArenaScope scope(context.arena);
    const FeatureMap& map = pyramid[i];
    const MapGrid grid{1, map.height, map.width};
    const auto floats = static_cast<std::size_t>(map.pixels()) * static_cast<std::size_t>(config_.channels);
    float* hidden = context.arena.take<float>(floats);
    conv_.forward(context, map.values.data(), grid, hidden, kernels::Activation::kRelu);
    scores[i].take(map.height, map.width, config_.anchors());
    deltas[i].take(map.height, map.width, 4 * config_.anchors());
    scores_.forward(context, hidden, grid, scores[i].values.data());
    deltas_.forward(context, hidden, grid, deltas[i].values.data());
  }
}

Proposals Rpn::propose(std::span<const FeatureMap> scores, std::span<const FeatureMap> deltas, int height,
                       int width) const {
  std::vector<detection::Box> boxes;
  std::vector<float> objectness;
  std::vector<int> levels;
  std::vector<float> probabilities;
  for (std::size_t level = 0; level < scores.size(); ++level) {
    const FeatureMap& map = scores[level];
    const std::size_t count = map.values.size();
    probabilities.resize(count);
    std::transform(map.values.begin(), map.values.end(), probabilities.begin(), sigmoid);
    std::vector<int> order;
    if (config_.nms_pre > 0 && static_cast<std::size_t>(config_.nms_pre) < count) {
      order = best(probabilities, static_cast<std::size_t>(config_.nms_pre));
    } else {
      order.resize(count);
      std::iota(order.begin(), order.end(), 0);
    }
    const auto stride = static_cast<float>(config_.strides[level]);
    const std::vector<detection::Box> base = detection::base_anchors(stride, config_.ratios, config_.scales);
    for (const int i : order) {
      const detection::Box anchor = detection::anchor_at(base, stride, stride, map.width, i);
      const detection::Box box =
          detection::decode_delta(config_.coder, anchor, deltas[level].values.data() + std::int64_t{4} * i,
                                  static_cast<float>(width), static_cast<float>(height));
      if (!(box.width() > config_.min_size && box.height() > config_.min_size)) continue;
      boxes.push_back(box);
      objectness.push_back(probabilities[static_cast<std::size_t>(i)]);
      levels.push_back(static_cast<int>(level));
    }
  }
  Proposals proposals;
  if (boxes.empty()) return proposals;
  for (const int i : detection::batched_nms(boxes, objectness, levels, config_.iou_threshold,
                                            static_cast<std::size_t>(config_.max_proposals))) {
    proposals.boxes.push_back(boxes[static_cast<std::size_t>(i)]);
    proposals.scores.push_back(objectness[static_cast<std::size_t>(i)]);
  }
  return proposals;
}

}  // namespace igq
