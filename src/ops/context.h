// What a forward pass needs besides the model: kernels, threads, scratch memory, how each site runs, who watches.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "kernels/table.h"

namespace igq {

/// How a quantization site runs: fp32; quantize-dequantize in fp32, the reference of what integers must give; codes
/// and byte products.
enum class Execution { kFloat, kSimulate, kInteger };

std::string_view execution_name(Execution execution);  ///< "float", "simulate", "integer"
Execution parse_execution(std::string_view name);      ///< Error lists the names

/// Which tensor of a site an observer is shown.
enum class Operand { kInput, kQ, kK, kV, kSoftmax, kOutput };

/// Maps of one size, one after the other: [images][height][width][channels].
struct MapGrid {
  int images = 1, height = 0, width = 0;
  std::int64_t pixels() const { return std::int64_t{images} * height * width; }
};

/// Watches the tensors at quantization sites as the pass computes them (calibration, comparison). Called from one
/// thread, between parallel loops, in a fixed order.
class SiteObserver {
 public:
  virtual ~SiteObserver() = default;
  /// x [rows][ld], `cols` valid. q, k, v, softmax come per window and head; `part` is the head.
  virtual void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) = 0;
  /// The input of a convolution, [grid][channels], whose output `activation` (null: none) is applied to.
  virtual void on_map(int site, const float* x, MapGrid grid, int channels, const kernels::Activation*) {
    on_tensor(site, Operand::kInput, 0, x, channels, static_cast<int>(grid.pixels()), channels);
  }
};

/// Kinds of work `bench --profile` tells apart.
enum class Work {
  kFloatGemm,
  kByteGemm,
  kPackPanel,
  kQuantize,
  kPermute,
  kAttention,
  kLayerNorm,
  kActivation,
  kSoftmax,
  kWaiting,
  kOther,
  kCount
};
std::string_view work_name(Work work);

/// Processor time of the calling thread by kind of work; a kind's time excludes that of kinds entered within it.
struct Profile {
  std::array<double, static_cast<std::size_t>(Work::kCount)> seconds{};

  /// Time counts as `work` from now on; returns what it counted as before. kCount: it does not count.
  Work enter(Work work);

 private:
  Work current_ = Work::kCount;
  double since_ = 0.0;
};

/// One per thread that runs whole images; not shared. The pool may be null: everything on the calling thread.
struct ExecContext {
  const kernels::Kernels* kernels = nullptr;
  ThreadPool* pool = nullptr;
  Arena arena;
  Execution execution = Execution::kFloat;
  /// When not empty: one entry per site id, overrides `execution`.
  std::vector<Execution> site_execution;
  SiteObserver* observer = nullptr;
  Profile* profile = nullptr;
  /// Whether a model may leave out what its logits do not depend on; not while an observer watches.
  bool logits_only = false;

  Execution execution_of(int site) const {
    return site_execution.empty() ? execution : site_execution[static_cast<std::size_t>(site)];
  }
  int threads() const { return pool == nullptr ? 1 : pool->size(); }

  /// ThreadPool::parallel_for, or one call on this thread without a pool.
  template <typename Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) const {
    if (pool != nullptr && profile != nullptr && pool->size() > 1) {
      const Work work = profile->enter(Work::kWaiting);
      pool->parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int t) {
        if (t == 0) profile->enter(work);
        body(begin, end, t);
        if (t == 0) profile->enter(Work::kWaiting);
      });
      profile->enter(work);
    } else if (pool != nullptr) {
      pool->parallel_for(count, grain, body);
    } else if (count > 0) {
      body(std::int64_t{0}, count, 0);
    }
  }
};

/// Counts the time from construction to destruction as one kind of work; free of cost without a profile. For the thread
/// that calls forward(), within parallel loops thread 0.
class WorkTimer {
 public:
  WorkTimer(const ExecContext& context, Work work, int thread = 0) : profile_(thread == 0 ? context.profile : nullptr) {
    if (profile_ != nullptr) outer_ = profile_->enter(work);
  }
  ~WorkTimer() {
    if (profile_ != nullptr) profile_->enter(outer_);
  }
  WorkTimer(const WorkTimer&) = delete;
  WorkTimer& operator=(const WorkTimer&) = delete;

 private:
  Profile* profile_;
  Work outer_ = Work::kCount;
};

}  // namespace igq
