#include "models/weight_parts.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace igq {
namespace {

/// One of the tensors that are joined along their first dimension: a stored one, or zeros where `name` is empty.
struct Part {
  std::string name;
  std::int64_t values = 0;
};

RenamedTensors::Read joined(std::vector<Part> parts) {
  return [parts = std::move(parts)](const TensorSource& source) {
    std::size_t total = 0;
    for (const Part& part : parts) total += static_cast<std::size_t>(part.values);
    AlignedBuffer<float> all;
    all.resize_zero(total);
    float* to = all.data();
    for (const Part& part : parts) {
      if (!part.name.empty()) {
        const AlignedBuffer<float> values = source.read(part.name);
        std::copy(values.begin(), values.end(), to);
      }
      to += part.values;
    }
    return all;
  };
}

/// The layers that have a tensor of this end: what stands before it.
std::vector<std::string> layers_with(const TensorNames& names, std::string_view end) {
  std::vector<std::string> layers;
  for (const auto& [name, from] : names)
    if (name.ends_with(end)) layers.push_back(name.substr(0, name.size() - end.size()));
  return layers;
}

/// `layer` + each of `parts` + ".weight" and ".bias" become `layer` + `whole`. All matrices must be there, of one
/// width; of the biases those that are.
void join(RenamedTensors& out, const TensorSource& stored, TensorNames& names, const std::string& layer,
          const std::vector<std::string>& parts, const std::string& whole) {
  std::vector<Part> weights, biases;
  Shape shape;
  std::string any_bias;
  for (const std::string& part : parts) {
    const auto weight = names.find(layer + part + ".weight"), bias = names.find(layer + part + ".bias");
    if (weight == names.end()) return;
    const Shape& s = stored.shapes().at(weight->second);
    if (s.size() != 2 || (!shape.empty() && s[1] != shape[1])) return;
    if (shape.empty()) shape = {0, s[1]};
    shape[0] += s[0];
    weights.push_back({weight->second, s[0] * s[1]});
    biases.push_back({"", s[0]});
    if (bias == names.end()) continue;
    if (stored.shapes().at(bias->second) != Shape{s[0]}) return;
    biases.back().name = bias->second;
    if (any_bias.empty()) any_bias = bias->second;
  }
  const std::string first = weights.front().name;
  out.add(layer + whole + ".weight", first, shape, joined(std::move(weights)));
  if (!any_bias.empty()) out.add(layer + whole + ".bias", any_bias, {shape[0]}, joined(std::move(biases)));
  for (const std::string& part : parts) {
    names.erase(layer + part + ".weight");
    names.erase(layer + part + ".bias");
  }
}

/// timm's Eva: query and value have a bias beside the one matrix, the key has none.
void join_biases(RenamedTensors& out, const TensorSource& stored, TensorNames& names, const std::string& layer) {
  const auto q = names.find(layer + "q_bias"), v = names.find(layer + "v_bias");
  if (v == names.end() || names.contains(layer + "qkv.bias")) return;
  const Shape shape = stored.shapes().at(q->second);
  if (shape.size() != 1 || stored.shapes().at(v->second) != shape) return;
  out.add(layer + "qkv.bias", q->second, {3 * shape[0]},
          joined({{q->second, shape[0]}, {"", shape[0]}, {v->second, shape[0]}}));
  names.erase(layer + "q_bias");
  names.erase(layer + "v_bias");
}

}  // namespace

void join_qkv(RenamedTensors& out, const TensorSource& stored, TensorNames& names) {
  for (const std::string& layer : layers_with(names, ".attn.q.weight"))
    join(out, stored, names, layer + ".attn.", {"q", "k", "v"}, "qkv");
  for (const std::string& layer : layers_with(names, ".attn.q_bias")) join_biases(out, stored, names, layer + ".attn.");
}

void part_pairs(RenamedTensors& out, const ModelConfig& config) {
  const auto dim = static_cast<std::size_t>(config.vit.embed_dim),
             head = dim / static_cast<std::size_t>(config.vit.num_heads), half = head / 2;
  if (head % 2 != 0) return;  // refused when the model is built
  std::vector<std::string> layers;
  for (const auto& [name, shape] : out.shapes())
    if ((name.ends_with(".attn.qkv.weight") || name.ends_with(".attn.qkv.bias")) && !shape.empty() &&
        shape[0] == static_cast<std::int64_t>(3 * dim))
      layers.push_back(name);
  for (const std::string& name : layers)
    out.change(name, [dim, head, half](AlignedBuffer<float>& values) {
      const std::size_t row = values.size() / (3 * dim);
      const AlignedBuffer<float> before = values;
      for (std::size_t first = 0; first < 2 * dim; first += head)
        for (std::size_t j = 0; j < head; ++j)
          std::copy_n(before.data() + (first + 2 * (j % half) + j / half) * row, row,
                      values.data() + (first + j) * row);
    });
}

void join_gates(RenamedTensors& out, const TensorSource& stored, TensorNames& names) {
  for (const std::string& layer : layers_with(names, ".mlp.fc1_g.weight"))
    join(out, stored, names, layer + ".mlp.", {"fc1_g", "fc1_x"}, "fc1");
}

}  // namespace igq
