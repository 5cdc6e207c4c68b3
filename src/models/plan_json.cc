#include "models/plan_json.h"

#include <algorithm>
#include <cmath>

#include "base/fail.h"
#include "io/bit_pack.h"
#include "io/json_fields.h"
#include "quant/weight_groups.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxGroups = 4096;
constexpr std::size_t kMaxSites = 1 << 16;
constexpr int kMaxPlanWidth = 1 << 24;

json bounds_to_json(const std::vector<Bounds>& groups) {
  json out = json::array();
  for (const Bounds& b : groups) out.push_back({float_to_json(b.lower), float_to_json(b.upper)});
  return out;
}

std::vector<Bounds> bounds_from_json(const json& in, const char* what) {
  std::vector<Bounds> groups;
  for (const json& pair : json_array(in, what, kMaxGroups)) {
    if (json_array(pair, what, 2).size() != 2) fail("'{}' has bounds that are not a pair", what);
    groups.push_back({json_float(pair[0], what), json_float(pair[1], what)});
  }
  return groups;
}

json activation_to_json(const ActivationPlan& plan) {
  json out{{"grouping", grouping_name(plan.grouping)}, {"bits", plan.bits}, {"groups", bounds_to_json(plan.groups)}};
  if (plan.unclipped) out["unclipped"] = true;
  if (plan.from_image) out["from_image"] = true;
  if (plan.multiples.empty()) return out;
  out["multiples"] = plan.multiples;
  out["unit"] = float_to_json(plan.unit);
  return out;
}

int bits_from_json(const json& in, int min) {
  return static_cast<int>(json_int(json_at(in, "bits"), "bits", min, kMaxCodeBits));
}

/// A field that is left out where it is false.
bool flag_from_json(const json& in, const char* name) {
  const auto at = in.find(name);
  if (at == in.end()) return false;
  if (!at->is_boolean()) fail("'{}' is neither true nor false", name);
  return at->get<bool>();
}

ActivationPlan activation_from_json(const json& in) {
  ActivationPlan plan;
  plan.grouping = parse_grouping(json_string(json_at(in, "grouping"), "grouping"));
  plan.bits = bits_from_json(in, kMinCodeBits);
  plan.groups = bounds_from_json(json_at(in, "groups"), "groups");
  json_only(in, "an input", {"grouping", "bits", "groups", "multiples", "unit", "unclipped", "from_image"});
  plan.unclipped = flag_from_json(in, "unclipped");
  plan.from_image = flag_from_json(in, "from_image");
  const auto multiples = in.find("multiples");
  if (multiples == in.end()) return plan;
  for (const json& m : json_array(*multiples, "multiples", kMaxGroups))
    plan.multiples.push_back(static_cast<std::int32_t>(json_int(m, "multiples", 1, kMaxMultiple)));
  plan.unit = json_float(json_at(in, "unit"), "unit");
  return plan;
}

void check_bits(int bits) {
  if (bits < kMinCodeBits || bits > kMaxCodeBits) fail("{} bits, 2 to 8 are possible", bits);
}

void check_bounds(const std::vector<Bounds>& groups, std::size_t min, std::size_t max) {
  if (groups.size() < min || groups.size() > max) {
    fail("{} groups, its grouping has {} to {}", groups.size(), min, max);
  }
  for (const Bounds& b : groups) {
    if (!std::isfinite(b.lower) || !std::isfinite(b.upper) || b.lower > b.upper) {
      fail("bounds [{}, {}] are not finite or not in order", b.lower, b.upper);
    }
    if (!std::isfinite(std::max(b.upper, 0.0f) - std::min(b.lower, 0.0f)))
      fail("bounds [{}, {}] are too far apart for a quantizer", b.lower, b.upper);
  }
}

void check_multiples(const ActivationPlan& plan) {
  if (plan.multiples.empty()) return;
  if (plan.grouping != Grouping::kScale) fail("multiples of a unit beside grouping '{}'", grouping_name(plan.grouping));
  if (plan.multiples.size() != plan.groups.size())
    fail("{} multiples for {} groups", plan.multiples.size(), plan.groups.size());
  if (!std::isnormal(plan.unit) || plan.unit < 0.0f || !std::isfinite(1.0f / plan.unit) ||
      !std::isfinite(plan.unit * static_cast<float>(kMaxMultiple)))
    fail("unit {} is no scale", plan.unit);
  std::int32_t last = 1;
  for (const std::int32_t m : plan.multiples) {
    if (m < last || m > kMaxMultiple) fail("multiples are not ascending from 1 to {}", kMaxMultiple);
    last = m;
  }
}

