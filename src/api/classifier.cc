// The public class on top of models and eval; see include/igq/igq.h.
#include "igq/igq.h"

#include "base/fail.h"
#include "base/finite.h"
#include "eval/evaluate.h"
#include "classifier_impl.h"
#include "guarded.h"

namespace igq {
namespace {

constexpr const char* kClassifier = "classifier predicts";

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
    std::shared_ptr<Session> session = open_session(model, options);
    if (session->config().num_classes == 0)
      fail("{} is an encoder without a head, so it predicts no classes: igq::Embedder gives its vectors",
           model.string());
    impl_ = std::make_unique<Impl>(std::move(session), options.threads);
  });
}

Classifier::Classifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&& other) noexcept = default;
Classifier& Classifier::operator=(Classifier&& other) noexcept = default;

Classifier Classifier::share(int threads) const {
  return guarded([&] {
    check_threads(threads);
    return Classifier(std::make_unique<Impl>(impl_->session, threads));
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
    const Use use(impl_->user, kClassifier);
    return rank(run_one(impl_->runner, image), topk);
  });
}

std::vector<Prediction> Classifier::rank(std::span<const float> values, int topk) const {
  return guarded([&] { return ranked(values, topk, impl_->config()); });
}

std::span<const float> Classifier::logits(std::span<const float> image) {
  return guarded([&] {
    const Use use(impl_->user, kClassifier);
    return run_one(impl_->runner, image);
  });
}

void Classifier::logits(std::span<const ImageSource> images, std::span<float> out, std::vector<std::string>* errors) {
  guarded([&] {
    const Use use(impl_->user, kClassifier);
    impl_->loading_seconds = run_sources(*impl_->session, impl_->runner,
                                         {images, out, static_cast<std::size_t>(num_classes()), "the logits", errors});
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
  guarded([&] { load_for_model(*impl_->session, image, out); });
}

int Classifier::num_classes() const { return impl_->config().num_classes; }
int Classifier::image_height() const { return impl_->config().image_height; }
int Classifier::image_width() const { return impl_->config().image_width; }
std::size_t Classifier::image_floats() const {
  return static_cast<std::size_t>(impl_->session->loaded.model->image_floats());
}
const std::string& Classifier::architecture() const { return impl_->config().architecture; }
const std::vector<std::string>& Classifier::labels() const { return impl_->config().labels; }
std::string Classifier::execution() const { return std::string(execution_name(impl_->session->execution)); }
std::string Classifier::isa() const { return std::string(isa_name(impl_->session->isa)); }

double Classifier::loading_seconds() const { return impl_->loading_seconds; }

std::string version() { return IGQ_VERSION; }

}  // namespace igq
