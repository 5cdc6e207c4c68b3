#include "coco/match.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace igq::coco {
namespace {

/// IoU of every detection with every object: [detection][object].
class Overlaps {
 public:
  Overlaps(const std::vector<const Annotation*>& truth, const std::vector<const Detection*>& found,
           const Dataset& dataset, IouType type)
      : objects_(truth.size()), values_(truth.size() * found.size(), 0.0) {
    if (values_.empty()) return;
    if (type == IouType::kBox) {
      for (std::size_t d = 0; d < found.size(); ++d)
        for (std::size_t g = 0; g < objects_; ++g)
          values_[d * objects_ + g] = detection::box_iou(found[d]->box, truth[g]->box, truth[g]->crowd);
      return;
    }
    const std::vector<Mask> truth_masks = masks_of(truth, dataset), found_masks = masks_of(found, dataset);
    for (std::size_t d = 0; d < found.size(); ++d)
      for (std::size_t g = 0; g < objects_; ++g)
        if (detection::box_iou(found_masks[d].box, truth_masks[g].box, truth[g]->crowd) > 0)
          values_[d * objects_ + g] = detection::rle_iou(found_masks[d].rle, truth_masks[g].rle, truth[g]->crowd);
  }
  double at(std::size_t found, std::size_t object) const { return values_[found * objects_ + object]; }
  bool empty() const { return values_.empty(); }

 private:
  struct Mask {
    detection::Rle rle;
    XYWH box;
  };
  template <typename Item>
  static std::vector<Mask> masks_of(const std::vector<const Item*>& items, const Dataset& dataset) {
    std::vector<Mask> masks;
    masks.reserve(items.size());
    for (const Item* item : items) {
      const ImageInfo& image = dataset.images[static_cast<std::size_t>(item->image)];
      detection::Rle rle = detection::rle_from_text(item->mask, image.height, image.width, "a mask");
      const XYWH box = detection::rle_box(rle);
      masks.push_back({std::move(rle), box});
    }
    return masks;
  }

  std::size_t objects_;
  std::vector<double> values_;
};

bool outside(double area, const std::array<double, 2>& range) { return area < range[0] || area > range[1]; }

/// The objects in the order they are tried: those that count first.
struct Tried {
  std::vector<std::size_t> order;
  std::vector<char> ignored;  ///< in that order

  Tried(const std::vector<const Annotation*>& truth, const std::array<double, 2>& range) : order(truth.size()) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto ignore = [&](std::size_t g) { return truth[g]->crowd || outside(truth[g]->area, range); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return ignore(a) < ignore(b); });
    for (const std::size_t g : order) ignored.push_back(ignore(g) ? 1 : 0);
  }
};

/// Matches at one threshold, best detection first: sets the outcomes' bits.
void match_threshold(const std::vector<const Annotation*>& truth, const Tried& tried, const Overlaps& overlaps,
                     double threshold, int bit, std::vector<Outcome>& outcomes) {
  std::vector<char> taken(truth.size(), 0);
  const auto flag = static_cast<std::uint16_t>(1u << bit);
  for (std::size_t d = 0; d < outcomes.size(); ++d) {
    double best = std::min(threshold, 1 - 1e-10);
    std::size_t chosen = truth.size();
    for (std::size_t k = 0; k < tried.order.size(); ++k) {
      const std::size_t g = tried.order[k];
      if (taken[k] != 0 && !truth[g]->crowd) continue;
      // A real object was found, and only ignored ones follow.
      if (chosen < truth.size() && tried.ignored[chosen] == 0 && tried.ignored[k] != 0) break;
      const double iou = overlaps.at(d, g);
      if (iou < best) continue;
      best = iou;
      chosen = k;
    }
    if (chosen == truth.size()) continue;
    taken[chosen] = 1;
    if (tried.ignored[chosen] != 0) outcomes[d].ignored |= flag;
    // pycocotools stores the object's id and reads 0 as no match.
    if (truth[tried.order[chosen]]->id != 0) outcomes[d].matched |= flag;
  }
}

}  // namespace

std::array<double, kThresholds> iou_thresholds() {
  std::array<double, kThresholds> thresholds;
  const double step = (0.95 - 0.5) / 9;
  for (int k = 0; k < kThresholds; ++k) thresholds[static_cast<std::size_t>(k)] = k * step + 0.5;
  thresholds.back() = 0.95;
  return thresholds;
}

std::array<Matched, kAreas> match(const std::vector<const Annotation*>& truth,
                                  const std::vector<const Detection*>& found, const Dataset& dataset, IouType type) {
  std::vector<const Detection*> ranked = found;
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Detection* a, const Detection* b) { return a->score > b->score; });
  if (ranked.size() > static_cast<std::size_t>(kMaxDetections.back())) ranked.resize(kMaxDetections.back());
  const Overlaps overlaps(truth, ranked, dataset, type);
  const auto thresholds = iou_thresholds();
  std::array<Matched, kAreas> result;
  for (std::size_t a = 0; a < kAreas; ++a) {
    Matched& matched = result[a];
    matched.outcomes.resize(ranked.size());
    const Tried tried(truth, kAreaRanges[a]);
    matched.objects = std::count(tried.ignored.begin(), tried.ignored.end(), 0);
    for (int t = 0; t < kThresholds && !overlaps.empty(); ++t)
      match_threshold(truth, tried, overlaps, thresholds[static_cast<std::size_t>(t)], t, matched.outcomes);
    for (std::size_t d = 0; d < ranked.size(); ++d) {
      Outcome& outcome = matched.outcomes[d];
      outcome.score = ranked[d]->score;
      if (outside(ranked[d]->area, kAreaRanges[a])) outcome.ignored |= static_cast<std::uint16_t>(~outcome.matched);
    }
  }
  return result;
}

}  // namespace igq::coco
