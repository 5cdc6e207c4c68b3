// Float passes over the calibration images with an observer looking on: what calibration needs of a network, be it a
// model of one image size or a detector of pictures of any size.
#pragma once

#include <cstdint>
#include <functional>

#include "models/runner.h"

namespace igq {

struct CalibrationPasses {
  const Network* network = nullptr;
  const kernels::Kernels* kernels = nullptr;
  std::int64_t images = 0;
  /// The pass of image i. Error from whatever loads it.
  std::function<void(std::int64_t i, SiteObserver& observer)> run;
};

/// Two who look on at the same pass.
class BothObservers final : public SiteObserver {
 public:
  BothObservers(SiteObserver& first, SiteObserver& second) : first_(first), second_(second) {}
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override {
    first_.on_tensor(site, operand, part, x, ld, rows, cols);
    second_.on_tensor(site, operand, part, x, ld, rows, cols);
  }
  void on_map(int site, const float* x, MapGrid grid, int channels, const kernels::Activation* activation) override {
    first_.on_map(site, x, grid, channels, activation);
    second_.on_map(site, x, grid, channels, activation);
  }

 private:
  SiteObserver &first_, &second_;
};

/// Those of a runner's model; load(i, image) gives normalised image i of `images`. The runner must outlive them.
CalibrationPasses runner_passes(Runner& runner, std::int64_t images,
                                const std::function<void(std::int64_t, float*)>& load);

}  // namespace igq
