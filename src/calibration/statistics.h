// What calibration remembers of the activations at every quantization site: streamed, of bounded size whatever the
// number of images.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "models/network.h"

namespace igq {

/// A uniform sample of fixed size of a stream (reservoir sampling, seeded): all of it while it is short.
class Reservoir {
 public:
  explicit Reservoir(std::uint64_t seed, std::size_t capacity = kDefaultCapacity)
      : random_(seed), capacity_(capacity) {}
  void add(Bounds point);
  const std::vector<Bounds>& points() const { return points_; }
  std::uint64_t seen() const { return seen_; }

  static constexpr std::size_t kDefaultCapacity = 65536;

 private:
  Random random_;
  std::size_t capacity_;
  std::uint64_t seen_ = 0;
  std::vector<Bounds> points_;
};

/// Of one FC input: a point (min, max) per channel and image, and every channel's range over all images.
struct LinearStatistics {
  explicit LinearStatistics(std::uint64_t seed) : points(seed) {}
  Reservoir points;
  std::vector<Bounds> channels;  ///< [in]
  bool padded = false;           ///< zeros are among the values (a convolution's patches)
};

/// Of one attention: ranges per head, and softmax row maxima (as points {0, max}).
struct AttentionStatistics {
  explicit AttentionStatistics(std::uint64_t seed) : row_max(seed) {}
  std::vector<Bounds> q, k, v;    ///< [heads]
  std::vector<Bounds> centred_v;  ///< [heads], of v less its mean over an image's (a window's) tokens
  Reservoir row_max;
  std::vector<float> row_position_max;  ///< [tokens, the most of any image]: largest probability by row position
};

/// Observes a network's float passes. Refuses NaN and infinity, naming the site.
class Statistics final : public SiteObserver {
 public:
  Statistics(const Network& network, std::uint64_t seed);
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override;
  void end_image() { ++images_; }

  int images() const { return images_; }
  const LinearStatistics& linear(int site) const { return linears_.at(site); }
  const AttentionStatistics& attention(int site) const { return attentions_.at(site); }
  /// Sites whose inputs no image has shown: heads of a detector that found nothing.
  std::vector<std::string> unseen() const;
  /// Bytes held now.
  std::size_t bytes() const;

 private:
  const Network& network_;
  const kernels::Kernels& kernels_;
  std::map<int, LinearStatistics> linears_;
  std::map<int, AttentionStatistics> attentions_;
  std::vector<float> mn_, mx_, mean_, centred_;
  int images_ = 0;
};

}  // namespace igq
