// What YOLOS (Fang et al. 2021) and DETR (Carion et al. 2020) of transformers share: their resizing, and that every
// query gives one box and the classes it may be, without NMS.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "detectors/detector.h"
#include "io/preprocess.h"

namespace igq {

/// transformers' image processors of the two.
struct QueryPreprocess {
  bool resize = true;
  int shortest = 800, longest = 1333;  ///< sides; longest 0: no limit
  int height = 0, width = 0;           ///< not 0: resize to exactly this
  int multiple = 1;                    ///< sides are cut to multiples of this (YOLOS: 16)
  Interpolation interpolation = Interpolation::kBilinear;
  std::array<float, 3> mean = {0.485f, 0.456f, 0.406f}, std = {0.229f, 0.224f, 0.225f};
};

/// preprocessor_config.json (null: transformers' defaults).
QueryPreprocess query_preprocess(const nlohmann::json& preprocessor, int multiple);
/// Names of classes from id2label; label i is named result[i].
std::vector<std::string> query_labels(const nlohmann::json& config);
/// [height, width] of the resized picture: get_size_with_aspect_ratio; at least one `multiple` on either side.
std::array<int, 2> query_size(const QueryPreprocess& config, int height, int width);

/// Linears with ReLU between them.
struct QueryMlp {
  std::vector<Linear> layers;
  /// "name.layers.0", "name.layers.1" ... with the widths of the tensors; the last must give `out` values (0: any).
  static QueryMlp read(const ModelBuilder& builder, const std::string& name, int in, int out);
  /// x [rows][in] -> y [rows][out of the last].
  void forward(ExecContext& context, const float* x, int rows, float* y) const;
};

class QueryDetector : public Detector {
 public:
  /// What the stages computed.
  struct Pass : State {
    Image resized;
    AlignedBuffer<float> input;          ///< [3, height, width]
    AlignedBuffer<float> hidden;         ///< [queries, dim], after the last norm
    AlignedBuffer<float> logits, boxes;  ///< [queries, classes + 1]; [queries, 4]: centre, size in 0..1
  };
  std::vector<Detection> detect(ExecContext& context, const Image& image, float threshold, State& state) const override;
  double divergence(ExecContext& context, int site, const State& exact, State& state) const override;
  bool has_masks() const override { return false; }
  float default_threshold() const override { return 0.5f; }
  float evaluation_threshold() const override { return 0.0f; }
  int category_id(int label) const override { return label; }
  std::array<int, 2> usual_size() const override {
    return query_size(preprocess_, preprocess_.shortest, preprocess_.longest > 0 ? preprocess_.longest : 1333);
  }
  bool applies_orientation() const override { return false; }
  const QueryPreprocess& preprocessing() const { return preprocess_; }
  void preprocess(const Image& image, Pass& pass) const;

 protected:
  QueryDetector(std::string architecture, std::vector<std::string> labels, const QueryPreprocess& preprocess)
      : Detector(std::move(architecture), std::move(labels)), preprocess_(preprocess) {}
  /// Of a part of its own, whose last layer gives scores or boxes.
  using Detector::add_sites;
  void add_sites(QueryMlp& mlp);
  /// From pass.input, whose size is that of pass.resized, to logits and boxes.
  virtual void run(ExecContext& context, Pass& pass) const = 0;

 private:
  QueryPreprocess preprocess_;
};

}  // namespace igq
