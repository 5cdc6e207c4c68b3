#include "models/model.h"

#include <algorithm>
#include <set>

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

int Model::find_site(const std::string& name) const {
  const auto it = std::find_if(sites_.begin(), sites_.end(), [&](const Site& s) { return s.name == name; });
  return it == sites_.end() ? -1 : static_cast<int>(it - sites_.begin());
}

void Model::add_site(Linear& linear, int step, int rows, bool first_or_last) {
  linear.set_site(static_cast<int>(sites_.size()));
  Site site;
  site.name = linear.name();
  site.step = step;
  site.linear = &linear;
  site.max_rows = rows;
  site.first_or_last = first_or_last;
  sites_.push_back(site);
}

void Model::add_site(Attention& attention, int step, int tokens, int windows) {
  attention.set_site(static_cast<int>(sites_.size()));
  Site site;
  site.name = attention.name();
  site.step = step;
  site.attention = &attention;
  site.max_rows = tokens;
  site.windows = windows;
  sites_.push_back(site);
}

void Model::set_plan(std::shared_ptr<const QuantizationPlan> plan) {
  if (plan != nullptr) {
    std::set<std::string> linears, attentions;
    for (const Site& site : sites_) (site.linear != nullptr ? linears : attentions).insert(site.name);
    auto check = [&](const std::set<std::string>& known, const std::string& name) {
      if (!known.contains(name))
        fail("the quantization plan names the site '{}', which {} does not have", name, config_.architecture);
    };
    for (const auto& [name, unused] : plan->linears) check(linears, name);
    for (const auto& [name, unused] : plan->attentions) check(attentions, name);
  }
  for (const Site& site : sites_) {
    if (site.linear != nullptr) {
      const auto it = plan == nullptr ? decltype(plan->linears.end()){} : plan->linears.find(site.name);
      const bool found = plan != nullptr && it != plan->linears.end();
      site.linear->set_plan(found ? std::shared_ptr<const LinearPlan>(plan, &it->second) : nullptr);
    } else {
      const auto it = plan == nullptr ? decltype(plan->attentions.end()){} : plan->attentions.find(site.name);
      const bool found = plan != nullptr && it != plan->attentions.end();
      site.attention->set_plan(found ? std::shared_ptr<const AttentionPlan>(plan, &it->second) : nullptr);
    }
  }
  plan_ = std::move(plan);
}

void Model::prepare(Execution execution, const kernels::Kernels& kernels) {
  for (const Site& site : sites_)
    if (site.linear != nullptr) site.linear->prepare(execution, kernels);
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
