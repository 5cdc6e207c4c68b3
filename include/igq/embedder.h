// Vectors and tokens of images: what `igq embed` writes, from C++.
//
//   igq::Embedder model("dinov2.igq");
//   std::vector<float> vector(model.width());
//   model.embed(igq::ImageSource::file("photo.jpg"), vector);
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "igq/igq.h"

namespace igq {

/// An encoder, or a classifier whose head is left aside (docs/embeddings.md says which vector a model gives). Used by
/// one thread at a time; errors are igq::Error as those of Classifier.
class IGQ_API Embedder {
 public:
  explicit Embedder(const std::filesystem::path& model, const ClassifierOptions& options = {});
  ~Embedder();
  Embedder(Embedder&& other) noexcept;
  Embedder& operator=(Embedder&& other) noexcept;

  /// Another embedder of the same weights, without a second copy of them, for another thread; as Classifier::share().
  Embedder share(int threads = 1) const;
  /// A classifier of the same weights. Error for an encoder, which has no classes. `threads` as in ClassifierOptions.
  Classifier classifier(int threads = 0) const;

  int width() const;        ///< values of a vector
  int tokens() const;       ///< tokens of an image after the last norm, class token and its like included
  int token_width() const;  ///< values of a token
  int num_classes() const;  ///< 0: an encoder
  int image_height() const;
  int image_width() const;
  std::size_t image_floats() const;  ///< 3 * height * width
  const std::string& architecture() const;
  std::string execution() const;  ///< "float", "simulate" or "integer"
  std::string isa() const;

  /// The vector of an image, written to `out` of width() values; with `normalize` divided by its length.
  void embed(const ImageSource& image, std::span<float> out, bool normalize = false);
  /// Of a whole batch, [images, width] values: images are decoded and run on all threads, each with the bits that it
  /// would have alone. With `errors` (one text per image, empty where it is well) a bad image leaves its row zero;
  /// without, the first bad one is thrown. Error when `out` has another size.
  void embed(std::span<const ImageSource> images, std::span<float> out, bool normalize = false,
             std::vector<std::string>* errors = nullptr);
  /// The tokens of a whole batch, [images, tokens, token_width] values, prefix tokens first; otherwise as embed().
  void features(std::span<const ImageSource> images, std::span<float> out, std::vector<std::string>* errors = nullptr);
  /// What the network sees of an image: [3, height, width], normalised, into `out` of image_floats() values.
  void load_image(const ImageSource& image, std::span<float> out) const;
  /// Of the last batch: what reading, decoding and resizing its images took, summed over the threads.
  double loading_seconds() const;

 private:
  struct Impl;
  explicit Embedder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace igq
