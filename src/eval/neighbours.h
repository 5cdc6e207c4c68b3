// Whether two models find the same neighbours: what search and deduplication see of a quantized encoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace igq {

/// Among the images themselves, each left out of its own neighbours, nearest by cosine: the mean share of the `k`
/// nearest of the reference that are among the `k` nearest of the other.
struct NeighbourRecall {
  std::int64_t images = 0;
  double at1 = 0.0, at10 = 0.0;  ///< 0 to 1; of fewer than 11 images `at10` takes all others that there are
};

/// `reference` and `test`: [images, width]. Takes images^2 * width products; 0 images of fewer than two.
NeighbourRecall neighbour_recall(std::span<const float> reference, std::span<const float> test, std::size_t width);

}  // namespace igq
