#include "pipeline/quantize_settings.h"

#include <charconv>
#include <string_view>
#include <tuple>

#include "base/fail.h"
#include "calibration/site_pattern.h"
#include "calibration/views.h"

namespace igq {
namespace {

template <typename Number>
Number number_from(const std::string& flag, const std::string& text, Number least, Number most) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most))
    fail("{} is '{}', not a number from {} to {}", flag, text, least, most);
  return value;
}

bool switch_from(const std::string& flag, const std::string& text) {
  if (text != "true" && text != "false") fail("{} is '{}', not true or false", flag, text);
  return text == "true";
}

/// `text`, which `parse` accepts.
template <typename Parse>
std::string checked(const std::string& text, Parse parse) {
  parse(text);
  return text;
}

}  // namespace

std::pair<int, int> parse_bits(const std::string& text) {
  auto digit = [&](std::size_t i) { return text[i] >= '2' && text[i] <= '8'; };
  if (text.size() != 4 || text[0] != 'w' || text[2] != 'a' || !digit(1) || !digit(3))
    fail("'{}' does not say bits: write w4a4 for 4-bit weights and 4-bit activations, 2 to 8 each", text);
  return {text[1] - '0', text[3] - '0'};
}

int parse_groups(const std::string& text) {
  if (text == "auto") return 0;
  int groups = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), groups);
  if (error != std::errc{} || end != text.data() + text.size() || groups < 1 || groups > 1024)
    fail("'{}' is no number of groups: write 1 to 1024, or auto", text);
  return groups;
}

Grouping parse_softmax(const std::string& text) { return parse_grouping(text == "row" ? "upper-bound" : text); }

std::pair<std::string, std::pair<int, int>> parse_site_bits(const std::string& text) {
  const auto equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) fail("'{}' is not REGEX=w6a6", text);
  site_pattern(text.substr(0, equals));
  return {text.substr(0, equals), parse_bits(text.substr(equals + 1))};
}

std::pair<double, double> parse_average_bits(const std::string& text) {
  const auto number = [&](std::string_view part) {
    double value = 0.0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc{} || end != part.data() + part.size() || !(value >= 2.0 && value <= 8.0))
      fail(
          "'{}' is no average of bits: write a number from 2 to 8, or one each for weights and activations, e.g. "
          "w3.5a4",
          text);
    return value;
  };
  const std::string_view all = text;
  const auto a = all.find('a');
  if (all.starts_with('a')) return {4.0, number(all.substr(1))};
  if (!all.starts_with('w') || a == std::string_view::npos) return {number(all), number(all)};
  return {number(all.substr(1, a - 1)), number(all.substr(a + 1))};
}

std::uint64_t parse_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc{} || end != text.data() + text.size())
    fail("'{}' is no seed: write a number from 0 to 2^64 - 1", text);
  return seed;
}

