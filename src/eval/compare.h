// Two models side by side on the same images: where the second one loses precision, site by site, and whether it
// changes predictions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/load_model.h"
#include "models/runner.h"

namespace igq {

/// Signal-to-noise ratios of one site's output, in dB: 10 log10(sum of squared reference / sum of squared difference)
/// over all images. No difference at all gives kNoNoise.
struct SiteNoise {
  std::string site;
  std::optional<double> alone;  ///< only this site is quantized, what feeds it is the reference's
  double accumulated = 0.0;     ///< everything is quantized
};
inline constexpr double kNoNoise = 200.0;

struct Flip {
  std::int64_t image = 0;       ///< index
  int reference = 0, test = 0;  ///< predicted classes
};

struct Comparison {
  std::int64_t images = 0;
  std::int64_t agreements = 0;  ///< images with the same predicted class; 0 for models without classes
  std::vector<double> cosines;  ///< per image, of the embeddings of models without classes
  std::vector<float> reference_vectors, test_vectors;  ///< the embeddings themselves, [images, width]
  double logits_snr = 0.0;                             ///< dB, of the logits or the embedding
  std::vector<SiteNoise> sites;                        ///< in the order of the model
  std::vector<Flip> flips;
  std::vector<int> reference_classes, test_classes;  ///< per image
};

struct CompareOptions {
  Execution reference = Execution::kFloat, test = Execution::kInteger;
  bool alone = true;  ///< needs float weights in `test` (with_float_weights) and costs a pass per site of a step
  std::int64_t alone_images = 8;  ///< only the first so many images
  bool leave_out_qkv =
      false;  ///< no errors of qkv layers: in a balanced model (is_balanced) their outputs differ by design
};

/// The mean and the 1st percentile (nearest rank) of cosines; 1 and 1 of none.
struct CosineSummary {
  double mean = 1.0, percentile1 = 1.0;
};
CosineSummary summarize(std::vector<double> cosines);
/// The cosine of two vectors of one width; 0 where one of them alone is zero.
double cosine(std::span<const float> a, std::span<const float> b);

/// Runs both models over `count` images. Error when their sites differ. `alone` is left empty without options.alone.
Comparison compare_models(Model& reference, Model& test, const CompareOptions& options, Isa isa, ThreadPool& pool,
                          std::int64_t count, const std::function<void(std::int64_t, float*)>& load,
                          const std::function<void(std::int64_t)>& after = {});

/// Key of an .igq file's report: true when its qkv layers were balanced.
inline constexpr const char* kBalancedKey = "balanced";
/// Whether the qkv layers of this .igq model were rewritten (calibration/balance.h).
bool is_balanced(const LoadedModel& quantized);

/// The model of `quantized` (plan, biases, norms) with the float weights of `weights` behind its codes, so that single
/// sites can run in float; balanced qkv layers keep their codes. Null when the two are not of the same shape.
std::unique_ptr<Model> with_float_weights(const LoadedModel& quantized, std::shared_ptr<const TensorSource> weights);

}  // namespace igq
