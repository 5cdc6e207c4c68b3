#include "ops/conv2d.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "base/fail.h"

namespace igq {
namespace {

using kernels::kFloatPanel;

constexpr std::int64_t kBlockPixels = 208;  // patches gathered together: as many as the product takes at a time
constexpr int kPartFloats = 1024;  // of a patch that is gathered at a time, unless one row of the kernel has more

std::int64_t float_panels(int n) { return (n + kFloatPanel - 1) / kFloatPanel; }

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
  pack({ordered.data(), ordered.size()});
  if (bias.empty()) return;
  bias_.resize_zero(static_cast<std::size_t>(float_panels(shape.out) * kFloatPanel));
  std::copy(bias.begin(), bias.end(), bias_.begin());
}

Conv2d::Conv2d(std::string name, ConvShape shape, std::shared_ptr<const LinearPlan> plan, std::span<const float> bias)
    : name_(std::move(name)), shape_(shape) {
  part_rows_ = std::clamp(kPartFloats / (shape.kernel * shape.in), 1, shape.kernel);
  if (!bias.empty()) {
    bias_.resize_zero(static_cast<std::size_t>(float_panels(shape.out) * kFloatPanel));
    std::copy(bias.begin(), bias.end(), bias_.begin());
  }
  set_plan(std::move(plan));
}

/// ordered [out][ky][kx][in] -> panels.
void Conv2d::pack(std::span<const float> ordered) {
  const int side = shape_.kernel, row = side * shape_.in, k = side * row;
  const std::int64_t width = float_panels(shape_.out) * kFloatPanel;
  packed_.resize(static_cast<std::size_t>(width * k));
  const kernels::Kernels& any = kernels::kernels_for(Isa::kReference);  // every instruction set packs alike
  for (int ky = 0; ky < side; ky += part_rows_) {
    const int begin = ky * row, floats = std::min(part_rows_, side - ky) * row;
    any.pack_f32(ordered.data() + begin, k, true, floats, shape_.out, packed_.data() + width * begin);
  }
}

AlignedBuffer<float> Conv2d::weight() const {
  if (packed_.empty()) return product_.weight();
  const int side = shape_.kernel, row = side * shape_.in, k = side * row;
  const std::int64_t width = float_panels(shape_.out) * kFloatPanel;
  AlignedBuffer<float> result(static_cast<std::size_t>(shape_.weights()));
  for (int ky = 0; ky < side; ky += part_rows_) {
    const int begin = ky * row, floats = std::min(part_rows_, side - ky) * row;
    const float* part = packed_.data() + width * begin;
    for (std::int64_t o = 0; o < shape_.out; ++o)
      for (std::int64_t i = 0; i < floats; ++i)
        result[static_cast<std::size_t>(o * k + begin + i)] =
            part[(o / kFloatPanel * floats + i) * kFloatPanel + o % kFloatPanel];
  }
  return result;
}

void Conv2d::set_plan(std::shared_ptr<const LinearPlan> plan) {
  if (plan == nullptr || plan->weight.bits == 0 || plan->input.grouping == Grouping::kFloat) {
    product_ = {};
    return;
  }
  const int taps = shape_.kernel * shape_.kernel;
  if (taps > 1 && plan->input.grouping == Grouping::kScale && !plan->input.unclipped)
    fail("{}: a convolution's scales must be unclipped, so that zero has a code: quantize the model again", name_);
  product_ = Linear(name_, taps * shape_.in, shape_.out, std::move(plan), bias());
  product_.set_taps(taps);
  product_.set_site(site_);
}

void Conv2d::prepare(Execution execution, const kernels::Kernels& kernels) {
  if (product_.plan() != nullptr && execution != Execution::kFloat) return product_.prepare(execution, kernels);
  if (!packed_.empty()) return;
  product_.prepare(Execution::kFloat, kernels);
  const AlignedBuffer<float> decoded = product_.weight();
  pack({decoded.data(), decoded.size()});
}

void Conv2d::set_bias(std::span<const float> bias) {
  assert(static_cast<int>(bias.size()) == shape_.out && !bias_.empty());
  std::copy(bias.begin(), bias.end(), bias_.begin());
  if (product_.plan() != nullptr) product_.set_bias(bias);
}

void Conv2d::patches(const float* x, MapGrid grid, std::int64_t begin, std::int64_t end, float* rows) const {
  const std::vector<float> zeros(static_cast<std::size_t>(shape_.in));
  gather(x, grid, begin, end, 0, shape_.kernel, zeros.data(), rows,
         std::int64_t{shape_.kernel} * shape_.kernel * shape_.in);
}

/// Rows [first_row, first_row + kernel_rows) of the patches of output pixels [begin, end).
template <typename T>
void Conv2d::gather(const T* x, MapGrid grid, std::int64_t begin, std::int64_t end, int first_row, int kernel_rows,
                    const T* outside, T* patches, std::int64_t stride) const {
  // Pixels [from, until) of a row of the kernel lie outside the map.
  const auto leave = [&](T* row, int from, int until) {
    for (int kx = from; kx < until; ++kx) std::copy_n(outside, shape_.in, row + std::int64_t{kx} * shape_.in);
  };
  const MapGrid to = output(grid);
  const std::int64_t across = std::int64_t{shape_.kernel} * shape_.in;
  auto ox = static_cast<int>(begin % to.width), oy = static_cast<int>(begin / to.width % to.height);
  std::int64_t image = begin / (std::int64_t{to.width} * to.height);
  for (std::int64_t pixel = begin; pixel < end; ++pixel) {
    const int left = ox * shape_.stride - shape_.padding;
    const int from = std::clamp(-left, 0, shape_.kernel),
              until = std::max(from, std::min(shape_.kernel, grid.width - left));
    T* to_row = patches + (pixel - begin) * stride;
    for (int i = 0; i < kernel_rows; ++i, to_row += across) {
      const int y = oy * shape_.stride - shape_.padding + (first_row + i) * shape_.dilation;
      if (y < 0 || y >= grid.height) {
        leave(to_row, 0, shape_.kernel);
        continue;
      }
      const std::int64_t line = (image * grid.height + y) * grid.width;
      if (shape_.dilation > 1) {
        for (int kx = 0; kx < shape_.kernel; ++kx) {
          const int z = left + kx * shape_.dilation;
          if (z >= 0 && z < grid.width)
            std::copy_n(x + (line + z) * shape_.in, shape_.in, to_row + std::int64_t{kx} * shape_.in);
          else
            leave(to_row, kx, kx + 1);
        }
        continue;
      }
      leave(to_row, 0, from);
      std::copy_n(x + (line + left + from) * shape_.in, std::int64_t{until - from} * shape_.in,
                  to_row + std::int64_t{from} * shape_.in);
      leave(to_row, until, shape_.kernel);
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

/// Patches of the whole kernel, from values or codes.
class Conv2d::MapPatches final : public Linear::Patches {
 public:
  MapPatches(const Conv2d& conv, MapGrid grid) : conv_(conv), grid_(grid) {}
  void gather(const float* map, std::int64_t begin, std::int64_t end, const float* outside, float* rows,
              std::int64_t stride) const override {
    conv_.gather(map, grid_, begin, end, 0, conv_.shape_.kernel, outside, rows, stride);
  }
  void gather(const std::uint8_t* map, std::int64_t begin, std::int64_t end, const std::uint8_t* outside,
              std::uint8_t* rows, std::int64_t stride) const override {
    conv_.gather(map, grid_, begin, end, 0, conv_.shape_.kernel, outside, rows, stride);
  }

 private:
  const Conv2d& conv_;
  MapGrid grid_;
};

void Conv2d::forward(ExecContext& context, const float* x, MapGrid grid, float* y,
                     std::optional<kernels::Activation> activation) const {
  const auto pixels_in = static_cast<int>(grid.pixels());
  if (context.observer != nullptr)
    context.observer->on_map(site_, x, grid, shape_.in, activation ? &*activation : nullptr);
  const std::int64_t pixels = output(grid).pixels();
  if (plan() != nullptr && context.execution_of(site_) != Execution::kFloat)
    product_.forward_patches(context, x, pixels_in, pixels, MapPatches(*this, grid),
                             activation ? &*activation : nullptr, y);
  else
    forward_float(context, x, grid, y, activation);
  if (context.observer != nullptr)
    context.observer->on_tensor(site_, Operand::kOutput, 0, y, shape_.out, static_cast<int>(pixels), shape_.out);
}

void Conv2d::forward_float(ExecContext& context, const float* x, MapGrid grid, float* y,
                           std::optional<kernels::Activation> activation) const {
  assert(!packed_.empty() && "prepare() was not called for this execution");
  const std::int64_t pixels = output(grid).pixels();
  const WorkTimer timer(context, Work::kFloatGemm);
  const ArenaScope scope(context.arena);
  const bool as_it_is = shape_.kernel == 1 && shape_.stride == 1 && shape_.padding == 0;
  const int side = shape_.kernel, row = side * shape_.in, out = shape_.out;
  const std::size_t held = as_it_is ? 0 : static_cast<std::size_t>(kBlockPixels * part_rows_ * row);
  float* scratch = context.arena.take<float>(held * static_cast<std::size_t>(context.threads()));
  float* zeros = context.arena.take<float>(static_cast<std::size_t>(shape_.in));
  std::fill_n(zeros, shape_.in, 0.0f);
  const auto panels = static_cast<int>(float_panels(out));
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
        if (!as_it_is) gather(x, grid, begin, end, ky, taken, zeros, patches, k);
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

}  // namespace igq
