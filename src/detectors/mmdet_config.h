// mmdetection's model configurations as JSON, in the resolved form that mmengine's Config.dump writes ("model",
// "test_pipeline", "classes"), of versions 3 and 2; and the published models by name.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "detectors/two_stage.h"
#include "io/tensor_source.h"

namespace igq {

/// Whether `config` has mmdetection's form.
bool is_mmdet_config(const nlohmann::json& config);

/// Mask R-CNN, Cascade Mask R-CNN and the two without masks, with Swin. Error naming the field that is missing, out of
/// range or asks for what igq does not compute; the caller adds the path.
TwoStageConfig mmdet_config(const nlohmann::json& config);

/// Completes the backbone of a configuration: Swin's detection semantics, and the size that sites are counted for.
void finish_config(TwoStageConfig& config);

/// "mask_rcnn_swin_t_fpn", "cascade_mask_rcnn_swin_b_fpn" ... and mmdetection's names of its published models; classes
/// and the heads' layers are those of the tensors (mmdetection's names). None for another name.
std::optional<TwoStageConfig> named_two_stage(const std::string& name, const TensorSource& tensors);
/// The names, for lists and messages.
std::vector<std::string> two_stage_names();

}  // namespace igq
