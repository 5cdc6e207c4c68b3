// Vectors of images: what `igq embed` writes, from C++.
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

  int width() const;  ///< values of a vector
  int image_height() const;
  int image_width() const;
  const std::string& architecture() const;

  /// The vector of an image, written to `out` of width() values; with `normalize` divided by its length.
  void embed(const ImageSource& image, std::span<float> out, bool normalize = false);
  /// Of a whole batch, [images, width] values: images are decoded and run on all threads, each with the bits that it
  /// would have alone. With `errors` (one text per image, empty where it is well) a bad image leaves its row zero;
  /// without, the first bad one is thrown. Error when `out` has another size.
  void embed(std::span<const ImageSource> images, std::span<float> out, bool normalize = false,
             std::vector<std::string>* errors = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace igq
