// Weights in safetensors files (https://huggingface.co/docs/safetensors): one file, or shards behind an index.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "io/tensor_source.h"

namespace igq {

/// Opens a .safetensors file and checks its header: every name, type, shape, offset and the size of the file. F64, F32,
/// F16 and BF16 tensors are served as float32; others (I64 buffers, BOOL) are listed nowhere and ignored. Values are
/// read on demand with pread. Error (path, what, how to mend it) for a damaged or truncated file.
std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& path);

/// Opens `model.safetensors.index.json` and every shard it names (beside it, never outside its folder). Error when a
/// shard is missing or lacks a tensor that the index promises.
std::unique_ptr<TensorSource> open_sharded_safetensors(const std::filesystem::path& index);

/// Writes every tensor of `tensors` as F32, in the order of names; atomically. For tools and tests.
void write_safetensors(const std::filesystem::path& path, const TensorSource& tensors, bool overwrite);

}  // namespace igq