void check_activation(const ActivationPlan& plan) {
  check_bits(plan.bits);
  check_multiples(plan);
  if (plan.unclipped && plan.grouping != Grouping::kScale)
    fail("'unclipped' beside grouping '{}', it belongs to 'scale'", grouping_name(plan.grouping));
  if (plan.from_image && plan.grouping != Grouping::kLayer)
    fail("'from_image' beside grouping '{}', it belongs to 'layer'", grouping_name(plan.grouping));
  switch (plan.grouping) {
    case Grouping::kFloat:
    case Grouping::kUpperBound:
      return check_bounds(plan.groups, 0, 0);
    case Grouping::kLayer:
      return check_bounds(plan.groups, 1, 1);
    case Grouping::kStaticGroup:
    case Grouping::kIgq:
      return check_bounds(plan.groups, 1, kMaxGroups);
    case Grouping::kScale:
      break;
  }
  check_bounds(plan.groups, 1, kMaxGroups);
  float last = 0.0f;
  for (const Bounds& b : plan.groups) {
    if (b.lower != 0.0f || b.upper < last) fail("bounds [{}, {}] are not scales in ascending order", b.lower, b.upper);
    last = b.upper;
  }
}

void check_softmax(const ActivationPlan& plan) {
  check_activation(plan);
  if (plan.unclipped || plan.from_image || !plan.multiples.empty()) fail("a softmax with fields of an FC input");
}

void check_qkv(const QkvPlan& plan) {
  check_bits(plan.bits);
  if (plan.centred && plan.grouping == QkvGrouping::kFloat) fail("'centred' beside grouping 'float'");
  if (plan.centred_k && plan.grouping != QkvGrouping::kRow)
    fail("'centred_k' beside grouping '{}', it belongs to 'row'", qkv_grouping_name(plan.grouping));
  const bool fixed = plan.grouping == QkvGrouping::kTensor || plan.grouping == QkvGrouping::kHead;
  const std::size_t max = plan.grouping == QkvGrouping::kHead ? kMaxGroups : fixed ? 1 : 0;
  for (const auto* bounds : {&plan.q, &plan.k, &plan.v}) {
    check_bounds(*bounds, fixed ? 1 : 0, max);
    if (bounds->size() != plan.q.size()) fail("q, k and v have different numbers of bounds");
  }
}

void check_weight(const WeightPlan& plan) {
  const std::size_t out = plan.scale.size();
  if (plan.bits == 0) {
    if (out != 0 || !plan.zero_point.empty() || !plan.codes.empty()) fail("a float weight has codes");
    return;
  }
  check_bits(plan.bits);
  if (out == 0 || plan.codes.empty() || plan.zero_point.size() != out || plan.codes.size() % out != 0) {
    fail("{} codes, {} scales and {} zero-points do not fit each other", plan.codes.size(), out,
         plan.zero_point.size());
  }
  for (const float s : plan.scale) {
    if (!std::isfinite(s) || s <= 0.0f) fail("weight scale {} is not a positive number", s);
    if (!std::isfinite(s * static_cast<float>(code_max(kMaxCodeBits))))
      fail("weight scale {} makes weights infinite", s);
  }
  for (const std::int32_t z : plan.zero_point) {
    if (z < 0 || z > code_max(plan.code_bits())) fail("zero-point {} is not a code of {} bits", z, plan.code_bits());
    if (plan.group_size != 0 && z != 128) fail("zero-point {} beside those of weight groups", z);
  }
  check_weight_groups(plan);
}

}  // namespace

void at_site(const std::string& site, const std::function<void()>& body) {
  std::string fault;
  try {
    body();
    return;
  } catch (const UnknownField& e) {
    throw UnknownField(fmt::format("site {}: {}", site, e.what()));
  } catch (const Error& e) {
    fault = e.what();
  }
  fail("site {}: {}", site, fault);
}

