// Everything a report shows, as plain data: collected from a quantized model, and where they are given from images and
// from the float model it came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/evaluate.h"
#include "models/load_model.h"
#include "pipeline/examples.h"
#include "pipeline/quantize_model.h"
#include "report/neighbour_examples.h"

namespace igq::report {

/// One quantization site.
struct SiteRow {
  std::string name;
  int block = -1;    ///< ordinal of its block in the network; -1: outside the blocks
  std::string kind;  ///< the name within its block: "attn.qkv", "attn", "mlp.fc1"
  bool attention = false;
  int weight_bits = 32;      ///< of an attention: of q, k and v. 32: float
  int activation_bits = 32;  ///< of an attention: of the softmax
  Grouping grouping = Grouping::kFloat;
  int groups = 0;  ///< quantizers of its channels or rows; 0: float
  double gbops = 0.0;
  std::optional<double> alone, accumulated;  ///< signal-to-noise in dB
};

/// What the allocation of groups (allocation/allocate.h) promised.
struct AllocationFacts {
  double gbops = 0.0, budget_gbops = 0.0;
  double divergence = 0.0;                   ///< sum over the layers, each quantized alone
  std::optional<double> uniform_divergence;  ///< the same with one number of groups everywhere
};

struct Speed {
  double float_ms = 0.0, integer_ms = 0.0;  ///< of one image: the median of a round, the fastest round
  int rounds = 0, threads = 1;
  std::string cpu, isa;
};

struct Accuracy {
  std::int64_t images = 0, bad_images = 0;
  bool labelled = false;
  double top1 = 0.0, interval = 0.0;  ///< percent; half the 95 % interval. Only when labelled
  std::optional<double> float_top1;   ///< with a float model and labels
  std::optional<double> agreement;    ///< percent of images predicted as float predicts them
  std::int64_t changed = 0;           ///< images predicted otherwise
};

/// The verdict that quantize left in the file: on calibration images, against the float model.
struct StoredVerdict {
  std::int64_t images = 0;
  bool held_back = false;           ///< nothing was chosen on them
  double snr = 0.0;                 ///< dB, of the output
  std::optional<double> agreement;  ///< percent; of classifiers
  double agreement_interval = 0.0;
  std::optional<double> cosine_mean;  ///< of encoders
  double cosine_percentile1 = 0.0;
};

/// One channel or softmax row of one image.
struct Member {
  Bounds range;   ///< of its values
  Bounds codes;   ///< what the codes of its quantizer can represent
  int group = 0;  ///< rank of its group, the narrowest first
};

/// How one site's channels or rows are grouped on a few images.
struct GroupedExample {
  std::string site;
  int head = -1;                ///< softmax rows of this head; -1: channels
  int members = 0, stride = 1;  ///< as in RangeExample
  int bits = 8;
  Grouping grouping = Grouping::kFloat;
  int groups = 0;  ///< 0: each member has its own quantizer
  std::vector<std::string> image_names;
  std::vector<std::string> thumbnails;      ///< PNG files; empty without images
  std::vector<std::vector<Member>> images;  ///< [images][kept members]
};

/// Shares and medians over the members of one image.
struct GroupingGain {
  double steps_single = 0.0;   ///< median range of a member in steps of one quantizer for the widest of them
  double steps_grouped = 0.0;  ///< the same in steps of its own quantizer
  double clipped = 0.0;        ///< percent of members cut by more than a step
};
GroupingGain grouping_gain(const GroupedExample& example, std::size_t image);
/// Members that are in another group in image b than in image a, in percent.
double moved_percent(const GroupedExample& example, std::size_t a, std::size_t b);

struct PredictionExample {
  std::string file;
  int label = -1, float_class = -1, quantized_class = -1;  ///< -1: unknown
  double float_score = 0.0, score = 0.0;                   ///< probabilities
  std::string thumbnail;                                   ///< PNG file
  bool changed() const { return float_class >= 0 && float_class != quantized_class; }
};

struct ReportData {
  std::string file, float_name;  ///< float_name is empty without a float model
  ModelConfig config;
  Provenance provenance;
  double file_mb = 0.0, float_mb = 0.0;
  double gbops = 0.0, float_gbops = 0.0, one_group_gbops = 0.0;  ///< one_group: the same bits, one quantizer per site
  std::optional<Speed> speed;
  std::optional<Accuracy> accuracy;
  std::optional<StoredVerdict> verdict;
  std::vector<SiteRow> sites;
  std::optional<AllocationFacts> allocation;  ///< when groups were allocated
  std::int64_t noise_images = 0;              ///< 0: no errors are known
  bool noise_on_data = false;                 ///< measured on the given images, otherwise on calibration images
  bool qkv_left_out = false;                  ///< balanced qkv layers have other outputs by design
  double logits_snr = 0.0;                    ///< dB
  bool examples_on_data = false;
  std::optional<GroupedExample> channels, rows;
  std::vector<PredictionExample> predictions;
  std::optional<VectorFacts> vectors;  ///< of an encoder, with a float model
};

struct ReportOptions {
  std::uint64_t file_bytes = 0;  ///< of the .igq file
  std::vector<Sample> samples;   ///< images; may be empty
  bool labelled = false;         ///< their labels are the model's classes
  bool skip_bad_images = false;
  bool speed = true;
  std::int64_t noise_images = 16;  ///< of the samples, for the errors of sites
  int threads = 0;
  Isa isa = best_isa();
};

/// `model` is an .igq file. `reference` (may be null) is the float model it was made from: with samples, errors of the
/// sites and agreement are measured against it. Error when the two do not fit, or when an image cannot be read.
ReportData collect_report(const LoadedModel& model, const LoadedModel* reference, const ReportOptions& options,
                          const StageProgress& progress = {});

/// The ranges of an example and the groups that `plan` gives them.
GroupedExample group_example(const RangeExample& ranges, const ActivationPlan& plan);

nlohmann::json report_to_json(const ReportData& data);
std::string class_name(const ReportData& data, int c);

}  // namespace igq::report
