#include "calibration/refine.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/fail.h"
#include "calibration/moments.h"
#include "calibration/rounding.h"
#include "calibration/step_weights.h"
#include "calibration/views.h"
#include "quant/grouping.h"

namespace igq {
namespace {

using kernels::kFloatPanel;

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
  const ChannelQuantizers q = assign_channels(plan, kernels, channels, mn, mx, arena);
  kernels.fake_quantize_channels({x, channels, rows, channels}, q.scale, {q.inv_scale, q.zero, q.q_max});
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

  /// `weight` [out][in] in the panels that multiply() takes.
  AlignedBuffer<float> packed_weight(const AlignedBuffer<float>& weight, int in, int out) const {
    AlignedBuffer<float> packed;
    packed.resize(static_cast<std::size_t>((out + kFloatPanel - 1) / kFloatPanel) * kFloatPanel *
                  static_cast<std::size_t>(in));
    kernels_.pack_f32(weight.data(), in, true, in, out, packed.data());
    return packed;
  }

  /// y [rows][out] = x [rows][in] W^T + bias (null: none), W from packed_weight().
  void multiply(const float* x, std::int64_t rows, int in, const float* packed, int out, const float* bias, float* y) {
    pool_.parallel_for(rows, 16, [&](std::int64_t b, std::int64_t e, int) {
      kernels_.gemm_f32({.x = x + b * in,
                         .ldx = in,
                         .rows = static_cast<int>(e - b),
                         .k = in,
                         .packed = packed,
                         .panel_begin = 0,
                         .panel_end = (out + kFloatPanel - 1) / kFloatPanel,
                         .n = out,
                         .bias = bias,
                         .accumulate = false,
                         .y = y + b * out,
                         .ldy = out});
    });
  }

