// The settings of a quantization in one line, as the .igq file remembers them and as the rows of a table are keyed.
#include "base/fail.h"
#include "calibration/slot_ratios.h"
#include "pipeline/quantize_model.h"

namespace igq {

bool groups_matter(const QuantizeOptions& o) {
  const auto matter = [&](Grouping grouping, bool inputs) {
    if (grouping == Grouping::kScale) {
      bool some = !(inputs && o.integer_ratios && ratios_fit_byte(o.activation_bits));
      for (const auto& [pattern, bits] : o.site_bits) some = some || !ratios_fit_byte(bits.second);
      return some;
    }
    return grouping == Grouping::kIgq || grouping == Grouping::kStaticGroup;
  };
  return matter(o.grouping, true) || matter(o.softmax_grouping.value_or(o.grouping), false);
}

std::string job_text(const QuantizeJob& job) {
  const QuantizeOptions& o = job.options;
  const QkvGrouping qkv = o.qkv_grouping.value_or(default_qkv_grouping(o.grouping));
  std::string text;
  if (!job.allocate_bits)
    text = fmt::format("--bits w{}a{}", o.weight_bits, o.activation_bits);
  else if (job.file_bytes > 0)
    text = fmt::format("--bits auto --average-bits a{} --file-size {}", job.average_activation_bits,
                       static_cast<double>(job.file_bytes) / 1e6);
  else
    text = fmt::format("--bits auto --average-bits w{}a{}", job.average_weight_bits, job.average_activation_bits);
  text += fmt::format(" --grouping {}", grouping_name(o.grouping));
  if (!job.allocate && groups_matter(o))
    text += fmt::format(" --groups {}", o.groups);
  else if (job.allocate && job.budget_gbops > 0.0)
    text += fmt::format(" --groups auto --budget-gbops {}", job.budget_gbops);
  else if (job.allocate)
    text += fmt::format(" --groups auto --average-groups {}", job.average_groups);
  if (job.measure_all) text += " --measure-all";
  text +=
      fmt::format(" --weights {} --bounds {} --softmax {} --qkv {} --first-last-bits {} --weight-quantile {} --seed {}",
                  weight_method_name(o.weights), group_bounds_name(o.bounds),
                  grouping_name(o.softmax_grouping.value_or(o.grouping)), qkv_grouping_name(qkv), o.first_last_bits,
                  o.weight_quantile, o.seed);
  if (o.weight_groups != 0) text += fmt::format(" --weight-groups {}", o.weight_groups);
  if (o.grouping == Grouping::kScale) text += o.integer_ratios ? " --scales integer" : " --scales free";
  if (o.balance) text += " --balance";
  if (o.centre_v) text += " --centre-v";
  if (o.centre_k) text += " --centre-k";
  if (o.weights != WeightMethod::kNearest) text += fmt::format(" --views {} --ridge {}", o.views, o.ridge);
  if (o.reconstruct) text += " --reconstruct";
  if (o.reconstruct && o.reconstruct_minutes > 0.0)
    text += fmt::format(" --reconstruct-minutes {}", o.reconstruct_minutes);
  if (!o.keep.empty()) text += fmt::format(" --keep '{}'", o.keep);
  for (const auto& [pattern, bits] : o.site_bits)
    text += fmt::format(" --site-bits '{}=w{}a{}'", pattern, bits.first, bits.second);
  return text;
}

}  // namespace igq
