#include "calibration/refine.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/fail.h"
#include "calibration/layer_rounding.h"
#include "calibration/step_weights.h"
#include "calibration/views.h"
#include "quant/grouping.h"

namespace igq {
namespace {

/// Copies the inputs of one site.
class InputTap final : public SiteObserver {
 public:
  InputTap(int site, float* to) : site_(site), to_(to) {}
  void on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) override {
    if (site != site_ || operand != Operand::kInput) return;
    for (int t = 0; t < rows; ++t) std::copy_n(x + t * ld, cols, to_ + static_cast<std::int64_t>(t) * cols);
  }

 private:
  int site_;
  float* to_;
};

/// Replaces every row block of one image by what its quantizers make of it.
void quantize_input(const ActivationPlan& plan, const kernels::Kernels& kernels, float* x, int rows, int channels,
                    Arena& arena) {
  if (plan.grouping == Grouping::kFloat) return;
  const ArenaScope scope(arena);
  const auto n = static_cast<std::size_t>(channels);
  float *mn = arena.take<float>(n), *mx = arena.take<float>(n);
  std::fill_n(mn, n, std::numeric_limits<float>::infinity());
  std::fill_n(mx, n, -std::numeric_limits<float>::infinity());
  kernels.channel_range(x, channels, rows, channels, mn, mx);
  fake_quantize(plan, kernels, {x, channels, rows, channels}, mn, mx, arena);
}

class Refiner {
 public:
  Refiner(Model& model, const std::shared_ptr<QuantizationPlan>& plan, const QuantizeOptions& options,
          std::int64_t images, Isa isa, ThreadPool& pool)
      : model_(model),
        plan_(plan),
        options_(options),
        images_(images * options.views),
        kernels_(kernels::kernels_for(isa)),
        pool_(pool) {
    workers_ = std::vector<Worker>(static_cast<std::size_t>(pool.size()));
    for (Worker& w : workers_) {
      w.context.kernels = &kernels_;
      w.context.execution = Execution::kSimulate;
    }
    states_.resize(static_cast<std::size_t>(images_));
  }

  BiasMap run(const std::function<void(std::int64_t, float*)>& load, const RefineHooks& hooks) {
    views_.emplace(model_.config(), options_.views, load);
    model_.set_plan(plan_);
    const auto sites = model_.sites();
    RefineProgress state;
    for (const Site& site : sites) state.total += refinable(site) ? 1 : 0;
    for (int step = 0; step < model_.steps(); ++step) {
      prepare_simulated(model_, step, kernels_);
      for (std::size_t id = 0; id < sites.size(); ++id) {
        if (sites[id].step != step || !refinable(sites[id])) continue;
        state.site = sites[id].name;
        state.found = hooks.finished != nullptr && take_finished(sites[id], *hooks.finished, state);
        if (!state.found) {
          refine_site(static_cast<int>(id), state);
          if (hooks.finished != nullptr) keep_finished(sites[id], *hooks.finished, state);
        }
        ++state.done;
        if (hooks.progress) hooks.progress(state);
      }
      if (step == 0)
        for (std::int64_t i = 0; i < images_; ++i) embed(i, states_[static_cast<std::size_t>(i)]);
      else
        each_image(0, images_,
                   [&](std::int64_t i, Worker& w) { run_step(w, step, states_[static_cast<std::size_t>(i)]); });
      forget_simulated(model_, step);
    }
    return std::move(biases_);
  }

 private:
  struct Worker {
    ExecContext context;
    StepState state;
  };

  bool refinable(const Site& site) const {
    if (site.linear == nullptr) return false;
    const auto it = plan_->linears.find(site.name);
    return it != plan_->linears.end() && it->second.weight.bits != 0;
  }

  /// The layer as an earlier run left it.
  bool take_finished(const Site& site, RefinedLayers& finished, RefineProgress& state) {
    std::optional<RefinedLayer> layer = finished.find(site.name);
    if (!layer || layer->bias.size() != site.linear->bias().size()) return false;
    plan_->linears.at(site.name) = std::move(layer->plan);
    attach(site);
    if (!layer->bias.empty()) {
      site.linear->set_bias({layer->bias.data(), layer->bias.size()});
      biases_[site.linear->name() + ".bias"] = std::move(layer->bias);
    }
    state.alike = layer->alike;
    return true;
  }

  void keep_finished(const Site& site, RefinedLayers& finished, const RefineProgress& state) {
    RefinedLayer layer;
    layer.plan = plan_->linears.at(site.name);
    if (const auto bias = biases_.find(site.linear->name() + ".bias"); bias != biases_.end()) layer.bias = bias->second;
    layer.alike = state.alike;
    finished.keep(site.name, layer);
  }

  void attach(const Site& site) {
    site.linear->set_plan(std::shared_ptr<const LinearPlan>(plan_, &plan_->linears.at(site.name)));
    site.linear->prepare(Execution::kSimulate, kernels_);
  }

