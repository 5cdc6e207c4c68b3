#include "calibration/block_gradients.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace igq {
namespace {

using kernels::kFloatPanel;

int panels_of(int n) { return (n + kFloatPanel - 1) / kFloatPanel; }
std::size_t packed_size(int k, int n) {
  return static_cast<std::size_t>(panels_of(n)) * kFloatPanel * static_cast<std::size_t>(k);
}
std::size_t area(int rows, int cols) { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols); }

void copy_rows(const float* x, std::int64_t ld, int rows, int cols, float* to) {
  for (int t = 0; t < rows; ++t) std::copy_n(x + t * ld, cols, to + static_cast<std::int64_t>(t) * cols);
}

void transpose(const float* x, int rows, int cols, float* to) {
  for (int t = 0; t < rows; ++t)
    for (int c = 0; c < cols; ++c)
      to[static_cast<std::int64_t>(c) * rows + t] = x[static_cast<std::int64_t>(t) * cols + c];
}

/// Of y = (x - mean) / sqrt(var + eps) * gamma + beta: dgamma += sum dy * x_hat, dbeta += sum dy and, when dx is given,
/// dx += (g - mean(g) - x_hat * mean(g * x_hat)) / sqrt(var + eps) with g = dy * gamma.
void layer_norm_backward(const LayerNorm& norm, const float* x, const float* dy, int rows, float* dx, float* dgamma,
                         float* dbeta) {
  const int n = norm.channels();
  const auto count = static_cast<double>(n);
  for (int t = 0; t < rows; ++t) {
    const float *row = x + static_cast<std::int64_t>(t) * n, *d = dy + static_cast<std::int64_t>(t) * n;
    double sum = 0.0, square = 0.0;
    for (int c = 0; c < n; ++c) sum += static_cast<double>(row[c]);
    const auto mean = static_cast<float>(sum / count);
    for (int c = 0; c < n; ++c) square += static_cast<double>(row[c] - mean) * static_cast<double>(row[c] - mean);
    const auto inverse = static_cast<float>(1.0 / std::sqrt(square / count + static_cast<double>(norm.eps)));
    double g_sum = 0.0, gx_sum = 0.0;
    for (int c = 0; c < n; ++c) {
      const float x_hat = (row[c] - mean) * inverse, g = d[c] * norm.gamma[static_cast<std::size_t>(c)];
      dgamma[c] += d[c] * x_hat;
      dbeta[c] += d[c];
      g_sum += static_cast<double>(g);
      gx_sum += static_cast<double>(g) * static_cast<double>(x_hat);
    }
    if (dx == nullptr) continue;
    const auto g_mean = static_cast<float>(g_sum / count), gx_mean = static_cast<float>(gx_sum / count);
    float* out = dx + static_cast<std::int64_t>(t) * n;
    for (int c = 0; c < n; ++c)
      out[c] +=
          inverse * (d[c] * norm.gamma[static_cast<std::size_t>(c)] - g_mean - (row[c] - mean) * inverse * gx_mean);
  }
}

}  // namespace

void BlockTape::begin(std::span<const float> input, int token_count) {
  tokens = token_count;
  rows = block_.token_of_row.empty() ? tokens : static_cast<int>(block_.token_of_row.size());
  x.resize(input.size());
  std::copy(input.begin(), input.end(), x.begin());
  const int n = rows / block_.windows, heads = block_.attention->heads();
  qkv.resize(area(rows, block_.qkv->out_features()));
  proj.resize(area(rows, block_.proj->out_features()));
  fc1.resize(area(tokens, block_.mlp->fc1.out_features()));
  fc2.resize(area(tokens, block_.mlp->fc2.out_features()));
  softmax.resize(area(block_.windows, heads) * area(n, n));
  softmax_used_ = 0;
}

void BlockTape::on_tensor(int site, Operand operand, int, const float* values, std::int64_t ld, int count, int cols) {
  if (operand == Operand::kSoftmax && site == block_.attention->site()) {
    assert(softmax_used_ + area(count, cols) <= softmax.size());
    copy_rows(values, ld, count, cols, softmax.data() + softmax_used_);
    softmax_used_ += area(count, cols);
  }
  if (operand != Operand::kOutput) return;
  if (site == block_.qkv->site()) copy_rows(values, ld, count, cols, qkv.data());
  if (site == block_.proj->site()) copy_rows(values, ld, count, cols, proj.data());
  if (site == block_.mlp->fc1.site()) copy_rows(values, ld, count, cols, fc1.data());
  if (site == block_.mlp->fc2.site()) copy_rows(values, ld, count, cols, fc2.data());
}

