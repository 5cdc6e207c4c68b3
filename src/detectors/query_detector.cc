#include "detectors/query_detector.h"

#include <algorithm>
#include <cmath>

#include "base/fail.h"
#include "detection/deltas.h"
#include "detectors/config_node.h"
#include "detectors/output_divergence.h"
#include "io/resize.h"

namespace igq {

QueryPreprocess query_preprocess(const nlohmann::json& preprocessor, int multiple) {
  QueryPreprocess result;
  result.multiple = multiple;
  if (preprocessor.is_null()) return result;
  constexpr int kMaxSide = 1 << 16;
  const ConfigNode node(preprocessor, "");
  result.resize = node.flag("do_resize", true);
  if (node.has("size")) {
    const ConfigNode size = node.at("size");
    if (size.json().is_number()) {  // older files: "size" is the shorter side
      result.shortest = node.integer("size", 800, 1, kMaxSide);
      result.longest = node.integer("max_size", 1333, 1, kMaxSide);
    } else if (size.has("height")) {
      result.height = size.integer("height", 0, 1, kMaxSide);
      result.width = size.integer("width", result.height, 1, kMaxSide);
    } else if (size.has("shortest_edge")) {
      result.shortest = size.integer("shortest_edge", 800, 1, kMaxSide);
      result.longest = size.integer("longest_edge", 0, 1, kMaxSide);
    } else {
      fail("'size' has neither shortest_edge nor height and width");
    }
  }
  constexpr std::array<Interpolation, 6> kResample = {Interpolation::kNearest,  Interpolation::kLanczos,
                                                      Interpolation::kBilinear, Interpolation::kBicubic,
                                                      Interpolation::kBox,      Interpolation::kHamming};
  result.interpolation = kResample[static_cast<std::size_t>(node.integer("resample", 2, 0, 5))];
  node.only("do_rescale", true);
  const float factor = node.number("rescale_factor", 1.0f / 255.0f, 1e-6f, 10.0f);
  if (std::abs(factor * 255.0f - 1.0f) > 1e-5f) fail("'rescale_factor' is {}: igq computes 1/255", factor);
  if (node.flag("do_normalize", true)) {
    result.mean = node.numbers("image_mean", result.mean);
    result.std = node.numbers("image_std", result.std);
  } else {
    result.mean = {0.0f, 0.0f, 0.0f};
    result.std = {1.0f, 1.0f, 1.0f};
  }
  for (const float s : result.std)
    if (!(s > 0.0f)) fail("'image_std' must be positive");
  node.only("pad_size", nullptr);
  return result;
}

std::vector<std::string> query_labels(const nlohmann::json& config) {
  std::vector<std::string> labels;
  const nlohmann::json* names = json_find(config, "id2label");
  if (names == nullptr) return labels;
  if (!names->is_object()) fail("'id2label' is no object");
  labels.resize(names->size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto it = names->find(std::to_string(i));
    if (it == names->end()) fail("'id2label' has no '{}' although it has {} names", i, labels.size());
    labels[i] = json_string(*it, "id2label");
  }
  return labels;
}

std::array<int, 2> query_size(const QueryPreprocess& config, int height, int width) {
  if (!config.resize) return {height, width};
  if (config.height > 0) return {config.height, config.width};
  const double shorter = std::min(height, width), longer = std::max(height, width);
  double raw = config.shortest;
  int size = config.shortest;
  if (config.longest > 0 && longer / shorter * size > config.longest) {
    raw = config.longest * shorter / longer;
    size = static_cast<int>(std::nearbyint(raw));
  }
  if (config.multiple == 1 && static_cast<int>(shorter) == size) return {height, width};
  const double other = raw * longer / shorter;
  constexpr double kMaxSide = 1 << 20;
  if (other > kMaxSide) fail("the picture of {}x{} pixels is too elongated", width, height);
  const auto cut = [&](int side) { return std::max(side / config.multiple, 1) * config.multiple; };
  const int a = cut(size), b = cut(static_cast<int>(other));
  return height <= width ? std::array<int, 2>{a, b} : std::array<int, 2>{b, a};
}

QueryMlp QueryMlp::read(const ModelBuilder& builder, const std::string& name, int in, int out) {
  QueryMlp mlp;
  for (int i = 0; i < 16 && builder.has(fmt::format("{}.layers.{}.weight", name, i)); ++i) {
    const std::string layer = fmt::format("{}.layers.{}", name, i);
    const Shape& shape = builder.shape(layer + ".weight");
    if (shape.size() != 2 || shape[0] < 1 || shape[0] > (1 << 20))
      fail("{}: '{}.weight' is no matrix", builder.origin(), layer);
    const int width = static_cast<int>(shape[0]);
    mlp.layers.push_back(builder.linear(layer, in, width, true));
    in = width;
  }
  if (mlp.layers.empty()) fail("{}: tensor '{}.layers.0.weight' is missing", builder.origin(), builder.prefix() + name);
  if (out != 0 && in != out) fail("{}: '{}' gives {} values, not {}", builder.origin(), name, in, out);
  return mlp;
}

void QueryMlp::forward(ExecContext& context, const float* x, int rows, float* y) const {
  const ArenaScope scope(context.arena);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool last = i + 1 == layers.size();
    const int width = layers[i].out_features();
    float* to = last ? y : context.arena.take<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width));
    layers[i].forward(context, x, rows, to);
    if (!last) activate(context, kernels::Activation::kRelu, to, rows, width);
    x = to;
  }
}

