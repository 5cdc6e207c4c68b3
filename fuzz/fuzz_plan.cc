// The plan of an .igq file: any JSON either reads to a plan that passes its own checks and is written back unchanged,
// or is an Error. Weights, which are no part of the JSON, are filled in where they are small.

#include "base/json.h"
#include "fuzz/fuzz.h"
#include "io/json_fields.h"
#include "models/plan_json.h"
#include "quant/weight_groups.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    const nlohmann::json stored = parse_json(text);
    std::map<std::string, WeightShape> shapes;
    QuantizationPlan plan = plan_from_json(stored, shapes);
    for (const auto& [site, shape] : shapes) {
      WeightPlan& weight = plan.linears.at(site).weight;
      if (std::int64_t{shape.in} * shape.out > 4096) return;  // right, but slow
      const int bits = weight.bits, group_size = weight.group_size;
      if (group_size != 0) {
        weight = make_grouped_plan(shape.in, shape.out, bits, group_size);
        for (auto& m : weight.multiplier) m = 1;
        expand_group_codes(weight, AlignedBuffer<std::int8_t>(static_cast<std::size_t>(shape.in) * shape.out));
      } else {
        weight.codes.resize_zero(static_cast<std::size_t>(shape.in) * static_cast<std::size_t>(shape.out));
        weight.zero_point.assign(static_cast<std::size_t>(shape.out), 1);
      }
      weight.scale.assign(static_cast<std::size_t>(shape.out), 0.5f);
    }
    check_plan(plan);
    std::map<std::string, WeightShape> again_shapes;
    const nlohmann::json written = plan_to_json(plan);
    const QuantizationPlan again = plan_from_json(written, again_shapes);
    if (again_shapes.size() != shapes.size() || again.attentions.size() != plan.attentions.size()) std::abort();
    if (plan_to_json(again).at("attentions") != written.at("attentions")) std::abort();
  });
  return 0;
}
