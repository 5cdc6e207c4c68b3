// A fully connected layer, y = x W^T + b: a quantization site with three interchangeable executions (docs/method.md,
// section 3).
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "ops/rows.h"
#include "quant/grouping.h"

namespace igq {

class Linear {
 public:
  Linear() = default;
  /// weight [out][in] as PyTorch stores it, bias [out] or empty.
  Linear(std::string name, int in, int out, std::span<const float> weight, std::span<const float> bias);
  /// A layer whose weights exist as codes only (from an .igq file).
  Linear(std::string name, int in, int out, std::shared_ptr<const LinearPlan> plan, std::span<const float> bias);

  const std::string& name() const { return name_; }
  int in_features() const { return in_; }
  int out_features() const { return out_; }
  int site() const { return site_; }
  void set_site(int site) { site_ = site; }
  std::span<const float> bias() const { return {bias_.data(), bias_.empty() ? 0 : static_cast<std::size_t>(out_)}; }
  void set_bias(std::span<const float> bias);

  /// Attaches (or with null removes) the plan; call prepare() before the next forward.
  void set_plan(std::shared_ptr<const LinearPlan> plan);
  const LinearPlan* plan() const { return plan_.get(); }
  /// Builds what an execution needs (packed floats, dequantized weights) so that forward() allocates nothing.
  /// Packed weights may take `memory`, a buffer that nobody needs any more. Not thread safe the first time; forward()
  /// is.
  void prepare(Execution execution, const kernels::Kernels& kernels, AlignedBuffer<std::int8_t> memory = {});

  /// True once integers on this table need the plan's weight codes no more: they have been packed.
  bool packed_for(const kernels::Kernels& kernels) const { return packed_for_ == &kernels; }

  /// The float weight [out][in] (dequantized when only codes exist).
  AlignedBuffer<float> weight() const;

  /// y [rows, out] = x [rows, in] W^T + b for one image's tokens. `range` is the image's channel range of x if the
  /// producer gathered it. y must not overlap x.
  void forward(ExecContext& context, const float* x, int rows, float* y, ChannelRange range = {}) const;

  /// y += gamma * (x W^T + b), the end of a residual branch (gamma [out] or null: 1). In integers outputs are added
  /// where they are made.
  void forward_residual(ExecContext& context, const float* x, int rows, const float* gamma, float* y,
                        ChannelRange range = {}) const;

  bool runs_integer(const ExecContext& context) const;

  /// Where a product goes: y [rows, out] = it, or with `add` y += gamma * it (gamma [out] or null: 1).
  struct Into {
    float* y;
    bool add = false;
    const float* gamma = nullptr;
    int rows = 0;  ///< only the first so many; 0: all. Quantizers come from all rows of the input nevertheless.
  };
  /// Makes inputs of the next layer from a unit's outputs [parts][rows][kBytePanel], which it may overwrite: returns
  /// columns [64 unit, 64 unit + cols) of that input, [rows][kBytePanel], and merges their range into mn and mx [cols].
  /// Hand over std::cref of it: nothing is allocated then.
  using Between = std::function<const float*(int unit, int cols, int thread, float* outputs, float* mn, float* mx)>;
  /// In integers, both layers: next(between(this(x))). Unit u is columns [64 u, 64 u + 64) of each of `parts` equal
  /// parts of the outputs (q, k and v, which must be multiples of 64 wide). The tensor in between exists only as codes:
  /// each unit is quantized for `next` while it is in the cache, by the thread that has made it. into.y may be x.
  void forward_through(ExecContext& context, const float* x, int rows, ChannelRange range, int parts,
                       const Between& between, const Linear& next, Into into) const;

  /// y [wanted, next.out] += gamma * next(activation(this(x))), the two layers of an MLP; the first `wanted` of its
  /// rows.
  void forward_mlp(ExecContext& context, const float* x, int rows, kernels::Activation activation, const Linear& next,
                   const float* gamma, float* y, int wanted, ChannelRange range = {}) const;

  /// Where the rows of a convolution come from: patches of a map, (tap, channel), zeros where a patch leaves the map.
  class Patches {
   public:
    virtual ~Patches() = default;
    /// Patches [begin, end) of the map, values or codes, `stride` apart; `outside` [channels] stands for zero.
    virtual void gather(const float* map, std::int64_t begin, std::int64_t end, const float* outside, float* rows,
                        std::int64_t stride) const = 0;
    virtual void gather(const std::uint8_t* map, std::int64_t begin, std::int64_t end, const std::uint8_t* outside,
                        std::uint8_t* rows, std::int64_t stride) const = 0;
  };
  /// How many values of one channel a row holds: in_features() is taps times channels. Before set_plan().
  void set_taps(int taps) { taps_ = taps; }
  /// y [rows, out] = patches of x W^T + b, then `activation`; x [pixels][in / taps]: the whole map of an image, whose
  /// channels have one quantizer each, zero among their values where there are several taps. In integers the map is
  /// quantized once. Not in float.
  void forward_patches(ExecContext& context, const float* x, int pixels, std::int64_t rows, const Patches& patches,
                       const kernels::Activation* activation, float* y) const;

