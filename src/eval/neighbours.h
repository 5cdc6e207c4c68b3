// Whether two models find the same neighbours: what search and deduplication see of a quantized encoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace igq {

/// One of the images and its cosine to the one that is asked for.
struct NearImage {
  std::size_t image = 0;
  double cosine = 0.0;
};
/// The `k` nearest others of every image, nearest first, the lower index of equals first. `vectors`: [images, width]; k
/// below the number of images.
std::vector<std::vector<NearImage>> nearest_images(std::span<const float> vectors, std::size_t width, std::size_t k);

/// Among the images themselves, each left out of its own neighbours, nearest by cosine: the mean share of the `k`
/// nearest of the reference that are among the `k` nearest of the other.
struct NeighbourRecall {
  std::int64_t images = 0;
  double at1 = 0.0, at10 = 0.0;  ///< 0 to 1; of fewer than 11 images `at10` takes all others that there are
};

/// `reference` and `test`: [images, width]. Takes images^2 * width products; 0 images of fewer than two.
NeighbourRecall neighbour_recall(std::span<const float> reference, std::span<const float> test, std::size_t width);

}  // namespace igq