  /// body(i, worker) for every image, several at once.
  template <typename Body>
  void each_image(std::int64_t begin, std::int64_t end, const Body& body) {
    pool_.parallel_for(end - begin, 1, [&](std::int64_t b, std::int64_t e, int t) {
      for (std::int64_t i = b; i < e; ++i) body(begin + i, workers_[static_cast<std::size_t>(t)]);
    });
  }

  void run_step(Worker& w, int step, StepState& state) {
    w.context.arena.reset();
    model_.run_step(w.context, step, state);
  }

  /// Step 0 for view i.
  void embed(std::int64_t i, StepState& state) {
    state.image = views_->view(i);
    run_step(workers_[0], 0, state);
    state.image = nullptr;
  }

  /// The site's inputs of images [begin, end), one after the other in `to`.
  void capture(int id, std::int64_t begin, std::int64_t end, float* to) {
    const Site& site = model_.sites()[static_cast<std::size_t>(id)];
    const std::int64_t floats = static_cast<std::int64_t>(site.max_rows) * site.linear->in_features();
    if (site.step == 0) {
      for (std::int64_t i = begin; i < end; ++i) {
        InputTap tap(id, to + (i - begin) * floats);
        workers_[0].context.observer = &tap;
        embed(i, workers_[0].state);
        workers_[0].context.observer = nullptr;
      }
      return;
    }
    each_image(begin, end, [&](std::int64_t i, Worker& w) {
      InputTap tap(id, to + (i - begin) * floats);
      w.context.observer = &tap;
      w.state = states_[static_cast<std::size_t>(i)];
      run_step(w, site.step, w.state);
      w.context.observer = nullptr;
    });
  }

  void refine_site(int id, RefineProgress& state) {
    const Site& site = model_.sites()[static_cast<std::size_t>(id)];
    Linear& linear = *site.linear;
    LinearPlan& plan = plan_->linears.at(site.name);
    const int in = linear.in_features(), out = linear.out_features(), rows = site.max_rows;
    const bool has_bias = !linear.bias().empty();

    LayerRounder rounder(linear.weight(), in, out, has_bias, options_, kernels_, pool_);
    const std::int64_t learnt = images_ - held_back();
    // Rows at once: enough for fast products, and no more than 12 MB of inputs in wide layers.
    constexpr int kChunkRows = 2048, kChunkFloats = 2048 * 1536;
    const std::int64_t per_chunk = std::max<std::int64_t>(pool_.size(), std::min(kChunkRows, kChunkFloats / in) / rows);
    AlignedBuffer<float> coded, target;
    for (std::int64_t begin = 0, end = 0; begin < images_; begin = end) {
      end = std::min(begin < learnt ? learnt : images_, begin + per_chunk);
      const std::int64_t chunk = (end - begin) * rows;
      coded.resize(static_cast<std::size_t>(chunk * in));
      target.resize(coded.size());
      capture(id, begin, end, target.data());
      std::copy(target.begin(), target.end(), coded.begin());
      each_image(0, end - begin, [&](std::int64_t i, Worker& w) {
        quantize_input(plan.input, kernels_, coded.data() + i * rows * in, rows, in, w.context.arena);
      });
      rounder.add(target.data(), coded.data(), static_cast<int>(chunk), begin >= learnt);
    }
    std::size_t bytes = (coded.size() + target.size()) * sizeof(float);
    for (const StepState& image : states_) bytes += image.x.size() * sizeof(float);
    coded = {};
    target = {};
    LayerRounding rounded = rounder.round(std::move(plan.weight));
    plan.weight = std::move(rounded.weight);
    state.alike = rounded.alike;
    state.method = rounded.method;
    state.error = rounded.error;
    state.bytes = bytes + rounded.bytes;
    attach(site);
    if (has_bias) move_bias(linear, rounded.shift);
  }

  /// Views of the images on which `auto` compares.
  std::int64_t held_back() const {
    return rounding_held_back(options_.weights, images_ / options_.views) * options_.views;
  }

  void move_bias(Linear& linear, const AlignedBuffer<float>& shift) {
    AlignedBuffer<float>& bias = biases_[linear.name() + ".bias"];
    bias = moved_bias(linear.bias(), shift);
    linear.set_bias({bias.data(), bias.size()});
  }

  Model& model_;
  std::shared_ptr<QuantizationPlan> plan_;
  const QuantizeOptions& options_;
  std::int64_t images_;
  const kernels::Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Worker> workers_;
  std::vector<StepState> states_;
  std::optional<ViewLoader> views_;
  BiasMap biases_;
};

}  // namespace

BiasMap refine_weights(Model& model, const std::shared_ptr<QuantizationPlan>& plan, const QuantizeOptions& options,
                       std::int64_t images, const std::function<void(std::int64_t, float*)>& load, Isa isa,
                       ThreadPool& pool, const RefineHooks& hooks) {
  if (options.weights == WeightMethod::kNearest || images == 0) return {};
  // Eigen splits products by cache sizes; fixed ones give the same bytes on every machine.
  Eigen::setCpuCacheSizes(32 * 1024, 512 * 1024, 4 * 1024 * 1024);
  return Refiner(model, plan, options, images, isa, pool).run(load, hooks);
}

}  // namespace igq
