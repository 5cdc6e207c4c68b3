#include "calibration/reconstruct.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "base/fail.h"
#include "base/random.h"
#include "calibration/block_gradients.h"
#include "calibration/views.h"

namespace igq {
namespace {

constexpr int kHeldOut = 8;  // every so many-th image
constexpr std::size_t kStateBytes = std::size_t{512}
                                    << 20;  // of activations between blocks; large models have fewer views

/// Adam (Kingma and Ba, 2015) on parameters measured in units of their own: a step moves each by at most about rate *
/// unit.
class Adam {
 public:
  explicit Adam(std::size_t size) : mean_(size), square_(size) {}
  void step(const std::vector<double>& gradient, const std::vector<double>& unit, double rate,
            std::vector<double>& values) {
    constexpr double kMeanDecay = 0.9, kSquareDecay = 0.95, kTiny = 1e-30;
    mean_power_ *= kMeanDecay;
    square_power_ *= kSquareDecay;
    for (std::size_t i = 0; i < values.size(); ++i) {
      mean_[i] += (1.0 - kMeanDecay) * (gradient[i] - mean_[i]);
      square_[i] += (1.0 - kSquareDecay) * (gradient[i] * gradient[i] - square_[i]);
      const double m = mean_[i] / (1.0 - mean_power_), v = square_[i] / (1.0 - square_power_);
      values[i] -= rate * unit[i] * m / (std::sqrt(v) + kTiny);
    }
  }

 private:
  std::vector<double> mean_, square_;
  double mean_power_ = 1.0, square_power_ = 1.0;
};

/// The tuned parameters of one block: read from the model, written to it.
class Parameters {
 public:
  std::vector<double> values, unit;  // in the places of `layout`

  Parameters(const BlockParts& block, const BlockGradients& layout, const std::shared_ptr<QuantizationPlan>& plan)
      : values(layout.size()), unit(layout.size()), block_(block), layout_(layout), plan_(plan) {
    read(BlockPart::kGamma1, block.norm1->gamma);
    read(BlockPart::kBeta1, block.norm1->beta);
    read(BlockPart::kGamma2, block.mlp->norm.gamma);
    read(BlockPart::kBeta2, block.mlp->norm.beta);
    for (const Layer& layer : layers()) {
      read(layer.bias, layer.linear->bias());
      std::fill(values.begin() + at(layer.gain), values.begin() + at_end(layer.gain), 1.0);
      scales_.push_back(plan_->linears.at(layer.linear->name()).weight.scale);
    }
  }

  /// Units: the mean gamma, a seventh of it for beta, 1 for gains, half the spread of the layer's output for biases;
  /// the proportions that trained models have.
  void measure(const BlockTape& tape) {
    fill_unit(BlockPart::kGamma1, mean_gamma(block_.norm1->gamma));
    fill_unit(BlockPart::kBeta1, mean_gamma(block_.norm1->gamma) / 7.0);
    fill_unit(BlockPart::kGamma2, mean_gamma(block_.mlp->norm.gamma));
    fill_unit(BlockPart::kBeta2, mean_gamma(block_.mlp->norm.gamma) / 7.0);
    const AlignedBuffer<float>* outputs[] = {&tape.qkv, &tape.proj, &tape.fc1, &tape.fc2};
    for (std::size_t i = 0; i < layers().size(); ++i) {
      const Layer layer = layers()[i];
      fill_unit(layer.gain, 1.0);
      fill_unit(layer.bias, 0.5 * spread(*outputs[i], layer.linear->bias()));
    }
  }

  /// Writes `values` to the layers and prepares them for simulation.
  void apply(const kernels::Kernels& kernels, ThreadPool& pool) const {
    write(BlockPart::kGamma1, block_.norm1->gamma);
    write(BlockPart::kBeta1, block_.norm1->beta);
    write(BlockPart::kGamma2, block_.mlp->norm.gamma);
    write(BlockPart::kBeta2, block_.mlp->norm.beta);
    pool.parallel_for(4, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Layer layer = layers()[static_cast<std::size_t>(i)];
        LinearPlan& plan = plan_->linears.at(layer.linear->name());
        const std::vector<float>& scale = scales_[static_cast<std::size_t>(i)];
        for (std::size_t o = 0; o < scale.size(); ++o)
          plan.weight.scale[o] = scale[o] * static_cast<float>(values[static_cast<std::size_t>(at(layer.gain)) + o]);
        AlignedBuffer<float> bias(layer.linear->bias().size());
        write(layer.bias, bias);
        if (!bias.empty()) layer.linear->set_bias({bias.data(), bias.size()});
        layer.linear->set_plan(std::shared_ptr<const LinearPlan>(plan_, &plan));
        layer.linear->prepare(Execution::kSimulate, kernels);
      }
    });
  }

