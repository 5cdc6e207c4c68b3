// The library: load a vision transformer (a folder with config.json and model.safetensors, a .safetensors file or an
// .igq file made by `igq quantize`) and classify images with it on the CPU.
//
//   igq::Classifier model("vit.igq");
//   for (const igq::Prediction& p : model.predict("photo.jpg", 3)) std::cout << p.label << ' ' << p.score << '\n';
//
// Everything a user can cause (files, values) throws igq::Error with one line that says what, where and how to mend it.
// What is stable is listed in docs/versioning.md.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "igq/error.h"
#include "igq/export.h"
#include "igq/image.h"
#include "igq/version.h"

namespace igq {

struct ClassifierOptions {
  std::string architecture;  ///< timm name, for a .safetensors file without config.json beside it
  int image_height = 0;      ///< 0: the model's own; otherwise position embeddings are resized (float models only)
  int image_width = 0;
  int threads = 0;           ///< that one image is split over; 0: one per processor
  std::string isa = "auto";  ///< "reference", "avx2", "avx-vnni", "avx512", "avx512-vnni", "amx"; results are the same
  std::string execution;     ///< "float", "simulate" or "integer"; empty: integer for .igq files, float for others
  std::string orientation;   ///< "exif": turn pictures upright; "ignore"; empty or "auto": as the model's source does
};

struct Prediction {
  int index = 0;      ///< of the class
  std::string label;  ///< empty when the model has no names
  /// Softmax probability; sigmoid of the logit for models of several labels an image (problem_type
  /// multi_label_classification) and for a single logit; the logit itself for regression.
  double score = 0.0;
  float logit = 0.0f;
};

class IGQ_API Classifier {
 public:
  /// Error: no such file, not a model igq runs, damaged, unknown instruction set or execution.
  explicit Classifier(const std::filesystem::path& model, const ClassifierOptions& options = {});
  ~Classifier();
  Classifier(Classifier&& other) noexcept;
  Classifier& operator=(Classifier&& other) noexcept;

  /// Another classifier of the same weights, without a second copy of them, for another thread. A single classifier is
  /// used by one thread at a time. `threads` as in ClassifierOptions. May be called while others predict.
  Classifier share(int threads = 1) const;

  /// The `topk` most likely classes of an image file (JPEG, PNG, WebP, TIFF, GIF, BMP), best first; decoded and resized
  /// as the model expects. Error when the file cannot be read or is no whole image.
  std::vector<Prediction> predict(const std::filesystem::path& image, int topk = 5);
  /// The same for a normalised image [3, height, width] of image_floats() values. Error for another size.
  std::vector<Prediction> predict(std::span<const float> image, int topk = 5);
  /// The same for an image from anywhere (igq/image.h).
  std::vector<Prediction> predict(const ImageSource& image, int topk = 5);
  /// Logits [images, num_classes] of a whole batch, written to `out`: images are decoded and run on all threads of the
  /// classifier, with the bits that each would have alone. With `errors` (one text per image, empty where it is well)
  /// a bad image leaves its row zero; without, the first bad one is thrown. Error when `out` has another size.
  void logits(std::span<const ImageSource> images, std::span<float> out, std::vector<std::string>* errors = nullptr);
  /// The `topk` most likely classes of logits [num_classes] that logits() gave.
  std::vector<Prediction> rank(std::span<const float> logits, int topk = 5) const;
  /// Logits [num_classes] of a normalised image; valid until the next call.
  std::span<const float> logits(std::span<const float> image);
  /// What predict() makes of a file before the model sees it: [3, height, width], normalised.
  std::vector<float> load_image(const std::filesystem::path& image) const;
  /// The same for an image from anywhere, into `out` of image_floats() values.
  void load_image(const ImageSource& image, std::span<float> out) const;

  int num_classes() const;
  int image_height() const;
  int image_width() const;
  std::size_t image_floats() const;         ///< 3 * height * width
  const std::string& architecture() const;  ///< timm's name
  const std::vector<std::string>& labels() const;
  std::string execution() const;  ///< "float", "simulate" or "integer"
  std::string isa() const;
  /// Of the last batch: what reading, decoding and resizing its images took, summed over the threads.
  double loading_seconds() const;

 private:
  friend class Embedder;
  struct Impl;
  explicit Classifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The version of the library that runs, which may be newer than IGQ_VERSION of the headers.
IGQ_API std::string version();

}  // namespace igq
