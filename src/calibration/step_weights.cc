#include "calibration/step_weights.h"

namespace igq {

void prepare_simulated(Model& model, int step, const kernels::Kernels& kernels) {
  for (const Site& site : model.sites())
    if (site.step == step && site.linear != nullptr) site.linear->prepare(Execution::kSimulate, kernels);
}

void forget_simulated(Model& model, int step) {
  const std::shared_ptr<const QuantizationPlan> plan = model.shared_plan();
  for (const Site& site : model.sites()) {
    if (site.step != step || site.linear == nullptr || site.linear->plan() == nullptr) continue;
    // Attached anew, a plan has nothing prepared.
    site.linear->set_plan(std::shared_ptr<const LinearPlan>(plan, site.linear->plan()));
  }
}

}  // namespace igq
