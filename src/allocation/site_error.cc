#include "allocation/site_error.h"

#include <algorithm>
#include <limits>

#include "quant/grouping.h"

namespace igq {

std::vector<float> column_powers(const Site& site) {
  const AlignedBuffer<float> weight = site.weight();
  const auto in = static_cast<std::size_t>(site.channels());
  std::vector<float> powers(in);
  for (std::size_t i = 0; i < weight.size(); ++i) powers[i % in] += weight[i] * weight[i];
  return powers;
}

SiteErrors::SiteErrors(int id, std::vector<const ActivationPlan*> plans,
                       std::shared_ptr<const std::vector<float>> columns, const kernels::Kernels& kernels, bool padded)
    : id_(id),
      plans_(std::move(plans)),
      columns_(std::move(columns)),
      kernels_(kernels),
      padded_(padded),
      error_(plans_.size()) {}

void SiteErrors::on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) {
  if (site != id_) return;
  if (operand == Operand::kInput) return fc_input(x, ld, rows, cols);
  if (operand == Operand::kSoftmax) return softmax(x, ld, rows, cols);
  if (operand != Operand::kV) return;
  values_.assign(static_cast<std::size_t>(rows), 0.0f);  // comes before the softmax of the same window and head
  for (int t = 0; t < rows; ++t)
    for (int c = 0; c < cols; ++c) values_[static_cast<std::size_t>(t)] += x[t * ld + c] * x[t * ld + c];
}

std::vector<double> SiteErrors::take() {
  for (double& e : error_) e = size_ == 0.0 ? 0.0 : e / size_;
  size_ = 0.0;
  return std::exchange(error_, std::vector<double>(plans_.size()));
}

void SiteErrors::add_size(const float* x, std::int64_t ld, int rows, int cols, const float* weight) {
  for (int t = 0; t < rows; ++t)
    for (int c = 0; c < cols; ++c) size_ += static_cast<double>(x[t * ld + c]) * x[t * ld + c] * weight[c];
}

template <typename Quantize>
void SiteErrors::add_error(std::size_t plan, RowView x, const float* weight, Quantize&& quantize) {
  constexpr int kBlockRows = 256;  // what is quantized at a time: maps of a detector have a hundred thousand rows
  const auto n = static_cast<std::size_t>(x.cols);
  sums_.assign(n, 0.0f);
  for (int begin = 0; begin < x.rows; begin += kBlockRows) {
    const int rows = std::min(kBlockRows, x.rows - begin);
    const float* exact = x.values + begin * x.stride;
    quantized_.resize(static_cast<std::size_t>(rows) * n);
    for (int t = 0; t < rows; ++t)
      std::copy_n(exact + t * x.stride, n, quantized_.data() + static_cast<std::size_t>(t) * n);
    quantize(kernels::MatrixView<float>{quantized_.data(), x.cols, rows, x.cols}, begin);
    for (int t = 0; t < rows; ++t) {
      const float *of_row = exact + t * x.stride, *rounded = quantized_.data() + static_cast<std::size_t>(t) * n;
      for (std::size_t c = 0; c < n; ++c) {
        const float difference = rounded[c] - of_row[c];
        sums_[c] += difference * difference;
      }
    }
  }
  for (std::size_t c = 0; c < n; ++c) error_[plan] += static_cast<double>(sums_[c]) * weight[c];
}

void SiteErrors::fc_input(const float* x, std::int64_t ld, int rows, int cols) {
  const auto n = static_cast<std::size_t>(cols);
  const float* weight = columns_->data();
  low_.assign(n, padded_ ? 0.0f : std::numeric_limits<float>::infinity());
  high_.assign(n, padded_ ? 0.0f : -std::numeric_limits<float>::infinity());
  kernels_.channel_range(x, ld, rows, cols, low_.data(), high_.data());
  for (std::size_t g = 0; g < plans_.size(); ++g) {
    const ArenaScope scope(arena_);
    const ChannelQuantizers q = assign_channels(*plans_[g], kernels_, cols, low_.data(), high_.data(), arena_);
    add_error(g, {x, ld, rows, cols}, weight, [&](kernels::MatrixView<float> block, int) {
      kernels_.fake_quantize_channels(block, q.scale, {q.inv_scale, q.zero, q.q_max});
    });
  }
  add_size(x, ld, rows, cols, weight);
}

void SiteErrors::softmax(const float* p, std::int64_t ld, int rows, int cols) {
  const auto n = static_cast<std::size_t>(rows);
  low_.resize(n);
  high_.resize(n);
  scale_.resize(n);
  inv_scale_.resize(n);
  zero_.assign(n, 0.0f);
  kernels_.row_range(p, ld, rows, cols, low_.data(), high_.data());
  for (std::size_t g = 0; g < plans_.size(); ++g) {
    assign_rows(*plans_[g], rows, high_.data(), scale_.data(), inv_scale_.data());
    add_error(g, {p, ld, rows, cols}, values_.data(), [&](kernels::MatrixView<float> block, int begin) {
      kernels_.fake_quantize_rows(block, scale_.data() + begin,
                                  {inv_scale_.data() + begin, zero_.data() + begin, code_max(plans_[g]->bits)});
    });
  }
  add_size(p, ld, rows, cols, values_.data());
}

}  // namespace igq
