#include "detectors/detector_file.h"

#include <algorithm>

#include "base/fail.h"
#include "detectors/detector_tensors.h"
#include "io/json_fields.h"
#include "io/memory_tensors.h"
#include "io/overlaid_tensors.h"
#include "models/igq_tensors.h"

namespace igq {
namespace {

using nlohmann::json;

/// Detectors came with this version of the format.
constexpr std::uint32_t kDetectorVersion = 3;
constexpr std::size_t kMostTensors = 1 << 16, kMostDimensions = 8;
constexpr std::int64_t kMostRows = std::int64_t{1} << 40;
constexpr std::string_view kWeight = ".weight";

/// The tensors of a file, with the shapes of those of the float network that became codes.
class PartlyStored final : public TensorSource {
 public:
  PartlyStored(std::shared_ptr<const TensorSource> stored, std::map<std::string, Shape> network)
      : stored_(std::move(stored)), shapes_(std::move(network)) {
    for (const auto& [name, shape] : stored_->shapes()) shapes_.try_emplace(name, shape);
  }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  AlignedBuffer<float> read(const std::string& name) const override {
    if (!stored_->has(name)) fail("{}: tensor '{}' is missing", origin(), name);
    return stored_->read(name);
  }
  bool holds(const std::string& name) const override { return stored_->has(name); }
  std::string origin() const override { return stored_->origin(); }

 private:
  std::shared_ptr<const TensorSource> stored_;
  std::map<std::string, Shape> shapes_;
};

json shapes_to_json(const std::map<std::string, Shape>& shapes) {
  json out = json::object();
  for (const auto& [name, shape] : shapes) out[name] = shape;
  return out;
}

std::map<std::string, Shape> shapes_from_json(const json& in) {
  if (!in.is_object() || in.size() > kMostTensors) fail("'shapes' is no object of at most {} tensors", kMostTensors);
  std::map<std::string, Shape> shapes;
  for (const auto& [name, dimensions] : in.items()) {
    if (!dimensions.is_array() || dimensions.size() > kMostDimensions) fail("the shape of '{}' is no list", name);
    Shape& shape = shapes[name];
    for (const json& d : dimensions) shape.push_back(json_int(d, name.c_str(), 0, kMostRows));
  }
  return shapes;
}

json description_to_json(const DetectorDescription& d, const std::map<std::string, Shape>& shapes) {
  return {{"architecture", d.architecture},
          {"config", d.config},
          {"preprocessor", d.preprocessor},
          {"shapes", shapes_to_json(shapes)}};
}

bool has_codes(const QuantizationPlan& plan, const std::string& site) {
  const auto found = plan.linears.find(site);
  return found != plan.linears.end() && found->second.weight.bits != 0;
}

/// Every layer with codes has the shape of the weights that they stand for.
void check_shapes(const QuantizationPlan& plan, const std::map<std::string, Shape>& network) {
  for (const auto& [site, linear] : plan.linears) {
    if (linear.weight.bits == 0) continue;
    const auto found = network.find(site + std::string(kWeight));
    if (found == network.end()) fail("'shapes' lacks '{}{}', which has codes", site, kWeight);
    double count = 1.0;
    for (const std::int64_t d : found->second) count *= static_cast<double>(d);
    if (count != static_cast<double>(linear.weight.codes.size()))
      fail("'{}{}' has {} codes, its shape {} values", site, kWeight, linear.weight.codes.size(), count);
  }
}

/// The site of a weight's name.
std::string site_of(const std::string& tensor) {
  return tensor.ends_with(kWeight) ? tensor.substr(0, tensor.size() - kWeight.size()) : std::string();
}

/// What a network of codes reads of the tensors: no weight that is codes, no batch norm that was folded.
std::set<std::string> needed(const QuantizedDetector& detector, const TensorSource& all) {
  std::set<std::string> codes;
  for (const auto& [name, shape] : all.shapes())
    if (has_codes(*detector.plan, site_of(name))) codes.insert(name);
  const auto stored =
      std::make_shared<OverlaidTensors>(std::make_shared<MemoryTensors>(all.origin()), detector.tensors, codes);
  const auto watched = std::make_shared<WatchedTensors>(std::make_shared<PartlyStored>(stored, all.shapes()));
  build_network(detector.description, *watched, detector.plan);
  return watched->names_read();
}

}  // namespace

void save_detector(const std::filesystem::path& path, const QuantizedDetector& detector, bool overwrite) {
  TensorList tensors;
  json description;
  std::string fault;
  try {
    check_plan(*detector.plan);
    for (const auto& [site, linear] : detector.plan->linears)
      if (linear.weight.bits != 0) tensors.add_codes(site, linear.weight);
    for (const std::string& name : needed(detector, *detector.tensors)) {
      if (name.find(':') != std::string::npos) fail("tensor '{}' has a colon in its name", name);
      tensors.add_floats(name, *detector.tensors);
    }
    description = description_to_json(detector.description, detector.tensors->shapes());
  } catch (const Error& e) {
    fault = e.what();
  }
  if (!fault.empty()) fail("cannot write {}: {}", path.string(), fault);
  json header{{"detector", std::move(description)},
              {"plan", plan_to_json(*detector.plan)},
              {"provenance", provenance_to_json(detector.provenance)},
              {"report", detector.report}};
  write_container(path, std::move(header), tensors.entries(), kDetectorVersion, overwrite);
}

QuantizedDetector load_detector_file(const std::filesystem::path& path) {
  const ContainerReader container(path);
  QuantizedDetector detector;
  const auto plan = std::make_shared<QuantizationPlan>();
  std::map<std::string, WeightShape> weights;
  std::map<std::string, Shape> network;
  std::unique_ptr<TensorLoader> loader;
  reading(path, [&] {
    const json& header = container.header();
    const json& description = json_at(header, "detector");
    detector.description.architecture = json_string(json_at(description, "architecture"), "architecture");
    detector.description.config = json_at(description, "config");
    detector.description.preprocessor = json_at(description, "preprocessor");
    network = shapes_from_json(json_at(description, "shapes"));
    *plan = plan_from_json(json_at(header, "plan"), weights);
    detector.provenance = provenance_from_json(json_at(header, "provenance"));
    detector.report = json_at(header, "report");
    loader = std::make_unique<TensorLoader>(container, path, weights, *plan);
    for (const auto& [name, shape] : loader->float_shapes())
      if (has_codes(*plan, site_of(name))) fail("tensor '{}' is there beside its codes", name);
  });
  const std::shared_ptr<const TensorSource> stored = loader->read(path.string());
  reading(path, [&] {
    check_plan(*plan);
    check_shapes(*plan, network);
    detector.plan = plan;
    detector.tensors = std::make_shared<PartlyStored>(stored, std::move(network));
    detector.detector = build_detector(detector.description, detector.tensors, plan);
  });
  return detector;
}

bool is_detector_file(const std::filesystem::path& path) {
  // Files of classifiers are of older versions: their headers are then not read twice.
  return igq_version_of(path) >= kDetectorVersion && ContainerReader(path).header().contains("detector");
}

}  // namespace igq
