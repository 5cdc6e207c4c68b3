// A convolution over channels-last maps: a quantization site. y[p][o] = b[o] + sum over ky, kx, c, in this order, of
// x[p * stride + (ky, kx) * dilation - padding][c] * w[o][c][ky][kx], zeros outside the map.
//
// It runs as a matrix product whose rows are patches. Patches are never written out for a whole map (im2col): a few
// rows of pixels at a time are gathered, a part of the kernel at a time, and multiplied while they are in the cache. A
// 1x1 kernel reads the map as it is. In integers the same holds for codes (Linear::forward_patches): the map is
// quantized once per image, all taps of a channel share its group, and padding is the code of zero.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "ops/linear.h"

namespace igq {

struct ConvShape {
  int in = 0, out = 0;  ///< channels
  int kernel = 1;       ///< rows and columns
  int stride = 1;
  int padding = 0;
  int dilation = 1;  ///< steps of the map between rows (columns) of the kernel

  /// Rows (columns) of the output for `size` rows (columns) of the input.
  int output(int size) const { return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1; }
  std::int64_t weights() const { return std::int64_t{out} * in * kernel * kernel; }
};

class Conv2d {
 public:
  Conv2d() = default;
  /// weight [out][in][kernel][kernel] as PyTorch stores it, bias [out] or empty.
  Conv2d(std::string name, ConvShape shape, std::span<const float> weight, std::span<const float> bias);
  /// A convolution whose weights exist as codes only (from an .igq file).
  Conv2d(std::string name, ConvShape shape, std::shared_ptr<const LinearPlan> plan, std::span<const float> bias);

  const std::string& name() const { return name_; }
  const ConvShape& shape() const { return shape_; }
  int site() const { return site_; }
  void set_site(int site) {
    site_ = site;
    product_.set_site(site);
  }
  /// Attaches (or with null removes) the plan, whose weight codes are [ky][kx][in][out]; then prepare().
  void set_plan(std::shared_ptr<const LinearPlan> plan);
  const LinearPlan* plan() const { return product_.plan(); }
  /// The product with patches that runs in integers; null without codes of weights.
  Linear* product() { return plan() == nullptr ? nullptr : &product_; }
  void prepare(Execution execution, const kernels::Kernels& kernels);
  /// The float weight [out][ky][kx][in].
  AlignedBuffer<float> weight() const;
  std::span<const float> bias() const {
    return {bias_.data(), bias_.empty() ? 0 : static_cast<std::size_t>(shape_.out)};
  }
  void set_bias(std::span<const float> bias);
  /// The patches of output pixels [begin, end), [ky][kx][in] each, zeros outside the map.
  void patches(const float* x, MapGrid grid, std::int64_t begin, std::int64_t end, float* rows) const;
  /// The grid of the output.
  MapGrid output(MapGrid input) const {
    return {input.images, shape_.output(input.height), shape_.output(input.width)};
  }

  /// x [grid][in] -> y [output(grid)][out], then `activation` in place. y must not overlap x. The padded map must be at
  /// least as large as the kernel. The same bits on every instruction set and number of threads.
  void forward(ExecContext& context, const float* x, MapGrid grid, float* y,
               std::optional<kernels::Activation> activation = std::nullopt) const;

 private:
  class MapPatches;
  template <typename T>
  void gather(const T* x, MapGrid grid, std::int64_t begin, std::int64_t end, int first_row, int kernel_rows,
              const T* outside, T* patches, std::int64_t stride) const;
  void pack(std::span<const float> ordered);
  void forward_float(ExecContext& context, const float* x, MapGrid grid, float* y,
                     std::optional<kernels::Activation> activation) const;

  std::string name_;
  ConvShape shape_;
  int site_ = -1;
  int part_rows_ = 1;            // rows of the kernel that are gathered together
  AlignedBuffer<float> packed_;  // panels of every part of the kernel, [part][panel][k of the part][16]
  AlignedBuffer<float> bias_;    // [out] padded to whole panels, or empty
  Linear product_;               // quantized, once there is a plan
};

}  // namespace igq
