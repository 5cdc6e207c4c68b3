#include "detectors/detector.h"

#include <algorithm>
#include <array>

#include "base/fail.h"

namespace igq {

std::string Detector::label_name(int label) const {
  const auto i = static_cast<std::size_t>(label);
  return i < labels_.size() ? labels_[i] : std::to_string(label);
}

void Detector::add_site(Linear& linear, bool output) {
  Site site;
  site.step = part_;
  site.linear = &linear;
  site.output = output;
  Network::add_site(std::move(site));
}

void Detector::add_site(Conv2d& conv, bool output) {
  Site site;
  site.step = part_;
  site.conv = &conv;
  site.output = output;
  Network::add_site(std::move(site));
}

void Detector::add_site(Attention& attention) {
  Site site;
  site.step = part_;
  site.attention = &attention;
  Network::add_site(std::move(site));
}

void Detector::add_sites(Model& part) {
  const int first = part_;
  for (Site site : part.sites()) {
    if (site.linear != nullptr) site.max_rows = 0;  // pictures have many sizes
    part_ = std::max(part_, first + site.step);
    site.step += first;
    Network::add_site(std::move(site));
  }
  next_part();
}

const std::vector<std::string>& coco_class_names() {
  static const std::vector<std::string> names = {
      "person",         "bicycle",    "car",           "motorcycle",    "airplane",     "bus",           "train",
      "truck",          "boat",       "traffic light", "fire hydrant",  "stop sign",    "parking meter", "bench",
      "bird",           "cat",        "dog",           "horse",         "sheep",        "cow",           "elephant",
      "bear",           "zebra",      "giraffe",       "backpack",      "umbrella",     "handbag",       "tie",
      "suitcase",       "frisbee",    "skis",          "snowboard",     "sports ball",  "kite",          "baseball bat",
      "baseball glove", "skateboard", "surfboard",     "tennis racket", "bottle",       "wine glass",    "cup",
      "fork",           "knife",      "spoon",         "bowl",          "banana",       "apple",         "sandwich",
      "orange",         "broccoli",   "carrot",        "hot dog",       "pizza",        "donut",         "cake",
      "chair",          "couch",      "potted plant",  "bed",           "dining table", "toilet",        "tv",
      "laptop",         "mouse",      "remote",        "keyboard",      "cell phone",   "microwave",     "oven",
      "toaster",        "sink",       "refrigerator",  "book",          "clock",        "vase",          "scissors",
      "teddy bear",     "hair drier", "toothbrush"};
  return names;
}

int coco_category_id(int label) {
  // The ids that COCO's files leave out.
  constexpr std::array<int, 10> kGaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83};
  int id = label + 1;
  for (const int gap : kGaps) id += gap <= id ? 1 : 0;
  return id;
}

}  // namespace igq
