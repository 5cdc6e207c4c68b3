#include "detectors/roi_heads.h"

#include <algorithm>

#include "base/fail.h"
#include "detection/roi_align.h"

namespace igq {
namespace {

/// Two buffers that layers write in turn, so that a layer never writes over its input.
class TwoBuffers {
 public:
  TwoBuffers(ExecContext& context, std::size_t floats)
      : buffers_{context.arena.take<float>(floats), context.arena.take<float>(floats)} {}
  float* next() { return buffers_[turn_ ^= 1]; }

 private:
  float* buffers_[2];
  int turn_ = 0;
};

/// A weight [out][channels * positions] as [out][positions * channels], for channels-last features.
AlignedBuffer<float> channels_last(const AlignedBuffer<float>& weight, int out, int channels, int positions) {
  AlignedBuffer<float> result(weight.size());
  const auto row = std::int64_t{channels} * positions;
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t p = 0; p < positions; ++p)
        result[static_cast<std::size_t>(o * row + p * channels + c)] =
            weight[static_cast<std::size_t>(o * row + c * positions + p)];
  return result;
}

std::span<const float> values(const AlignedBuffer<float>& buffer) { return {buffer.data(), buffer.size()}; }

}  // namespace

void pool_rois(ExecContext& context, std::span<const FeatureMap> pyramid, const RoiConfig& config,
               std::span<const detection::Box> boxes, float* out) {
  const WorkTimer timer(context, Work::kOther);
  const auto levels = static_cast<int>(config.strides.size());
  const std::int64_t floats = std::int64_t{config.bins} * config.bins * pyramid.front().channels;
  context.parallel_for(static_cast<std::int64_t>(boxes.size()), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const detection::Box& box = boxes[static_cast<std::size_t>(i)];
      const auto level = static_cast<std::size_t>(detection::roi_level(box, config.finest_scale, levels));
      const FeatureMap& map = pyramid[level];
      detection::roi_align({map.values.data(), map.height, map.width, map.channels},
                           1.0f / static_cast<float>(config.strides[level]), box, config.bins, out + i * floats);
    }
  });
}

BoxHead::BoxHead(const ModelBuilder& builder, const BoxHeadConfig& config, int in_channels, int bins, int classes)
    : config_(config), bins_(bins) {
  int channels = in_channels;
  for (int i = 0; i < config.convs; ++i) {
    const std::string name = fmt::format("shared_convs.{}", i);
    const ConvShape shape{channels, config.conv_channels, 3, 1, 1};
    convs_.push_back(config.batch_norm ? builder.conv_with_norm(name + ".conv", name + ".bn", shape)
                                       : builder.conv(name + ".conv", shape, true));
    channels = config.conv_channels;
  }
  int features = channels * bins * bins;
  const int positions = bins * bins;
  // The first layer after the pooled map, whichever it is, was trained on channels first.
  const auto flat = [&](const std::string& name, int out) {
    const AlignedBuffer<float> bias = builder.tensor(name + ".bias", out);
    if (auto plan = builder.codes(name, features, out))
      return Linear(builder.prefix() + name, features, out, std::move(plan), values(bias));
    const AlignedBuffer<float> weight = builder.tensor(name + ".weight", std::int64_t{out} * features);
    return Linear(builder.prefix() + name, features, out, values(channels_last(weight, out, channels, positions)),
                  values(bias));
  };
  for (int i = 0; i < config.fcs; ++i) {
    const std::string name = fmt::format("shared_fcs.{}", i);
    fcs_.push_back(i == 0 ? flat(name, config.fc_channels) : builder.linear(name, features, config.fc_channels, true));
    features = config.fc_channels;
  }
  const int boxes = config.class_agnostic ? 4 : 4 * classes;
  cls_ = config.fcs == 0 ? flat("fc_cls", classes + 1) : builder.linear("fc_cls", features, classes + 1, true);
  reg_ = config.fcs == 0 ? flat("fc_reg", boxes) : builder.linear("fc_reg", features, boxes, true);
}

