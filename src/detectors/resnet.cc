#include "detectors/resnet.h"

#include <algorithm>

#include "base/fail.h"

namespace igq {
namespace {

/// [out, in, kernel] of a stored convolution.
struct Stored {
  int out, in, kernel;
};

Stored stored_shape(const ModelBuilder& builder, const std::string& name) {
  const Shape& shape = builder.shape(name + ".weight");
  constexpr std::int64_t kMax = 1 << 16;
  if (shape.size() != 4 || shape[0] < 1 || shape[0] > kMax || shape[1] < 1 || shape[1] > kMax || shape[2] != shape[3] ||
      shape[2] < 1 || shape[2] > 15)
    fail("{}: '{}{}.weight' is no convolution with a square kernel", builder.origin(), builder.prefix(), name);
  return {static_cast<int>(shape[0]), static_cast<int>(shape[1]), static_cast<int>(shape[2])};
}

Conv2d read_conv(const ModelBuilder& builder, const std::string& conv, const std::string& norm, int in, int stride,
                 int dilation) {
  const Stored stored = stored_shape(builder, conv);
  if (stored.in != in)
    fail("{}: '{}{}' takes {} channels where {} come in", builder.origin(), builder.prefix(), conv, stored.in, in);
  return builder.conv_with_norm(conv, norm,
                                {in, stored.out, stored.kernel, stride, stored.kernel / 2 * dilation, dilation});
}

/// The largest of 3x3 values at stride 2, padding 1 (left out of the maximum).
void max_pool(const ExecContext& context, const float* x, MapGrid from, int channels, MapGrid to, float* y) {
  context.parallel_for(to.height, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (auto oy = static_cast<int>(begin); oy < end; ++oy)
      for (int ox = 0; ox < to.width; ++ox) {
        float* out = y + (std::int64_t{oy} * to.width + ox) * channels;
        bool first = true;
        for (int iy = std::max(2 * oy - 1, 0); iy <= std::min(2 * oy + 1, from.height - 1); ++iy)
          for (int ix = std::max(2 * ox - 1, 0); ix <= std::min(2 * ox + 1, from.width - 1); ++ix) {
            const float* in = x + (std::int64_t{iy} * from.width + ix) * channels;
            for (int c = 0; c < channels; ++c) out[c] = first || in[c] > out[c] ? in[c] : out[c];
            first = false;
          }
      }
  });
}

}  // namespace

ResNet::ResNet(const ModelBuilder& builder, bool dilated) {
  const Stored stem = stored_shape(builder, "conv1");
  stem_ = read_conv(builder, "conv1", "bn1", 3, 2, 1);
  int in = stem.out;
  for (int stage = 1; stage <= 4; ++stage) {
    std::vector<Block> blocks;
    const bool keeps = dilated && stage == 4;
    for (int b = 0; b < 1024; ++b) {
      const std::string name = fmt::format("layer{}.{}.", stage, b);
      if (!builder.has(name + "conv1.weight")) break;
      const int stride = b == 0 && stage > 1 && !keeps ? 2 : 1, dilation = keeps && b > 0 ? 2 : 1;
      const int convs = builder.has(name + "conv3.weight") ? 3 : 2;
      Block block;
      int channels = in;
      for (int i = 0; i < convs; ++i) {
        const bool strided = i == convs - 2;  // the 3x3 of a bottleneck, the first of a basic block
        const bool wide = convs == 2 || i == 1;
        block.convs.push_back(read_conv(builder, fmt::format("{}conv{}", name, i + 1),
                                        fmt::format("{}bn{}", name, i + 1), channels, strided ? stride : 1,
                                        wide ? dilation : 1));
        channels = block.convs.back().shape().out;
      }
      if (builder.has(name + "downsample.0.weight"))
        block.downsample.push_back(read_conv(builder, name + "downsample.0", name + "downsample.1", in, stride, 1));
      else if (stride != 1 || channels != in)
        fail("{}: tensor '{}{}downsample.0.weight' is missing", builder.origin(), builder.prefix(), name);
      if (!block.downsample.empty() && block.downsample.front().shape().out != channels)
        fail("{}: the shortcut of '{}{}' has another width than the block", builder.origin(), builder.prefix(), name);
      in = channels;
      blocks.push_back(std::move(block));
    }
    if (blocks.empty())
      fail("{}: tensor '{}layer{}.0.conv1.weight' is missing", builder.origin(), builder.prefix(), stage);
    stages_.push_back(std::move(blocks));
  }
}