  /// Biases and norms by tensor name.
  void store(const std::string& block_name, BiasMap& to) const {
    const auto keep = [&](const std::string& name, std::span<const float> v) {
      if (v.empty()) return;
      AlignedBuffer<float>& stored = to[name];
      stored.resize(v.size());
      std::copy(v.begin(), v.end(), stored.begin());
    };
    const auto span_of = [](const AlignedBuffer<float>& v) { return std::span<const float>(v.data(), v.size()); };
    keep(block_name + ".norm1.weight", span_of(block_.norm1->gamma));
    keep(block_name + ".norm1.bias", span_of(block_.norm1->beta));
    keep(block_name + ".norm2.weight", span_of(block_.mlp->norm.gamma));
    keep(block_name + ".norm2.bias", span_of(block_.mlp->norm.beta));
    for (const Layer& layer : layers()) keep(layer.linear->name() + ".bias", layer.linear->bias());
  }

 private:
  struct Layer {
    Linear* linear;
    BlockPart bias, gain;
  };
  std::array<Layer, 4> layers() const {
    return {{{block_.qkv, BlockPart::kQkvBias, BlockPart::kQkvGain},
             {block_.proj, BlockPart::kProjBias, BlockPart::kProjGain},
             {&block_.mlp->fc1, BlockPart::kFc1Bias, BlockPart::kFc1Gain},
             {&block_.mlp->fc2, BlockPart::kFc2Bias, BlockPart::kFc2Gain}}};
  }
  std::ptrdiff_t at(BlockPart part) const { return static_cast<std::ptrdiff_t>(layout_.begin(part)); }
  std::ptrdiff_t at_end(BlockPart part) const { return static_cast<std::ptrdiff_t>(layout_.end(part)); }
  template <typename Vector>
  void read(BlockPart part, const Vector& from) {
    std::transform(from.begin(), from.begin() + (at_end(part) - at(part)), values.begin() + at(part),
                   [](float v) { return static_cast<double>(v); });
  }
  void write(BlockPart part, AlignedBuffer<float>& to) const {
    std::transform(values.begin() + at(part), values.begin() + at_end(part), to.begin(),
                   [](double v) { return static_cast<float>(v); });
  }
  void fill_unit(BlockPart part, double value) {
    std::fill(unit.begin() + at(part), unit.begin() + at_end(part), value);
  }
  static double mean_gamma(const AlignedBuffer<float>& gamma) {
    double sum = 0.0;
    for (const float g : gamma) sum += std::abs(static_cast<double>(g));
    return sum / static_cast<double>(gamma.size());
  }
  /// Root mean square of outputs [rows][out] without the bias.
  static double spread(const AlignedBuffer<float>& output, std::span<const float> bias) {
    double sum = 0.0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      const double v = static_cast<double>(output[i] - (bias.empty() ? 0.0f : bias[i % bias.size()]));
      sum += v * v;
    }
    return std::sqrt(sum / static_cast<double>(output.size()));
  }

  const BlockParts& block_;
  const BlockGradients& layout_;
  std::shared_ptr<QuantizationPlan> plan_;
  std::vector<std::vector<float>> scales_;  // of the four layers' weights, before
};

class Reconstructor {
 public:
  Reconstructor(Model& model, const std::shared_ptr<QuantizationPlan>& plan, Model& original,
                const ReconstructOptions& options, std::int64_t images, Isa isa, ThreadPool& pool)
      : model_(model),
        plan_(plan),
        original_(original),
        options_(options),
        images_(images),
        kernels_(kernels::kernels_for(isa)),
        pool_(pool),
        random_(options.seed) {
    workers_ = std::vector<Worker>(static_cast<std::size_t>(pool.size()));
    for (Worker& w : workers_) {
      w.coded.kernels = w.exact.kernels = &kernels_;
      w.coded.execution = Execution::kSimulate;
    }
    model_.prepare(Execution::kSimulate, kernels_);
    original_.prepare(Execution::kFloat, kernels_);
  }

  Reconstruction run(const std::function<void(std::int64_t, float*)>& load,
                     const std::function<void(std::int64_t, std::int64_t)>& progress) {
    start_ = std::chrono::steady_clock::now();
    const int last = last_block();
    int blocks = 0;
    for (int step = 1; step <= last; ++step) blocks += tunable(model_.block_parts(step)) ? 1 : 0;
    if (blocks == 0)
      fail("reconstruction: no block of {} has all of its linear layers quantized", model_.config().architecture);
    embed(load);
    for (std::int64_t i = 0; i < inputs_; ++i) (is_held_out(i) ? held_ : tuned_).push_back(i);
    if (held_.empty()) held_ = tuned_;
    total_ = blocks * options_.epochs * static_cast<std::int64_t>(tuned_.size());
    progress_ = &progress;
    for (int step = 1; step <= last && !out_of_time(); ++step) {
      each(inputs_,
           [&](std::int64_t i, Worker& w) { run_step(original_, w.exact, step, exact_[static_cast<std::size_t>(i)]); });
      if (const std::optional<BlockParts> block = model_.block_parts(step); tunable(block)) tune(*block, step);
      each(inputs_,
           [&](std::int64_t i, Worker& w) { run_step(model_, w.coded, step, coded_[static_cast<std::size_t>(i)]); });
    }
    return std::move(result_);
  }

