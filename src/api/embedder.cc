// The public class that gives vectors; see include/igq/embedder.h.
#include "igq/embedder.h"

#include <algorithm>

#include "base/memory_reserve.h"
#include "base/normalize_rows.h"
#include "base/processors.h"
#include "models/runner.h"
#include "guarded.h"
#include "session.h"
#include "source.h"

namespace igq {

struct Embedder::Impl {
  LoadedModel loaded;
  Runner runner;

  Impl(LoadedModel model, Execution execution, Isa isa, int threads)
      : loaded(std::move(model)), runner(*loaded.model, execution, isa, threads, ModelOutput::kEmbedding) {}
  const ModelConfig& config() const { return loaded.model->config(); }
};

Embedder::Embedder(const std::filesystem::path& model, const ClassifierOptions& options) {
  guarded([&] {
    const MemoryReserve reserve;
    check_threads(options.threads);
    const DefaultThreads threads(options.threads);
    const Isa isa = parse_isa(options.isa);
    LoadedModel loaded = load_for(model, options);
    const Execution execution = choose_execution(loaded, options.execution);
    loaded.prepare_only(execution, kernels::kernels_for(isa));
    impl_ = std::make_unique<Impl>(std::move(loaded), execution, isa, options.threads);
  });
}

Embedder::~Embedder() = default;
Embedder::Embedder(Embedder&& other) noexcept = default;
Embedder& Embedder::operator=(Embedder&& other) noexcept = default;

int Embedder::width() const { return embedding_width(impl_->config()); }
int Embedder::image_height() const { return impl_->config().image_height; }
int Embedder::image_width() const { return impl_->config().image_width; }
const std::string& Embedder::architecture() const { return impl_->config().architecture; }

void Embedder::embed(const ImageSource& image, std::span<float> out, bool normalize) {
  embed(std::span(&image, 1), out, normalize);
}

void Embedder::embed(std::span<const ImageSource> images, std::span<float> out, bool normalize,
                     std::vector<std::string>* errors) {
  guarded([&] {
    const auto values = static_cast<std::size_t>(width());
    if (out.size() != images.size() * values) {
      fail("room for {} values was given, {} vectors of {} values need {}", out.size(), images.size(), values,
           images.size() * values);
    }
    if (errors != nullptr) errors->assign(images.size(), {});
    impl_->runner.run_each(
        static_cast<std::int64_t>(images.size()),
        [&](std::int64_t i, float* pixels) {
          const auto at = static_cast<std::size_t>(i);
          try {
            preprocess_source(images[at], impl_->config().preprocess, image_height(), image_width(), pixels);
            return true;
          } catch (const Error& error) {
            if (errors == nullptr) throw;
            (*errors)[at] = error.what();
            std::fill_n(out.data() + at * values, values, 0.0f);
            return false;
          }
        },
        [&](std::int64_t i, std::span<const float> vector) {
          std::copy(vector.begin(), vector.end(), out.data() + static_cast<std::size_t>(i) * values);
        });
    if (normalize) normalize_rows(out, values);
  });
}

}  // namespace igq
