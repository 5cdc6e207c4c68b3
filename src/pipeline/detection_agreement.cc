#include "pipeline/detection_agreement.h"

#include <fmt/format.h>

#include <algorithm>

#include "coco/evaluate.h"
#include "io/json_fields.h"

namespace igq {
namespace {

/// The partner of `object` among those not taken: the same label, the largest IoU of at least a half; -1 for none.
int partner_of(const Detection& object, const std::vector<Detection>& all, const std::vector<bool>& taken) {
  int best = -1;
  double most = 0.5;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (taken[i] || all[i].label != object.label) continue;
    const double iou = detection::box_iou(detection::xywh(all[i].box), detection::xywh(object.box), false);
    if (iou < most || (best >= 0 && iou == most)) continue;
    most = iou;
    best = static_cast<int>(i);
  }
  return best;
}

}  // namespace

float truth_threshold(const Detector& detector) { return std::max(detector.default_threshold(), kTruthScore); }

void AgreementCounter::add(const std::vector<Detection>& original, const std::vector<Detection>& other, int height,
                           int width) {
  pictures_.push_back({original, other, height, width});
}

DetectionAgreement AgreementCounter::result() const {
  DetectionAgreement sum;
  sum.images = static_cast<std::int64_t>(pictures_.size());
  sum.masks = detector_.has_masks();
  coco::Dataset dataset;
  std::vector<coco::Detection> detections;
  int labels = static_cast<int>(detector_.labels().size());
  for (const Picture& picture : pictures_)
    for (const auto* list : {&picture.original, &picture.other})
      for (const Detection& d : *list) labels = std::max(labels, d.label + 1);
  for (int label = 0; label < labels; ++label) dataset.categories.push_back({label, detector_.label_name(label)});
  for (std::size_t i = 0; i < pictures_.size(); ++i) {
    const Picture& picture = pictures_[i];
    const auto number = static_cast<int>(i);
    dataset.images.push_back({number, "", picture.height, picture.width});
    const auto area = [](const Detection& d) {
      const std::array<double, 4> box = detection::xywh(d.box);
      return d.mask ? static_cast<double>(detection::rle_area(*d.mask)) : box[2] * box[3];
    };
    const auto text = [](const Detection& d) { return d.mask ? detection::rle_to_text(*d.mask) : std::string(); };
    for (const Detection& d : picture.other)
      detections.push_back({number, d.label, static_cast<double>(d.score), area(d), detection::xywh(d.box), text(d)});
    std::vector<bool> taken(picture.other.size(), false), kept(picture.original.size(), false);
    for (const Detection& d : picture.original) {
      if (!(d.score > truth_)) continue;
      ++sum.objects;
      dataset.annotations.push_back({static_cast<std::int64_t>(dataset.annotations.size()) + 1, number, d.label, false,
                                     area(d), detection::xywh(d.box), text(d)});
      const int partner = partner_of(d, picture.other, taken);
      if (partner < 0) continue;
      const auto at = static_cast<std::size_t>(partner);
      taken[at] = true;
      ++sum.found;
      const Detection& other = picture.other[at];
      sum.box_iou += detection::box_iou(detection::xywh(other.box), detection::xywh(d.box), false);
      sum.score_change += std::abs(static_cast<double>(other.score) - static_cast<double>(d.score));
      if (d.mask && other.mask) sum.mask_iou += detection::rle_iou(*other.mask, *d.mask, false);
    }
    for (const Detection& d : picture.other)
      if (d.score > truth_ && partner_of(d, picture.original, kept) < 0) ++sum.invented;
  }
  if (sum.objects > 0) {
    const auto percent = [](double ap) { return ap < 0.0 ? -1.0 : 100.0 * ap; };
    sum.box_ap = percent(coco::evaluate(dataset, detections, coco::IouType::kBox).stats[0]);
    if (sum.masks) sum.mask_ap = percent(coco::evaluate(dataset, detections, coco::IouType::kMask).stats[0]);
  }
  if (sum.found > 0) {
    const auto count = static_cast<double>(sum.found);
    sum.box_iou /= count;
    sum.mask_iou /= count;
    sum.score_change /= count;
  }
  return sum;
}

nlohmann::json agreement_to_json(const DetectionAgreement& a) {
  nlohmann::json out = {{"images", a.images},
                        {"objects", a.objects},
                        {"found", a.found},
                        {"invented", a.invented},
                        {"box_iou", a.box_iou},
                        {"score_change", a.score_change},
                        {"box_ap", a.box_ap < 0.0 ? nlohmann::json() : nlohmann::json(a.box_ap)}};
  if (a.masks) {
    out["mask_iou"] = a.mask_iou;
    out["mask_ap"] = a.mask_ap < 0.0 ? nlohmann::json() : nlohmann::json(a.mask_ap);
  }
  return out;
}

DetectionAgreement agreement_from_json(const nlohmann::json& in) {
  DetectionAgreement a;
  const auto count = [&](const char* key) { return json_int(json_at(in, key), key, 0, std::int64_t{1} << 40); };
  const auto value = [&](const char* key) { return static_cast<double>(json_float(json_at(in, key), key)); };
  const auto precision = [&](const char* key) { return json_at(in, key).is_null() ? -1.0 : value(key); };
  a.images = count("images");
  a.objects = count("objects");
  a.found = count("found");
  a.invented = count("invented");
  a.box_iou = value("box_iou");
  a.score_change = value("score_change");
  a.box_ap = precision("box_ap");
  a.masks = json_find(in, "mask_iou") != nullptr;
  if (a.masks) {
    a.mask_iou = value("mask_iou");
    a.mask_ap = precision("mask_ap");
  }
  return a;
}

std::string agreement_text(const DetectionAgreement& a) {
  if (a.objects == 0)
    return fmt::format("{} images, on which the float detector finds nothing: there is nothing to compare\n", a.images);
  std::string text = fmt::format(
      "{} of the {} objects that float finds in {} images are found again (IoU of boxes {:.3f}{}, scores off by "
      "{:.3f}), "
      "{} more are invented; AP with float's objects as the truth: boxes {:.1f}",
      a.found, a.objects, a.images, a.box_iou, a.masks ? fmt::format(", of masks {:.3f}", a.mask_iou) : "",
      a.score_change, a.invented, a.box_ap);
  if (a.masks) text += fmt::format(", masks {:.1f}", a.mask_ap);
  return text + '\n';
}

std::vector<std::string> agreement_warnings(const DetectionAgreement& a, bool held_back) {
  std::vector<std::string> warnings;
  if (a.objects == 0)
    warnings.push_back(
        "the float detector finds no object in the images: whether the integers do is not known; take images that show "
        "what it was trained on");
  else if (!(a.found_percent() >= kFoundWarning))
    warnings.push_back(
        fmt::format("only {} of {} objects of {} images {} are found as the float detector finds them ({:.1f} %, below "
                    "{:.0f} %): do "
                    "not use this detector before its AP was measured (igq eval); more bits lose less",
                    a.found, a.objects, a.images, held_back ? "held back" : "that it was calibrated with",
                    a.found_percent(), kFoundWarning));
  return warnings;
}

}  // namespace igq
