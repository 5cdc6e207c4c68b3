// Layers that refine_weights() has finished, kept so that a run that is interrupted goes on from there.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/aligned_buffer.h"
#include "quant/plan.h"

namespace igq {

/// One layer as it was refined.
struct RefinedLayer {
  LinearPlan plan;
  AlignedBuffer<float> bias;  ///< [out]; empty for a layer without
  bool alike = false;         ///< RefineProgress::alike
};

class RefinedLayers {
 public:
  RefinedLayers() = default;
  RefinedLayers(const RefinedLayers&) = delete;
  RefinedLayers& operator=(const RefinedLayers&) = delete;
  virtual ~RefinedLayers() = default;
  /// The layer as a run with the same model, images and settings has refined it.
  virtual std::optional<RefinedLayer> find(const std::string& site) = 0;
  virtual void keep(const std::string& site, const RefinedLayer& layer) = 0;
};

}  // namespace igq
