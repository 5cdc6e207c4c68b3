// The architectures igq knows by timm's names, and what follows from a configuration alone: parameters, multiply-adds
// and the shapes of the quantization sites (for BOPs without weights).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config.h"

namespace igq {

/// The configuration of a timm architecture name; a pretrained tag after a dot ("vit_base_patch16_224.augreg_in21k") is
/// accepted when timm lists it and then decides image size, preprocessing and classes. Empty when unknown. num_classes
/// is 0 where the published weights have no head (DINOv2): whoever builds the network must set it.
std::optional<ModelConfig> find_architecture(std::string_view name);
/// find_architecture, or an Error that lists the nearest names.
ModelConfig architecture_config(std::string_view name);
/// All names, ascending.
std::vector<std::string> list_architectures();

/// The shape of one quantization site, in the order of Model::sites() and with the same names.
struct SiteShape {
  std::string name;
  bool attention = false;
  bool first_or_last = false;
  bool output = false;  ///< Site::output
  // FC layers: rows tokens, in -> out channels. Convolutions: pixels of the output; `taps` values of a channel for
  // each.
  std::int64_t rows = 0, in = 0, out = 0, taps = 1;
  std::int64_t input_rows = 0;  ///< where they are not `rows`: pixels of a convolution's input
  // Attentions: windows x heads maps of tokens x keys, head_dim wide.
  std::int64_t windows = 0, heads = 0, tokens = 0, keys = 0, head_dim = 0;
  /// Multiply-adds per image.
  std::int64_t macs() const {
    return attention ? 2 * windows * heads * tokens * keys * head_dim : rows * in * taps * out;
  }
  /// Values that an output sums up.
  std::int64_t contraction() const { return in * taps; }
};
std::vector<SiteShape> site_shapes(const ModelConfig& config);

std::int64_t count_parameters(const ModelConfig& config);  ///< values of expected_tensors
std::int64_t count_macs(const ModelConfig& config);        ///< sum over site_shapes

}  // namespace igq