std::size_t BlockTape::bytes() const {
  return (x.size() + qkv.size() + proj.size() + fc1.size() + fc2.size() + softmax.size()) * sizeof(float);
}

BlockGradients::BlockGradients(const BlockParts& block, const kernels::Kernels& kernels)
    : block_(block), kernels_(kernels) {
  const Mlp& mlp = *block.mlp;
  const auto channels = static_cast<std::size_t>(block.norm1->channels());
  std::size_t next = 0, sizes[kBlockParts] = {channels, channels, channels, channels};
  const Linear* linears[] = {block.qkv, block.proj, &mlp.fc1, &mlp.fc2};
  for (std::size_t i = 0; i < 4; ++i) {
    sizes[4 + 2 * i] = linears[i]->bias().size();
    sizes[5 + 2 * i] = static_cast<std::size_t>(linears[i]->out_features());
  }
  for (std::size_t i = 0; i < kBlockParts; ++i) {
    offset_[i] = next;
    next += sizes[i];
  }
  offset_[kBlockParts] = next;
  qkv_ = make_layer(*block.qkv, BlockPart::kQkvBias, BlockPart::kQkvGain);
  proj_ = make_layer(*block.proj, BlockPart::kProjBias, BlockPart::kProjGain);
  fc1_ = make_layer(mlp.fc1, BlockPart::kFc1Bias, BlockPart::kFc1Gain);
  fc2_ = make_layer(mlp.fc2, BlockPart::kFc2Bias, BlockPart::kFc2Gain);
}

BlockGradients::Layer BlockGradients::make_layer(const Linear& linear, BlockPart bias, BlockPart gain) const {
  const int in = linear.in_features(), out = linear.out_features();
  const LinearPlan* plan = linear.plan();
  const bool coded = plan != nullptr && plan->weight.bits != 0;
  // A layer of codes alone gives them dequantized. It only borrows the plan.
  const AlignedBuffer<float> weight =
      coded ? Linear(linear.name(), in, out, std::shared_ptr<const LinearPlan>(std::shared_ptr<void>(), plan), {})
                  .weight()
            : linear.weight();
  Layer layer{&linear, {}, bias, gain};
  layer.packed.resize(packed_size(out, in));
  kernels_.pack_f32(weight.data(), in, false, out, in, layer.packed.data());
  return layer;
}

std::size_t BlockGradients::bytes() const {
  return (qkv_.packed.size() + proj_.packed.size() + fc1_.packed.size() + fc2_.packed.size()) * sizeof(float);
}

/// Gradients of bias and gain, dy times gain in place, and dx = dy W when dx is given.
void BlockGradients::linear_backward(const Layer& layer, const float* y, float* dy, int rows,
                                     std::span<const float> gain, float* dx, float* gradient) const {
  const int in = layer.linear->in_features(), out = layer.linear->out_features();
  const std::span<const float> bias = layer.linear->bias();
  float* dgain = gradient + begin(layer.gain);
  const float* g = gain.data() + begin(layer.gain);
  for (int t = 0; t < rows; ++t) {
    const float* value = y + static_cast<std::int64_t>(t) * out;
    float* d = dy + static_cast<std::int64_t>(t) * out;
    if (bias.empty()) {
      for (int o = 0; o < out; ++o) dgain[o] += d[o] * value[o];
    } else {
      float* dbias = gradient + begin(layer.bias);
      for (int o = 0; o < out; ++o) {
        dbias[o] += d[o];
        dgain[o] += d[o] * (value[o] - bias[static_cast<std::size_t>(o)]);
      }
    }
    for (int o = 0; o < out; ++o) d[o] *= g[o];
  }
  kernels_.gemm_f32({.x = dy,
                     .ldx = out,
                     .rows = rows,
                     .k = out,
                     .packed = layer.packed.data(),
                     .panel_begin = 0,
                     .panel_end = panels_of(in),
                     .n = in,
                     .bias = nullptr,
                     .accumulate = false,
                     .y = dx,
                     .ldy = in});
}

