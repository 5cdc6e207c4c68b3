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

nlohmann::json better_plans_to_json(const std::vector<BetterPlan>& better) {
  nlohmann::json sites = nlohmann::json::array();
  for (const BetterPlan& b : better)
    sites.push_back({{"site", b.site}, {"error_of_groups", b.planned}, {"error_of_one", b.layer}});
  return sites;
}

std::vector<BetterPlan> take_better_plans(const CalibrationPasses& passes, const Statistics& statistics,
                                          const QuantizeOptions& options, QuantizationPlan& plan) {
  const auto sites = passes.network->sites();
  QuantizeOptions single = options;
  single.grouping = Grouping::kLayer;
  single.softmax_grouping = Grouping::kLayer;
  const auto planned_of = [&](const Site& site) -> ActivationPlan* {
    if (site.has_weights()) {
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
    both->layer = site.has_weights() ? plan_input(site, statistics.linear(id), single, 1)
                                     : plan_attention(site, statistics.attention(id), single, 1).softmax;
    both->errors.emplace(id, std::vector<const ActivationPlan*>{planned, &both->layer},
                         site.has_weights() ? std::make_shared<const std::vector<float>>(column_powers(site)) : nullptr,
                         *passes.kernels, site.has_weights() && site.taps() > 1);
    measured[i] = std::move(both);
  }
  AllSites observer(measured);
  for (std::int64_t i = 0; i < passes.images; ++i) {
    passes.run(i, observer);
    for (const auto& both : measured) {
      if (both == nullptr) continue;
      const std::vector<double> errors = both->errors->take();
      both->planned_sum += errors[0];
      both->layer_sum += errors[1];
    }
  }
  std::vector<BetterPlan> better;
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (measured[i] == nullptr || !(measured[i]->layer_sum < measured[i]->planned_sum)) continue;
    const auto count = static_cast<double>(passes.images);
    better.push_back({sites[i].name, measured[i]->planned_sum / count, measured[i]->layer_sum / count});
    *planned_of(sites[i]) = std::move(measured[i]->layer);
  }
  return better;
}

std::vector<BetterPlan> take_better_plans(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                                          std::int64_t images, const std::function<void(std::int64_t, float*)>& load,
                                          QuantizationPlan& plan) {
  return take_better_plans(runner_passes(runner, images, load), statistics, options, plan);
}

}  // namespace igq
