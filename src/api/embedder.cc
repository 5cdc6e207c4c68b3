// The public class that gives vectors; see include/igq/embedder.h.
#include "igq/embedder.h"

#include "base/fail.h"
#include "base/normalize_rows.h"
#include "classifier_impl.h"
#include "guarded.h"
#include "session.h"

namespace igq {
namespace {

constexpr const char* kEmbedder = "embedder runs";

}  // namespace

struct Embedder::Impl {
  std::shared_ptr<Session> session;
  int threads;
  std::unique_ptr<Runner> vectors, tokens;  ///< made when they are first asked for
  std::atomic<int> user{0};                 ///< the process that embeds with it at the moment
  double loading_seconds = 0.0;

  Impl(std::shared_ptr<Session> opened, int wanted) : session(std::move(opened)), threads(wanted) {}
  const ModelConfig& config() const { return session->config(); }

  Runner& runner(std::unique_ptr<Runner>& slot, ModelOutput output) {
    if (slot == nullptr)
      slot = std::make_unique<Runner>(*session->loaded.model, session->execution, session->isa, threads, output);
    return *slot;
  }
};

Embedder::Embedder(const std::filesystem::path& model, const ClassifierOptions& options) {
  guarded([&] { impl_ = std::make_unique<Impl>(open_session(model, options), options.threads); });
}

Embedder::Embedder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Embedder::~Embedder() = default;
Embedder::Embedder(Embedder&& other) noexcept = default;
Embedder& Embedder::operator=(Embedder&& other) noexcept = default;

Embedder Embedder::share(int threads) const {
  return guarded([&] {
    check_threads(threads);
    return Embedder(std::make_unique<Impl>(impl_->session, threads));
  });
}

Classifier Embedder::classifier(int threads) const {
  return guarded([&] {
    check_threads(threads);
    if (num_classes() == 0)
      fail("{} is an encoder without a head, so it predicts no classes: it has vectors", impl_->session->loaded.name);
    return Classifier(std::make_unique<Classifier::Impl>(impl_->session, threads));
  });
}

int Embedder::width() const { return embedding_width(impl_->config()); }
int Embedder::tokens() const { return impl_->session->loaded.model->output_tokens(); }
int Embedder::token_width() const { return igq::token_width(impl_->config()); }
int Embedder::num_classes() const { return impl_->config().num_classes; }
int Embedder::image_height() const { return impl_->config().image_height; }
int Embedder::image_width() const { return impl_->config().image_width; }
std::size_t Embedder::image_floats() const {
  return static_cast<std::size_t>(impl_->session->loaded.model->image_floats());
}
const std::string& Embedder::architecture() const { return impl_->config().architecture; }
std::string Embedder::execution() const { return std::string(execution_name(impl_->session->execution)); }
std::string Embedder::isa() const { return std::string(isa_name(impl_->session->isa)); }
double Embedder::loading_seconds() const { return impl_->loading_seconds; }

void Embedder::embed(const ImageSource& image, std::span<float> out, bool normalize) {
  embed(std::span(&image, 1), out, normalize);
}

void Embedder::embed(std::span<const ImageSource> images, std::span<float> out, bool normalize,
                     std::vector<std::string>* errors) {
  guarded([&] {
    const Use use(impl_->user, kEmbedder);
    const auto values = static_cast<std::size_t>(width());
    impl_->loading_seconds = run_sources(*impl_->session, impl_->runner(impl_->vectors, ModelOutput::kEmbedding),
                                         {images, out, values, "the vectors", errors});
    if (normalize) normalize_rows(out, values);
  });
}

void Embedder::features(std::span<const ImageSource> images, std::span<float> out, std::vector<std::string>* errors) {
  guarded([&] {
    const Use use(impl_->user, kEmbedder);
    const std::size_t values = static_cast<std::size_t>(tokens()) * static_cast<std::size_t>(token_width());
    impl_->loading_seconds = run_sources(*impl_->session, impl_->runner(impl_->tokens, ModelOutput::kTokens),
                                         {images, out, values, "the tokens", errors});
  });
}

void Embedder::load_image(const ImageSource& image, std::span<float> out) const {
  guarded([&] { load_for_model(*impl_->session, image, out); });
}

}  // namespace igq
