// Weights that igq does not read, told from their names and first bytes, and what to do about each: one line that works
// when it is followed.
#pragma once

#include <filesystem>

namespace igq {

/// Error when `file` (of a folder, or given itself) is a pointer of git-lfs, a pickle of PyTorch, TorchScript, an
/// adapter, ONNX, GGUF, TensorFlow, Flax, NumPy ... or a page instead of a file. Returns for what may be safetensors.
void refuse_foreign(const std::filesystem::path& file);

/// Error that says how to make a model of a folder without model.safetensors, from the files that it holds; returns
/// when none of them is known.
void refuse_foreign_folder(const std::filesystem::path& folder);

/// Error when the file is a pointer of git-lfs; any file of a model may be one.
void refuse_lfs_pointer(const std::filesystem::path& file);

}  // namespace igq
