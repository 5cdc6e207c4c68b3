#include "base/normalize_rows.h"

#include <cmath>

namespace igq {

void normalize_rows(std::span<float> values, std::size_t width) {
  for (std::size_t begin = 0; begin + width <= values.size(); begin += width) {
    double square = 0.0;
    for (std::size_t i = begin; i < begin + width; ++i)
      square += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    if (square <= 0.0) continue;
    const double length = std::sqrt(square);
    for (std::size_t i = begin; i < begin + width; ++i)
      values[i] = static_cast<float>(static_cast<double>(values[i]) / length);
  }
}

}  // namespace igq
