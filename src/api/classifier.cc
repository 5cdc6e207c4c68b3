// The public class on top of models and eval; see include/igq/igq.h.
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/fail.h"
#include "base/finite.h"
#include "base/memory_reserve.h"
#include "base/processors.h"
#include "eval/evaluate.h"
#include "igq/igq.h"
#include "io/preprocess.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "guarded.h"
#include "session.h"
#include "source.h"

namespace igq {
struct Classifier::Impl {
  std::shared_ptr<LoadedModel> loaded;
  Execution execution;
  Runner runner;
  std::atomic<int> user{0};  ///< the process that predicts with it at the moment

  /// Preparing a model again for the same execution changes nothing, so runners may be added while others run.
  Impl(std::shared_ptr<LoadedModel> model, Execution how, Isa isa, int threads)
      : loaded(std::move(model)), execution(how), runner(*loaded->model, execution, isa, threads) {}
  const ModelConfig& config() const { return loaded->model->config(); }
};

namespace {

/// Holds a classifier for one prediction; Error when another thread holds it. What a process held when it was forked is
/// nobody's in the child.
class Use {
 public:
  explicit Use(std::atomic<int>& user) : user_(user) {
    const int self = ::getpid();
    int before = 0;
    while (!user_.compare_exchange_weak(before, self, std::memory_order_acquire)) {
      if (before == self)
        fail("this classifier predicts in another thread already: give each thread one of its own, by share()");
    }
  }
  ~Use() { user_.store(0, std::memory_order_release); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  std::atomic<int>& user_;
};

}  // namespace

namespace {

std::span<const float> run_one(Runner& runner, std::span<const float> image) {
  const ModelConfig& config = runner.model().config();
  const auto floats = static_cast<std::size_t>(runner.model().image_floats());
  if (image.size() != floats) {
    fail("an image of {} values was given, the model takes 3 x {} x {} = {}", image.size(), config.image_height,
         config.image_width, floats);
  }
  if (!all_finite(image)) fail("the image that was given holds values that are not finite");
  return runner.run(image.data());
}

std::vector<Prediction> ranked(std::span<const float> values, int topk, const ModelConfig& config) {
  if (values.size() != static_cast<std::size_t>(config.num_classes))
    fail("{} logits were given, the model has {} classes", values.size(), config.num_classes);
  const std::vector<double> scores = class_scores(values, config.scores);
  const std::vector<std::string>& names = config.labels;
  std::vector<Prediction> predictions;
  for (const int c : rank_classes(values, topk)) {
    const auto at = static_cast<std::size_t>(c);
    predictions.push_back({c, at < names.size() ? names[at] : std::string(), scores[at], values[at]});
  }
  return predictions;
}

}  // namespace

Classifier::Classifier(const std::filesystem::path& model, const ClassifierOptions& options) {
  guarded([&] {
    const MemoryReserve reserve;
    check_threads(options.threads);
    const DefaultThreads threads(options.threads);
    const Isa isa = parse_isa(options.isa);
    auto loaded = std::make_shared<LoadedModel>(load_for(model, options));
    if (loaded->model->config().num_classes == 0)
      fail("{} is an encoder without a head, so it predicts no classes: igq::Embedder gives its vectors",
           model.string());
    const Execution execution = choose_execution(*loaded, options.execution);
    loaded->prepare_only(execution, kernels::kernels_for(isa));
    impl_ = std::make_unique<Impl>(std::move(loaded), execution, isa, options.threads);
  });
}

Classifier::Classifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&& other) noexcept = default;
Classifier& Classifier::operator=(Classifier&& other) noexcept = default;

Classifier Classifier::share(int threads) const {
  return guarded([&] {
    check_threads(threads);
    return Classifier(std::make_unique<Impl>(impl_->loaded, impl_->execution, impl_->runner.isa(), threads));
  });
}

std::vector<Prediction> Classifier::predict(const std::filesystem::path& image, int topk) {
  return predict(load_image(image), topk);
}

std::vector<Prediction> Classifier::predict(const ImageSource& image, int topk) {
  return guarded([&] {
    std::vector<float> values(image_floats());
    load_image(image, values);
    return predict(values, topk);
  });
}

std::vector<Prediction> Classifier::predict(std::span<const float> image, int topk) {
  return guarded([&] {
    const Use use(impl_->user);
    return rank(run_one(impl_->runner, image), topk);
  });
}

std::vector<Prediction> Classifier::rank(std::span<const float> values, int topk) const {
  return guarded([&] { return ranked(values, topk, impl_->config()); });
}

std::span<const float> Classifier::logits(std::span<const float> image) {
  return guarded([&] {
    const Use use(impl_->user);
    return run_one(impl_->runner, image);
  });
}

void Classifier::logits(std::span<const ImageSource> images, std::span<float> out, std::vector<std::string>* errors) {
  guarded([&] {
    const Use use(impl_->user);
    const auto classes = static_cast<std::size_t>(num_classes());
    if (out.size() != images.size() * classes) {
      fail("room for {} logits was given, {} images of {} classes need {}", out.size(), images.size(), classes,
           images.size() * classes);
    }
    if (errors != nullptr) errors->assign(images.size(), {});
    impl_->runner.run_each(
        static_cast<std::int64_t>(images.size()),
        [&](std::int64_t i, float* values) {
          const auto at = static_cast<std::size_t>(i);
          try {
            load_image(images[at], {values, image_floats()});
            return true;
          } catch (const Error& error) {
            if (errors == nullptr) throw;
            (*errors)[at] = error.what();
            std::fill_n(out.data() + at * classes, classes, 0.0f);
            return false;
          }
        },
        [&](std::int64_t i, std::span<const float> row) {
          std::copy(row.begin(), row.end(), out.data() + static_cast<std::size_t>(i) * classes);
        });
  });
}

std::vector<float> Classifier::load_image(const std::filesystem::path& image) const {
  return guarded([&] {
    std::vector<float> values(image_floats());
    load_image(ImageSource::file(image), values);
    return values;
  });
}

void Classifier::load_image(const ImageSource& image, std::span<float> out) const {
  guarded([&] {
    if (out.size() != image_floats()) {
      fail("room for {} values was given, an image of 3 x {} x {} has {}", out.size(), image_height(), image_width(),
           image_floats());
    }
    preprocess_source(image, impl_->config().preprocess, image_height(), image_width(), out.data());
  });
}

int Classifier::num_classes() const { return impl_->config().num_classes; }
int Classifier::image_height() const { return impl_->config().image_height; }
int Classifier::image_width() const { return impl_->config().image_width; }
std::size_t Classifier::image_floats() const { return static_cast<std::size_t>(impl_->loaded->model->image_floats()); }
const std::string& Classifier::architecture() const { return impl_->config().architecture; }
const std::vector<std::string>& Classifier::labels() const { return impl_->config().labels; }
std::string Classifier::execution() const { return std::string(execution_name(impl_->execution)); }
std::string Classifier::isa() const { return std::string(isa_name(impl_->runner.isa())); }

std::string version() { return IGQ_VERSION; }

}  // namespace igq
