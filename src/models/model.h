// A model as a sequence of steps over one image: embedding, blocks, head. One image at a time is the whole design:
// every grouping is per image, so a batch is a loop over images and its results cannot depend on the batch size.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/layers.h"
#include "models/network.h"

namespace igq {

/// A named output of a model: [height, width, channels], channels last.
struct FeatureMap {
  std::string name;
  int height = 0, width = 0, channels = 0;
  AlignedBuffer<float> values;

  std::int64_t pixels() const { return static_cast<std::int64_t>(height) * width; }
  /// Makes room for a map of this size; memory grows only.
  void take(int h, int w, int c) {
    height = h;
    width = w;
    channels = c;
    values.resize(static_cast<std::size_t>(h) * static_cast<std::size_t>(w) * static_cast<std::size_t>(c));
  }
};

/// The activations between two steps; owned by the caller, kept between images so that nothing is allocated again.
struct StepState {
  const float* image = nullptr;           ///< [3, height, width], normalised; read by step 0
  int image_height = 0, image_width = 0;  ///< of this image; 0: the configured size
  AlignedBuffer<float> x;                 ///< [tokens, channels] after every step but the last
  int tokens = 0, channels = 0;
  int height = 0, width = 0;         ///< token grid
  AlignedBuffer<float> logits;       ///< [num_classes] after the last step, empty without a head
  AlignedBuffer<float> embedding;    ///< [embedding_width] after the last step: what is pooled and the head reads
  std::vector<FeatureMap> features;  ///< of a backbone (feature_maps), after the last step

  /// What the model is for: its logits, or the embedding of one without a head.
  std::span<const float> output() const { return logits.empty() ? std::span<const float>(embedding) : logits; }
};

/// The parts of a transformer block, x += gamma1 * proj(attention(qkv(norm1(x)))), then x += mlp(x), for those who tune
/// them.
struct BlockParts {
  LayerNorm* norm1 = nullptr;
  Linear *qkv = nullptr, *proj = nullptr;
  Attention* attention = nullptr;
  const float* gamma1 = nullptr;  ///< LayerScale [channels], null without
  Mlp* mlp = nullptr;
  int windows = 1;                             ///< attention windows per image
  std::span<const std::int32_t> token_of_row;  ///< row of the attention -> token, -1 for padding; empty: row = token
};

class Model : public Network {
 public:
  const std::string& architecture() const override { return config_.architecture; }
  std::optional<PixelScale> pixels() const override;
  const ModelConfig& config() const { return config_; }
  /// Preprocessing does not change the network; callers may override what the checkpoint says.
  void set_preprocess(const PreprocessConfig& preprocess) { config_.preprocess = preprocess; }
  /// Steps of a forward pass: 0 is the embedding, the last one pools and gives the logits.
  virtual int steps() const = 0;
  virtual void run_step(ExecContext& context, int step, StepState& state) const = 0;
  /// Tokens of an image of the configured size after the last step (StepState::x).
  virtual int output_tokens() const = 0;
  /// The block that `step` is; none for embedding, patch merging and head. The parts live as long as the model.
  virtual std::optional<BlockParts> block_parts(int step) = 0;
  /// All steps for one normalised image; logits in state.logits. Thread safe with one context and state per thread.
  /// The image has the size state.image_height x state.image_width; what depends on the size is made once per size.
  void forward(ExecContext& context, const float* image, StepState& state) const;

  std::int64_t image_floats() const {
    return static_cast<std::int64_t>(config_.in_channels) * config_.image_height * config_.image_width;
  }

 protected:
  /// [height, width] of the state's image.
  std::array<int, 2> image_size(const StepState& state) const {
    return {state.image_height > 0 ? state.image_height : config_.image_height,
            state.image_width > 0 ? state.image_width : config_.image_width};
  }
  explicit Model(ModelConfig config) : config_(std::move(config)) {}
  void add_site(Linear& linear, int step, int rows, bool first_or_last = false);
  void add_site(Attention& attention, int step, int tokens, int windows);

 private:
  ModelConfig config_;
};

/// Builds the network of `config` from its tensors (timm's names). `plan` supplies weights that exist as codes only
/// and is attached; null for a float model. Errors name every missing, extra or misshapen tensor.
std::unique_ptr<Model> build_model(const ModelConfig& config, const TensorSource& tensors,
                                   std::shared_ptr<const QuantizationPlan> plan = nullptr);

/// Error unless all are finite. Steps call it for what quantization would hide (a NaN becomes a code like any other)
/// and for the logits, so that whoever runs them gets a class or an Error.
void check_numbers(std::span<const float> values, const ModelConfig& config);

/// Values that a ViT pools, before its projection.
int pooled_width(const VitConfig& config);
/// Values of the pooled vector.
int embedding_width(const ModelConfig& config);
/// Values of a token after the last norm.
int token_width(const ModelConfig& config);
/// Values of StepState::output().
int output_width(const ModelConfig& config);

/// Names and shapes of every tensor the network of `config` has.
std::map<std::string, Shape> expected_tensors(const ModelConfig& config);

}  // namespace igq
