#include "calibration/refine_network.h"

#include <Eigen/Core>
#include <algorithm>
#include <limits>
#include <map>
#include <memory>

#include "calibration/layer_rounding.h"
#include "quant/grouping.h"

namespace igq {
namespace {

/// Layers that are watched in one pass over the images, and what their second moments may take together.
constexpr std::size_t kLayersTogether = 6, kMomentBytes = std::size_t{768} << 20;
/// Rows that are taken of one call of a layer (a level of a pyramid, all regions of a picture).
constexpr std::int64_t kRowsOfCall = 1024;

/// Collects inputs of some layers, exact and quantized.
class RowTap final : public SiteObserver {
 public:
  RowTap(const Network& network, const QuantizationPlan& plan, const kernels::Kernels& kernels)
      : network_(network), plan_(plan), kernels_(kernels) {}

  void watch(int site, LayerRounder& rounder) { rounders_[site] = &rounder; }
  void next_image(bool held_back) { held_back_ = held_back; }

  void on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) override {
    if (operand != Operand::kInput || !rounders_.contains(site)) return;
    find_ranges(x, ld, rows, cols, false);
    const std::int64_t taken = std::min<std::int64_t>(rows, kRowsOfCall);
    exact_.resize(static_cast<std::size_t>(taken * cols));
    for (std::int64_t i = 0; i < taken; ++i) std::copy_n(x + i * rows / taken * ld, cols, exact_.data() + i * cols);
    finish(site, taken, 1, cols);
  }

  void on_map(int site, const float* x, MapGrid grid, int channels, const kernels::Activation*) override {
    if (!rounders_.contains(site)) return;
    const Conv2d& conv = *network_.sites()[static_cast<std::size_t>(site)].conv;
    const int taps = conv.shape().kernel * conv.shape().kernel;
    find_ranges(x, channels, static_cast<int>(grid.pixels()), channels, taps > 1);
    const std::int64_t rows = conv.output(grid).pixels(), taken = std::min(rows, kRowsOfCall),
                       floats = std::int64_t{taps} * channels;
    exact_.resize(static_cast<std::size_t>(taken * floats));
    for (std::int64_t i = 0; i < taken; ++i) {
      const std::int64_t row = i * rows / taken;
      conv.patches(x, grid, row, row + 1, exact_.data() + i * floats);
    }
    finish(site, taken, taps, channels);
  }

 private:
  void find_ranges(const float* x, std::int64_t ld, int rows, int channels, bool padded) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    low_.assign(static_cast<std::size_t>(channels), padded ? 0.0f : kInfinity);
    high_.assign(low_.size(), padded ? 0.0f : -kInfinity);
    kernels_.channel_range(x, ld, rows, channels, low_.data(), high_.data());
  }

  /// Quantizes rows of (tap, channel) with the quantizers of the channels, and hands both over.
  void finish(int site, std::int64_t rows, int taps, int channels) {
    if (rows == 0) return;
    const ActivationPlan& plan = plan_.linears.at(network_.sites()[static_cast<std::size_t>(site)].name).input;
    coded_ = exact_;
    fake_quantize(plan, kernels_, {coded_.data(), channels, static_cast<int>(rows * taps), channels}, low_.data(),
                  high_.data(), arena_);
    rounders_.at(site)->add(exact_.data(), coded_.data(), static_cast<int>(rows), held_back_);
  }

  const Network& network_;
  const QuantizationPlan& plan_;
  const kernels::Kernels& kernels_;
  std::map<int, LayerRounder*> rounders_;
  bool held_back_ = false;
  Arena arena_;
  std::vector<float> low_, high_;
  std::vector<float> exact_, coded_;
};

std::size_t moment_bytes(const Site& site) {
  const auto in = static_cast<std::size_t>(site.contraction()), out = static_cast<std::size_t>(site.outputs());
  return (in * in + in * out) * sizeof(double);
}

}  // namespace

NetworkRefinement refine_network(Network& network, const std::shared_ptr<QuantizationPlan>& plan,
                                 const QuantizeOptions& options, const CalibrationPasses& passes, Execution execution,
                                 ThreadPool& pool, const std::function<void(int, int)>& after) {
  NetworkRefinement result;
  if (options.weights == WeightMethod::kNearest || passes.images == 0) return result;
  // Eigen splits products by cache sizes; fixed ones give the same bytes on every machine.
  Eigen::setCpuCacheSizes(32 * 1024, 512 * 1024, 4 * 1024 * 1024);
  std::vector<int> layers;
  for (int id = 0; const Site& site : network.sites()) {
    const auto planned = site.has_weights() ? plan->linears.find(site.name) : plan->linears.end();
    if (planned != plan->linears.end() && planned->second.weight.bits != 0) {
      if (site.contraction() > kMostMoments)
        result.nearest.push_back(site.name);
      else
        layers.push_back(id);
    }
    ++id;
  }
  const std::int64_t held = rounding_held_back(options.weights, passes.images);
  int done = 0;
  for (std::size_t begin = 0, end = 0; begin < layers.size(); begin = end) {
    std::size_t bytes = 0;
    while (end < layers.size() && end - begin < kLayersTogether) {
      const std::size_t more = moment_bytes(network.sites()[static_cast<std::size_t>(layers[end])]);
      if (end > begin && bytes + more > kMomentBytes) break;
      bytes += more;
      ++end;
    }
    RowTap tap(network, *plan, *passes.kernels);
    std::vector<std::unique_ptr<LayerRounder>> rounders;
    for (std::size_t i = begin; i < end; ++i) {
      const Site& site = network.sites()[static_cast<std::size_t>(layers[i])];
      rounders.push_back(std::make_unique<LayerRounder>(site.weight(), site.contraction(), site.outputs(),
                                                        !site.bias().empty(), options, *passes.kernels, pool));
      tap.watch(layers[i], *rounders.back());
    }
    for (std::int64_t image = 0; image < passes.images; ++image) {
      tap.next_image(image >= passes.images - held);
      passes.run(image, tap);
    }
    for (std::size_t i = begin; i < end; ++i) {
      const Site& site = network.sites()[static_cast<std::size_t>(layers[i])];
      LinearPlan& planned = plan->linears.at(site.name);
      LayerRounding rounded = rounders[i - begin]->round(std::move(planned.weight));
      rounders[i - begin].reset();
      result.bytes = std::max(result.bytes, bytes + rounded.bytes);
      planned.weight = std::move(rounded.weight);
      site.set_plan(std::shared_ptr<const LinearPlan>(plan, &planned));
      if (!rounded.shift.empty()) {
        const AlignedBuffer<float> bias = moved_bias(site.bias(), rounded.shift);
        site.set_bias({bias.data(), bias.size()});
      }
      site.prepare(execution, *passes.kernels);
      ++done;
      if (after) after(done, static_cast<int>(layers.size()));
    }
  }
  return result;
}

}  // namespace igq
