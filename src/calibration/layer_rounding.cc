#include "calibration/layer_rounding.h"

#include <Eigen/Cholesky>
#include <algorithm>

#include "calibration/rounding.h"
#include "quant/grouping.h"

namespace igq {

using kernels::kFloatPanel;

std::int64_t rounding_held_back(WeightMethod method, std::int64_t images) {
  if (method != WeightMethod::kAuto || images < 4) return 0;
  return std::max<std::int64_t>(1, images / 8);
}

AlignedBuffer<float> moved_bias(std::span<const float> bias, const AlignedBuffer<float>& shift) {
  AlignedBuffer<float> moved(bias.size());
  for (std::size_t o = 0; o < bias.size(); ++o) moved[o] = bias[o] + shift[o];
  return moved;
}

void fake_quantize(const ActivationPlan& plan, const kernels::Kernels& kernels, const kernels::MatrixView<float>& x,
                   const float* mn, const float* mx, Arena& arena) {
  if (plan.grouping == Grouping::kFloat) return;
  const ArenaScope scope(arena);
  const ChannelQuantizers q = assign_channels(plan, kernels, x.cols, mn, mx, arena);
  kernels.fake_quantize_channels(x, q.scale, {q.inv_scale, q.zero, q.q_max});
}

LayerRounder::LayerRounder(AlignedBuffer<float> weight, int in, int out, bool has_bias, const QuantizeOptions& options,
                           const kernels::Kernels& kernels, ThreadPool& pool)
    : weight_(std::move(weight)),
      in_(in),
      out_(out),
      has_bias_(has_bias),
      options_(options),
      kernels_(kernels),
      pool_(pool),
      moments_(in, out, kernels, pool) {
  packed_ = pack(weight_);
}

/// `weight` [out][in] in the panels that multiply() takes.
AlignedBuffer<float> LayerRounder::pack(const AlignedBuffer<float>& weight) const {
  AlignedBuffer<float> packed;
  packed.resize(static_cast<std::size_t>((out_ + kFloatPanel - 1) / kFloatPanel) * kFloatPanel *
                static_cast<std::size_t>(in_));
  kernels_.pack_f32(weight.data(), in_, true, in_, out_, packed.data());
  return packed;
}

/// y [rows][out] = x [rows][in] W^T + bias (null: none), W from pack().
void LayerRounder::multiply(const float* x, std::int64_t rows, const float* packed, const float* bias, float* y) {
  pool_.parallel_for(rows, 16, [&](std::int64_t b, std::int64_t e, int) {
    kernels_.gemm_f32({.x = x + b * in_,
                       .ldx = in_,
                       .rows = static_cast<int>(e - b),
                       .k = in_,
                       .packed = packed,
                       .panel_begin = 0,
                       .panel_end = (out_ + kFloatPanel - 1) / kFloatPanel,
                       .n = out_,
                       .bias = bias,
                       .accumulate = false,
                       .y = y + b * out_,
                       .ldy = out_});
  });
}

void LayerRounder::add(float* exact, const float* coded, int rows, bool held_back) {
  const auto n = static_cast<std::size_t>(rows) * static_cast<std::size_t>(in_);
  gap_.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(out_));
  if (!held_back) {
    multiply(exact, rows, packed_.data(), nullptr, gap_.data());
    for (const float v : gap_) square_ += static_cast<double>(v) * static_cast<double>(v);
  }
  for (std::size_t i = 0; i < n; ++i) exact[i] -= coded[i];
  multiply(exact, rows, packed_.data(), nullptr, gap_.data());
  if (!held_back) return moments_.add(coded, gap_.data(), rows);
  held_coded_.insert(held_coded_.end(), coded, coded + n);
  held_gap_.insert(held_gap_.end(), gap_.begin(), gap_.end());
}

LayerRounding LayerRounder::round(WeightPlan nearest) {
  LayerRounding result;
  result.bytes =
      moments_.bytes() + (gap_.size() + packed_.size() + held_coded_.size() + held_gap_.size()) * sizeof(float);
  packed_ = {};
  gap_ = {};
  Eigen::MatrixXd h = moments_.take_square(has_bias_);
  result.alike = regularize(h);
  RoundingOptions rounding;
  rounding.bits = nearest.bits;
  rounding.clipping = options_.clipping;
  rounding.group_size = nearest.group_size;
  const auto rounded_as = [&](WeightMethod method) {
    if (method == WeightMethod::kNearest) return Rounded{std::move(nearest), {}};
    AlignedBuffer<float> wanted = weight_;  // W'
    // Of inputs that are all alike, the bias takes up the whole error of their activations.
    if (method == WeightMethod::kErq && !result.alike) add_compensation(h, wanted);
    return round_weights(h, {wanted.data(), wanted.size()}, in_, out_, rounding, kernels_, pool_);
  };
  std::vector<WeightMethod> methods{options_.weights};
  if (options_.weights == WeightMethod::kAuto) methods = {WeightMethod::kGptq};
  if (!held_gap_.empty()) methods = {WeightMethod::kGptq, WeightMethod::kErq, WeightMethod::kNearest};
  Rounded rounded;
  double least = 0.0;
  for (const WeightMethod method : methods) {
    Rounded candidate = rounded_as(method);
    AlignedBuffer<float> shift = bias_shift(candidate.plan);
    const double error = held_gap_.empty() ? 0.0 : held_error(candidate.plan, shift);
    if (method != methods.front() && !(error < least)) continue;
    least = error;
    rounded = std::move(candidate);
    result.shift = std::move(shift);
    result.method = method;
  }
  double error = 0.0;
  for (const double e : rounded.error) error += e;
  result.error = square_ > 0.0 ? error / square_ : 0.0;
  result.weight = std::move(rounded.plan);
  return result;
}

