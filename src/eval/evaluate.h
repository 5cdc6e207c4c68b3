// Top-1 and top-5 accuracy of a model on a folder of labelled images, with the prediction for every image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "io/image_folder.h"
#include "models/runner.h"

namespace igq {

/// The classes with the `k` largest logits, largest first; the lower class of equals first.
std::vector<int> rank_classes(std::span<const float> logits, int k);

/// Probabilities of the logits, in double so that they sum to one.
std::vector<double> softmax(std::span<const float> logits);

/// Scores of the logits as the model wants them: softmax, a sigmoid of each, or the logits themselves.
std::vector<double> class_scores(std::span<const float> logits, Scores how);

/// A field of a CSV file, quoted when it has to be (RFC 4180).
std::string csv_field(const std::string& text);

/// Fills an image with the preprocessed sample i: the form that calibration and comparison take. Both arguments must
/// outlive it.
std::function<void(std::int64_t, float*)> load_samples(const ModelConfig& config, const std::vector<Sample>& samples);

struct ImageResult {
  std::string file;  ///< path below the folder
  int label = -1;
  std::vector<int> classes;    ///< predicted, best first; empty for a bad image
  std::vector<double> scores;  ///< theirs (class_scores)
};

struct BadImage {
  std::string file;
  std::string error;
};

struct EvalOptions {
  int topk = 5;                  ///< predictions kept per image (top-5 counts at most these)
  bool skip_bad_images = false;  ///< otherwise one bad image makes evaluate() fail
};

struct EvalResult {
  std::int64_t images = 0;        ///< evaluated, without bad ones
  double top1 = 0.0, top5 = 0.0;  ///< percent
  double seconds = 0.0;
  double images_per_s = 0.0;         ///< reading and decoding included
  std::vector<BadImage> bad_images;  ///< in the order of the samples
  std::vector<ImageResult> results;  ///< one per sample, in their order
};

/// Evaluates every sample; each must have a label. after(done) is called from any thread, one at a time. Without
/// skip_bad_images a bad image ends the evaluation: the other images are then only decoded, so that the Error can name
/// all the bad ones.
EvalResult evaluate(Runner& runner, const std::vector<Sample>& samples, const EvalOptions& options,
                    const std::function<void(std::int64_t)>& after = {});

/// Half the width of the 95 % confidence interval (Wilson) of an accuracy in percent over `images` images.
double confidence_95(double percent, std::int64_t images);

/// A results file: the header that write_results_csv() gives it, with as many scores as classes.
extern const OutputKind kResultsOutput;
/// timm's --results-file: a row "file,label,class_1..class_k,score_1..score_k" per image; bad images have empty fields.
void write_results_csv(const std::filesystem::path& path, const std::vector<ImageResult>& results, bool overwrite);

}  // namespace igq
