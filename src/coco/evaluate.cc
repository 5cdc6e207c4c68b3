#include "coco/evaluate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "coco/match.h"

namespace igq::coco {
namespace {

constexpr std::size_t kMost = kMaxDetections.size() - 1;

/// Where a figure lies in Evaluation's arrays.
struct Layout {
  std::size_t categories;

  std::size_t precision(int threshold, int point, std::size_t category, std::size_t area) const {
    return ((static_cast<std::size_t>(threshold) * kRecallPoints + point) * categories + category) * kAreas + area;
  }
  std::size_t recall(int threshold, std::size_t category, std::size_t area, std::size_t most) const {
    return ((static_cast<std::size_t>(threshold) * categories + category) * kAreas + area) * kMaxDetections.size() +
           most;
  }
};

/// The images of a category, ascending, with their objects and detections.
struct Group {
  std::vector<const Annotation*> truth;
  std::vector<const Detection*> found;
};
using Groups = std::map<int, Group>;

/// The first `most` detections of every image together, by descending score; equal ones stay in the images' order.
std::vector<Outcome> ranked_outcomes(const std::vector<Matched>& images, std::size_t most) {
  std::vector<Outcome> all;
  for (const Matched& image : images)
    all.insert(all.end(), image.outcomes.begin(),
               image.outcomes.begin() + static_cast<std::ptrdiff_t>(std::min(most, image.outcomes.size())));
  std::stable_sort(all.begin(), all.end(), [](const Outcome& a, const Outcome& b) { return a.score > b.score; });
  return all;
}

/// Precision and recall after each detection at one threshold.
struct Curve {
  std::vector<double> precision, recall;

  Curve(const std::vector<Outcome>& ranked, int threshold, std::int64_t objects) {
    const unsigned flag = 1u << threshold;
    double right = 0.0, wrong = 0.0;
    for (const Outcome& outcome : ranked) {
      if ((outcome.ignored & flag) == 0) ((outcome.matched & flag) != 0 ? right : wrong) += 1.0;
      recall.push_back(right / static_cast<double>(objects));
      precision.push_back(right / (wrong + right + 0x1p-52));
    }
    for (std::size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  }
  /// Precision at the first position whose recall reaches the point.
  double at(int point) const {
    const double wanted = point == kRecallPoints - 1 ? 1.0 : point * 0.01;
    const auto place = std::lower_bound(recall.begin(), recall.end(), wanted) - recall.begin();
    return place < static_cast<std::ptrdiff_t>(precision.size()) ? precision[static_cast<std::size_t>(place)] : 0.0;
  }
};

/// Fills the arrays for one category and range of area.
void accumulate(const std::vector<Matched>& images, std::size_t category, std::size_t area, Evaluation& result) {
  const Layout layout{result.category_precision.size()};
  std::int64_t objects = 0;
  for (const Matched& image : images) objects += image.objects;
  if (objects == 0) return;
  for (std::size_t m = 0; m < kMaxDetections.size(); ++m) {
    const std::vector<Outcome> ranked = ranked_outcomes(images, static_cast<std::size_t>(kMaxDetections[m]));
    for (int t = 0; t < kThresholds; ++t) {
      const Curve curve(ranked, t, objects);
      result.recall[layout.recall(t, category, area, m)] = curve.recall.empty() ? 0.0 : curve.recall.back();
      if (m != kMost) continue;
      for (int r = 0; r < kRecallPoints; ++r) result.precision[layout.precision(t, r, category, area)] = curve.at(r);
    }
  }
}

/// The mean of what is above -1; -1 when nothing is.
double mean_of_known(const std::vector<double>& values) {
  std::vector<double> known;
  for (const double v : values)
    if (v > -1) known.push_back(v);
  return known.empty() ? -1.0 : numpy_sum(known.data(), known.size()) / static_cast<double>(known.size());
}

class Summary {
 public:
  explicit Summary(const Evaluation& result) : result_(result), layout_{result.category_precision.size()} {}

  /// Mean precision of all categories, or of one; of all thresholds, or of one.
  double precision(std::size_t area, int threshold = -1, std::ptrdiff_t category = -1) const {
    std::vector<double> values;
    for (int t = 0; t < kThresholds; ++t)
      for (int r = 0; r < kRecallPoints && (threshold < 0 || t == threshold); ++r)
        for (std::size_t k = 0; k < layout_.categories; ++k)
          if (category < 0 || static_cast<std::size_t>(category) == k)
            values.push_back(result_.precision[layout_.precision(t, r, k, area)]);
    return mean_of_known(values);
  }
  double recall(std::size_t area, std::size_t most) const {
    std::vector<double> values;
    for (int t = 0; t < kThresholds; ++t)
      for (std::size_t k = 0; k < layout_.categories; ++k)
        values.push_back(result_.recall[layout_.recall(t, k, area, most)]);
    return mean_of_known(values);
  }

 private:
  const Evaluation& result_;
  Layout layout_;
};

}  // namespace

double numpy_sum(const double* values, std::size_t count) {
  constexpr std::size_t kBlock = 128, kLanes = 8;
  if (count < kLanes) return std::accumulate(values, values + count, 0.0);
  if (count <= kBlock) {
    double r[kLanes];
    std::copy(values, values + kLanes, r);
    std::size_t i = kLanes;
    for (; i + kLanes <= count; i += kLanes)
      for (std::size_t j = 0; j < kLanes; ++j) r[j] += values[i + j];
    double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < count; ++i) sum += values[i];
    return sum;
  }
  const std::size_t half = count / 2 - count / 2 % kLanes;
  return numpy_sum(values, half) + numpy_sum(values + half, count - half);
}

Evaluation evaluate(const Dataset& dataset, const std::vector<Detection>& detections, IouType type,
                    const std::function<void(std::int64_t)>& after) {
  const std::size_t categories = dataset.categories.size();
  std::vector<Groups> groups(categories);
  for (const Annotation& object : dataset.annotations)
    groups[static_cast<std::size_t>(object.category)][object.image].truth.push_back(&object);
  for (const Detection& detection : detections)
    groups[static_cast<std::size_t>(detection.category)][detection.image].found.push_back(&detection);

  Evaluation result;
  result.category_precision.assign(categories, -1.0);
  result.precision.assign(std::size_t{kThresholds} * kRecallPoints * categories * kAreas, -1.0);
  result.recall.assign(std::size_t{kThresholds} * categories * kAreas * kMaxDetections.size(), -1.0);
  for (std::size_t k = 0; k < categories; ++k) {
    std::array<std::vector<Matched>, kAreas> images;
    for (const auto& [image, group] : groups[k]) {
      auto matched = match(group.truth, group.found, dataset, type);
      for (std::size_t a = 0; a < kAreas; ++a) images[a].push_back(std::move(matched[a]));
    }
    for (std::size_t a = 0; a < kAreas; ++a) accumulate(images[a], k, a, result);
    if (after) after(static_cast<std::int64_t>(k + 1));
  }

  const Summary summary(result);
  constexpr int kAt50 = 0, kAt75 = 5;
  result.stats = {summary.precision(0),     summary.precision(0, kAt50), summary.precision(0, kAt75),
                  summary.precision(1),     summary.precision(2),        summary.precision(3),
                  summary.recall(0, 0),     summary.recall(0, 1),        summary.recall(0, kMost),
                  summary.recall(1, kMost), summary.recall(2, kMost),    summary.recall(3, kMost)};
  for (std::size_t k = 0; k < categories; ++k)
    result.category_precision[k] = summary.precision(0, -1, static_cast<std::ptrdiff_t>(k));
  return result;
}

}  // namespace igq::coco
