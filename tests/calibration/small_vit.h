// A small ViT with random weights and random images, for tests of calibration.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "models/runner.h"
#include "tests/random_model.h"

namespace igq::test {

inline constexpr int kSmallImages = 6;

/// The network of `config`: weights of variance 1 / in, channels of different spread.
inline std::unique_ptr<Model> small_model(const ModelConfig& config) {
  return random_model(config, 4, [](const std::string& name, const Shape& shape, Random& random) {
    std::int64_t count = 1;
    for (const std::int64_t d : shape) count *= d;
    const bool norm = name.find("norm") != std::string::npos, weight = name.ends_with(".weight");
    const double in = shape.size() > 1 ? static_cast<double>(count / shape[0]) : 16.0, z = random.normal();
    return static_cast<float>(norm && weight                               ? std::exp(0.7 * z)
                              : name == "pos_embed" || name == "cls_token" ? 0.5 * z
                                                                           : z / std::sqrt(in));
  });
}

/// Two blocks, 24 channels, 3 heads, 17 tokens, 5 classes.
inline std::unique_ptr<Model> small_vit() {
  ModelConfig config;
  config.architecture = "small_test_vit";
  config.num_classes = 5;
  config.image_height = config.image_width = 16;
  config.vit.patch_height = config.vit.patch_width = 4;
  config.vit.embed_dim = 24;
  config.vit.depth = 2;
  config.vit.num_heads = 3;
  config.vit.mlp_hidden = 37;
  return small_model(config);
}

/// Image i: smooth waves, different for every i.
inline void small_image(const Model& model, std::int64_t i, float* image) {
  Random random(100 + static_cast<std::uint64_t>(i));
  const double a = random.uniform(), b = random.uniform(), phase = random.uniform() * 6.0;
  for (std::int64_t p = 0; p < model.image_floats(); ++p)
    image[p] = static_cast<float>(std::sin(a * static_cast<double>(p % 16) + b * static_cast<double>(p / 16) + phase) +
                                  0.3 * random.normal());
}

/// Logits of the first `images` small images, one after the other, on one thread.
inline std::vector<float> logits_of(Model& model, Execution execution, std::int64_t images = kSmallImages) {
  Runner runner(model, execution, best_isa(), 1);
  std::vector<float> image(static_cast<std::size_t>(model.image_floats())), all;
  for (std::int64_t i = 0; i < images; ++i) {
    small_image(model, i, image.data());
    const auto logits = runner.run(image.data());
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

/// Sum of squared differences.
inline double squared_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return sum;
}

}  // namespace igq::test