/// dy *= f'(x). The derivative is a central difference of the kernel itself: one formula for every activation, the same
/// bits on every instruction set, and with a step of 2^-7 exact to 1e-4.
void BlockGradients::activation_backward(const float* x, int rows, int cols, float* dy, Arena& arena) const {
  constexpr float kStep = 0x1.0p-7f;
  const ArenaScope scope(arena);
  const auto n = static_cast<std::size_t>(cols);
  float *above = arena.take<float>(n), *below = arena.take<float>(n);
  for (int t = 0; t < rows; ++t, x += cols, dy += cols) {
    for (std::size_t c = 0; c < n; ++c) {
      above[c] = x[c] + kStep;
      below[c] = x[c] - kStep;
    }
    kernels_.activate(block_.mlp->swiglu ? kernels::Activation::kSilu : block_.mlp->activation, above, cols, 1, cols,
                      nullptr, nullptr);
    kernels_.activate(block_.mlp->swiglu ? kernels::Activation::kSilu : block_.mlp->activation, below, cols, 1, cols,
                      nullptr, nullptr);
    for (std::size_t c = 0; c < n; ++c) dy[c] *= (above[c] - below[c]) * (0.5f / kStep);
  }
}

/// Of silu(gate) * value with x = [gate, value]: dx = [dy * value * silu'(gate), dy * silu(gate)].
void BlockGradients::swiglu_backward(const float* x, int rows, const float* dy, float* dx, Arena& arena) const {
  const ArenaScope scope(arena);
  const int hidden = block_.mlp->fc2.in_features();
  const auto n = static_cast<std::size_t>(hidden);
  float *gate = arena.take<float>(n), *d = arena.take<float>(n);
  for (int t = 0; t < rows; ++t, x += 2 * hidden, dy += hidden, dx += 2 * hidden) {
    std::copy_n(x, n, gate);
    kernels_.activate(kernels::Activation::kSilu, gate, hidden, 1, hidden, nullptr, nullptr);
    for (std::size_t c = 0; c < n; ++c) {
      dx[n + c] = dy[c] * gate[c];
      d[c] = dy[c] * x[n + c];
    }
    activation_backward(x, 1, hidden, d, arena);
    std::copy_n(d, n, dx);
  }
}

/// dy [tokens][channels] of the MLP branch -> dx [tokens][channels] of its layer norm's output.
void BlockGradients::mlp_backward(const BlockTape& tape, float* dy, std::span<const float> gain, float* dx,
                                  Arena& arena, float* gradient) const {
  const ArenaScope scope(arena);
  const int tokens = tape.tokens, hidden = block_.mlp->fc2.in_features();
  float* dh = arena.take<float>(area(tokens, hidden));
  linear_backward(fc2_, tape.fc2.data(), dy, tokens, gain, dh, gradient);
  float* da = dh;
  if (block_.mlp->swiglu) {
    da = arena.take<float>(area(tokens, 2 * hidden));
    swiglu_backward(tape.fc1.data(), tokens, dh, da, arena);
  } else {
    activation_backward(tape.fc1.data(), tokens, hidden, dh, arena);
  }
  linear_backward(fc1_, tape.fc1.data(), da, tokens, gain, dx, gradient);
}

/// Per window and head, with P = softmax(scale q k^T), o = P v: dv = P^T do, dP = do v^T,
/// dS = scale * P * (dP - sum_j dP P), dq = dS k, dk = dS^T q.
void BlockGradients::attention_backward(const BlockTape& tape, const float* dy, float* dqkv, Arena& arena) const {
  const ArenaScope scope(arena);
  const int heads = block_.attention->heads(), d = block_.attention->head_dim(), n = tape.rows / block_.windows;
  const std::int64_t channels = static_cast<std::int64_t>(heads) * d, ld = 3 * channels;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float *ds = arena.take<float>(area(n, n)), *turned = arena.take<float>(area(n, n));
  float* packed = arena.take<float>(std::max(packed_size(d, n), packed_size(n, d)));
  const auto multiply = [&](const float* a, std::int64_t lda, int k, int cols, float* y, std::int64_t ldy) {
    kernels_.gemm_f32({.x = a,
                       .ldx = lda,
                       .rows = n,
                       .k = k,
                       .packed = packed,
                       .panel_begin = 0,
                       .panel_end = panels_of(cols),
                       .n = cols,
                       .bias = nullptr,
                       .accumulate = false,
                       .y = y,
                       .ldy = ldy});
  };
  for (int window = 0; window < block_.windows; ++window)
    for (int head = 0; head < heads; ++head) {
      const std::int64_t row = static_cast<std::int64_t>(window) * n;
      const float* q = tape.qkv.data() + row * ld + static_cast<std::int64_t>(head) * d;
      const float *k = q + channels, *v = k + channels,
                  *out = dy + row * channels + static_cast<std::int64_t>(head) * d;
      float* dq = dqkv + (q - tape.qkv.data());
      const float* p = tape.softmax.data() + (static_cast<std::int64_t>(window) * heads + head) * n * n;
      kernels_.pack_f32(v, ld, true, d, n, packed);
      multiply(out, channels, d, n, ds, n);
      for (int i = 0; i < n; ++i) {
        const float* weight = p + static_cast<std::int64_t>(i) * n;
        float* s = ds + static_cast<std::int64_t>(i) * n;
        float sum = 0.0f;
        for (int j = 0; j < n; ++j) sum += s[j] * weight[j];
        for (int j = 0; j < n; ++j) s[j] = scale * weight[j] * (s[j] - sum);
      }
      kernels_.pack_f32(k, ld, false, n, d, packed);
      multiply(ds, n, n, d, dq, ld);
      kernels_.pack_f32(q, ld, false, n, d, packed);
      transpose(ds, n, n, turned);
      multiply(turned, n, n, d, dq + channels, ld);
      kernels_.pack_f32(out, channels, false, n, d, packed);
      transpose(p, n, n, turned);
      multiply(turned, n, n, d, dq + 2 * channels, ld);
    }
}

