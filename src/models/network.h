// What classifiers, encoders and detectors have in common: quantization sites, and a plan that says how each runs.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/conv2d.h"
#include "ops/linear.h"

namespace igq {

/// One quantization site: an FC layer, a convolution or an attention. One of the pointers is set.
struct Site {
  std::string name;  ///< "blocks.3.attn.qkv" or "blocks.3.attn"
  int step = 0;      ///< the step it runs in; of a detector: its place among the parts
  Linear* linear = nullptr;
  Attention* attention = nullptr;
  Conv2d* conv = nullptr;
  int max_rows = 0;            ///< tokens per image of the FC input; tokens per window of an attention; 0: not known
  int windows = 1;             ///< attentions: windows per image
  bool first_or_last = false;  ///< patch embedding or head: a single quantizer, and bits of its own
  bool output = false;         ///< gives scores or boxes of a detector: the bits of first and last layers

  /// Whether it multiplies inputs by weights.
  bool has_weights() const { return linear != nullptr || conv != nullptr; }
  // Of one that has_weights(): channels of its input, each of which has one quantizer; how many values of a channel an
  // output takes in (a convolution's kernel); outputs.
  int channels() const { return linear != nullptr ? linear->in_features() : conv->shape().in; }
  int taps() const { return linear != nullptr ? 1 : conv->shape().kernel * conv->shape().kernel; }
  int contraction() const { return taps() * channels(); }
  int outputs() const { return linear != nullptr ? linear->out_features() : conv->shape().out; }
  /// The float weight [outputs][taps][channels].
  AlignedBuffer<float> weight() const { return linear != nullptr ? linear->weight() : conv->weight(); }
  std::span<const float> bias() const { return linear != nullptr ? linear->bias() : conv->bias(); }
  void set_bias(std::span<const float> bias) const {
    linear != nullptr ? linear->set_bias(bias) : conv->set_bias(bias);
  }
  void set_plan(std::shared_ptr<const LinearPlan> plan) const {
    linear != nullptr ? linear->set_plan(std::move(plan)) : conv->set_plan(std::move(plan));
  }
  /// Null without one.
  const LinearPlan* plan() const { return linear != nullptr ? linear->plan() : conv->plan(); }
  void prepare(Execution execution, const kernels::Kernels& kernels) const {
    linear != nullptr ? linear->prepare(execution, kernels) : conv->prepare(execution, kernels);
  }
};

/// The colours of a network's input: (p / 255 - mean) / std.
struct PixelScale {
  std::array<float, 3> mean{}, std{};
};

class Network {
 public:
  virtual ~Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  virtual const std::string& architecture() const = 0;
  std::span<const Site> sites() const { return sites_; }
  /// The site's index, -1 when there is none of this name.
  int find_site(const std::string& name) const;
  /// Attaches a plan (null: none). Error when it names unknown sites. prepare() an execution before the next pass.
  void set_plan(std::shared_ptr<const QuantizationPlan> plan);
  void prepare(Execution execution, const kernels::Kernels& kernels);
  const QuantizationPlan* plan() const { return plan_.get(); }
  std::shared_ptr<const QuantizationPlan> shared_plan() const { return plan_; }
  /// Where the first site's input holds pixels and nothing else.
  virtual std::optional<PixelScale> pixels() const { return std::nullopt; }

 protected:
  Network() = default;
  /// The site's number becomes that of the list.
  void add_site(Site site);

 private:
  std::vector<Site> sites_;
  std::shared_ptr<const QuantizationPlan> plan_;
};

}  // namespace igq
