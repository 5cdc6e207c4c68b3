// The main job from end to end: a float model and calibration images -> a quantized model ready to be saved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "allocation/bops.h"
#include "allocation/allocate.h"
#include "allocation/allocate_bits.h"
#include "calibration/calibrate.h"
#include "calibration/reconstruct.h"
#include "eval/compare.h"
#include "io/image_folder.h"
#include "models/load_model.h"
#include "pipeline/verdict.h"

namespace igq {

/// Everything that decides the result besides the model and the images.
struct QuantizeJob {
  QuantizeOptions options;
  bool allocate = false;      ///< groups per layer by allocation (docs/method.md, section 6) instead of options.groups
  int average_groups = 8;     ///< its budget: what so many groups in every layer cost
  double budget_gbops = 0.0;  ///< its budget in 10^9 bit operations; 0: from average_groups
  bool measure_all = false;   ///< of an allocation: every candidate is run instead of two and a fit (perturbation.h)
  /// Bits of weights and activations per layer by allocation (allocate_bits.h), and groups too with `allocate`.
  bool allocate_bits = false;
  double average_weight_bits = 4.0, average_activation_bits = 4.0;  ///< its budgets
  std::int64_t file_bytes = 0;  ///< when above 0, instead of average_weight_bits: what the .igq file may take
  std::filesystem::path perturbation_cache;  ///< keeps measured perturbations; empty: nowhere, or in `state`
  /// Folder that keeps finished layers until the caller removes it (calibration_state.h), so that a run that was
  /// interrupted goes on from there; empty: none. The result is the same.
  std::filesystem::path state;
};

/// Whether options.groups changes anything: not with one quantizer per layer or per channel, nor where integer scales
/// take every multiple that fits a byte (up to 5 bits).
bool groups_matter(const QuantizeOptions& options);

/// The job in one line, every setting that decides the result: stored as provenance.
std::string job_text(const QuantizeJob& job);

/// Images for calibration, from files or from memory (synthetic).
struct CalibrationSet {
  std::int64_t count = 0;
  std::int64_t held_back = 0;  ///< images count, count + 1, ... of `load` that only measure the result
  std::function<void(std::int64_t, float*)> load;  ///< fills a normalised image
  std::string checksum;                            ///< "xxh3:..." over the calibration images in their order
};

/// `samples` as the model's preprocessing gives them. The files are read once here for the checksum.
CalibrationSet calibration_from_files(const Model& model, std::vector<Sample> samples,
                                      const std::vector<Sample>& held_back = {});
/// Which images of a folder calibrate and which are held back to measure the result.
struct CalibrationSplit {
  std::vector<Sample> calibration, held_back;
};

/// `samples` images calibrate and `held_back` of those left over measure (below 0: up to 32). Where fewer than 8 would
/// be left over by `held_back` below 0, a quarter of the folder, at most 8 images, is kept from calibration; of fewer
/// than 16 images none is. A choice of choose_samples() for the seed.
CalibrationSplit split_calibration(const ImageFolder& folder, int samples, int held_back, std::uint64_t seed);
/// Synthetic images (eval/benchmark.h), for models with random weights.
CalibrationSet synthetic_calibration(const Model& model, std::int64_t count, std::uint64_t seed);

/// Called before each stage ("calibrating", "measuring") with its number of units; the function it returns hears of
/// progress.
using StageProgress = std::function<std::function<void(std::int64_t)>(const std::string& stage, std::int64_t units)>;

/// progress(name, units), or a function that does nothing where `progress` is empty.
std::function<void(std::int64_t)> begin_stage(const StageProgress& progress, const std::string& name,
                                              std::int64_t units);

struct QuantizeReport {
  QuantizedModel model;
  std::optional<Allocation> allocation;          ///< when the job asks for it
  std::optional<BitAllocation> bit_allocation;   ///< likewise
  std::optional<Reconstruction> reconstruction;  ///< when the options ask for it; vectors are in `model`
  Comparison noise;                              ///< float against integers on the images that measure
  Verdict verdict;                               ///< of `noise`
  std::vector<std::string> notes;                ///< what the user should know of the calibration, in words
  int resumed_layers = 0;                        ///< that an interrupted run had finished
  std::size_t calibration_bytes = 0;             ///< largest memory of the statistics
};

/// Quantizes `float_model`, which is left with the resulting plan and biases (restore_float undoes that).
/// `noise_images`: how many images measure the error of each site for the report; 0: nothing is measured. The verdict
/// is on all images held back, or on so many calibration images when none are. The same input, options and seed give
/// the same result for any number of threads.
QuantizeReport quantize_model(LoadedModel& float_model, const CalibrationSet& images, const QuantizeJob& job, Isa isa,
                              int threads, std::int64_t noise_images, const StageProgress& progress = {});

/// How `plan` quantizes the site of this shape; float without a plan (null) or where the plan leaves it out.
SiteSetting planned_setting(const SiteShape& shape, const QuantizationPlan* plan);

/// Undoes what quantize_model did to a float model: builds it anew from its tensors unless it has no plan.
void restore_float(LoadedModel& float_model);

/// 10^9 bit operations per image (allocation/bops.h) of the network of these sites under `plan`; null: float.
double model_gbops(std::span<const SiteShape> shapes, const QuantizationPlan* plan);

/// What an allocation of the job measures, without a cache.
PerturbationOptions perturbation_options(const QuantizeJob& job);
/// Bits as the job asks for them. `tensors` are those of the float network: with QuantizeJob::file_bytes what stays
/// float comes off first. Error when a budget is too small.
BitAllocation allocate_all_bits(std::span<const SiteShape> shapes, const std::map<std::string, Shape>& tensors,
                                const Perturbations& measured, const QuantizeJob& job);

}  // namespace igq