  void refine_site(int id, RefineProgress& state) {
    const Site& site = model_.sites()[static_cast<std::size_t>(id)];
    Linear& linear = *site.linear;
    LinearPlan& plan = plan_->linears.at(site.name);
    const int in = linear.in_features(), out = linear.out_features(), rows = site.max_rows;
    const AlignedBuffer<float> weight = linear.weight();
    const bool has_bias = !linear.bias().empty();

    Moments moments(in, out, kernels_, pool_);
    const std::int64_t learnt = images_ - held_back();
    HeldBack held{{}, {}, static_cast<int>((images_ - learnt) * rows)};
    held.coded.resize(static_cast<std::size_t>(held.rows) * static_cast<std::size_t>(in));
    held.gap.resize(static_cast<std::size_t>(held.rows) * static_cast<std::size_t>(out));
    // Rows at once: enough for fast products, and no more than 12 MB of inputs in wide layers.
    constexpr int kChunkRows = 2048, kChunkFloats = 2048 * 1536;
    const std::int64_t per_chunk = std::max<std::int64_t>(pool_.size(), std::min(kChunkRows, kChunkFloats / in) / rows);
    AlignedBuffer<float> coded, target, gap, packed = packed_weight(weight, in, out);
    double square = 0.0;  // of the layer's target output, without bias
    for (std::int64_t begin = 0, end = 0; begin < images_; begin = end) {
      end = std::min(begin < learnt ? learnt : images_, begin + per_chunk);
      const std::int64_t chunk = (end - begin) * rows;
      coded.resize(static_cast<std::size_t>(chunk * in));
      target.resize(coded.size());
      gap.resize(static_cast<std::size_t>(chunk * out));
      capture(id, begin, end, target.data());
      std::copy(target.begin(), target.end(), coded.begin());
      each_image(0, end - begin, [&](std::int64_t i, Worker& w) {
        quantize_input(plan.input, kernels_, coded.data() + i * rows * in, rows, in, w.context.arena);
      });
      const auto n = static_cast<std::int64_t>(coded.size());
      multiply(target.data(), chunk, in, packed.data(), out, nullptr, gap.data());
      for (const float v : gap) square += begin < learnt ? static_cast<double>(v) * static_cast<double>(v) : 0.0;
      for (std::int64_t i = 0; i < n; ++i) target[static_cast<std::size_t>(i)] -= coded[static_cast<std::size_t>(i)];
      multiply(target.data(), chunk, in, packed.data(), out, nullptr, gap.data());
      if (begin < learnt) {
        moments.add(coded.data(), gap.data(), static_cast<int>(chunk));
      } else {
        std::copy(coded.begin(), coded.end(), held.coded.data() + (begin - learnt) * rows * in);
        std::copy(gap.begin(), gap.end(), held.gap.data() + (begin - learnt) * rows * out);
      }
    }

    std::size_t bytes = moments.bytes() + (coded.size() + target.size() + gap.size() + packed.size() +
                                           held.coded.size() + held.gap.size()) *
                                              sizeof(float);
    for (const StepState& image : states_) bytes += image.x.size() * sizeof(float);
    for (auto* buffer : {&coded, &target, &gap, &packed}) *buffer = {};
    Eigen::MatrixXd h = moments.take_square(has_bias);
    state.alike = regularize(h, moments.mean_square());
    const auto rounded_as = [&](WeightMethod method) {
      if (method == WeightMethod::kNearest) return Rounded{std::move(plan.weight), {}};
      AlignedBuffer<float> wanted = weight;  // W'
      // Of inputs that are all alike, the bias takes up the whole error of their activations.
      if (method == WeightMethod::kErq && !state.alike) add_compensation(h, moments, has_bias, in, out, wanted);
      RoundingOptions rounding;
      rounding.bits = plan.weight.bits;
      rounding.clipping = options_.clipping;
      rounding.group_size = plan.weight.group_size;
      return round_weights(h, {wanted.data(), wanted.size()}, in, out, rounding, kernels_, pool_);
    };
    std::vector<WeightMethod> methods{options_.weights};
    if (options_.weights == WeightMethod::kAuto) methods = {WeightMethod::kGptq};
    if (held.rows > 0) methods = {WeightMethod::kGptq, WeightMethod::kErq, WeightMethod::kNearest};
    Rounded rounded;
    AlignedBuffer<float> bias;
    double least = 0.0;
    for (const WeightMethod method : methods) {
      Rounded candidate = rounded_as(method);
      AlignedBuffer<float> shift = bias_shift(linear, candidate.plan, weight, moments, has_bias);
      const double error = held.rows == 0 ? 0.0 : held_error(held, candidate.plan, weight, shift, in, out);
      if (method != methods.front() && !(error < least)) continue;
      least = error;
      rounded = std::move(candidate);
      bias = std::move(shift);
      state.method = method;
    }
    plan.weight = std::move(rounded.plan);
    attach(site);
    if (has_bias) move_bias(linear, bias);
    double error = 0.0;
    for (const double e : rounded.error) error += e;
    state.error = square > 0.0 ? error / square : 0.0;
    state.bytes = bytes;
  }

  /// Adds lambda, the ridge times its mean, to the diagonal of h. Where that is no more than what float sums may have
  /// left of a variance that is none, h is nothing but their errors: it becomes a multiple of the identity, and the
  /// result is true.
  bool regularize(Eigen::MatrixXd& h, double mean_square) const {
    constexpr double kRounding = 1e-6;
    const double ridge = options_.ridge * h.diagonal().mean(), least = kRounding * mean_square;
    if (ridge > least) {
      h.diagonal().array() += ridge;
      return false;
    }
    h.setZero();
    h.diagonal().setConstant(least > 0.0 ? least : 1.0);
    return true;
  }

  /// Views of the last images, on which `auto` compares: an eighth, none of fewer than four images.
  std::int64_t held_back() const {
    const std::int64_t images = images_ / options_.views;
    if (options_.weights != WeightMethod::kAuto || images < 4) return 0;
    return std::max<std::int64_t>(1, images / 8) * options_.views;
  }

  /// The inputs of a layer on images held back, and what its output should have beside X_hat W^T.
  struct HeldBack {
    AlignedBuffer<float> coded, gap;  // [rows][in], [rows][out]
    int rows = 0;
  };

