#include "models/igq_tensors.h"

#include <algorithm>

#include "base/fail.h"
#include "base/finite.h"
#include "base/loading_threads.h"
#include "io/bit_pack.h"
#include "io/json_fields.h"
#include "io/memory_tensors.h"
#include "quant/weight_groups.h"

namespace igq {
namespace {

// Tensors of a quantized weight: "<linear>:codes" [in, out], ":scale" [out], ":zero_point" [out]; with weight groups
// ":multiplier" and ":group_zero" [groups, out] instead of the last. No module path has a colon, so they never meet a
// float tensor's name.
constexpr std::string_view kCodes = ":codes", kScale = ":scale", kZeroPoint = ":zero_point",
                           kMultiplier = ":multiplier", kGroupZero = ":group_zero";

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

}  // namespace

std::uint32_t version_for(const QuantizationPlan& plan) {
  const auto newer = [](const auto& entry) {
    return entry.second.weight.group_size != 0 || !entry.second.input.multiples.empty();
  };
  return std::any_of(plan.linears.begin(), plan.linears.end(), newer) ? 2 : 1;
}

void TensorList::add_bytes(std::string name, StoredType type, Shape shape, int bits, std::span<const std::byte> bytes) {
  entries_.push_back({std::move(name), type, std::move(shape), bits, bytes});
}

void TensorList::add_codes(const std::string& name, const WeightPlan& weight) {
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

void TensorList::add_floats(const std::string& name, const TensorSource& source) {
  floats_.push_back(source.read(name));
  const auto& values = floats_.back();
  add_bytes(name, StoredType::kF32, source.shapes().at(name), 0, std::as_bytes(std::span<const float>(values)));
}

void TensorList::add_packed(std::string name, Shape shape, std::span<const std::int8_t> codes, int bits) {
  packed_.push_back(pack_codes(codes, bits));
  const auto& packed = packed_.back();
  add_bytes(std::move(name), StoredType::kCodes, std::move(shape), bits, packed);
}

void TensorList::add_grouped(const std::string& name, const WeightPlan& weight) {
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

void reading(const std::filesystem::path& path, const std::function<void()>& body) {
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

TensorLoader::TensorLoader(const ContainerReader& container, std::filesystem::path path,
                           const std::map<std::string, WeightShape>& shapes, QuantizationPlan& plan)
    : container_(container), path_(std::move(path)) {
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
    jobs_.push_back({entry.first->size, [this, &entry] { entry.second = finite(*entry.first); }});
  }
  std::stable_sort(jobs_.begin(), jobs_.end(), [](const Job& a, const Job& b) { return a.size > b.size; });
}

std::shared_ptr<const TensorSource> TensorLoader::read(const std::string& origin) {
  for_each_loading(container_.file_size(), jobs_.size(), [&](std::size_t i) { jobs_[i].read(); });
  const auto tensors = std::make_shared<MemoryTensors>(origin);
  for (auto& [tensor, values] : floats_) tensors->add(tensor->name, tensor->shape, std::move(values));
  return tensors;
}

AlignedBuffer<float> TensorLoader::finite(const StoredTensor& tensor) const {
  AlignedBuffer<float> values = container_.read_f32(tensor);
  if (!all_finite(values)) reading(path_, [&] { fail("tensor '{}' holds values that are not finite", tensor.name); });
  return values;
}
const StoredTensor* TensorLoader::take(const std::string& name, StoredType type, const Shape& shape, int bits) {
  const StoredTensor* found = container_.find(name);
  if (found == nullptr) fail("tensor '{}' is missing", name);
  if (found->type != type || found->shape != shape || found->bits != bits) {
    fail("tensor '{}' is not of the type and shape that the plan says", name);
  }
  used_.insert(name);
  return found;
}
void TensorLoader::add_weight(const std::string& site, const WeightShape& shape, WeightPlan& weight) {
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
void TensorLoader::add_grouped(const std::string& site, const WeightShape& shape, WeightPlan& weight,
                               const StoredTensor* codes, const StoredTensor* scale) {
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

}  // namespace igq
