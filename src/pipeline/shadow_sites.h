// Each layer of a network on its own in integers: while a float pass goes on, every FC layer and convolution computes
// its output once more from the same input, and the difference is its signal-to-noise ratio alone. One pass measures
// all of them; attentions, whose inputs an observer sees only in slices, are left out.
#pragma once

#include <vector>

#include "eval/compare.h"

namespace igq {

class ShadowSites final : public SiteObserver {
 public:
  /// The network's layers with a plan must be prepared for float and for integers. It must outlive this.
  ShadowSites(const Network& network, const kernels::Kernels& kernels, ThreadPool& pool);
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override;
  void on_map(int site, const float* x, MapGrid grid, int channels, const kernels::Activation* activation) override;
  /// Of the layers seen, in the order of the network; `alone` is set, `accumulated` is not.
  std::vector<SiteNoise> noise() const;

 private:
  struct Sums {
    bool seen = false;
    double signal = 0.0, error = 0.0;
  };
  bool quantized(int site) const;

  const Network& network_;
  ExecContext context_;
  std::vector<Sums> sums_;
  AlignedBuffer<float> shadow_;  // of the layer whose output comes next
  int waiting_ = -1;
};

}  // namespace igq