  /// The squared error of the layer's output there, with the weights of `plan` and `shift` [out] added to the bias.
  double held_error(const HeldBack& held, const WeightPlan& plan, const AlignedBuffer<float>& weight,
                    const AlignedBuffer<float>& shift, int in, int out) {
    AlignedBuffer<float> change(weight.size()), output(held.gap.size());
    each_weight(plan, in, out, [&](std::size_t o, std::size_t i, float w_hat) {
      const std::size_t at = o * static_cast<std::size_t>(in) + i;
      change[at] = w_hat - weight[at];
    });
    const AlignedBuffer<float> packed = packed_weight(change, in, out);
    multiply(held.coded.data(), held.rows, in, packed.data(), out, shift.empty() ? nullptr : shift.data(),
             output.data());
    double error = 0.0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      const double difference = static_cast<double>(output[i]) - static_cast<double>(held.gap[i]);
      error += difference * difference;
    }
    return error;
  }

  /// W' of erq, the ridge compensation of the activation error.
  static void add_compensation(const Eigen::MatrixXd& h, const Moments& moments, bool has_bias, int in, int out,
                               AlignedBuffer<float>& wanted) {
    Eigen::LLT<Eigen::MatrixXd> llt(h);
    for (double more = 0.0; llt.info() != Eigen::Success;) {
      more = more_damping(h, more);
      llt.compute(h + more * Eigen::MatrixXd::Identity(in, in));
    }
    const Eigen::MatrixXd change = llt.solve(moments.cross(has_bias));  // [in][out]
    for (int o = 0; o < out; ++o)
      for (int i = 0; i < in; ++i)
        wanted[static_cast<std::size_t>(o) * static_cast<std::size_t>(in) + static_cast<std::size_t>(i)] +=
            static_cast<float>(change(i, o));
  }

  /// use(output, input, w_hat) for every weight.
  template <typename Use>
  static void each_weight(const WeightPlan& plan, int in, int out, const Use& use) {
    const int offset = 1 << (plan.code_bits() - 1);
    for (std::size_t k = 0; k < static_cast<std::size_t>(in); ++k)
      for (std::size_t n = 0; n < static_cast<std::size_t>(out); ++n)
        use(n, k,
            plan.scale[n] *
                static_cast<float>(plan.codes[k * static_cast<std::size_t>(out) + n] + offset - plan.zero_point[n]));
  }

  /// What the bias takes up, [out] padded as it: mean(X W^T - X_hat W_hat^T) = mean(gap) + (W - W_hat) mean(X_hat).
  AlignedBuffer<float> bias_shift(const Linear& linear, const WeightPlan& plan, const AlignedBuffer<float>& weight,
                                  const Moments& moments, bool has_bias) const {
    AlignedBuffer<float> result;
    if (!has_bias) return result;
    const int in = linear.in_features(), out = linear.out_features();
    Eigen::VectorXd shift = moments.mean_y();
    const Eigen::VectorXd mean = moments.mean_x();
    each_weight(plan, in, out, [&](std::size_t n, std::size_t k, float w_hat) {
      shift(static_cast<Eigen::Index>(n)) += mean(static_cast<Eigen::Index>(k)) *
                                             static_cast<double>(weight[n * static_cast<std::size_t>(in) + k] - w_hat);
    });
    result.resize_zero(static_cast<std::size_t>(out + kFloatPanel - 1) / kFloatPanel * kFloatPanel);
    for (int o = 0; o < out; ++o) result[static_cast<std::size_t>(o)] = static_cast<float>(shift(o));
    return result;
  }

  void move_bias(Linear& linear, const AlignedBuffer<float>& shift) {
    AlignedBuffer<float>& bias = biases_[linear.name() + ".bias"];
    bias.resize(linear.bias().size());
    for (std::size_t o = 0; o < bias.size(); ++o) bias[o] = linear.bias()[o] + shift[o];
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
