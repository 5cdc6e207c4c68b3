#include "models/igq_file.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "io/igq_container.h"
#include "io/json_fields.h"
#include "models/check_tensors.h"
#include "models/config_json.h"
#include "models/igq_tensors.h"

namespace igq {

using nlohmann::json;

Provenance provenance_from_json(const nlohmann::json& in) {
  const auto text = [&in](const char* key) { return json_string(json_at(in, key), key); };
  Provenance p;
  p.source = text("source");
  p.source_checksum = text("source_checksum");
  p.calibration_checksum = text("calibration_checksum");
  p.calibration_images = json_int(json_at(in, "calibration_images"), "calibration_images", 0, INT64_MAX);
  p.seed = json_uint64(json_at(in, "seed"), "seed");
  p.tool_version = text("tool_version");
  p.settings = text("settings");
  return p;
}

json provenance_to_json(const Provenance& p) {
  return {{"source", p.source},
          {"source_checksum", p.source_checksum},
          {"calibration_checksum", p.calibration_checksum},
          {"calibration_images", p.calibration_images},
          {"seed", p.seed},
          {"tool_version", p.tool_version},
          {"settings", p.settings}};
}

namespace {

void save(const std::filesystem::path& path, const QuantizedModel& model, bool overwrite, bool part) {
  assert(model.tensors != nullptr);
  TensorList tensors;
  json config = config_to_json(model.config);
  std::string fault;
  try {
    config_from_json(config);  // what cannot be read back is not written
    check_plan(model.plan);
    std::map<std::string, Shape> floats, codes;
    for (const auto& [site, linear] : model.plan.linears) {
      if (linear.weight.bits == 0) continue;
      tensors.add_codes(site, linear.weight);
      const auto out = static_cast<std::int64_t>(linear.weight.scale.size());
      codes[site] = {static_cast<std::int64_t>(linear.weight.codes.size()) / out, out};
    }
    for (const auto& [name, shape] : model.tensors->shapes()) {
      if (name.find(':') != std::string::npos) fail("tensor '{}' has a colon in its name", name);
      constexpr std::string_view kWeight = ".weight";
      if (name.ends_with(kWeight)) {
        const auto linear = model.plan.linears.find(name.substr(0, name.size() - kWeight.size()));
        if (linear != model.plan.linears.end() && linear->second.weight.bits != 0) continue;
      }
      tensors.add_floats(name, *model.tensors);
      floats[name] = shape;
    }
    check_quantized(floats, codes, model.config, model.plan, part);
  } catch (const Error& e) {
    fault = e.what();
  }
  if (!fault.empty()) fail("cannot write {}: {}", path.string(), fault);
  json header{{"config", std::move(config)},
              {"plan", plan_to_json(model.plan)},
              {"provenance", provenance_to_json(model.provenance)},
              {"report", model.report}};
  write_container(path, std::move(header), tensors.entries(), version_for(model.plan), overwrite);
}

QuantizedModel load(const std::filesystem::path& path, bool part) {
  const ContainerReader container(path);
  QuantizedModel model;
  std::map<std::string, WeightShape> shapes;
  if (container.header().contains("detector"))
    fail("{} is a detector: igq predict, eval --coco, compare, inspect and bench take it", path.string());
  reading(path, [&] {
    const json& header = container.header();
    model.config = config_from_json(json_at(header, "config"));
    model.plan = plan_from_json(json_at(header, "plan"), shapes);
    model.provenance = provenance_from_json(json_at(header, "provenance"));
    model.report = json_at(header, "report");
  });
  std::unique_ptr<TensorLoader> loader;
  reading(path, [&] {
    loader = std::make_unique<TensorLoader>(container, path, shapes, model.plan);
    std::map<std::string, Shape> codes;
    for (const auto& [site, shape] : shapes) codes[site] = {shape.in, shape.out};
    check_quantized(loader->float_shapes(), codes, model.config, model.plan, part);
  });
  model.tensors = loader->read(path.string());
  reading(path, [&] { check_plan(model.plan); });
  return model;
}

}  // namespace

void save_igq(const std::filesystem::path& path, const QuantizedModel& model, bool overwrite) {
  save(path, model, overwrite, false);
}
void save_igq_part(const std::filesystem::path& path, const QuantizedModel& model) { save(path, model, true, true); }

QuantizedModel load_igq(const std::filesystem::path& path) { return load(path, false); }
QuantizedModel load_igq_part(const std::filesystem::path& path) { return load(path, true); }

Provenance read_provenance(const std::filesystem::path& path) {
  const ContainerReader container(path);
  Provenance provenance;
  reading(path, [&] { provenance = provenance_from_json(json_at(container.header(), "provenance")); });
  return provenance;
}

bool is_igq_file(const std::filesystem::path& path) { return has_igq_magic(path); }

}  // namespace igq
