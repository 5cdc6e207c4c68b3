#include "ops/conv2d.h"

#include <algorithm>
#include <cassert>

namespace igq {
namespace {

using kernels::kFloatPanel;

constexpr std::int64_t kBlockPixels = 208;  // patches gathered together: as many as the product takes at a time
constexpr int kPartFloats = 1024;  // of a patch that is gathered at a time, unless one row of the kernel has more

std::int64_t panels_of(int n) { return (n + kFloatPanel - 1) / kFloatPanel; }

}  // namespace

Conv2d::Conv2d(std::string name, ConvShape shape, std::span<const float> weight, std::span<const float> bias)
    : name_(std::move(name)), shape_(shape) {
  assert(static_cast<std::int64_t>(weight.size()) == shape.weights());
  const int side = shape.kernel, row = side * shape.in, k = side * row;
  part_rows_ = std::clamp(kPartFloats / row, 1, side);
  // [out][ky][kx][in]: a row of the kernel meets neighbouring floats of the map.
  AlignedBuffer<float> ordered(weight.size());
  for (std::int64_t o = 0; o < shape.out; ++o)
    for (std::int64_t c = 0; c < shape.in; ++c)
      for (std::int64_t at = 0; at < std::int64_t{side} * side; ++at)
        ordered[static_cast<std::size_t>(o * k + at * shape.in + c)] =
            weight[static_cast<std::size_t>((o * shape.in + c) * side * side + at)];
  const std::int64_t width = panels_of(shape.out) * kFloatPanel;
  packed_.resize(static_cast<std::size_t>(width * k));
  const kernels::Kernels& any = kernels::kernels_for(Isa::kReference);  // every instruction set packs alike
  for (int ky = 0; ky < side; ky += part_rows_) {
    const int begin = ky * row, floats = std::min(part_rows_, side - ky) * row;
    any.pack_f32(ordered.data() + begin, k, true, floats, shape.out, packed_.data() + width * begin);
  }
  if (bias.empty()) return;
  bias_.resize_zero(static_cast<std::size_t>(width));
  std::copy(bias.begin(), bias.end(), bias_.begin());
}

/// Rows [first_row, first_row + kernel_rows) of the patches of output pixels [begin, end).
void Conv2d::gather(const float* x, MapGrid grid, std::int64_t begin, std::int64_t end, int first_row, int kernel_rows,
                    float* patches) const {
  const MapGrid to = output(grid);
  const std::int64_t across = std::int64_t{shape_.kernel} * shape_.in;
  auto ox = static_cast<int>(begin % to.width), oy = static_cast<int>(begin / to.width % to.height);
  std::int64_t image = begin / (std::int64_t{to.width} * to.height);
  for (std::int64_t pixel = begin; pixel < end; ++pixel) {
    const int left = ox * shape_.stride - shape_.padding;
    const int cut_left = std::clamp(-left, 0, shape_.kernel),
              inside = std::min(left + shape_.kernel, grid.width) - left;
    const std::int64_t from = std::int64_t{cut_left} * shape_.in;
    const std::int64_t until = std::max(from, std::int64_t{inside} * shape_.in);
    for (int i = 0; i < kernel_rows; ++i, patches += across) {
      const int y = oy * shape_.stride - shape_.padding + (first_row + i) * shape_.dilation;
      if (y < 0 || y >= grid.height) {
        std::fill_n(patches, across, 0.0f);
        continue;
      }
      if (shape_.dilation > 1) {
        for (int kx = 0; kx < shape_.kernel; ++kx) {
          const int z = left + kx * shape_.dilation;
          float* to_pixel = patches + std::int64_t{kx} * shape_.in;
          if (z >= 0 && z < grid.width)
            std::copy_n(x + ((image * grid.height + y) * grid.width + z) * shape_.in, shape_.in, to_pixel);
          else
            std::fill_n(to_pixel, shape_.in, 0.0f);
        }
        continue;
      }
      const float* row = x + ((image * grid.height + y) * grid.width + left) * shape_.in;
      std::fill_n(patches, from, 0.0f);
      std::copy(row + from, row + until, patches + from);
      std::fill_n(patches + until, across - until, 0.0f);
    }
    if (++ox == to.width) {
      ox = 0;
      if (++oy == to.height) {
        oy = 0;
        ++image;
      }
    }
  }
}

void Conv2d::forward(ExecContext& context, const float* x, MapGrid grid, float* y,
                     std::optional<kernels::Activation> activation) const {
  const auto pixels_in = static_cast<int>(grid.pixels());
  if (context.observer != nullptr)
    context.observer->on_tensor(site_, Operand::kInput, 0, x, shape_.in, pixels_in, shape_.in);
  const std::int64_t pixels = output(grid).pixels();
  {
    const WorkTimer timer(context, Work::kFloatGemm);
    const ArenaScope scope(context.arena);
    const bool as_it_is = shape_.kernel == 1 && shape_.stride == 1 && shape_.padding == 0;
    const int side = shape_.kernel, row = side * shape_.in, out = shape_.out;
    const std::size_t held = as_it_is ? 0 : static_cast<std::size_t>(kBlockPixels * part_rows_ * row);
    float* scratch = context.arena.take<float>(held * static_cast<std::size_t>(context.threads()));
    const auto panels = static_cast<int>(panels_of(out));
    const std::int64_t width = std::int64_t{panels} * kFloatPanel;
    // Blocks of equal height, at least one for every thread.
    std::int64_t blocks = (pixels + kBlockPixels - 1) / kBlockPixels;
    blocks = std::min(pixels, std::max<std::int64_t>(blocks, context.threads()));
    context.parallel_for(blocks, 1, [&](std::int64_t first, std::int64_t last, int thread) {
      float* patches = scratch + held * static_cast<std::size_t>(thread);
      for (std::int64_t block = first; block < last; ++block) {
        const std::int64_t begin = pixels * block / blocks, end = pixels * (block + 1) / blocks;
        const int rows = static_cast<int>(end - begin);
        float* to = y + begin * out;
        for (int ky = 0; ky < side; ky += part_rows_) {
          const int taken = std::min(part_rows_, side - ky), k = taken * row;
          if (!as_it_is) gather(x, grid, begin, end, ky, taken, patches);
          const float* from = as_it_is ? x + begin * shape_.in : patches;
          context.kernels->gemm_f32({.x = from,
                                     .ldx = k,
                                     .rows = rows,
                                     .k = k,
                                     .packed = packed_.data() + width * ky * row,
                                     .panel_begin = 0,
                                     .panel_end = panels,
                                     .n = out,
                                     .bias = bias_.empty() ? nullptr : bias_.data(),
                                     .accumulate = ky > 0,
                                     .y = to,
                                     .ldy = out});
        }
        if (activation) context.kernels->activate(*activation, to, out, rows, out, nullptr, nullptr);
      }
    });
  }
  if (context.observer != nullptr)
    context.observer->on_tensor(site_, Operand::kOutput, 0, y, shape_.out, static_cast<int>(pixels), shape_.out);
}

}  // namespace igq
