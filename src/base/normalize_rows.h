// Vectors divided by their lengths, as cosines and zero-shot heads compare them.
#pragma once

#include <cstddef>
#include <span>

namespace igq {

/// Divides each vector of `width` values by its length; zeros stay zeros.
void normalize_rows(std::span<float> values, std::size_t width);

}  // namespace igq
