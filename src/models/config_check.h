// What every configuration must hold, wherever it came from, before anything is built or allocated for it.
#pragma once

#include <cstdint>

#include "models/config.h"

namespace igq {

// What a model may ask of the machine for one image: a file of some kilobytes can claim any image size, so that size
// alone must not decide how much memory and time it takes (docs/reliability.md, "Limits").

/// Pixels of a model's input: 4096 x 4096, 200 MB as float.
inline constexpr std::int64_t kMaxInputPixels = std::int64_t{1} << 24;
/// Tokens of a ViT: 128 x 128 patches and 256 others. Attention in float holds a row of scores for every one of them.
inline constexpr std::int64_t kMaxTokens = (1 << 14) + 256;
/// Patches of a Swin, whose attention does not grow with their square: 512 x 512.
inline constexpr std::int64_t kMaxSwinPatches = 1 << 18;
/// Tokens of a Swin's window: 64 x 64.
inline constexpr std::int64_t kMaxWindowTokens = 1 << 12;
/// Scores, queries times keys, of all attentions over one image.
inline constexpr std::int64_t kMaxScores = std::int64_t{1} << 36;
/// Values of one activation, of the position embedding, or of all relative position biases: 1 GiB as float.
inline constexpr std::int64_t kMaxValues = std::int64_t{1} << 28;
/// Channels, hidden widths, classes.
inline constexpr std::int64_t kMaxWidth = 1 << 20;
/// A side of the image that is resized before the crop.
inline constexpr double kMaxResizedSide = 1 << 20;

/// Error (without a path) when the configuration contradicts itself, has numbers that nothing can be computed with, or
/// asks for more than the limits above.
void check_config(const ModelConfig& config);

}  // namespace igq
