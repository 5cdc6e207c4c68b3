#include "models/layers.h"

#include <cmath>

#include "base/fail.h"

namespace igq {

void layer_norm(ExecContext& context, const LayerNorm& norm, const float* x, int rows, float* y, ChannelRange range,
                const std::int32_t* y_rows) {
  layer_norm(context, x, rows, norm.channels(), norm.gamma.data(), norm.beta.data(), norm.eps, y, range, y_rows);
}

void Mlp::add_to(ExecContext& context, float* x, int rows, int wanted) const {
  const ArenaScope scope(context.arena);
  const bool in_float =
      context.execution_of(fc1.site()) == Execution::kFloat && context.execution_of(fc2.site()) == Execution::kFloat;
  if (in_float) rows = wanted;  // no quantizer looks at the others
  const int channels = fc1.in_features(), hidden = fc2.in_features();
  const auto n = static_cast<std::size_t>(rows);
  float* normed = context.arena.take<float>(n * static_cast<std::size_t>(channels));
  const float* scale = gamma.empty() ? nullptr : gamma.data();
  const ChannelRange range = take_channel_range(context, channels);
  layer_norm(context, norm, x, rows, normed, range);
  if (swiglu) {
    float* both = context.arena.take<float>(n * static_cast<std::size_t>(fc1.out_features()));
    float* gated = context.arena.take<float>(n * static_cast<std::size_t>(hidden));
    fc1.forward(context, normed, rows, both, range);
    {
      const WorkTimer timer(context, Work::kActivation);
      context.parallel_for(rows, 8, [&](std::int64_t b, std::int64_t e, int) {
        context.kernels->swiglu(both + b * 2 * hidden, 2 * hidden, static_cast<int>(e - b), hidden, gated + b * hidden,
                                hidden);
      });
    }
    if (inner.channels() > 0) layer_norm(context, inner, gated, rows, gated);
    ChannelRange inner_range;  // of all rows, where fc2 is given fewer
    if (wanted != rows) {
      inner_range = take_channel_range(context, hidden);
      channel_range(context, gated, hidden, rows, hidden, inner_range);
    }
    fc2.forward_residual(context, gated, wanted, scale, x, inner_range);
  } else {
    fc1.forward_mlp(context, normed, rows, activation, fc2, scale, x, wanted, range);
  }
}

const Shape& ModelBuilder::shape(const std::string& name) const {
  const auto it = tensors_.shapes().find(prefix_ + name);
  if (it == tensors_.shapes().end())
    fail("{}: tensor '{}' is missing: is this the checkpoint of another architecture?", tensors_.origin(),
         prefix_ + name);
  return it->second;
}

AlignedBuffer<float> ModelBuilder::tensor(const std::string& name, std::int64_t count) const {
  shape(name);
  AlignedBuffer<float> values = tensors_.read(prefix_ + name);
  if (static_cast<std::int64_t>(values.size()) != count)
    fail("{}: tensor '{}' has {} values, the architecture needs {}", tensors_.origin(), prefix_ + name, values.size(),
         count);
  return values;
}

AlignedBuffer<float> ModelBuilder::optional_tensor(const std::string& name, std::int64_t count) const {
  return has(name) ? tensor(name, count) : AlignedBuffer<float>();
}

LayerNorm ModelBuilder::norm(const std::string& name, int channels, float eps) const {
  return {tensor(name + ".weight", channels), tensor(name + ".bias", channels), eps};
}

std::shared_ptr<const LinearPlan> ModelBuilder::codes(const std::string& name, std::int64_t in,
                                                      std::int64_t out) const {
  if (plan_ == nullptr || tensors_.holds(prefix_ + name + ".weight")) return nullptr;
  const auto it = plan_->linears.find(prefix_ + name);
  if (it == plan_->linears.end() || it->second.weight.bits == 0) return nullptr;
  const WeightPlan& weight = it->second.weight;
  const auto outputs = static_cast<std::int64_t>(weight.scale.size()),
             all = static_cast<std::int64_t>(weight.codes.size());
  if (outputs != out || all != in * out)
    fail("{}: the codes of '{}' are {} x {}, the architecture needs {} x {}", tensors_.origin(), prefix_ + name,
         outputs == 0 ? 0 : all / outputs, outputs, in, out);
  return {plan_, &it->second};
}

Linear ModelBuilder::linear(const std::string& name, int in, int out, bool bias) const {
  const AlignedBuffer<float> b = bias ? tensor(name + ".bias", out) : AlignedBuffer<float>();
  const std::string whole = prefix_ + name;
  if (auto plan = codes(name, in, out)) return Linear(whole, in, out, std::move(plan), b);
  return Linear(whole, in, out, tensor(name + ".weight", static_cast<std::int64_t>(in) * out), b);
}

Conv2d ModelBuilder::conv(const std::string& name, ConvShape shape, bool bias) const {
  const AlignedBuffer<float> b = bias ? tensor(name + ".bias", shape.out) : AlignedBuffer<float>();
  if (auto plan = codes(name, shape.weights() / shape.out, shape.out))
    return Conv2d(prefix_ + name, shape, std::move(plan), {b.data(), b.size()});
  const AlignedBuffer<float> w = tensor(name + ".weight", shape.weights());
  return Conv2d(prefix_ + name, shape, {w.data(), w.size()}, {b.data(), b.size()});
}

Conv2d ModelBuilder::conv_with_norm(const std::string& name, const std::string& norm, ConvShape shape) const {
  constexpr double kEps = 1e-5;
  if (auto plan = codes(name, shape.weights() / shape.out, shape.out)) {
    const AlignedBuffer<float> b = tensor(name + ".bias", shape.out);
    return Conv2d(prefix_ + name, shape, std::move(plan), {b.data(), b.size()});
  }
  AlignedBuffer<float> w = tensor(name + ".weight", shape.weights());
  const AlignedBuffer<float> gamma = tensor(norm + ".weight", shape.out);
  AlignedBuffer<float> bias = tensor(norm + ".bias", shape.out);
  const AlignedBuffer<float> mean = tensor(norm + ".running_mean", shape.out);
  const AlignedBuffer<float> variance = tensor(norm + ".running_var", shape.out);
  const std::size_t row = w.size() / bias.size();
  for (std::size_t o = 0; o < bias.size(); ++o) {
    if (!(variance[o] >= 0.0f)) fail("{}: '{}{}.running_var' has a negative value", origin(), prefix_, norm);
    const double scale = static_cast<double>(gamma[o]) / std::sqrt(static_cast<double>(variance[o]) + kEps);
    for (std::size_t i = o * row; i < (o + 1) * row; ++i) w[i] = static_cast<float>(static_cast<double>(w[i]) * scale);
    bias[o] = static_cast<float>(static_cast<double>(bias[o]) - static_cast<double>(mean[o]) * scale);
  }
  return Conv2d(prefix_ + name, shape, {w.data(), w.size()}, {bias.data(), bias.size()});
}

std::string input_site(const Linear& linear) { return linear.name() + ":input"; }

}  // namespace igq
