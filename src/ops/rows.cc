#include "ops/rows.h"

#include <algorithm>
#include <limits>

namespace igq {
namespace {

constexpr std::int64_t kRowGrain = 8;

/// Runs body(begin, end, range) over rows with one private range per thread, merged afterwards.
template <typename Body>
void for_rows(ExecContext& context, int rows, int cols, ChannelRange range, const Body& body) {
  if (!range) {
    context.parallel_for(rows, kRowGrain, [&](std::int64_t b, std::int64_t e, int) { body(b, e, ChannelRange{}); });
    return;
  }
  const ArenaScope scope(context.arena);
  const int threads = context.threads();
  clear_channel_range(range, cols);
  const auto n = static_cast<std::size_t>(cols);
  float* others = context.arena.take<float>(2 * n * static_cast<std::size_t>(threads));
  auto range_of = [&](int t) {
    return t == 0 ? range
                  : ChannelRange{others + 2 * n * static_cast<std::size_t>(t),
                                 others + 2 * n * static_cast<std::size_t>(t) + n};
  };
  for (int t = 1; t < threads; ++t) clear_channel_range(range_of(t), cols);
  context.parallel_for(rows, kRowGrain, [&](std::int64_t b, std::int64_t e, int t) { body(b, e, range_of(t)); });
  for (int t = 1; t < threads; ++t) {
    const ChannelRange other = range_of(t);
    for (int c = 0; c < cols; ++c) {
      range.mn[c] = std::min(range.mn[c], other.mn[c]);
      range.mx[c] = std::max(range.mx[c], other.mx[c]);
    }
  }
}

}  // namespace

void clear_channel_range(ChannelRange range, int channels) {
  std::fill_n(range.mn, channels, std::numeric_limits<float>::infinity());
  std::fill_n(range.mx, channels, -std::numeric_limits<float>::infinity());
}

ChannelRange take_channel_range(ExecContext& context, int channels) {
  const auto n = static_cast<std::size_t>(channels);
  return {context.arena.take<float>(n), context.arena.take<float>(n)};
}

void channel_range(ExecContext& context, const float* x, std::int64_t ldx, int rows, int cols, ChannelRange out) {
  for_rows(context, rows, cols, out, [&](std::int64_t b, std::int64_t e, ChannelRange r) {
    context.kernels->channel_range(x + b * ldx, ldx, static_cast<int>(e - b), cols, r.mn, r.mx);
  });
}

void layer_norm(ExecContext& context, const float* x, int rows, int cols, const float* gamma, const float* beta,
                float eps, float* y, ChannelRange range, const std::int32_t* y_rows) {
  const WorkTimer timer(context, Work::kLayerNorm);
  for_rows(context, rows, cols, range, [&](std::int64_t b, std::int64_t e, ChannelRange r) {
    context.kernels->layer_norm({x + b * cols, cols, static_cast<int>(e - b), cols}, {gamma, beta, eps},
                                y_rows == nullptr ? y + b * cols : y, cols, y_rows == nullptr ? nullptr : y_rows + b,
                                r.mn, r.mx);
  });
}

void activate(ExecContext& context, kernels::Activation kind, float* x, int rows, int cols, ChannelRange range) {
  const WorkTimer timer(context, Work::kActivation);
  for_rows(context, rows, cols, range, [&](std::int64_t b, std::int64_t e, ChannelRange r) {
    context.kernels->activate(kind, x + b * cols, cols, static_cast<int>(e - b), cols, r.mn, r.mx);
  });
}

void add_residual(ExecContext& context, float* x, const float* r, int rows, int cols, const float* gamma) {
  const WorkTimer timer(context, Work::kOther);
  context.parallel_for(rows, kRowGrain, [&](std::int64_t b, std::int64_t e, int) {
    context.kernels->add_residual(x + b * cols, cols, r + b * cols, cols, static_cast<int>(e - b), cols, gamma);
  });
}

}  // namespace igq
