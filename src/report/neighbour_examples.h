// What search and deduplication see of a quantized encoder: how far its vectors turn from float's, and the nearest
// images by float's vectors and by integers' side by side.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/compare.h"
#include "eval/neighbours.h"
#include "io/image_folder.h"
#include "pipeline/quantize_model.h"

namespace igq::report {

struct Neighbour {
  std::string file;
  double cosine = 0.0;    ///< to the image that is asked for
  std::string thumbnail;  ///< PNG file
};

struct NeighbourExample {
  std::string file, thumbnail;
  double cosine = 0.0;                       ///< of its two vectors
  std::vector<Neighbour> original, integer;  ///< nearest first
  /// How many of the float model's neighbours are among the others.
  std::size_t shared() const;
};

struct VectorFacts {
  std::int64_t images = 0;
  CosineSummary cosines;
  NeighbourRecall recall;
  std::vector<NeighbourExample> examples;  ///< those whose neighbours differ most first
};

/// Both models' vectors of all samples. Error when an image cannot be read.
VectorFacts compare_vectors(Model& reference, Model& integer, const std::vector<Sample>& samples, Isa isa,
                            ThreadPool& pool, const StageProgress& progress);

/// The section of the page (HTML).
std::string neighbour_section(const VectorFacts& facts);
nlohmann::json vectors_to_json(const VectorFacts& facts);

}  // namespace igq::report
