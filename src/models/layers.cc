#include "models/layers.h"

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
    float* inner = context.arena.take<float>(n * static_cast<std::size_t>(fc1.out_features()));
    float* gated = context.arena.take<float>(n * static_cast<std::size_t>(hidden));
    fc1.forward(context, normed, rows, inner, range);
    {
      const WorkTimer timer(context, Work::kActivation);
      context.parallel_for(rows, 8, [&](std::int64_t b, std::int64_t e, int) {
        context.kernels->swiglu(inner + b * 2 * hidden, 2 * hidden, static_cast<int>(e - b), hidden, gated + b * hidden,
                                hidden);
      });
    }
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

AlignedBuffer<float> ModelBuilder::tensor(const std::string& name, std::int64_t count) const {
  if (!tensors_.has(name))
    fail("{}: tensor '{}' is missing: is this the checkpoint of another architecture?", tensors_.origin(), name);
  AlignedBuffer<float> values = tensors_.read(name);
  if (static_cast<std::int64_t>(values.size()) != count)
    fail("{}: tensor '{}' has {} values, the architecture needs {}", tensors_.origin(), name, values.size(), count);
  return values;
}

AlignedBuffer<float> ModelBuilder::optional_tensor(const std::string& name, std::int64_t count) const {
  return tensors_.has(name) ? tensor(name, count) : AlignedBuffer<float>();
}

LayerNorm ModelBuilder::norm(const std::string& name, int channels, float eps) const {
  return {tensor(name + ".weight", channels), tensor(name + ".bias", channels), eps};
}

Linear ModelBuilder::linear(const std::string& name, int in, int out, bool bias) const {
  const AlignedBuffer<float> b = bias ? tensor(name + ".bias", out) : AlignedBuffer<float>();
  if (!tensors_.has(name + ".weight") && plan_ != nullptr) {
    const auto it = plan_->linears.find(name);
    if (it != plan_->linears.end() && it->second.weight.bits != 0)
      return Linear(name, in, out, std::shared_ptr<const LinearPlan>(plan_, &it->second), b);
  }
  return Linear(name, in, out, tensor(name + ".weight", static_cast<std::int64_t>(in) * out), b);
}

std::string input_site(const Linear& linear) { return linear.name() + ":input"; }

}  // namespace igq
