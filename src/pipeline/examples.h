// What the grouping of one telling layer looks like on two images: channel ranges of an FC input and row maxima of one
// softmax head. Kept in the .igq file for reports that have no images, a few tens of kilobytes of JSON.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "models/model.h"

namespace igq {

/// Ranges of the channels of one FC input, or of the softmax rows of one head (lower bound 0), for each image.
struct RangeExample {
  std::string site;                         ///< "blocks.3.mlp.fc1"; softmax: "blocks.3.attn"
  int head = -1;                            ///< softmax: which head, of the first window; -1: an FC input
  int members = 0;                          ///< channels or rows of the site
  int stride = 1;                           ///< every stride-th member is kept
  std::vector<std::vector<Bounds>> images;  ///< [images][ceil(members / stride)]
};

struct Examples {
  RangeExample channels;  ///< without a site where no FC input is quantized
  RangeExample rows;      ///< without a site where no softmax is quantized
};

/// Runs `count` images through the model (which has a plan) in simulation and keeps the site whose channel widths, and
/// the head whose row maxima, are the most uneven among those with more than one group. At most kMaxMembers of each are
/// kept.
Examples measure_examples(Model& model, Isa isa, ThreadPool& pool, std::int64_t count,
                          const std::function<void(std::int64_t, float*)>& load);
inline constexpr int kMaxMembers = 1024;

/// Numbers keep four significant digits.
nlohmann::json examples_to_json(const Examples& examples);
/// The inverse. Error (without a path) for everything a damaged file can say; sites are checked against `model`.
Examples examples_from_json(const nlohmann::json& json, const Model& model);

}  // namespace igq
