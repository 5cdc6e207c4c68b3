#include "allocation/bops.h"

#include <algorithm>

#include "calibration/slot_ratios.h"

namespace igq {
namespace {

constexpr std::int64_t kFloatBits = 32;

/// bits_of() by name; it does not look at the layers of a site.
SiteBits bits_of_shape(const SiteShape& shape, const QuantizeOptions& options) {
  Site site;
  site.name = shape.name;
  site.first_or_last = shape.first_or_last;
  site.output = shape.output;
  return bits_of(site, options);
}

int code_bits(int bits) { return bits > 8 ? static_cast<int>(kFloatBits) : bits; }

/// Channels of an FC input or rows of a softmax: what groups are made of.
std::int64_t members(const SiteShape& shape) { return shape.attention ? shape.tokens : shape.in; }

bool is_grouped(Grouping grouping) {
  return grouping == Grouping::kIgq || grouping == Grouping::kScale || grouping == Grouping::kStaticGroup;
}

/// The scales are all multiples that fit a byte (slot_ratios), whatever options.groups says.
bool byte_ratios_at(const SiteShape& shape, const SiteSetting& setting, const QuantizeOptions& options) {
  return options.integer_ratios && !shape.attention && setting.grouping == Grouping::kScale &&
         ratios_fit_byte(setting.activation_bits);
}

}  // namespace

SiteSetting site_setting(const SiteShape& shape, const QuantizeOptions& options) {
  const SiteBits bits = bits_of_shape(shape, options);
  SiteSetting setting;
  if (bits.is_float()) return setting;
  setting.activation_bits = code_bits(bits.activation);
  if (shape.attention) {
    const bool float_qkv = options.qkv_grouping.value_or(default_qkv_grouping(options.grouping)) == QkvGrouping::kFloat;
    setting.weight_bits = float_qkv ? static_cast<int>(kFloatBits) : setting.activation_bits;
    setting.grouping = options.softmax_grouping.value_or(options.grouping);
  } else {
    setting.weight_bits = code_bits(bits.weight);
    // As plan_input(): pixels and single rows have one quantizer.
    setting.grouping = shape.first_or_last || shape.rows == 1 ? Grouping::kLayer : options.grouping;
  }
  if (setting.activation_bits == kFloatBits) setting.grouping = Grouping::kFloat;
  if (setting.grouping == Grouping::kFloat) setting.activation_bits = static_cast<int>(kFloatBits);
  if (setting.grouping == Grouping::kUpperBound) setting.groups = static_cast<int>(members(shape));
  if (is_grouped(setting.grouping)) {
    const auto given = options.site_groups.find(shape.name);
    const int groups = given == options.site_groups.end() ? options.groups : given->second;
    setting.groups = std::clamp(groups, 1, static_cast<int>(members(shape)));
    if (byte_ratios_at(shape, setting, options)) setting.groups = slot_multiple(setting.activation_bits);
  }
  return setting;
}

bool has_group_choice(const SiteShape& shape, const QuantizeOptions& options) {
  if (byte_ratios_at(shape, site_setting(shape, options), options)) return false;
  return is_grouped(site_setting(shape, options).grouping) && members(shape) > 1;
}

bool has_bit_choice(const SiteShape& shape, const QuantizeOptions& options) {
  if (shape.first_or_last || site_setting(shape, options).grouping == Grouping::kFloat) return false;
  QuantizeOptions other = options;
  other.allocated_bits.clear();
  other.weight_bits = other.activation_bits = 2;
  const SiteBits two = bits_of_shape(shape, other);
  other.weight_bits = other.activation_bits = 3;
  const SiteBits three = bits_of_shape(shape, other);
  return two.weight != three.weight;
}

SiteBops site_bops(const SiteShape& shape, const SiteSetting& setting) {
  SiteBops bops;
  bops.name = shape.name;
  bops.attention = shape.attention;
  bops.setting = setting;
  const std::int64_t w = setting.weight_bits, a = setting.activation_bits, groups = setting.groups;
  const bool assigned = setting.grouping == Grouping::kIgq || setting.grouping == Grouping::kScale;
  const bool ranged = assigned || setting.grouping == Grouping::kUpperBound;
  if (shape.attention) {
    const std::int64_t maps = shape.windows * shape.heads;
    bops.products = shape.macs() / 2 * (w * w + a * w);
    if (groups > 1 && ranged) bops.grouping += kFloatBits * maps * shape.tokens * shape.keys;
    if (groups > 1 && assigned) bops.grouping += kFloatBits * maps * 3 * shape.tokens * groups;
    return bops;
  }
  bops.products = shape.macs() * w * a;
  if (groups > 1) bops.additions = kFloatBits * groups * shape.rows * shape.out;
  if (groups > 1 && ranged)
    bops.grouping += kFloatBits * 2 * (shape.input_rows > 0 ? shape.input_rows : shape.rows) * shape.in;
  if (groups > 1 && assigned) bops.grouping += kFloatBits * 6 * shape.in * groups;
  return bops;
}

double BopsTable::overhead_percent() const {
  return one_group == 0 ? 0.0 : 100.0 * static_cast<double>(total - one_group) / static_cast<double>(one_group);
}

BopsTable count_bops(std::span<const SiteShape> shapes, const QuantizeOptions& options) {
  BopsTable table;
  for (const SiteShape& shape : shapes) {
    SiteSetting setting = site_setting(shape, options);
    table.sites.push_back(site_bops(shape, setting));
    table.total += table.sites.back().total();
    setting.groups = 1;
    table.one_group += site_bops(shape, setting).total();
    table.float_total += site_bops(shape, {}).total();
  }
  return table;
}

}  // namespace igq
