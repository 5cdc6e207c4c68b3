// Which flags of a quantization change nothing: they are refused, so that no row, file or report bears a label that did
// not decide it.
#include <algorithm>
#include <array>

#include "base/fail.h"
#include "quantize_flags.h"

namespace igq::cli {
namespace {

constexpr std::array kOptions{"--bits",
                              "--groups",
                              "--preset",
                              "--grouping",
                              "--average-groups",
                              "--budget-gbops",
                              "--average-bits",
                              "--file-size",
                              "--measure-all",
                              "--perturbation-cache",
                              "--weights",
                              "--balance",
                              "--scales",
                              "--views",
                              "--ridge",
                              "--reconstruct",
                              "--bounds",
                              "--softmax",
                              "--qkv",
                              "--first-last-bits",
                              "--weight-quantile",
                              "--weight-groups",
                              "--keep",
                              "--site-bits"};

/// Whether any site may have from `least` to `most` bits of weights.
bool some_weight_bits(const QuantizeJob& job, int least, int most) {
  const QuantizeOptions& o = job.options;
  const auto within = [&](int bits) { return bits >= least && bits <= most; };
  return job.allocate_bits || within(o.weight_bits) || within(o.first_last_bits) ||
         std::any_of(o.site_bits.begin(), o.site_bits.end(), [&](const auto& s) { return within(s.second.first); });
}

}  // namespace

bool QuantizeFlags::given(const std::string& option) const {
  const CLI::Option* found = app_ == nullptr ? nullptr : app_->get_option_no_throw(option);
  return found != nullptr && found->count() > 0;
}

std::string QuantizeFlags::first_given() const {
  const auto found = std::find_if(kOptions.begin(), kOptions.end(), [&](const char* o) { return given(o); });
  return found == kOptions.end() ? "" : *found;
}

std::vector<std::string> QuantizeFlags::without_effect() const {
  const QuantizeJob job = this->job();
  const QuantizeOptions& o = job.options;
  const Grouping rows = o.softmax_grouping.value_or(o.grouping);
  const bool measures = job.allocate || job.allocate_bits;
  std::vector<std::string> lines;
  const auto check = [&](const char* option, bool has_effect, const char* why) {
    if (given(option) && !has_effect) lines.push_back(std::string(option) + " has no effect " + why);
  };
  if (with_grid_ && !job.allocate && groups != QuantizeFlags().groups)  // the default may be said aloud
    check("--groups", groups_matter(o),
          o.grouping == Grouping::kScale
              ? "here: integer scales take every multiple that fits a byte at up to 5 bits; leave it out, or add "
                "--scales free"
              : "here: every layer has one quantizer, or every channel its own; leave it out");
  check("--average-groups", job.allocate && job.budget_gbops == 0.0, "without --groups auto, or beside --budget-gbops");
  check("--budget-gbops", job.allocate && !job.allocate_bits, "without --groups auto, or with --bits auto");
  check("--average-bits", job.allocate_bits, "without --bits auto");
  check("--file-size", job.allocate_bits, "without --bits auto");
  check("--measure-all", measures, "without --groups auto or --bits auto");
  check("--perturbation-cache", measures, "without --groups auto or --bits auto");
  check("--bounds", o.grouping == Grouping::kIgq || rows == Grouping::kIgq,
        "without igq groups: they alone have bounds; add --grouping igq");
  check("--scales", o.grouping == Grouping::kScale, "without groups that share a scale: add --grouping scale");
  check("--views", o.weights != WeightMethod::kNearest, "on weights rounded to nearest (--weights rtn)");
  check("--ridge", o.weights != WeightMethod::kNearest, "on weights rounded to nearest (--weights rtn)");
  check("--weight-quantile", o.weights == WeightMethod::kNearest,
        "on weights rounded second order, whose clipping is searched: add --weights rtn");
  if (o.weight_groups != 0)
    check("--weight-groups", some_weight_bits(job, 2, 4),
          "on weights of more than 4 bits: no multiplier fits beside them");
  return lines;
}

void QuantizeFlags::check_effects() const {
  if (const std::vector<std::string> lines = without_effect(); !lines.empty())
    throw CLI::ValidationError(lines.front());
}

}  // namespace igq::cli