void QueryDetector::preprocess(const Image& image, Pass& pass) const {
  const std::array<int, 2> size = query_size(preprocess_, image.height, image.width);
  pass.resized = resize(image, size[1], size[0], preprocess_.interpolation);
  PreprocessConfig colours;
  std::copy(preprocess_.mean.begin(), preprocess_.mean.end(), colours.mean.begin());
  std::copy(preprocess_.std.begin(), preprocess_.std.end(), colours.std.begin());
  pass.input.resize(std::size_t{3} * static_cast<std::size_t>(size[0]) * static_cast<std::size_t>(size[1]));
  normalize(pass.resized, colours, pass.input.data());
}

void QueryDetector::add_sites(QueryMlp& mlp) {
  for (Linear& layer : mlp.layers) add_site(layer, &layer == &mlp.layers.back());
  next_part();
}

std::vector<Detection> QueryDetector::detect(ExecContext& context, const Image& image, float threshold,
                                             State& state) const {
  const WorkTimer timer(context, Work::kOther);
  auto& pass = dynamic_cast<Pass&>(state);
  context.arena.reset();
  preprocess(image, pass);
  run(context, pass);
  const std::size_t queries = pass.boxes.size() / 4, classes = pass.logits.size() / queries;
  const auto w = static_cast<float>(image.width), h = static_cast<float>(image.height);
  std::vector<Detection> detections;
  for (std::size_t q = 0; q < queries; ++q) {
    const float* logits = pass.logits.data() + q * classes;
    const std::size_t best = static_cast<std::size_t>(std::max_element(logits, logits + classes - 1) - logits);
    const double largest = *std::max_element(logits, logits + classes);
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(logits[c]) - largest);
    Detection d;
    d.score = static_cast<float>(std::exp(static_cast<double>(logits[best]) - largest) / sum);
    if (!(d.score > threshold)) continue;
    d.label = static_cast<int>(best);
    const float* b = pass.boxes.data() + 4 * q;
    d.box = {(b[0] - 0.5f * b[2]) * w, (b[1] - 0.5f * b[3]) * h, (b[0] + 0.5f * b[2]) * w, (b[1] + 0.5f * b[3]) * h};
    detections.push_back(d);
  }
  std::stable_sort(detections.begin(), detections.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  return detections;
}

double QueryDetector::divergence(ExecContext& context, int, const State& exact_state, State& state) const {
  const auto& exact = dynamic_cast<const Pass&>(exact_state);
  auto& pass = dynamic_cast<Pass&>(state);
  context.arena.reset();
  pass.resized = exact.resized;
  pass.input = exact.input;
  run(context, pass);
  const std::size_t queries = exact.boxes.size() / 4;
  // A box relative to float's, in the units of R-CNN's deltas.
  const detection::DeltaCoder coder{{}, {0.1f, 0.1f, 0.2f, 0.2f}};
  std::vector<float> deltas(exact.boxes.size());
  const auto box_of = [](const float* b) {
    constexpr float kLeastSide = 1e-3f;
    const float w = std::max(b[2], kLeastSide), h = std::max(b[3], kLeastSide);
    return detection::Box{b[0] - 0.5f * w, b[1] - 0.5f * h, b[0] + 0.5f * w, b[1] + 0.5f * h};
  };
  for (std::size_t q = 0; q < queries; ++q) {
    const std::array<float, 4> delta =
        detection::encode_delta(coder, box_of(exact.boxes.data() + 4 * q), box_of(pass.boxes.data() + 4 * q));
    std::copy(delta.begin(), delta.end(), deltas.begin() + static_cast<std::ptrdiff_t>(4 * q));
  }
  const std::vector<float> none(deltas.size(), 0.0f);
  OutputDivergence divergence;
  divergence.add_classes({exact.logits.data(), exact.logits.size()}, {pass.logits.data(), pass.logits.size()},
                         exact.logits.size() / queries, none, deltas);
  divergence.end_stage();
  return divergence.result();
}

}  // namespace igq
