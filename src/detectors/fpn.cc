#include "detectors/fpn.h"

#include <algorithm>

#include "base/fail.h"

namespace igq {
namespace {

struct MapView {
  float* values;
  int height, width;
};

/// fine += nearest(coarse), as torch.nn.functional.interpolate finds the source: the ratio and the product in float32.
void add_upsampled(const ExecContext& context, const MapView& coarse, const MapView& fine, int channels) {
  const float ratio_y = static_cast<float>(coarse.height) / static_cast<float>(fine.height);
  const float ratio_x = static_cast<float>(coarse.width) / static_cast<float>(fine.width);
  context.parallel_for(fine.height, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t y = begin; y < end; ++y) {
      const std::int64_t sy = std::min(static_cast<int>(static_cast<float>(y) * ratio_y), coarse.height - 1);
      for (int x = 0; x < fine.width; ++x) {
        const int sx = std::min(static_cast<int>(static_cast<float>(x) * ratio_x), coarse.width - 1);
        context.kernels->add_residual(fine.values + (y * fine.width + x) * channels, channels,
                                      coarse.values + (sy * coarse.width + sx) * channels, channels, 1, channels,
                                      nullptr);
      }
    }
  });
}

}  // namespace

Fpn::Fpn(const ModelBuilder& builder, std::span<const int> in_channels, int channels, int outputs)
    : channels_(channels), outputs_(outputs) {
  for (std::size_t i = 0; i < in_channels.size(); ++i) {
    laterals_.push_back(
        builder.conv(fmt::format("lateral_convs.{}.conv", i), {in_channels[i], channels, 1, 1, 0}, true));
    convs_.push_back(builder.conv(fmt::format("fpn_convs.{}.conv", i), {channels, channels, 3, 1, 1}, true));
  }
}

void Fpn::forward(ExecContext& context, std::span<const FeatureMap> maps, std::vector<FeatureMap>& pyramid) const {
  const ArenaScope scope(context.arena);
  pyramid.resize(static_cast<std::size_t>(outputs_));
  std::vector<MapView> laterals;
  for (std::size_t i = 0; i < laterals_.size(); ++i) {
    const FeatureMap& map = maps[i];
    const auto floats = static_cast<std::size_t>(map.pixels()) * static_cast<std::size_t>(channels_);
    laterals.push_back({context.arena.take<float>(floats), map.height, map.width});
    laterals_[i].forward(context, map.values.data(), {1, map.height, map.width}, laterals.back().values);
  }
  for (std::size_t i = laterals.size() - 1; i > 0; --i) add_upsampled(context, laterals[i], laterals[i - 1], channels_);
  for (std::size_t i = 0; i < pyramid.size(); ++i) {
    FeatureMap& out = pyramid[i];
    if (out.name.empty()) out.name = fmt::format("P{}", i + 2);
    if (i < convs_.size()) {
      out.take(laterals[i].height, laterals[i].width, channels_);
      convs_[i].forward(context, laterals[i].values, {1, out.height, out.width}, out.values.data());
      continue;
    }
    const FeatureMap& finer = pyramid[i - 1];
    out.take((finer.height + 1) / 2, (finer.width + 1) / 2, channels_);
    float* to = out.values.data();
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x, to += channels_)
        std::copy_n(finer.values.data() + (std::int64_t{2} * y * finer.width + 2 * x) * channels_, channels_, to);
  }
}

}  // namespace igq
