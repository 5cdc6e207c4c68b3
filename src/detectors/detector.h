// A detector: from a photograph to boxes with labels and scores, and with masks where the network has them. Networks
// are sequences of quantization sites like classifiers; what lies between them (anchors, NMS, RoIAlign) is fp32
// (src/detection).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "detection/box.h"
#include "detection/rle.h"
#include "io/image.h"
#include "models/model.h"
#include "ops/conv2d.h"

namespace igq {

/// One object in a picture.
struct Detection {
  detection::Box box;  ///< in pixels of the picture as it was given
  float score = 0.0f;
  int label = 0;                       ///< index into Detector::labels()
  std::optional<detection::Rle> mask;  ///< of the whole picture; none where the network has no masks
};

class Detector : public Network {
 public:
  /// Scratch of one pass and what its stages computed; kept between pictures, one per thread.
  struct State {
    virtual ~State() = default;
  };
  virtual std::unique_ptr<State> make_state() const = 0;
  /// The objects of one picture with score > threshold, best first. Any picture of at least one pixel has a valid,
  /// perhaps empty result; Error where one is so elongated that resizing leaves no pixel of a side. Thread safe with
  /// one context and state per thread.
  virtual std::vector<Detection> detect(ExecContext& context, const Image& image, float threshold,
                                        State& state) const = 0;
  /// How far the outputs are from those of a float pass (output_divergence.h) when context.site_execution gives `site`
  /// alone another execution. `exact` is the state of a detect() in float, whose regions, detections and everything
  /// before the site are taken, so that outputs stand side by side; `state`, another one, is overwritten.
  virtual double divergence(ExecContext& context, int site, const State& exact, State& state) const = 0;
  /// Whether detections have masks.
  virtual bool has_masks() const = 0;
  /// What the checkpoint itself takes for a detection.
  virtual float default_threshold() const = 0;
  /// The threshold of COCO's evaluation.
  virtual float evaluation_threshold() const { return default_threshold(); }
  /// The id of a label in files of COCO's form, where the annotations do not say it by the label's name.
  virtual int category_id(int label) const = 0;
  /// [height, width] of a picture that is not resized, for benchmarks.
  virtual std::array<int, 2> usual_size() const = 0;
  /// Whether pictures are turned upright as their EXIF tag says before anything else.
  virtual bool applies_orientation() const = 0;

  const std::string& architecture() const override { return architecture_; }
  /// Names by label; empty when the checkpoint has none.
  const std::vector<std::string>& labels() const { return labels_; }
  /// The name of a label, "7" when there is none.
  std::string label_name(int label) const;

 protected:
  Detector(std::string architecture, std::vector<std::string> labels)
      : architecture_(std::move(architecture)), labels_(std::move(labels)) {}
  // Sites of the part that is being added: `output` for layers that give scores or boxes.
  void add_site(Linear& linear, bool output = false);
  void add_site(Conv2d& conv, bool output = false);
  void add_site(Attention& attention);
  /// Sites that are added from now on are of the next part.
  void next_part() { ++part_; }
  /// The sites of a backbone, which get numbers of this detector.
  void add_sites(Model& part);

 private:
  std::string architecture_;
  std::vector<std::string> labels_;
  int part_ = 0;
};

/// COCO's 80 classes, and their ids of 1 to 90 in the annotation files.
const std::vector<std::string>& coco_class_names();
int coco_category_id(int label);

}  // namespace igq
