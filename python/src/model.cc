#include "model.h"

namespace igq::python {

SharedModel::SharedModel(const std::string& path, const ClassifierOptions& options)
    : embedders_(Embedder(path, options)), path_(path) {
  if (network().num_classes() > 0) classifiers_.emplace(network().classifier(options.threads));
}

void SharedModel::need_classes() const {
  if (!classifiers_)
    throw Error(path_ +
                " is an encoder without a head, so it predicts no classes: embed() and features() give its vectors");
}

const Classifier& SharedModel::classifier() const {
  need_classes();
  return classifiers_->first();
}

double SharedModel::run(Output output, std::span<const ImageSource> images, std::span<float> out,
                        std::vector<std::string>* errors) {
  if (output == Output::kLogits) {
    need_classes();
    return classifiers_->with([&](Classifier& c) {
      c.logits(images, out, errors);
      return c.loading_seconds();
    });
  }
  return embedders_.with([&](Embedder& e) {
    if (output == Output::kTokens)
      e.features(images, out, errors);
    else
      e.embed(images, out, output == Output::kUnitVectors, errors);
    return e.loading_seconds();
  });
}

}  // namespace igq::python
