// A detector's fixture: the network, its picture, and what the original computed at every stage.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "detectors/open_detector.h"
#include "tests/npz.h"
#include "tests/test_util.h"

namespace igq::test {

struct DetectorFixture {
  std::filesystem::path folder;
  std::unique_ptr<Detector> detector;
  std::unique_ptr<Detector::State> state;
  Image image;
  nlohmann::json expected;
  Npz arrays;
  ExecContext context;
  ThreadPool pool;

  /// `weights`: the folder of the model where it is another one.
  explicit DetectorFixture(const std::filesystem::path& where, const std::filesystem::path& weights = {})
      : folder(where), arrays(where / "expected.npz"), pool(2) {
    detector = open_detector(weights.empty() ? where : weights);
    state = detector->make_state();
    image = load_image(where / "input.png");
    std::ifstream in(where / "expected.json");
    expected = nlohmann::json::parse(in);
    context.kernels = &kernels::kernels_for(best_isa());
    context.pool = &pool;
    detector->prepare(Execution::kFloat, *context.kernels);
  }
  std::vector<float> floats(const std::string& name) const { return arrays.at(name).as<float>(); }
};

/// Largest difference over the spread (largest - smallest value) of what is expected; NaN and a different number of
/// values give infinity.
inline double relative_difference(const std::vector<float>& got, const std::vector<float>& want) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (got.size() != want.size()) return infinity;
  if (want.empty()) return 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(difference < infinity)) return infinity;
    largest = std::max(largest, difference);
  }
  const auto [low, high] = std::minmax_element(want.begin(), want.end());
  return largest / std::max(static_cast<double>(*high) - static_cast<double>(*low), 1e-30);
}

/// Of a stage's values, as a share of their spread.
inline constexpr double kTolerance = 1e-4;

/// One array of a stage.
inline void expect_near(const DetectorFixture& f, const std::string& name, const std::vector<float>& got) {
  EXPECT_LE(relative_difference(got, f.floats(name)), kTolerance) << name;
}

/// [height, width, channels] as [channels, height, width].
inline std::vector<float> channels_first(const FeatureMap& map) {
  std::vector<float> result(map.values.size());
  const auto pixels = static_cast<std::size_t>(map.pixels()), channels = static_cast<std::size_t>(map.channels);
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t c = 0; c < channels; ++c) result[c * pixels + p] = map.values[p * channels + c];
  return result;
}

inline std::vector<float> copy_of(const AlignedBuffer<float>& buffer) { return {buffer.begin(), buffer.end()}; }

inline std::vector<detection::Box> boxes_of(const std::vector<float>& v) {
  std::vector<detection::Box> boxes;
  for (std::size_t i = 0; i + 4 <= v.size(); i += 4) boxes.push_back({v[i], v[i + 1], v[i + 2], v[i + 3]});
  return boxes;
}

/// Where each expected object is among those found: label equal, box within 0.02, score within 1e-3. Empty when the two
/// sets differ; labels may be empty.
inline std::vector<std::size_t> match_sets(const std::vector<detection::Box>& got, const std::vector<float>& got_scores,
                                           const std::vector<int>& got_labels, const std::vector<float>& want,
                                           const std::vector<float>& want_scores, const std::vector<int>& want_labels,
                                           float box_tolerance = 0.02f) {
  const std::vector<detection::Box> boxes = boxes_of(want);
  if (boxes.size() != got.size()) {
    ADD_FAILURE() << got.size() << " found, " << boxes.size() << " expected";
    return {};
  }
  std::vector<char> used(got.size(), 0);
  std::vector<std::size_t> places;
  for (std::size_t w = 0; w < boxes.size(); ++w) {
    std::size_t best = got.size();
    float nearest = box_tolerance;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (used[i] != 0 || !(std::abs(got_scores[i] - want_scores[w]) < 1e-3f)) continue;
      if (!want_labels.empty() && got_labels[i] != want_labels[w]) continue;
      const float far = std::max({std::abs(got[i].x1 - boxes[w].x1), std::abs(got[i].y1 - boxes[w].y1),
                                  std::abs(got[i].x2 - boxes[w].x2), std::abs(got[i].y2 - boxes[w].y2)});
      if (far < nearest) {
        nearest = far;
        best = i;
      }
    }
    if (best == got.size()) {
      ADD_FAILURE() << fmt::format("box {} {} {} {} with score {} is missing", boxes[w].x1, boxes[w].y1, boxes[w].x2,
                                   boxes[w].y2, want_scores[w]);
      return {};
    }
    used[best] = 1;
    places.push_back(best);
  }
  return places;
}

inline std::vector<int> ints(const Npz& arrays, const std::string& name) { return arrays.at(name).as<int>(); }

}  // namespace igq::test