void BoxHead::forward(ExecContext& context, const float* features, int rois, float* logits, float* deltas) const {
  const ArenaScope scope(context.arena);
  std::size_t widest = 1;
  for (const Conv2d& conv : convs_)
    widest = std::max(widest, static_cast<std::size_t>(bins_ * bins_) * static_cast<std::size_t>(conv.shape().out));
  for (const Linear& fc : fcs_) widest = std::max(widest, static_cast<std::size_t>(fc.out_features()));
  TwoBuffers buffers(context, widest * static_cast<std::size_t>(rois));
  const float* x = features;
  for (const Conv2d& conv : convs_) {
    float* y = buffers.next();
    conv.forward(context, x, {rois, bins_, bins_}, y, kernels::Activation::kRelu);
    x = y;
  }
  for (const Linear& fc : fcs_) {
    float* y = buffers.next();
    fc.forward(context, x, rois, y);
    activate(context, kernels::Activation::kRelu, y, rois, fc.out_features());
    x = y;
  }
  cls_.forward(context, x, rois, logits);
  reg_.forward(context, x, rois, deltas);
}

MaskHead::MaskHead(const ModelBuilder& builder, const MaskHeadConfig& config, int in_channels, int bins, int classes)
    : config_(config), bins_(bins) {
  int channels = in_channels;
  for (int i = 0; i < config.convs; ++i) {
    convs_.push_back(builder.conv(fmt::format("convs.{}.conv", i), {channels, config.channels, 3, 1, 1}, true));
    channels = config.channels;
  }
  const int wide = config.channels;
  logits_ = builder.linear("conv_logits", wide, config.class_agnostic ? 1 : classes, true);
  if (auto plan = builder.codes("upsample", channels, 4 * wide)) {  // codes have a bias for each place of a block
    const AlignedBuffer<float> placed = builder.tensor("upsample.bias", 4 * wide);
    upsample_ = Linear(builder.prefix() + "upsample", channels, 4 * wide, std::move(plan), values(placed));
    return;
  }
  const AlignedBuffer<float> stored = builder.tensor("upsample.weight", std::int64_t{channels} * wide * 4);
  const AlignedBuffer<float> stored_bias = builder.tensor("upsample.bias", wide);
  AlignedBuffer<float> weight(stored.size()), bias(4 * stored_bias.size());
  for (std::int64_t part = 0; part < 4; ++part)
    for (std::int64_t o = 0; o < wide; ++o) {
      bias[static_cast<std::size_t>(part * wide + o)] = stored_bias[static_cast<std::size_t>(o)];
      for (std::int64_t c = 0; c < channels; ++c)  // stored [in][out][dy][dx]
        weight[static_cast<std::size_t>((part * wide + o) * channels + c)] =
            stored[static_cast<std::size_t>((c * wide + o) * 4 + part)];
    }
  upsample_ = Linear(builder.prefix() + "upsample", channels, 4 * wide, values(weight), values(bias));
}

void MaskHead::forward(ExecContext& context, const float* features, std::span<const int> labels, float* logits) const {
  const ArenaScope scope(context.arena);
  const auto rois = static_cast<int>(labels.size());
  const int pixels = rois * bins_ * bins_, wide = config_.channels, classes = logits_.out_features();
  TwoBuffers buffers(context, static_cast<std::size_t>(pixels) * static_cast<std::size_t>(wide));
  const float* x = features;
  for (const Conv2d& conv : convs_) {
    float* y = buffers.next();
    conv.forward(context, x, {rois, bins_, bins_}, y, kernels::Activation::kRelu);
    x = y;
  }
  float* fine = context.arena.take<float>(static_cast<std::size_t>(pixels) * 4 * static_cast<std::size_t>(wide));
  upsample_.forward(context, x, pixels, fine);
  activate(context, kernels::Activation::kRelu, fine, pixels, 4 * wide);
  // [roi][y][x][dy][dx] rows of channels
  float* all = context.arena.take<float>(static_cast<std::size_t>(pixels) * 4 * static_cast<std::size_t>(classes));
  logits_.forward(context, fine, 4 * pixels, all);
  const int across = side();
  for (int roi = 0; roi < rois; ++roi)
    for (int y = 0; y < across; ++y)
      for (int z = 0; z < across; ++z) {
        const std::int64_t coarse = (std::int64_t{roi} * bins_ + y / 2) * bins_ + z / 2;
        const std::int64_t row = coarse * 4 + y % 2 * 2 + z % 2;
        const int label = config_.class_agnostic ? 0 : labels[static_cast<std::size_t>(roi)];
        logits[(std::int64_t{roi} * across + y) * across + z] = all[row * classes + label];
      }
}

}  // namespace igq
