#include "allocation_lines.h"

#include <fmt/format.h>

#include "pipeline/groups_in_use.h"

namespace igq::cli {

std::string groups_line(const QuantizeFlags& flags, const QuantizationPlan& plan) {
  const GroupsInUse used = groups_in_use(plan);
  if (used.most == 0) return {};
  const QuantizeJob job = flags.job();
  const bool chosen = job.allocate || !groups_matter(job.options);
  return fmt::format("groups per layer: {}\n", groups_text(chosen ? "" : flags.groups, used));
}

std::string bits_line(const std::optional<BitAllocation>& allocation) {
  if (!allocation) return {};
  return fmt::format(
      "bits per layer chosen by measurement: weights {:.2f} of {:.2f} MB, activations {:.2f} of {:.2f} GBOPs, "
      "divergence {:.2g} instead of {:.2g} with the same bits everywhere\n",
      static_cast<double>(allocation->weight_size) / 8e6, static_cast<double>(allocation->weight_budget) / 8e6,
      static_cast<double>(allocation->bops) / 1e9, static_cast<double>(allocation->bops_budget) / 1e9,
      allocation->divergence, allocation->uniform_divergence);
}

}  // namespace igq::cli
