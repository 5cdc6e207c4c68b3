#include "ops/linear.h"

#include <algorithm>
#include <cassert>

#include "base/fail.h"

namespace igq {
namespace {

using kernels::kBytePanel;
using kernels::kFloatPanel;

std::int64_t panels_of(int n, int width) { return (n + width - 1) / width; }

/// Byte products read whole panels of the bias.
AlignedBuffer<float> padded_bias(std::span<const float> values) {
  AlignedBuffer<float> buffer;
  buffer.resize_zero(static_cast<std::size_t>(panels_of(static_cast<int>(values.size()), kBytePanel)) * kBytePanel);
  std::copy(values.begin(), values.end(), buffer.begin());
  return buffer;
}

/// scale * (code - zero_point) as [in][out].
AlignedBuffer<float> dequantized(const WeightPlan& w, int in, int out) {
  AlignedBuffer<float> result(static_cast<std::size_t>(in) * static_cast<std::size_t>(out));
  const int offset = 1 << (w.code_bits() - 1);
  for (int k = 0; k < in; ++k) {
    const std::int8_t* codes = w.codes.data() + static_cast<std::int64_t>(k) * out;
    float* row = result.data() + static_cast<std::int64_t>(k) * out;
    for (int n = 0; n < out; ++n) {
      const auto i = static_cast<std::size_t>(n);
      row[n] = w.scale[i] * static_cast<float>(codes[n] + offset - w.zero_point[i]);
    }
  }
  return result;
}

}  // namespace

Linear::Linear(std::string name, int in, int out, std::span<const float> weight, std::span<const float> bias)
    : name_(std::move(name)), in_(in), out_(out), bias_(padded_bias(bias)) {
  assert(weight.size() == static_cast<std::size_t>(in) * static_cast<std::size_t>(out));
  packed_.resize(static_cast<std::size_t>(panels_of(out, kFloatPanel)) * kFloatPanel * static_cast<std::size_t>(in));
  // Every instruction set packs alike.
  kernels::kernels_for(Isa::kReference).pack_f32(weight.data(), in, true, in, out, packed_.data());
}

Linear::Linear(std::string name, int in, int out, std::shared_ptr<const LinearPlan> plan, std::span<const float> bias)
    : name_(std::move(name)), in_(in), out_(out), bias_(padded_bias(bias)) {
  set_plan(std::move(plan));
}

void Linear::set_bias(std::span<const float> bias) { bias_ = padded_bias(bias); }

void Linear::set_plan(std::shared_ptr<const LinearPlan> plan) {
  packed_simulated_ = {};
  col_scale_ = {};
  largest_code_norm_ = -1.0;
  always_fits_int32_ = false;
  byte_panels_ = {};
  fixed_corrections_ = {};
  packed_for_ = nullptr;
  plan_ = std::move(plan);
  if (plan_ == nullptr) return;
  const WeightPlan& w = plan_->weight;
  if (w.bits == 0) return;
  const auto n = static_cast<std::size_t>(out_);
  if (w.codes.size() != n * static_cast<std::size_t>(in_) || w.scale.size() != n || w.zero_point.size() != n)
    fail("{}: the plan's weight codes do not have the layer's shape [{}, {}]: was it made for another model?", name_,
         in_, out_);
}

void Linear::prepare(Execution execution, const kernels::Kernels& kernels, AlignedBuffer<std::int8_t> memory) {
  const bool weight_coded = plan_ != nullptr && plan_->weight.bits != 0;
  const bool input_coded = plan_ != nullptr && plan_->input.grouping != Grouping::kFloat;
  const bool integer = execution == Execution::kInteger && weight_coded && input_coded,
             simulated = execution == Execution::kSimulate && weight_coded && input_coded;
  if ((integer || simulated) && col_scale_.empty()) {
    const WeightPlan& w = plan_->weight;
    const auto padded = static_cast<std::size_t>(panels_of(out_, kBytePanel)) * kBytePanel;
    col_scale_.resize_zero(padded);
    col_zero_.resize_zero(padded);
    col_zero_needed_ = false;
    for (std::size_t n = 0; n < w.scale.size(); ++n) {
      const int zero = w.zero_point[n] - (1 << (w.code_bits() - 1));
      col_scale_[n] = plan_->input.multiples.empty() ? w.scale[n] : w.scale[n] * plan_->input.unit;
      col_zero_[n] = static_cast<float>(zero);
      col_zero_needed_ = col_zero_needed_ || zero != 0;
    }
  }
  if (integer) prepare_integer(kernels, std::move(memory));
  assert((!weight_coded || !plan_->weight.codes.empty() || (integer && packed_for(kernels))) &&
         "the weight codes were given up (prepare_only)");
  const bool dequantize =
      !integer && weight_coded && ((execution != Execution::kFloat && !simulated) || packed_.empty());
  if (dequantize && packed_simulated_.empty()) {
    const AlignedBuffer<float> w = dequantized(plan_->weight, in_, out_);
    packed_simulated_.resize(static_cast<std::size_t>(panels_of(out_, kFloatPanel)) * kFloatPanel *
                             static_cast<std::size_t>(in_));
    kernels.pack_f32(w.data(), out_, false, in_, out_, packed_simulated_.data());
  }
}

AlignedBuffer<float> Linear::weight() const {
  AlignedBuffer<float> result(static_cast<std::size_t>(in_) * static_cast<std::size_t>(out_));
  AlignedBuffer<float> decoded;
  if (packed_.empty()) decoded = dequantized(plan_->weight, in_, out_);
  for (int n = 0; n < out_; ++n)
    for (int k = 0; k < in_; ++k) {
      const std::int64_t packed_at =
          (static_cast<std::int64_t>(n / kFloatPanel) * in_ + k) * kFloatPanel + n % kFloatPanel;
      result[static_cast<std::size_t>(n) * static_cast<std::size_t>(in_) + static_cast<std::size_t>(k)] =
          packed_.empty()
              ? decoded[static_cast<std::size_t>(k) * static_cast<std::size_t>(out_) + static_cast<std::size_t>(n)]
              : packed_[static_cast<std::size_t>(packed_at)];
    }
  return result;
}

void Linear::forward(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const {
  if (context.observer != nullptr) context.observer->on_tensor(site_, Operand::kInput, 0, x, in_, rows, in_);
  const Execution execution = context.execution_of(site_);
  const bool coded = plan_ != nullptr && plan_->weight.bits != 0;
  if (runs_integer(context)) {
    forward_integer(context, x, rows, y, range);
  } else if (execution == Execution::kFloat || plan_ == nullptr) {
    forward_float(context, x, rows, packed_.empty() ? packed_simulated_.data() : packed_.data(), y);
  } else if (plan_->input.grouping == Grouping::kFloat) {
    forward_float(context, x, rows, coded ? packed_simulated_.data() : packed_.data(), y);
  } else {
    forward_simulated(context, x, rows, y, range);
  }
  if (context.observer != nullptr) context.observer->on_tensor(site_, Operand::kOutput, 0, y, out_, rows, out_);
}

bool Linear::runs_integer(const ExecContext& context) const {
  return context.execution_of(site_) == Execution::kInteger && plan_ != nullptr && plan_->weight.bits != 0 &&
         plan_->input.grouping != Grouping::kFloat;
}

void Linear::forward_float(ExecContext& context, const float* x, int rows, const float* packed, float* y) const {
  const WorkTimer timer(context, Work::kFloatGemm);
  assert(packed != nullptr && "prepare() was not called for this execution");
  const float* bias = bias_.empty() ? nullptr : bias_.data();
  context.parallel_for(panels_of(out_, kFloatPanel), 2, [&](std::int64_t b, std::int64_t e, int) {
    context.kernels->gemm_f32({.x = x,
                               .ldx = in_,
                               .rows = rows,
                               .k = in_,
                               .packed = packed,
                               .panel_begin = static_cast<int>(b),
                               .panel_end = static_cast<int>(e),
                               .n = out_,
                               .bias = bias,
                               .accumulate = false,
                               .y = y,
                               .ldy = out_});
  });
}

ChannelQuantizers Linear::quantizers(ExecContext& context, const float* x, int rows, ChannelRange range) const {
  const ActivationPlan& plan = plan_->input;
  if (needs_channel_ranges(plan) && !range) {
    range = take_channel_range(context, in_);
    channel_range(context, x, in_, rows, in_, range);
  }
  return assign_channels(plan, *context.kernels, in_, range.mn, range.mx, context.arena);
}

}  // namespace igq
