// What the public classes share: loading by ClassifierOptions, and calls that calculate as a process at its start
// would.
#pragma once

#include <filesystem>
#include <string>

#include "base/fail.h"
#include "igq/igq.h"
#include "models/load_model.h"

namespace igq {

inline Execution choose_execution(const LoadedModel& model, const std::string& wanted) {
  const bool has_plan = model.model->plan() != nullptr;
  if (wanted.empty()) return has_plan ? Execution::kInteger : Execution::kFloat;
  const Execution execution = parse_execution(wanted);
  if (execution != Execution::kFloat && !has_plan) {
    fail("{} is a float model, which cannot run as '{}': quantize it first with `igq quantize`", model.name, wanted);
  }
  return execution;
}

inline LoadedModel load_for(const std::filesystem::path& path, const ClassifierOptions& options) {
  CheckpointOptions checkpoint;
  checkpoint.architecture = options.architecture;
  checkpoint.image_height = options.image_height;
  checkpoint.image_width = options.image_width;
  LoadedModel loaded = load_model(path, checkpoint);
  if (!options.orientation.empty() && options.orientation != "auto") {
    PreprocessConfig preprocess = loaded.model->config().preprocess;
    preprocess.orientation = parse_orientation(options.orientation);
    loaded.model->set_preprocess(preprocess);
  }
  return loaded;
}

inline void check_threads(int threads) {
  if (threads < 0 || threads > 1024) fail("{} threads: give 1 to 1024, or 0 for one per processor", threads);
}

}  // namespace igq
