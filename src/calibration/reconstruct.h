// Block-wise reconstruction after weights have been rounded: block by block in the order of the model, parameters that
// cost nothing at run time are tuned by gradient descent until the quantized block, fed by the quantized blocks before
// it, is nearest to what the float model has there,
//   min |B_hat(x_hat; p) - B(x)|^2   over the calibration images and their views,
// as BRECQ (Li et al., ICLR 2021) does with roundings. Here p is affine: gamma and beta of the layer norms ("norm
// tweaking", Li et al., AAAI 2024), biases, and a gain per output channel that multiplies the scale of its weights. A
// block of 1.8 million weights has 8 thousand of these, which a few thousand tokens determine; roundings they do not
// (docs/accuracy.md).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "calibration/refine.h"

namespace igq {

struct ReconstructOptions {
  int views = 8;  ///< of each calibration image (views.h); fewer when activations between blocks would take over 512 MB
  int epochs = 1;          ///< passes over the images and views
  int batch = 8;           ///< images per step of Adam
  double rate = 3e-3;      ///< first step relative to the size of what is tuned; falls linearly to zero
  double minutes = 0.0;    ///< no block begins and no step is made after so long; 0: no limit
  std::uint64_t seed = 0;  ///< of the order of images
};

struct BlockReconstruction {
  std::string block;                 ///< "blocks.3"
  double before = 0.0, after = 0.0;  ///< squared error over the output's square, on images that were not tuned on
  bool kept = false;                 ///< after < before; otherwise the block is left as it was
};

struct Reconstruction {
  BiasMap vectors;  ///< biases and norms that changed, by tensor name
  std::vector<BlockReconstruction> blocks;
  bool out_of_time = false;  ///< the limit came first; later blocks are as they were
  std::size_t bytes = 0;     ///< memory held at most, the float model included
};

/// Tunes every block of `model` whose linear layers `plan` (attached to the model) gives coded weights; scales of
/// `plan` and biases and norms of the model change. `original` is the float model, balanced or not. An eighth of the
/// images (with fewer than eight: none) only decides whether a block is better than before. Without a time limit the
/// result depends neither on the number of threads nor on the machine. progress(done, total) hears of images passed
/// through blocks. Error when there is no such block.
Reconstruction reconstruct_blocks(Model& model, const std::shared_ptr<QuantizationPlan>& plan, Model& original,
                                  const ReconstructOptions& options, std::int64_t images,
                                  const std::function<void(std::int64_t, float*)>& load, Isa isa, ThreadPool& pool,
                                  const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace igq