 private:
  struct Worker {
    ExecContext coded, exact;
    StepState state;
    std::unique_ptr<BlockTape> tape;
  };

  bool is_held_out(std::int64_t input) const {
    return images_ >= kHeldOut && input / views_ % kHeldOut == kHeldOut - 1;
  }

  int last_block() const {
    int last = 0;
    for (int step = 1; step < model_.steps(); ++step)
      if (tunable(model_.block_parts(step))) last = step;
    return last;
  }

  bool tunable(const std::optional<BlockParts>& block) const {
    if (!block) return false;
    for (const Linear* linear : {block->qkv, block->proj, &block->mlp->fc1, &block->mlp->fc2}) {
      const auto it = plan_->linears.find(linear->name());
      if (it == plan_->linears.end() || it->second.weight.bits == 0) return false;
    }
    return true;
  }

  bool out_of_time() {
    if (options_.minutes <= 0.0 || result_.out_of_time) return result_.out_of_time;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    result_.out_of_time = spent.count() > 60.0 * options_.minutes;
    return result_.out_of_time;
  }

  /// body(i, worker) for i below count, several at once.
  template <typename Body>
  void each(std::int64_t count, const Body& body) {
    pool_.parallel_for(count, 1, [&](std::int64_t b, std::int64_t e, int t) {
      for (std::int64_t i = b; i < e; ++i) body(i, workers_[static_cast<std::size_t>(t)]);
    });
  }

  static void run_step(const Model& model, ExecContext& context, int step, StepState& state) {
    context.arena.reset();
    model.run_step(context, step, state);
  }

