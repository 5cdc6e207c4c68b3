#include "coco/resampled_ap.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"

namespace igq::coco {
namespace {

/// Precision at the 101 points of recall, averaged.
double average_precision(std::vector<double>& precision, const std::vector<double>& recall) {
  for (std::size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  double sum = 0.0;
  std::size_t at = 0;
  for (int point = 0; point < kRecallPoints; ++point) {
    const double wanted = point == kRecallPoints - 1 ? 1.0 : point * 0.01;
    while (at < recall.size() && recall[at] < wanted) ++at;
    if (at == recall.size()) break;
    sum += precision[at];
  }
  return sum / kRecallPoints;
}

}  // namespace

ResampledAp::ResampledAp(const Dataset& dataset, const std::vector<Detection>& detections, IouType type)
    : images_(dataset.images.size()), categories_(dataset.categories.size()) {
  struct Group {
    std::vector<const Annotation*> truth;
    std::vector<const Detection*> found;
  };
  std::vector<std::map<int, Group>> groups(categories_.size());
  for (const Annotation& object : dataset.annotations)
    groups[static_cast<std::size_t>(object.category)][object.image].truth.push_back(&object);
  for (const Detection& detection : detections)
    groups[static_cast<std::size_t>(detection.category)][detection.image].found.push_back(&detection);
  for (std::size_t k = 0; k < categories_.size(); ++k) {
    Category& category = categories_[k];
    for (const auto& [image, group] : groups[k]) {
      const Matched matched = std::move(match(group.truth, group.found, dataset, type).front());
      category.of_images.emplace_back(image, matched.objects);
      for (const Outcome& outcome : matched.outcomes) category.ranked.push_back({outcome, image});
    }
    std::stable_sort(category.ranked.begin(), category.ranked.end(),
                     [](const Ranked& a, const Ranked& b) { return a.outcome.score > b.outcome.score; });
  }
}

double ResampledAp::ap(std::span<const int> counts) const {
  double sum = 0.0;
  int known = 0;
  std::vector<double> precision, recall;
  for (const Category& category : categories_) {
    double objects = 0.0;
    for (const auto& [image, count] : category.of_images)
      objects += static_cast<double>(count) * counts[static_cast<std::size_t>(image)];
    if (objects == 0.0) continue;
    for (int t = 0; t < kThresholds; ++t) {
      const unsigned flag = 1u << t;
      double right = 0.0, wrong = 0.0;
      precision.clear();
      recall.clear();
      for (const Ranked& ranked : category.ranked) {
        if ((ranked.outcome.ignored & flag) != 0) continue;
        ((ranked.outcome.matched & flag) != 0 ? right : wrong) += counts[static_cast<std::size_t>(ranked.image)];
        if (right + wrong == 0.0) continue;
        precision.push_back(right / (right + wrong));
        recall.push_back(right / objects);
      }
      sum += average_precision(precision, recall);
      ++known;
    }
  }
  return known == 0 ? -1.0 : sum / known;
}

double ResampledAp::interval_95(int resamples, std::uint64_t seed) const {
  if (images_ < 2) return 0.0;
  Random random(seed);
  std::vector<int> counts(images_);
  double sum = 0.0, squares = 0.0;
  int drawn = 0;
  for (int r = 0; r < resamples; ++r) {
    std::fill(counts.begin(), counts.end(), 0);
    for (std::size_t i = 0; i < images_; ++i) ++counts[random.below(images_)];
    const double value = ap(counts);
    if (value < 0.0) continue;
    sum += value;
    squares += value * value;
    ++drawn;
  }
  if (drawn < 2) return 0.0;
  const double mean = sum / drawn, variance = std::max(0.0, (squares - sum * mean) / (drawn - 1));
  return 1.96 * std::sqrt(variance);
}

}  // namespace igq::coco