int ResNet::channels() const { return stages_.back().back().convs.back().shape().out; }

std::vector<Conv2d*> ResNet::convs() {
  std::vector<Conv2d*> all = {&stem_};
  for (auto& stage : stages_)
    for (Block& block : stage) {
      for (Conv2d& conv : block.convs) all.push_back(&conv);
      for (Conv2d& conv : block.downsample) all.push_back(&conv);
    }
  return all;
}

void ResNet::run_block(ExecContext& context, const Block& block, const float* x, MapGrid grid, float* y) const {
  const ArenaScope scope(context.arena);
  const float* at = x;
  MapGrid here = grid;
  for (std::size_t i = 0; i < block.convs.size(); ++i) {
    const Conv2d& conv = block.convs[i];
    const bool last = i + 1 == block.convs.size();
    const MapGrid to = conv.output(here);
    float* out = last ? y
                      : context.arena.take<float>(static_cast<std::size_t>(to.pixels()) *
                                                  static_cast<std::size_t>(conv.shape().out));
    conv.forward(context, at, here, out,
                 last ? std::nullopt : std::optional<kernels::Activation>(kernels::Activation::kRelu));
    at = out;
    here = to;
  }
  const int channels = block.convs.back().shape().out;
  const auto pixels = static_cast<int>(here.pixels());
  const float* shortcut = x;
  if (!block.downsample.empty()) {
    float* made = context.arena.take<float>(static_cast<std::size_t>(pixels) * static_cast<std::size_t>(channels));
    block.downsample.front().forward(context, x, grid, made);
    shortcut = made;
  }
  add_residual(context, y, shortcut, pixels, channels, nullptr);
  activate(context, kernels::Activation::kRelu, y, pixels, channels);
}

void ResNet::forward(ExecContext& context, const float* image, int height, int width,
                     std::vector<FeatureMap>& maps) const {
  const ArenaScope scope(context.arena);
  const std::int64_t plane = std::int64_t{height} * width;
  float* pixels = context.arena.take<float>(static_cast<std::size_t>(3 * plane));
  for (std::int64_t i = 0; i < plane; ++i)
    for (std::int64_t c = 0; c < 3; ++c) pixels[3 * i + c] = image[c * plane + i];
  MapGrid grid{1, height, width};
  const MapGrid stem = stem_.output(grid);
  const int channels = stem_.shape().out;
  float* x = context.arena.take<float>(static_cast<std::size_t>(stem.pixels()) * static_cast<std::size_t>(channels));
  stem_.forward(context, pixels, grid, x, kernels::Activation::kRelu);
  grid = {1, (stem.height + 1) / 2, (stem.width + 1) / 2};
  float* pooled =
      context.arena.take<float>(static_cast<std::size_t>(grid.pixels()) * static_cast<std::size_t>(channels));
  max_pool(context, x, stem, channels, grid, pooled);

  maps.resize(stages_.size());
  const float* from = pooled;
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    const ArenaScope stage_scope(context.arena);
    for (std::size_t b = 0; b < stages_[s].size(); ++b) {
      const Block& block = stages_[s][b];
      MapGrid to = grid;
      for (const Conv2d& conv : block.convs) to = conv.output(to);
      const int out = block.convs.back().shape().out;
      const bool last = b + 1 == stages_[s].size();
      if (last) maps[s].take(to.height, to.width, out);
      float* y = last
                     ? maps[s].values.data()
                     : context.arena.take<float>(static_cast<std::size_t>(to.pixels()) * static_cast<std::size_t>(out));
      run_block(context, block, from, grid, y);
      from = y;
      grid = to;
    }
    if (maps[s].name.empty()) maps[s].name = fmt::format("layer{}", s + 1);
  }
}

}  // namespace igq