/// Adds lambda, the ridge times its mean, to the diagonal of h. Where that is no more than what float sums may have
/// left of a variance that is none, h is nothing but their errors: it becomes a multiple of the identity, and the
/// result is true.
bool LayerRounder::regularize(Eigen::MatrixXd& h) const {
  constexpr double kRounding = 1e-6;
  const double ridge = options_.ridge * h.diagonal().mean(), least = kRounding * moments_.mean_square();
  if (ridge > least) {
    h.diagonal().array() += ridge;
    return false;
  }
  h.setZero();
  h.diagonal().setConstant(least > 0.0 ? least : 1.0);
  return true;
}

/// The squared error of the output on what was held back, with the weights of `plan` and `shift` [out] added to the
/// bias.
double LayerRounder::held_error(const WeightPlan& plan, const AlignedBuffer<float>& shift) {
  AlignedBuffer<float> change(weight_.size()), output(held_gap_.size());
  each_weight(plan, [&](std::size_t o, std::size_t i, float w_hat) {
    const std::size_t at = o * static_cast<std::size_t>(in_) + i;
    change[at] = w_hat - weight_[at];
  });
  const AlignedBuffer<float> packed = pack(change);
  multiply(held_coded_.data(), static_cast<std::int64_t>(held_coded_.size()) / in_, packed.data(),
           shift.empty() ? nullptr : shift.data(), output.data());
  double error = 0.0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    const double difference = static_cast<double>(output[i]) - static_cast<double>(held_gap_[i]);
    error += difference * difference;
  }
  return error;
}

/// W' of erq, the ridge compensation of the activation error.
void LayerRounder::add_compensation(const Eigen::MatrixXd& h, AlignedBuffer<float>& wanted) const {
  Eigen::LLT<Eigen::MatrixXd> llt(h);
  for (double more = 0.0; llt.info() != Eigen::Success;) {
    more = more_damping(h, more);
    llt.compute(h + more * Eigen::MatrixXd::Identity(in_, in_));
  }
  const Eigen::MatrixXd change = llt.solve(moments_.cross(has_bias_));  // [in][out]
  for (int o = 0; o < out_; ++o)
    for (int i = 0; i < in_; ++i)
      wanted[static_cast<std::size_t>(o) * static_cast<std::size_t>(in_) + static_cast<std::size_t>(i)] +=
          static_cast<float>(change(i, o));
}

/// use(output, input, w_hat) for every weight.
template <typename Use>
void LayerRounder::each_weight(const WeightPlan& plan, const Use& use) const {
  const int offset = 1 << (plan.code_bits() - 1);
  const auto out = static_cast<std::size_t>(out_);
  for (std::size_t k = 0; k < static_cast<std::size_t>(in_); ++k)
    for (std::size_t n = 0; n < out; ++n)
      use(n, k, plan.scale[n] * static_cast<float>(plan.codes[k * out + n] + offset - plan.zero_point[n]));
}

/// What the bias takes up, [out] padded as it: mean(X W^T - X_hat W_hat^T) = mean(gap) + (W - W_hat) mean(X_hat).
AlignedBuffer<float> LayerRounder::bias_shift(const WeightPlan& plan) const {
  AlignedBuffer<float> result;
  if (!has_bias_) return result;
  Eigen::VectorXd shift = moments_.mean_y();
  const Eigen::VectorXd mean = moments_.mean_x();
  each_weight(plan, [&](std::size_t n, std::size_t k, float w_hat) {
    shift(static_cast<Eigen::Index>(n)) += mean(static_cast<Eigen::Index>(k)) *
                                           static_cast<double>(weight_[n * static_cast<std::size_t>(in_) + k] - w_hat);
  });
  result.resize_zero(static_cast<std::size_t>(out_ + kFloatPanel - 1) / kFloatPanel * kFloatPanel);
  for (int o = 0; o < out_; ++o) result[static_cast<std::size_t>(o)] = static_cast<float>(shift(o));
  return result;
}

}  // namespace igq
