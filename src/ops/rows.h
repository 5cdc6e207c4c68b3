// Row-wise operations on [tokens, channels] activations, split over the context's threads.
#pragma once

#include "ops/context.h"

namespace igq {

/// Minimum and maximum of every channel over one image's tokens; [channels] each. Empty (null) when not gathered.
struct ChannelRange {
  float* mn = nullptr;
  float* mx = nullptr;
  explicit operator bool() const { return mn != nullptr; }
};

/// Nothing seen yet: infinite the wrong way round, so that values can be merged.
void clear_channel_range(ChannelRange range, int channels);

/// A range of `channels` taken from the context's arena, not yet initialised.
ChannelRange take_channel_range(ExecContext& context, int channels);

/// Range of x [rows, cols]; exact, independent of the split.
void channel_range(ExecContext& context, const float* x, std::int64_t ldx, int rows, int cols, ChannelRange out);

/// Layer norm, with the channel range of the result gathered in the same pass when `range` is not null. Row t becomes
/// row y_rows[t] of y, t where y_rows is null.
void layer_norm(ExecContext& context, const float* x, int rows, int cols, const float* gamma, const float* beta,
                float eps, float* y, ChannelRange range = {}, const std::int32_t* y_rows = nullptr);

/// Activation in place, with the channel range of the result when asked for.
void activate(ExecContext& context, kernels::Activation kind, float* x, int rows, int cols, ChannelRange range = {});

/// x += gamma * r (gamma null: 1).
void add_residual(ExecContext& context, float* x, const float* r, int rows, int cols, const float* gamma);

}  // namespace igq
