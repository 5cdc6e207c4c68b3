// What the public classes of networks share: a loaded model that is ready to run, a batch of images through a runner,
// and the guard against use from two threads.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "igq/igq.h"
#include "models/load_model.h"
#include "models/runner.h"

namespace igq {

/// A model and how it runs; any number of runners may use one. Preparing a model again for the same execution changes
/// nothing, so runners may be added while others run.
struct Session {
  LoadedModel loaded;
  Execution execution = Execution::kFloat;
  Isa isa = Isa::kReference;

  const ModelConfig& config() const { return loaded.model->config(); }
};

/// Error: as the constructor of Classifier.
std::shared_ptr<Session> open_session(const std::filesystem::path& path, const ClassifierOptions& options);

/// Error unless 0 to 1024.
void check_threads(int threads);

/// Normalised values of an image as the session's model takes them. Error when `out` has another size.
void load_for_model(const Session& session, const ImageSource& image, std::span<float> out);

/// Every image through `runner`, `values` numbers of each into `out`. With `errors` a bad image leaves its row zero and
/// its text there; without, the first bad one is thrown. Returns the seconds that all threads together read, decoded
/// and resized. `what` names a row in the error of a wrong size.
struct SourceBatch {
  std::span<const ImageSource> images;
  std::span<float> out;
  std::size_t values = 0;
  const char* what = "";
  std::vector<std::string>* errors = nullptr;
};
double run_sources(const Session& session, Runner& runner, const SourceBatch& batch);

/// Holds an object for one call; Error when another thread holds it. What a process held when it was forked is nobody's
/// in the child.
class Use {
 public:
  Use(std::atomic<int>& user, const char* what);
  ~Use() { user_.store(0, std::memory_order_release); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  std::atomic<int>& user_;
};

}  // namespace igq