void QuantizeSettings::set(const std::string& name, const std::string& value) {
  const auto count = [&](int least, int most) { return number_from(name, value, least, most); };
  const auto number = [&](double least, double most) { return number_from(name, value, least, most); };
  if (name == "bits")
    bits = value == "auto" ? value : checked(value, parse_bits);
  else if (name == "groups")
    groups = checked(value, parse_groups);
  else if (name == "preset")
    preset = checked(value, parse_preset);
  else if (name == "grouping")
    grouping = checked(value, parse_grouping);
  else if (name == "average-groups")
    average_groups = count(1, 1024);
  else if (name == "budget-gbops")
    budget_gbops = number(1e-6, 1e9);
  else if (name == "average-bits")
    average_bits = checked(value, parse_average_bits);
  else if (name == "file-size")
    file_size = number(1e-3, 1e6);
  else if (name == "perturbation-cache")
    perturbation_cache = value;
  else if (name == "measure-all")
    measure_all = switch_from(name, value);
  else if (name == "bounds")
    bounds = checked(value, parse_group_bounds);
  else if (name == "weights")
    weights = checked(value, parse_weight_method);
  else if (name == "softmax")
    softmax = checked(value, parse_softmax);
  else if (name == "qkv")
    qkv = checked(value, parse_qkv_grouping);
  else if (name == "first-last-bits" && value == "32")
    first_last_bits = 32;
  else if (name == "first-last-bits")
    first_last_bits = count(2, 8);
  else if (name == "weight-quantile")
    weight_quantile = number(0.0, 0.2);
  else if (name == "weight-groups")
    weight_groups = count(0, 4096);
  else if (name == "keep")
    keep = checked(value, site_pattern);
  else if (name == "site-bits")
    site_bits.push_back(checked(value, parse_site_bits));
  else if (name == "balance")
    balance = switch_from(name, value);
  else if (name == "centre-v")
    centre_v = switch_from(name, value);
  else if (name == "centre-k")
    centre_k = switch_from(name, value);
  else if (name == "scales" && value != "integer" && value != "free")
    fail("scales is '{}', not integer or free", value);
  else if (name == "scales")
    scales = value;
  else if (name == "views")
    views = count(1, kMaxViews);
  else if (name == "ridge")
    ridge = number(1e-6, 1e3);
  else if (name == "reconstruct")
    reconstruct = switch_from(name, value);
  else if (name == "reconstruct-minutes")
    reconstruct_minutes = number(0.0, 1e6);
  else if (name == "seed")
    seed = parse_seed(value);
  else
    fail("'{}' is no option of quantize: `igq quantize --help` lists them", name);
}

QuantizeJob QuantizeSettings::job() const {
  QuantizeJob job;
  QuantizeOptions& o = job.options;
  // A named grouping alone means that setting of the paper's table.
  const Preset base = preset.empty() ? (grouping.empty() ? Preset::kBest : Preset::kPaper) : parse_preset(preset);
  o = preset_options(base);
  job.allocate_bits = bits == "auto";
  std::tie(o.weight_bits, o.activation_bits) = parse_bits(job.allocate_bits ? "w8a8" : bits);
  std::tie(job.average_weight_bits, job.average_activation_bits) =
      parse_average_bits(average_bits.empty() ? "4" : average_bits);
  job.file_bytes = static_cast<std::int64_t>(file_size * 1e6);
  job.measure_all = measure_all;
  o.first_last_bits = first_last_bits;
  if (!grouping.empty()) o.grouping = parse_grouping(grouping);
  o.balance = o.balance || balance;
  o.centre_v = o.centre_v || centre_v;
  o.centre_k = o.centre_k || centre_k;
  if (!scales.empty())
    o.integer_ratios = scales == "integer";
  else if (parse_groups(groups) == 0)
    o.integer_ratios = false;  // all multiples that fit a byte leave nothing to allocate
  o.views = views;
  o.ridge = ridge;
  o.reconstruct = reconstruct;
  o.reconstruct_minutes = reconstruct_minutes;
  job.allocate = parse_groups(groups) == 0;
  if (!job.allocate) o.groups = parse_groups(groups);
  if (job.allocate && job.allocate_bits) o.groups = average_groups;  // the budget's
  job.average_groups = average_groups;
  job.budget_gbops = budget_gbops;
  job.perturbation_cache = perturbation_cache;
  if (!bounds.empty()) o.bounds = parse_group_bounds(bounds);
  if (!weights.empty()) o.weights = parse_weight_method(weights);
  if (!softmax.empty()) o.softmax_grouping = parse_softmax(softmax);
  if (!qkv.empty()) o.qkv_grouping = parse_qkv_grouping(qkv);
  if (weight_quantile) o.weight_quantile = *weight_quantile;
  if (weight_groups) o.weight_groups = *weight_groups;
  o.seed = seed;
  o.keep = keep;
  for (const std::string& text : site_bits) o.site_bits.push_back(parse_site_bits(text));
  return job;
}

}  // namespace igq
