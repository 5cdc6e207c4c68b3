// The error that several quantizers of one site would make to the site's output, from one float pass: cheap, because
// nothing behind the site runs again.
//
//   FC layer   e = sum_{t,c} (x_hat - x)_{tc}^2 |w_c|^2 / sum_{t,c} x_{tc}^2 |w_c|^2      w_c: weights from channel c
//   softmax    e = sum_{i,j} (p_hat - p)_{ij}^2 |v_j|^2 / sum_{i,j} p_{ij}^2 |v_j|^2      over windows and heads
//
// which is the relative squared error of the product with errors of different channels taken as uncorrelated.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/arena.h"
#include "models/model.h"

namespace igq {

/// |w_c|^2 of every input channel.
std::vector<float> column_powers(const Site& site);

class SiteErrors final : public SiteObserver {
 public:
  /// Plans of the FC input or of the softmax of site `id`; `columns` are its column_powers(), null for an attention.
  /// `padded`: zeros are among the channels' values (a convolution's patches).
  SiteErrors(int id, std::vector<const ActivationPlan*> plans, std::shared_ptr<const std::vector<float>> columns,
             const kernels::Kernels& kernels, bool padded = false);
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override;
  /// e of each plan for what was seen since the last call.
  std::vector<double> take();

 private:
  void fc_input(const float* x, std::int64_t ld, int rows, int cols);
  void softmax(const float* p, std::int64_t ld, int rows, int cols);
  void add_size(const float* x, std::int64_t ld, int rows, int cols, const float* weight);
  struct RowView {
    const float* values;
    std::int64_t stride;
    int rows, cols;
  };
  /// quantize(block, first row) rounds some rows of x in place.
  template <typename Quantize>
  void add_error(std::size_t plan, RowView x, const float* weight, Quantize&& quantize);

  int id_;
  std::vector<const ActivationPlan*> plans_;
  std::shared_ptr<const std::vector<float>> columns_;
  const kernels::Kernels& kernels_;
  bool padded_;
  std::vector<double> error_;
  double size_ = 0.0;
  Arena arena_;
  std::vector<float> quantized_, sums_, low_, high_, scale_, inv_scale_, zero_, values_;
};

}  // namespace igq
