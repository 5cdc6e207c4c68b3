// DETR (Carion et al. 2020, transformers' DetrForObjectDetection): ResNet, an encoder over its last map, a decoder
// whose queries become boxes and classes. Post-norm.
#pragma once

#include <memory>
#include <vector>

#include "detectors/query_detector.h"
#include "detectors/resnet.h"
#include "models/size_cache.h"

namespace igq {

struct DetrConfig {
  int dim = 256;
  int encoder_layers = 6, decoder_layers = 6;
  int encoder_heads = 8, decoder_heads = 8;
  int encoder_ffn = 2048, decoder_ffn = 2048;
  int queries = 100;
  bool dilated = false;  ///< DC5: the last stage of the backbone keeps the size of the map
  kernels::Activation activation = kernels::Activation::kRelu;
  int classes = 91;
  QueryPreprocess preprocess;
  std::vector<std::string> labels;
};

/// `tensors`: of detr_tensors(). Error naming the field that is missing, out of range or asks for what igq does not
/// compute.
DetrConfig detr_config(const nlohmann::json& config, const nlohmann::json& preprocessor, const TensorSource& tensors);

class Detr final : public QueryDetector {
 public:
  /// `builder`: of detr_tensors().
  Detr(const DetrConfig& config, const ModelBuilder& builder);

  struct Memory final : Pass {
    std::vector<FeatureMap> maps;                        ///< of the backbone
    AlignedBuffer<float> projected;                      ///< [tokens, dim]: input of the encoder
    AlignedBuffer<float> encoded;                        ///< its output
    std::vector<AlignedBuffer<float>> encoder, decoder;  ///< after every layer
  };
  std::unique_ptr<State> make_state() const override { return std::make_unique<Memory>(); }
  /// The sine embedding of a map, [height * width, dim].
  AlignedBuffer<float> positions(int height, int width) const;

 protected:
  void run(ExecContext& context, Pass& pass) const override;

 private:
  struct AttentionLayer {
    Linear q, k, v, out;
    Attention attention;
    LayerNorm norm;
  };
  struct Layer {
    AttentionLayer self, cross;  // cross: of decoders alone
    Linear fc1, fc2;
    LayerNorm norm;
  };
  AttentionLayer read_attention(const ModelBuilder& builder, const std::string& name, int heads) const;
  Layer read_layer(const ModelBuilder& builder, bool decoder, int heads, int ffn) const;
  void add_layer_sites(Layer& layer, bool decoder);
  struct Tokens {
    const float* values;
    const float* positions;
    int count;
  };
  void attend(ExecContext& context, const AttentionLayer& layer, float* x, const Tokens& queries,
              const Tokens& keys) const;
  void feed_forward(ExecContext& context, const Layer& layer, float* x, int rows) const;

  DetrConfig config_;
  ResNet backbone_;
  Conv2d projection_;
  std::vector<Layer> encoder_, decoder_;
  AlignedBuffer<float> query_positions_;
  LayerNorm norm_;
  Linear classes_;
  QueryMlp boxes_;
  std::unique_ptr<SizeCache<AlignedBuffer<float>>> positions_;
};

}  // namespace igq
