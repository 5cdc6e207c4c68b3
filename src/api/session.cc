#include "session.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/fail.h"
#include "base/memory_reserve.h"
#include "base/processors.h"
#include "io/preprocess.h"
#include "source.h"

namespace igq {
namespace {

Execution choose_execution(const LoadedModel& model, const std::string& wanted) {
  const bool has_plan = model.model->plan() != nullptr;
  if (wanted.empty()) return has_plan ? Execution::kInteger : Execution::kFloat;
  const Execution execution = parse_execution(wanted);
  if (execution != Execution::kFloat && !has_plan) {
    fail("{} is a float model, which cannot run as '{}': quantize it first with `igq quantize`", model.name, wanted);
  }
  return execution;
}

LoadedModel load_for(const std::filesystem::path& path, const ClassifierOptions& options) {
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

}  // namespace

std::shared_ptr<Session> open_session(const std::filesystem::path& path, const ClassifierOptions& options) {
  const MemoryReserve reserve;
  check_threads(options.threads);
  const DefaultThreads threads(options.threads);
  auto session = std::make_shared<Session>();
  session->isa = parse_isa(options.isa);
  session->loaded = load_for(path, options);
  session->execution = choose_execution(session->loaded, options.execution);
  session->loaded.prepare_only(session->execution, kernels::kernels_for(session->isa));
  return session;
}

void check_threads(int threads) {
  if (threads < 0 || threads > 1024) fail("{} threads: give 1 to 1024, or 0 for one per processor", threads);
}

void load_for_model(const Session& session, const ImageSource& image, std::span<float> out) {
  const ModelConfig& config = session.config();
  const auto floats = static_cast<std::size_t>(session.loaded.model->image_floats());
  if (out.size() != floats) {
    fail("room for {} values was given, an image of 3 x {} x {} has {}", out.size(), config.image_height,
         config.image_width, floats);
  }
  preprocess_source(image, config.preprocess, config.image_height, config.image_width, out.data());
}

double run_sources(const Session& session, Runner& runner, const SourceBatch& batch) {
  using Clock = std::chrono::steady_clock;
  const std::size_t needed = batch.images.size() * batch.values;
  if (batch.out.size() != needed) {
    fail("room for {} values was given, {} of {} values each of {} images need {}", batch.out.size(), batch.what,
         batch.values, batch.images.size(), needed);
  }
  if (batch.errors != nullptr) batch.errors->assign(batch.images.size(), {});
  std::atomic<std::int64_t> nanoseconds{0};
  const auto floats = static_cast<std::size_t>(session.loaded.model->image_floats());
  runner.run_each(
      static_cast<std::int64_t>(batch.images.size()),
      [&](std::int64_t i, float* pixels) {
        const auto at = static_cast<std::size_t>(i);
        const Clock::time_point start = Clock::now();
        bool good = true;
        try {
          load_for_model(session, batch.images[at], {pixels, floats});
        } catch (const Error& error) {
          if (batch.errors == nullptr) throw;
          (*batch.errors)[at] = error.what();
          std::fill_n(batch.out.data() + at * batch.values, batch.values, 0.0f);
          good = false;
        }
        nanoseconds += std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
        return good;
      },
      [&](std::int64_t i, std::span<const float> row) {
        std::copy(row.begin(), row.end(), batch.out.data() + static_cast<std::size_t>(i) * batch.values);
      });
  return static_cast<double>(nanoseconds.load()) / 1e9;
}

Use::Use(std::atomic<int>& user, const char* what) : user_(user) {
  const int self = ::getpid();
  int before = 0;
  while (!user_.compare_exchange_weak(before, self, std::memory_order_acquire)) {
    if (before == self) fail("this {} in another thread already: give each thread one of its own, by share()", what);
  }
}

}  // namespace igq
