#include "allocation/better_plans.h"

#include <memory>
#include <optional>

#include "allocation/site_error.h"

namespace igq {
namespace {

/// Whether a plan has quantizers that a single one of calibration's range could be better than.
bool has_groups(const ActivationPlan& plan) {
  return plan.grouping == Grouping::kStaticGroup || plan.grouping == Grouping::kIgq ||
         plan.grouping == Grouping::kScale || plan.grouping == Grouping::kUpperBound;
}

/// The errors of two plans of one site over all images.
struct Measured {
  ActivationPlan layer;
  std::optional<SiteErrors> errors;
  double planned_sum = 0.0, layer_sum = 0.0;
};

class AllSites final : public SiteObserver {
 public:
  explicit AllSites(std::vector<std::unique_ptr<Measured>>& sites) : sites_(sites) {}
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override {
    if (Measured* measured = sites_[static_cast<std::size_t>(site)].get(); measured != nullptr)
      measured->errors->on_tensor(site, operand, part, x, ld, rows, cols);
  }

 private:
  std::vector<std::unique_ptr<Measured>>& sites_;
};

}  // namespace

std::vector<BetterPlan> take_better_plans(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                                          std::int64_t images, const std::function<void(std::int64_t, float*)>& load,
                                          QuantizationPlan& plan) {
  const Model& model = runner.model();
  const kernels::Kernels& kernels = kernels::kernels_for(runner.isa());
  const auto& sites = model.sites();
  QuantizeOptions single = options;
  single.grouping = Grouping::kLayer;
  single.softmax_grouping = Grouping::kLayer;
  const auto planned_of = [&](const Site& site) -> ActivationPlan* {
    if (site.linear != nullptr) {
      const auto found = plan.linears.find(site.name);
      return found == plan.linears.end() ? nullptr : &found->second.input;
    }
    const auto found = plan.attentions.find(site.name);
    return found == plan.attentions.end() ? nullptr : &found->second.softmax;
  };
  std::vector<std::unique_ptr<Measured>> measured(sites.size());
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const Site& site = sites[i];
    const ActivationPlan* planned = planned_of(site);
    if (planned == nullptr || !has_groups(*planned)) continue;
    const int id = static_cast<int>(i);
    auto both = std::make_unique<Measured>();
    both->layer = site.linear != nullptr ? plan_input(site, statistics.linear(id), single, 1)
                                         : plan_attention(site, statistics.attention(id), single, 1).softmax;
    both->errors.emplace(
        id, std::vector<const ActivationPlan*>{planned, &both->layer},
        site.linear != nullptr ? std::make_shared<const std::vector<float>>(column_powers(*site.linear)) : nullptr,
        kernels);
    measured[i] = std::move(both);
  }
  AllSites observer(measured);
  AlignedBuffer<float> image(static_cast<std::size_t>(model.image_floats()));
  runner.context().observer = &observer;
  for (std::int64_t i = 0; i < images; ++i) {
    load(i, image.data());
    runner.run(image.data());
    for (const auto& both : measured) {
      if (both == nullptr) continue;
      const std::vector<double> errors = both->errors->take();
      both->planned_sum += errors[0];
      both->layer_sum += errors[1];
    }
  }
  runner.context().observer = nullptr;
  std::vector<BetterPlan> better;
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (measured[i] == nullptr || !(measured[i]->layer_sum < measured[i]->planned_sum)) continue;
    const auto count = static_cast<double>(images);
    better.push_back({sites[i].name, measured[i]->planned_sum / count, measured[i]->layer_sum / count});
    *planned_of(sites[i]) = std::move(measured[i]->layer);
  }
  return better;
}

}  // namespace igq
