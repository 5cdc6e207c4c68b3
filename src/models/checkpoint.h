// A float checkpoint as a user has it - a folder of the timm hub or of transformers, or a bare .safetensors file -
// turned into a ModelConfig and tensors by timm's names.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "io/tensor_source.h"
#include "models/config.h"

namespace igq {

/// What the command line may say about a checkpoint.
struct CheckpointOptions {
  std::string architecture;  ///< --arch: timm name; needed for a bare .safetensors file, overrides config.json's
  int image_height = 0, image_width = 0;  ///< --img-size: 0 keeps the config's
};

struct Checkpoint {
  ModelConfig config;
  std::shared_ptr<const TensorSource> tensors;  ///< by timm's names, checked against expected_tensors(config)
};

/// `path`: a folder with config.json (timm's hub layout, or transformers' with preprocessor_config.json) and
/// model.safetensors or model.safetensors.index.json; or a .safetensors file with options.architecture (or with a
/// config.json beside it). Keys of timm (current and older Swin layouts, a leading "model." or "module.") and of
/// transformers are mapped to timm's names; fused qkv included. Error naming every missing, extra or misshapen tensor;
/// pickles (.bin, .pth, .pt, .ckpt) are refused with the line of Python that converts them.
Checkpoint open_checkpoint(const std::filesystem::path& path, const CheckpointOptions& options = {});

/// The weights that `path`, as for open_checkpoint, is or holds, by the names in the file. The same errors.
std::shared_ptr<const TensorSource> open_weights(const std::filesystem::path& path);

/// "xxh3:..." over names, shapes and values of all tensors, in the order of names.
std::string checkpoint_checksum(const TensorSource& tensors);

}  // namespace igq
