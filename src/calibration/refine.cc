#include "calibration/refine.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/fail.h"
#include "calibration/moments.h"
#include "calibration/rounding.h"
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
  kernels.fake_quantize_channels(x, channels, rows, channels, q.scale, q.inv_scale, q.zero, q.q_max);
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

  BiasMap run(const std::function<void(std::int64_t, float*)>& load,
              const std::function<void(const RefineProgress&)>& progress) {
    views_.emplace(model_.config(), options_.views, load);
    model_.set_plan(plan_);
    model_.prepare(Execution::kSimulate, kernels_);
    const auto sites = model_.sites();
    RefineProgress state;
    for (const Site& site : sites) state.total += refinable(site) ? 1 : 0;
    for (int step = 0; step < model_.steps(); ++step) {
      for (std::size_t id = 0; id < sites.size(); ++id) {
        if (sites[id].step != step || !refinable(sites[id])) continue;
        state.site = sites[id].name;
        refine_site(static_cast<int>(id), state);
        ++state.done;
        if (progress) progress(state);
      }
      if (step == 0) {
        for (std::int64_t i = 0; i < images_; ++i) embed(i, states_[static_cast<std::size_t>(i)]);
        continue;
      }
      each_image(0, images_,
                 [&](std::int64_t i, Worker& w) { run_step(w, step, states_[static_cast<std::size_t>(i)]); });
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
    const AlignedBuffer<float> weight = linear.weight();
    const bool has_bias = !linear.bias().empty();

    Moments moments(in, out, kernels_, pool_);
    const std::int64_t learnt = images_ - held_back();
    HeldBack held{{}, {}, static_cast<int>((images_ - learnt) * rows)};
    held.coded.resize(static_cast<std::size_t>(held.rows) * static_cast<std::size_t>(in));
    held.gap.resize(static_cast<std::size_t>(held.rows) * static_cast<std::size_t>(out));
    constexpr int kChunkRows = 2048;
    const std::int64_t per_chunk = std::max<std::int64_t>(pool_.size(), kChunkRows / rows);
    AlignedBuffer<float> coded, target, gap, packed;
    const int panels = (out + kFloatPanel - 1) / kFloatPanel;
    packed.resize(static_cast<std::size_t>(panels) * kFloatPanel * static_cast<std::size_t>(in));
    kernels_.pack_f32(weight.data(), in, true, in, out, packed.data());
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
      pool_.parallel_for(chunk, 16, [&](std::int64_t b, std::int64_t e, int) {
        kernels_.gemm_f32(target.data() + b * in, in, static_cast<int>(e - b), in, packed.data(), 0, panels, out,
                          nullptr, false, gap.data() + b * out, out);
      });
      for (const float v : gap) square += begin < learnt ? static_cast<double>(v) * static_cast<double>(v) : 0.0;
      for (std::int64_t i = 0; i < n; ++i) target[static_cast<std::size_t>(i)] -= coded[static_cast<std::size_t>(i)];
      pool_.parallel_for(chunk, 16, [&](std::int64_t b, std::int64_t e, int) {
        kernels_.gemm_f32(target.data() + b * in, in, static_cast<int>(e - b), in, packed.data(), 0, panels, out,
                          nullptr, false, gap.data() + b * out, out);
      });
      if (begin < learnt) {
        moments.add(coded.data(), gap.data(), static_cast<int>(chunk));
      } else {
        std::copy(coded.begin(), coded.end(), held.coded.data() + (begin - learnt) * rows * in);
        std::copy(gap.begin(), gap.end(), held.gap.data() + (begin - learnt) * rows * out);
      }
    }

    Eigen::MatrixXd h = moments.square(has_bias);
    h.diagonal().array() += options_.ridge * h.diagonal().mean() + 1e-9;
    const auto rounded_as = [&](WeightMethod method) {
      if (method == WeightMethod::kNearest) return Rounded{std::move(plan.weight), {}};
      AlignedBuffer<float> wanted = weight;  // W'
      if (method == WeightMethod::kErq) add_compensation(h, moments, has_bias, in, out, wanted);
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
    linear.set_plan(std::shared_ptr<const LinearPlan>(plan_, &plan));
    linear.prepare(Execution::kSimulate, kernels_);
    if (has_bias) move_bias(linear, bias);
    double error = 0.0;
    for (const double e : rounded.error) error += e;
    state.error = error / square;
    std::size_t bytes = 0;
    for (const StepState& image : states_) bytes += image.x.size() * sizeof(float);
    state.bytes = bytes + moments.bytes() + static_cast<std::size_t>(h.size()) * sizeof(double) +
                  (coded.size() + target.size() + gap.size() + packed.size() + held.coded.size() + held.gap.size()) *
                      sizeof(float);
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
    const int panels = (out + kFloatPanel - 1) / kFloatPanel;
    AlignedBuffer<float> change(weight.size()), packed, output(held.gap.size());
    packed.resize(static_cast<std::size_t>(panels) * kFloatPanel * static_cast<std::size_t>(in));
    each_weight(plan, in, out, [&](std::size_t o, std::size_t i, float w_hat) {
      const std::size_t at = o * static_cast<std::size_t>(in) + i;
      change[at] = w_hat - weight[at];
    });
    kernels_.pack_f32(change.data(), in, true, in, out, packed.data());
    pool_.parallel_for(held.rows, 16, [&](std::int64_t b, std::int64_t e, int) {
      kernels_.gemm_f32(held.coded.data() + b * in, in, static_cast<int>(e - b), in, packed.data(), 0, panels, out,
                        shift.empty() ? nullptr : shift.data(), false, output.data() + b * out, out);
    });
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
    const Eigen::MatrixXd change = h.llt().solve(moments.cross(has_bias));  // [in][out]
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
                       ThreadPool& pool, const std::function<void(const RefineProgress&)>& progress) {
  if (options.weights == WeightMethod::kNearest || images == 0) return {};
  // Eigen splits products by cache sizes; fixed ones give the same bytes on every machine.
  Eigen::setCpuCacheSizes(32 * 1024, 512 * 1024, 4 * 1024 * 1024);
  return Refiner(model, plan, options, images, isa, pool).run(load, progress);
}

}  // namespace igq
