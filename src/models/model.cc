#include "models/model.h"

#include "base/fail.h"
#include "base/finite.h"
#include "models/config_check.h"
#include "models/swin.h"
#include "models/vit.h"

namespace igq {

void Model::forward(ExecContext& context, const float* image, StepState& state) const {
  const WorkTimer timer(context, Work::kOther);
  state.image = image;
  context.arena.reset();
  for (int step = 0; step < steps(); ++step) run_step(context, step, state);
}

void check_numbers(std::span<const float> values, const ModelConfig& config) {
  if (all_finite(values)) return;
  fail(
      "{} computes values that are not finite for this image: its weights or the image are too large for float; make "
      "the "
      "model anew",
      config.architecture);
}

std::optional<PixelScale> Model::pixels() const {
  const PreprocessConfig& p = config_.preprocess;
  if (config_.in_channels != 3) return std::nullopt;
  PixelScale scale;
  for (std::size_t c = 0; c < 3; ++c) {
    scale.mean[c] = static_cast<float>(p.mean[c]);
    scale.std[c] = static_cast<float>(p.std[c]);
  }
  return scale;
}

void Model::add_site(Linear& linear, int step, int rows, bool first_or_last) {
  Site site;
  site.step = step;
  site.linear = &linear;
  site.max_rows = rows;
  site.first_or_last = first_or_last;
  Network::add_site(std::move(site));
}

void Model::add_site(Attention& attention, int step, int tokens, int windows) {
  Site site;
  site.step = step;
  site.attention = &attention;
  site.max_rows = tokens;
  site.windows = windows;
  Network::add_site(std::move(site));
}

std::unique_ptr<Model> build_model(const ModelConfig& config, const TensorSource& tensors,
                                   std::shared_ptr<const QuantizationPlan> plan) {
  check_config(config);
  const ModelBuilder builder(tensors, plan);
  std::unique_ptr<Model> model;
  if (config.family == Family::kSwin)
    model = std::make_unique<Swin>(config, builder);
  else
    model = std::make_unique<Vit>(config, builder);
  if (plan != nullptr) model->set_plan(std::move(plan));
  return model;
}

int pooled_width(const VitConfig& config) { return config.concat_pool ? 2 * config.embed_dim : config.embed_dim; }

int embedding_width(const ModelConfig& config) {
  if (config.family == Family::kSwin) return config.swin.embed_dim << (config.swin.depths.size() - 1);
  if (config.vit.projection > 0) return config.vit.projection;
  return pooled_width(config.vit);
}

int token_width(const ModelConfig& config) {
  return config.family == Family::kSwin ? embedding_width(config) : config.vit.embed_dim;
}

int output_width(const ModelConfig& config) {
  return config.num_classes > 0 ? config.num_classes : embedding_width(config);
}

std::map<std::string, Shape> expected_tensors(const ModelConfig& config) {
  return config.family == Family::kSwin ? swin_tensors(config) : vit_tensors(config);
}

}  // namespace igq