  void embed(const std::function<void(std::int64_t, float*)>& load) {
    AlignedBuffer<float> image(static_cast<std::size_t>(model_.image_floats()));
    StepState& first = workers_[0].state;
    load(0, image.data());
    first.image = image.data();
    run_step(original_, workers_[0].exact, 0, first);
    const std::size_t per_view = 2 * static_cast<std::size_t>(images_) * first.x.size() * sizeof(float);
    views_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(kStateBytes / per_view), 1, options_.views);
    inputs_ = images_ * views_;
    coded_.resize(static_cast<std::size_t>(inputs_));
    exact_.resize(coded_.size());
    ViewLoader views(model_.config(), static_cast<int>(views_), load);
    for (std::int64_t i = 0; i < inputs_; ++i) {
      const float* view = views.view(i);
      for (const bool exact : {false, true}) {
        StepState& state = (exact ? exact_ : coded_)[static_cast<std::size_t>(i)];
        state.image = view;
        run_step(exact ? original_ : model_, exact ? workers_[0].exact : workers_[0].coded, 0, state);
        state.image = nullptr;
      }
    }
  }

  /// Squared error of the block's output on the images held out, over the output's square.
  double error(int step) {
    std::vector<double> noise(held_.size()), power(held_.size());
    each(static_cast<std::int64_t>(held_.size()), [&](std::int64_t k, Worker& w) {
      const auto at = static_cast<std::size_t>(k), i = static_cast<std::size_t>(held_[at]);
      w.state = coded_[i];
      run_step(model_, w.coded, step, w.state);
      for (std::size_t c = 0; c < w.state.x.size(); ++c) {
        const auto target = static_cast<double>(exact_[i].x[c]), gap = static_cast<double>(w.state.x[c]) - target;
        noise[at] += gap * gap;
        power[at] += target * target;
      }
    });
    const double total = std::accumulate(power.begin(), power.end(), 0.0);
    return total > 0.0 ? std::accumulate(noise.begin(), noise.end(), 0.0) / total : 0.0;
  }

  /// Adds the gradient of input i to `gradient`: a pass that the tape watches, then backward.
  void add_gradient(const BlockGradients& gradients, int step, std::span<const float> gain, std::int64_t i, Worker& w,
                    float* gradient) {
    const StepState& target = exact_[static_cast<std::size_t>(i)];
    w.state = coded_[static_cast<std::size_t>(i)];
    w.tape->begin({w.state.x.data(), w.state.x.size()}, w.state.tokens);
    w.coded.observer = w.tape.get();
    run_step(model_, w.coded, step, w.state);
    w.coded.observer = nullptr;
    for (std::size_t c = 0; c < w.state.x.size(); ++c) w.state.x[c] -= target.x[c];  // dy
    gradients.backward(*w.tape, w.state.x.data(), gain, w.coded.arena, gradient);
  }

  void tune(const BlockParts& block, int step) {
    const BlockGradients gradients(block, kernels_);
    Parameters parameters(block, gradients, plan_);
    const std::vector<double> original = parameters.values;
    for (Worker& w : workers_) w.tape = std::make_unique<BlockTape>(block);
    BlockReconstruction report;
    report.block = block.attention->name().substr(0, block.attention->name().rfind('.'));
    report.before = error(step);

    const std::size_t size = gradients.size();
    std::vector<float> gain(size), each_gradient(size * static_cast<std::size_t>(options_.batch));
    std::vector<double> gradient(size);
    Adam adam(size);
    std::vector<std::int64_t> order = tuned_;
    const auto count = static_cast<std::int64_t>(order.size()), batch = std::min<std::int64_t>(options_.batch, count);
    const std::int64_t steps = options_.epochs * (count / batch);
    for (std::int64_t s = 0; s < steps && !out_of_time(); ++s) {
      const std::int64_t first = s % (count / batch) * batch;
      if (first == 0)
        for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random_.below(i + 1)]);
      std::transform(parameters.values.begin(), parameters.values.end(), gain.begin(),
                     [](double v) { return static_cast<float>(v); });
      std::fill(each_gradient.begin(), each_gradient.end(), 0.0f);
      each(batch, [&](std::int64_t k, Worker& w) {
        add_gradient(gradients, step, gain, order[static_cast<std::size_t>(first + k)], w,
                     each_gradient.data() + static_cast<std::size_t>(k) * size);
        if (s == 0 && k == 0) parameters.measure(*w.tape);
      });
      std::fill(gradient.begin(), gradient.end(), 0.0);
      for (std::int64_t k = 0; k < batch; ++k)
        for (std::size_t p = 0; p < size; ++p)
          gradient[p] += static_cast<double>(each_gradient[static_cast<std::size_t>(k) * size + p]);
      adam.step(gradient, parameters.unit, options_.rate * (1.0 - static_cast<double>(s) / static_cast<double>(steps)),
                parameters.values);
      parameters.apply(kernels_, pool_);
      done_ += batch;
      if (*progress_) (*progress_)(std::min(done_, total_), total_);
    }
    report.after = error(step);
    report.kept = report.after < report.before;
    if (!report.kept) {
      parameters.values = original;
      parameters.apply(kernels_, pool_);
    } else {
      parameters.store(report.block, result_.vectors);
    }
    result_.blocks.push_back(report);
    result_.bytes = std::max(result_.bytes, held_bytes() + gradients.bytes() + each_gradient.size() * sizeof(float));
    for (Worker& w : workers_) w.tape.reset();
  }

  std::size_t held_bytes() const {
    std::size_t total = 0;
    for (std::size_t i = 0; i < coded_.size(); ++i) total += (coded_[i].x.size() + exact_[i].x.size()) * sizeof(float);
    for (const Worker& w : workers_)
      total += w.coded.arena.capacity() + w.exact.arena.capacity() + (w.tape != nullptr ? w.tape->bytes() : 0);
    for (const Site& site : original_.sites())
      if (site.linear != nullptr)
        total += static_cast<std::size_t>(site.linear->in_features()) *
                 static_cast<std::size_t>(site.linear->out_features()) * sizeof(float);
    return total;
  }

  Model& model_;
  std::shared_ptr<QuantizationPlan> plan_;
  Model& original_;
  const ReconstructOptions& options_;
  std::int64_t images_, views_ = 1, inputs_ = 0;  // images times views
  const kernels::Kernels& kernels_;
  ThreadPool& pool_;
  Random random_;
  std::vector<Worker> workers_;
  std::vector<StepState> coded_, exact_;    // of every input: in the quantized and in the float model
  std::vector<std::int64_t> tuned_, held_;  // inputs
  std::chrono::steady_clock::time_point start_;
  std::int64_t done_ = 0, total_ = 0;
  const std::function<void(std::int64_t, std::int64_t)>* progress_ = nullptr;
  Reconstruction result_;
};

}  // namespace

Reconstruction reconstruct_blocks(Model& model, const std::shared_ptr<QuantizationPlan>& plan, Model& original,
                                  const ReconstructOptions& options, std::int64_t images,
                                  const std::function<void(std::int64_t, float*)>& load, Isa isa, ThreadPool& pool,
                                  const std::function<void(std::int64_t, std::int64_t)>& progress) {
  if (images == 0) return {};
  return Reconstructor(model, plan, original, options, images, isa, pool).run(load, progress);
}

}  // namespace igq
