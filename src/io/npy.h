// numpy's .npy files (format version 1.0): float32 arrays in C order, written and read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/output_file.h"

namespace igq {

/// What stands before the values of a little-endian float32 array of this shape; a multiple of 64 bytes.
std::string npy_header(const std::vector<std::int64_t>& shape);

struct NpyArray {
  std::vector<std::int64_t> shape;
  AlignedBuffer<float> values;
};
/// A float32, float64 or float16 array as float32. Error (path, reason) for anything else, for values that are not
/// finite and for a file whose size is not that of its shape.
NpyArray read_npy(const std::filesystem::path& path);

extern const OutputKind kNpyOutput;

}  // namespace igq
