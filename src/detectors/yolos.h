// YOLOS (Fang et al. 2021, transformers' YolosForObjectDetection): a ViT with detection tokens, each of which becomes a
// box and a class.
#pragma once

#include "detectors/query_detector.h"

namespace igq {

struct YolosConfig {
  ModelConfig vit;
  QueryPreprocess preprocess;
  std::vector<std::string> labels;
};

/// Error naming the field that is missing, out of range or asks for what igq does not compute.
YolosConfig yolos_config(const nlohmann::json& config, const nlohmann::json& preprocessor);

class Yolos final : public QueryDetector {
 public:
  /// `builder`: of yolos_tensors().
  Yolos(const YolosConfig& config, const ModelBuilder& builder);

  struct Tokens final : Pass {
    StepState vit;
  };
  std::unique_ptr<State> make_state() const override { return std::make_unique<Tokens>(); }
  const Model& vit() const { return *vit_; }

 protected:
  void run(ExecContext& context, Pass& pass) const override;

 private:
  std::unique_ptr<Model> vit_;
  QueryMlp classes_, boxes_;
};

}  // namespace igq