 private:
  struct CodedInput;  // linear_codes.h
  struct Outputs;
  kernels::ByteGemm product(const CodedInput& input, std::int64_t n0, int row, int rows, const Outputs& outputs) const;
  bool image_fits_int32(const ChannelQuantizers& q) const;
  void simulate(ExecContext& context, const ChannelQuantizers& q, const float* x, int rows, float* y) const;
  struct MapCodes;  // linear_patches.cc
  void multiply_patches(ExecContext& context, const float* x, int pixels, std::int64_t rows, const Patches& patches,
                        const ChannelQuantizers& channels, const kernels::Activation* activation, float* y) const;
  CodedInput take_block(ExecContext& context, const ChannelQuantizers& all, int rows) const;
  void sum_rows(const ExecContext& context, CodedInput& input, std::int64_t zeros, int rows) const;
  CodedInput take_input(ExecContext& context, int rows, int parts, bool by_rows) const;
  void code_columns(const ExecContext& context, CodedInput& input, const float* x, std::int64_t ldx, int row, int rows,
                    int begin, int cols, int thread) const;
  CodedInput code_input(ExecContext& context, const float* x, int rows, ChannelRange range, int parts,
                        bool by_rows) const;
  void code_rows(ExecContext& context, CodedInput& input, const float* x, int rows) const;
  void finish_codes(ExecContext& context, CodedInput& input, int rows) const;
  bool had_better_share_rows(const ExecContext& context, Into into) const;
  void order_codes(ExecContext& context, CodedInput& input, int rows) const;
  void lay_out_slots(ExecContext& context, CodedInput& input) const;
  void take_extra_slots(ExecContext& context, CodedInput& input) const;
  static void repeat(const ExecContext& context, const CodedInput& input, std::int64_t place, int count);
  void fill_extra_slots(const ExecContext& context, const CodedInput& input, int row, int rows) const;
  double find_largest_code_norm() const;
  bool sum_fits_int32(double largest_sum) const;
  bool norms_fit_int32(double largest_squares) const;
  void prepare_integer(const kernels::Kernels& kernels, AlignedBuffer<std::int8_t> memory);
  void pack_panels(const kernels::Kernels& kernels, kernels::CodeForm form, AlignedBuffer<std::int8_t> memory);
  void fetch_first_panel(const ExecContext& context, const CodedInput& input, int thread, std::int64_t begin,
                         std::int64_t end, std::int64_t count) const;
  template <class Place, class Finish>
  void multiply(ExecContext& context, const CodedInput& input, const Place& place, const Finish& finish) const;
  template <class Use>
  void multiply_by_panels(ExecContext& context, const CodedInput& input, const Use& use) const;
  void multiply_into(ExecContext& context, const CodedInput& input, Into into) const;
  void forward_float(ExecContext& context, const float* x, int rows, const float* packed, float* y) const;
  void gather(const std::int8_t* weights, const std::int32_t* channel, int count, std::int64_t n0, int cols,
              float* packed) const;
  void forward_simulated(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const;
  void forward_integer(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const;
  ChannelQuantizers quantizers(ExecContext& context, const float* x, int rows, ChannelRange range) const;

  std::string name_;
  int in_ = 0, out_ = 0, site_ = -1, taps_ = 1;
  AlignedBuffer<float> bias_;              // [out] padded to whole byte panels, or empty
  AlignedBuffer<float> packed_;            // float weights in panels, empty when only codes exist
  AlignedBuffer<float> packed_simulated_;  // dequantized weights in panels
  AlignedBuffer<float> col_scale_,
      col_zero_;  // [out] padded to whole byte panels; zero shifted like the signed codes; scale times the inputs' unit
  bool col_zero_needed_ = false;
  double largest_code_norm_ = -1.0;  // of an output's weight codes; below 0: unknown, not needed where sums always fit
  bool always_fits_int32_ = false;   // multiples: whether int32 holds the sums of any image
  // Weights packed once, [panels][panel_bytes_], where the order of codes does not depend on the image: for one
  // instruction set, the first asked for; others gather panels for each image. With fixed quantizers their corrections
  // too, [panels][groups][kBytePanel].
  AlignedBuffer<std::int8_t> byte_panels_;
  AlignedBuffer<std::int32_t> fixed_corrections_;
  std::size_t panel_bytes_ = 0;
  const kernels::Kernels* packed_for_ = nullptr;
  std::shared_ptr<const LinearPlan> plan_;
};

}  // namespace igq