json plan_to_json(const QuantizationPlan& plan) {
  json linears = json::object(), attentions = json::object();
  for (const auto& [site, linear] : plan.linears) {
    json weight{{"bits", linear.weight.bits}};
    if (linear.weight.bits != 0) {
      const std::size_t out = linear.weight.scale.size();
      weight["in"] = out == 0 ? 0 : linear.weight.codes.size() / out;
      weight["out"] = out;
      if (linear.weight.group_size != 0) weight["group_size"] = linear.weight.group_size;
    }
    linears[site] = {{"input", activation_to_json(linear.input)}, {"weight", std::move(weight)}};
  }
  for (const auto& [site, attention] : plan.attentions) {
    const QkvPlan& qkv = attention.qkv;
    attentions[site] = {{"qkv",
                         {{"grouping", qkv_grouping_name(qkv.grouping)},
                          {"bits", qkv.bits},
                          {"q", bounds_to_json(qkv.q)},
                          {"k", bounds_to_json(qkv.k)},
                          {"v", bounds_to_json(qkv.v)}}},
                        {"softmax", activation_to_json(attention.softmax)}};
    if (qkv.centred) attentions[site]["qkv"]["centred"] = true;
    if (qkv.centred_k) attentions[site]["qkv"]["centred_k"] = true;
  }
  return {{"linears", std::move(linears)}, {"attentions", std::move(attentions)}};
}

QuantizationPlan plan_from_json(const json& in, std::map<std::string, WeightShape>& weight_shapes) {
  QuantizationPlan plan;
  json_only(in, "the plan", {"linears", "attentions"});
  const auto sites = [&in](const char* kind) -> const json& {
    const json& found = json_at(in, kind);
    if (!found.is_object()) fail("'{}' is not an object of sites", kind);
    if (found.size() > kMaxSites) fail("'{}' has {} sites, at most {} are allowed", kind, found.size(), kMaxSites);
    return found;
  };
  for (const auto& [site, entry] : sites("linears").items()) {
    at_site(site, [&, &name = site, &value = entry] {
      LinearPlan& linear = plan.linears[name];
      linear.input = activation_from_json(json_at(value, "input"));
      check_activation(linear.input);
      const json& weight = json_at(value, "weight");
      json_only(value, "the plan", {"input", "weight"});
      json_only(weight, "the weight", {"bits", "in", "out", "group_size"});
      linear.weight.bits = bits_from_json(weight, 0);
      if (linear.weight.bits == 0) return;
      check_bits(linear.weight.bits);
      weight_shapes[name] = {static_cast<int>(json_int(json_at(weight, "in"), "in", 1, kMaxPlanWidth)),
                             static_cast<int>(json_int(json_at(weight, "out"), "out", 1, kMaxPlanWidth))};
      const auto grouped = weight.find("group_size");
      if (grouped == weight.end()) return;
      linear.weight.group_size = static_cast<int>(json_int(*grouped, "group_size", 1, kMaxPlanWidth));
      if (linear.weight.bits > kMaxGroupedBits)
        fail("weight groups of {} bits, 2 to {} are possible", linear.weight.bits, kMaxGroupedBits);
    });
  }
  for (const auto& [site, entry] : sites("attentions").items()) {
    at_site(site, [&, &name = site, &value = entry] {
      AttentionPlan& attention = plan.attentions[name];
      const json& qkv = json_at(value, "qkv");
      json_only(value, "the plan", {"qkv", "softmax"});
      json_only(qkv, "'qkv'", {"grouping", "bits", "q", "k", "v", "centred", "centred_k"});
      attention.qkv.centred = flag_from_json(qkv, "centred");
      attention.qkv.centred_k = flag_from_json(qkv, "centred_k");
      attention.qkv.grouping = parse_qkv_grouping(json_string(json_at(qkv, "grouping"), "grouping"));
      attention.qkv.bits = bits_from_json(qkv, kMinCodeBits);
      attention.qkv.q = bounds_from_json(json_at(qkv, "q"), "q");
      attention.qkv.k = bounds_from_json(json_at(qkv, "k"), "k");
      attention.qkv.v = bounds_from_json(json_at(qkv, "v"), "v");
      check_qkv(attention.qkv);
      attention.softmax = activation_from_json(json_at(value, "softmax"));
      check_softmax(attention.softmax);
    });
  }
  return plan;
}

void check_plan(const QuantizationPlan& plan) {
  for (const auto& [site, linear] : plan.linears) {
    at_site(site, [&value = linear] {
      check_activation(value.input);
      check_weight(value.weight);
    });
  }
  for (const auto& [site, attention] : plan.attentions) {
    at_site(site, [&value = attention] {
      check_qkv(value.qkv);
      check_softmax(value.softmax);
    });
  }
}

}  // namespace igq
