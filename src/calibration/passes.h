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

/// Those of a runner's model; load(i, image) gives normalised image i of `images`. The runner must outlive them.
CalibrationPasses runner_passes(Runner& runner, std::int64_t images,
                                const std::function<void(std::int64_t, float*)>& load);

}  // namespace igq