void BlockGradients::backward(const BlockTape& tape, const float* dy, std::span<const float> gain, Arena& arena,
                              float* gradient) const {
  const ArenaScope scope(arena);
  const int tokens = tape.tokens, rows = tape.rows, channels = block_.norm1->channels();
  const std::size_t n = area(tokens, channels), m = area(rows, channels);
  const auto token_of = [&](int r) {
    return block_.token_of_row.empty() ? r : static_cast<int>(block_.token_of_row[static_cast<std::size_t>(r)]);
  };
  const auto part = [&](BlockPart p) { return gradient + begin(p); };
  float *middle = arena.take<float>(n), *dmiddle = arena.take<float>(n), *branch = arena.take<float>(n),
        *dnormed = arena.take<float>(n);
  float *drows = arena.take<float>(m), *dattention = arena.take<float>(m), *dqkv = arena.take<float>(3 * m);

  // Second half: y = middle + gamma * fc2(f(fc1(norm2(middle)))).
  std::copy_n(tape.x.data(), n, middle);
  for (int r = 0; r < rows; ++r)
    if (const std::int64_t t = token_of(r); t >= 0)
      kernels_.add_residual(middle + t * channels, channels, tape.proj.data() + static_cast<std::int64_t>(r) * channels,
                            channels, 1, channels, block_.gamma1);
  const auto scaled = [&](const float* from, const float* gamma, float* to) {
    for (int c = 0; c < channels; ++c) to[c] = from[c] * (gamma == nullptr ? 1.0f : gamma[c]);
  };
  const float* gamma2 = block_.mlp->gamma.empty() ? nullptr : block_.mlp->gamma.data();
  for (std::int64_t t = 0; t < tokens; ++t) scaled(dy + t * channels, gamma2, branch + t * channels);
  mlp_backward(tape, branch, gain, dnormed, arena, gradient);
  std::copy_n(dy, n, dmiddle);
  layer_norm_backward(block_.mlp->norm, middle, dnormed, tokens, dmiddle, part(BlockPart::kGamma2),
                      part(BlockPart::kBeta2));

  // First half: middle = x + gamma1 * proj(attention(qkv(norm1(x)))).
  for (int r = 0; r < rows; ++r) {
    float* to = drows + static_cast<std::int64_t>(r) * channels;
    if (const std::int64_t t = token_of(r); t >= 0)
      scaled(dmiddle + t * channels, block_.gamma1, to);
    else
      std::fill_n(to, channels, 0.0f);
  }
  linear_backward(proj_, tape.proj.data(), drows, rows, gain, dattention, gradient);
  attention_backward(tape, dattention, dqkv, arena);
  linear_backward(qkv_, tape.qkv.data(), dqkv, rows, gain, drows, gradient);
  for (int r = 0; r < rows; ++r)
    if (const std::int64_t t = token_of(r); t >= 0)
      std::copy_n(drows + static_cast<std::int64_t>(r) * channels, channels, dnormed + t * channels);
  layer_norm_backward(*block_.norm1, tape.x.data(), dnormed, tokens, nullptr, part(BlockPart::kGamma1),
                      part(BlockPart::kBeta1));
}

}  // namespace igq
