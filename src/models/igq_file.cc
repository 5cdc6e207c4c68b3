#include "models/igq_file.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/finite.h"
#include "base/loading_threads.h"
#include "io/bit_pack.h"
#include "io/igq_container.h"
#include "io/json_fields.h"
#include "io/memory_tensors.h"
#include "models/check_tensors.h"
#include "models/config_json.h"
#include "quant/weight_groups.h"

namespace igq {
namespace {

using nlohmann::json;

// Tensors of a quantized weight: "<linear>:codes" [in, out], ":scale" [out], ":zero_point" [out]; with weight groups
// ":multiplier" and ":group_zero" [groups, out] instead of the last. No module path has a colon, so they never meet a
// float tensor's name.
constexpr std::string_view kCodes = ":codes", kScale = ":scale", kZeroPoint = ":zero_point",
                           kMultiplier = ":multiplier", kGroupZero = ":group_zero";

/// The oldest format version that can hold the plan.
std::uint32_t version_for(const QuantizationPlan& plan) {
  const auto newer = [](const auto& entry) {
    return entry.second.weight.group_size != 0 || !entry.second.input.multiples.empty();
  };
  return std::any_of(plan.linears.begin(), plan.linears.end(), newer) ? 2 : 1;
}

/// Unsigned values as the signed codes of a stream of `bits` bits, and back.
AlignedBuffer<std::int8_t> to_signed(std::span<const std::uint8_t> values, int bits) {
  AlignedBuffer<std::int8_t> codes(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) codes[i] = static_cast<std::int8_t>(values[i] - (1 << (bits - 1)));
  return codes;
}
std::vector<std::uint8_t> to_unsigned(std::span<const std::int8_t> codes, int bits) {
  std::vector<std::uint8_t> values(codes.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(codes[i] + (1 << (bits - 1)));
  return values;
}

Provenance provenance_from_json(const json& in) {
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

/// The tensors of a file about to be written, with the memory of those that were made for it.
class TensorList {
 public:
  void add_bytes(std::string name, StoredType type, Shape shape, int bits, std::span<const std::byte> bytes) {
    entries_.push_back({std::move(name), type, std::move(shape), bits, bytes});
  }
  void add_codes(const std::string& name, const WeightPlan& weight) {
    if (weight.group_size != 0) return add_grouped(name, weight);
    const int half = 1 << (weight.bits - 1);
    const auto fits = [half](std::int8_t code) { return code >= -half && code < half; };
    if (!std::all_of(weight.codes.begin(), weight.codes.end(), fits)) {
      fail("site {}: a weight code does not fit in {} bits", name, weight.bits);
    }
    const auto out = static_cast<std::int64_t>(weight.scale.size());
    const auto in = static_cast<std::int64_t>(weight.codes.size()) / out;
    add_packed(name + std::string(kCodes), {in, out}, weight.codes, weight.bits);
    add_bytes(name + std::string(kScale), StoredType::kF32, {out}, 0, std::as_bytes(std::span(weight.scale)));
    add_bytes(name + std::string(kZeroPoint), StoredType::kI32, {out}, 0, std::as_bytes(std::span(weight.zero_point)));
  }
  void add_floats(const std::string& name, const TensorSource& source) {
    floats_.push_back(source.read(name));
    const auto& values = floats_.back();
    add_bytes(name, StoredType::kF32, source.shapes().at(name), 0, std::as_bytes(std::span<const float>(values)));
  }
  const std::vector<TensorToStore>& entries() const { return entries_; }

 private:
  void add_packed(std::string name, Shape shape, std::span<const std::int8_t> codes, int bits) {
    packed_.push_back(pack_codes(codes, bits));
    const auto& packed = packed_.back();
    add_bytes(std::move(name), StoredType::kCodes, std::move(shape), bits, packed);
  }
  void add_grouped(const std::string& name, const WeightPlan& weight) {
    const AlignedBuffer<std::int8_t> codes = group_codes(weight);
    const auto out = static_cast<std::int64_t>(weight.scale.size());
    const auto in = static_cast<std::int64_t>(weight.codes.size()) / out,
               groups = static_cast<std::int64_t>(weight.multiplier.size()) / out;
    add_packed(name + std::string(kCodes), {in, out}, codes, weight.bits);
    add_bytes(name + std::string(kScale), StoredType::kF32, {out}, 0, std::as_bytes(std::span(weight.scale)));
    const int width = multiplier_bits(weight.bits);
    add_packed(name + std::string(kMultiplier), {groups, out}, to_signed(weight.multiplier, width), width);
    add_packed(name + std::string(kGroupZero), {groups, out}, to_signed(weight.group_zero, weight.bits), weight.bits);
  }

  std::vector<TensorToStore> entries_;
  std::vector<AlignedBuffer<std::byte>> packed_;  // moving a buffer keeps its address
  std::vector<AlignedBuffer<float>> floats_;
};

/// Puts the path in front of faults found in what a container holds.
template <typename Body>
void reading(const std::filesystem::path& path, Body&& body) {
  std::string fault;
  try {
    body();
    return;
  } catch (const UnknownField& e) {
    refuse_newer(path, e);
  } catch (const Error& e) {
    fault = e.what();
  }
  fail("{} cannot be used: {}: make it anew with igq quantize", path.string(), fault);
}

/// One tensor, or those of one weight, to be read.
struct Job {
  std::uint64_t size;
  std::function<void()> read;
};

/// Matches the container's tensors with the plan before anything is read; what is left over are the float tensors.
class Loader {
 public:
  /// Error (without a path) when plan and tensors do not belong together. `plan` must outlive the loader.
  Loader(const ContainerReader& container, const std::filesystem::path& path,
         const std::map<std::string, WeightShape>& shapes, QuantizationPlan& plan)
      : container_(container), path_(path) {
    for (const auto& [site, shape] : shapes) add_weight(site, shape, plan.linears.at(site).weight);
    for (const StoredTensor& tensor : container.tensors()) {
      if (used_.contains(tensor.name)) continue;
      if (tensor.type != StoredType::kF32 || tensor.name.find(':') != std::string::npos) {
        fail("tensor '{}' belongs to no site of the plan", tensor.name);
      }
      floats_.emplace_back(&tensor, AlignedBuffer<float>());
      float_shapes_[tensor.name] = tensor.shape;
    }
    for (auto& entry : floats_) {
      jobs_.push_back(
          {entry.first->size, [this, &container, &entry] { entry.second = finite(container, *entry.first); }});
    }
    std::stable_sort(jobs_.begin(), jobs_.end(), [](const Job& a, const Job& b) { return a.size > b.size; });
  }

  const std::map<std::string, Shape>& float_shapes() const { return float_shapes_; }

  /// Fills the plan's weights and returns the float tensors. Jobs are done largest first.
  std::shared_ptr<const TensorSource> read(const std::string& origin) {
    for_each_loading(container_.file_size(), jobs_.size(), [&](std::size_t i) { jobs_[i].read(); });
    const auto tensors = std::make_shared<MemoryTensors>(origin);
    for (auto& [tensor, values] : floats_) tensors->add(tensor->name, tensor->shape, std::move(values));
    return tensors;
  }

 private:
  AlignedBuffer<float> finite(const ContainerReader& container, const StoredTensor& tensor) const {
    AlignedBuffer<float> values = container.read_f32(tensor);
    if (!all_finite(values)) reading(path_, [&] { fail("tensor '{}' holds values that are not finite", tensor.name); });
    return values;
  }
  const StoredTensor* take(const std::string& name, StoredType type, const Shape& shape, int bits) {
    const StoredTensor* found = container_.find(name);
    if (found == nullptr) fail("tensor '{}' is missing", name);
    if (found->type != type || found->shape != shape || found->bits != bits) {
      fail("tensor '{}' is not of the type and shape that the plan says", name);
    }
    used_.insert(name);
    return found;
  }
  void add_weight(const std::string& site, const WeightShape& shape, WeightPlan& weight) {
    const auto* codes = take(site + std::string(kCodes), StoredType::kCodes, {shape.in, shape.out}, weight.bits);
    const auto* scale = take(site + std::string(kScale), StoredType::kF32, {shape.out}, 0);
    if (weight.group_size != 0) return add_grouped(site, shape, weight, codes, scale);
    const auto* zero = take(site + std::string(kZeroPoint), StoredType::kI32, {shape.out}, 0);
    jobs_.push_back({codes->size, [&container = container_, &weight, codes, scale, zero] {
                       weight.codes = container.read_codes(*codes);
                       const auto s = container.read_f32(*scale);
                       weight.scale.assign(s.begin(), s.end());
                       const auto z = container.read_i32(*zero);
                       weight.zero_point.assign(z.begin(), z.end());
                     }});
  }
  void add_grouped(const std::string& site, const WeightShape& shape, WeightPlan& weight, const StoredTensor* codes,
                   const StoredTensor* scale) {
    const int groups = weight_group_count(shape.in, weight.group_size), width = multiplier_bits(weight.bits);
    const auto* multiplier = take(site + std::string(kMultiplier), StoredType::kCodes, {groups, shape.out}, width);
    const auto* zero = take(site + std::string(kGroupZero), StoredType::kCodes, {groups, shape.out}, weight.bits);
    jobs_.push_back(
        {codes->size, [this, site, &weight, codes, scale, multiplier, zero, width] {
           const auto s = container_.read_f32(*scale);
           weight.scale.assign(s.begin(), s.end());
           weight.zero_point.assign(s.size(), 1 << (weight.code_bits() - 1));
           weight.multiplier = to_unsigned(container_.read_codes(*multiplier), width);
           weight.group_zero = to_unsigned(container_.read_codes(*zero), weight.bits);
           reading(path_, [&] { at_site(site, [&] { expand_group_codes(weight, container_.read_codes(*codes)); }); });
         }});
  }

  const ContainerReader& container_;
  const std::filesystem::path path_;  // for messages
  std::set<std::string> used_;
  std::vector<std::pair<const StoredTensor*, AlignedBuffer<float>>> floats_;
  std::map<std::string, Shape> float_shapes_;
  std::vector<Job> jobs_;
};

}  // namespace

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
  reading(path, [&] {
    const json& header = container.header();
    model.config = config_from_json(json_at(header, "config"));
    model.plan = plan_from_json(json_at(header, "plan"), shapes);
    model.provenance = provenance_from_json(json_at(header, "provenance"));
    model.report = json_at(header, "report");
  });
  std::unique_ptr<Loader> loader;
  reading(path, [&] {
    loader = std::make_unique<Loader>(container, path, shapes, model.plan);
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
