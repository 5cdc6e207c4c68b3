#include "calibration/passes.h"

#include <memory>

namespace igq {

CalibrationPasses runner_passes(Runner& runner, std::int64_t images,
                                const std::function<void(std::int64_t, float*)>& load) {
  const auto image = std::make_shared<AlignedBuffer<float>>(static_cast<std::size_t>(runner.model().image_floats()));
  const auto run = [&runner, load, image](std::int64_t i, SiteObserver& observer) {
    load(i, image->data());
    const struct Watching {  // an Error leaves no observer behind
      ExecContext& context;
      ~Watching() { context.observer = nullptr; }
    } watching{runner.context()};
    runner.context().observer = &observer;
    runner.run(image->data());
  };
  return {&runner.model(), &kernels::kernels_for(runner.isa()), images, run};
}

}  // namespace igq
