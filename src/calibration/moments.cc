#include "calibration/moments.h"

#include <algorithm>

namespace igq {

using kernels::kFloatPanel;

Moments::Moments(int in, int out, const kernels::Kernels& kernels, ThreadPool& pool)
    : in_(in),
      out_(out),
      kernels_(kernels),
      pool_(pool),
      square_(Eigen::MatrixXd::Zero(in, in)),
      cross_(Eigen::MatrixXd::Zero(in, out)),
      sum_x_(Eigen::VectorXd::Zero(in)),
      sum_y_(Eigen::VectorXd::Zero(out)) {}

void Moments::add(const float* x, const float* y, int rows) {
  const auto n = static_cast<std::size_t>(rows), in = static_cast<std::size_t>(in_);
  transposed_.resize(n * in);
  pool_.parallel_for(in_, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t c = begin; c < end; ++c) {
      float* to = transposed_.data() + c * rows;
      double sum = 0.0;
      for (int t = 0; t < rows; ++t) {
        to[t] = x[static_cast<std::int64_t>(t) * in_ + c];
        sum += static_cast<double>(to[t]);
      }
      sum_x_(c) += sum;
    }
  });
  for (int t = 0; t < rows; ++t)
    for (int o = 0; o < out_; ++o) sum_y_(o) += static_cast<double>(y[static_cast<std::int64_t>(t) * out_ + o]);
  add_product(x, in_, rows, square_);
  add_product(y, out_, rows, cross_);
  rows_ += rows;
  mean_square_ = square_.diagonal().mean();
}

void Moments::add_product(const float* a, int cols, int rows, Eigen::MatrixXd& sum) {
  const int panels = (cols + kFloatPanel - 1) / kFloatPanel;
  packed_.resize(static_cast<std::size_t>(panels) * kFloatPanel * static_cast<std::size_t>(rows));
  kernels_.pack_f32(a, cols, false, rows, cols, packed_.data());
  product_.resize(static_cast<std::size_t>(in_) * static_cast<std::size_t>(cols));
  pool_.parallel_for(in_, 16, [&](std::int64_t begin, std::int64_t end, int) {
    kernels_.gemm_f32({.x = transposed_.data() + begin * rows,
                       .ldx = rows,
                       .rows = static_cast<int>(end - begin),
                       .k = rows,
                       .packed = packed_.data(),
                       .panel_begin = 0,
                       .panel_end = panels,
                       .n = cols,
                       .bias = nullptr,
                       .accumulate = false,
                       .y = product_.data() + begin * cols,
                       .ldy = cols});
  });
  pool_.parallel_for(cols, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t j = begin; j < end; ++j)
      for (std::int64_t i = 0; i < in_; ++i)
        sum(i, j) += static_cast<double>(product_[static_cast<std::size_t>(i * cols + j)]);
  });
}

Eigen::MatrixXd Moments::square(bool centred) const {
  if (!centred) return square_;
  return square_ - sum_x_ * sum_x_.transpose() / static_cast<double>(rows_);
}

Eigen::MatrixXd Moments::take_square(bool centred) {
  for (auto* buffer : {&transposed_, &packed_, &product_}) *buffer = {};
  for (int j = 0; j < in_ && centred; ++j) square_.col(j) -= sum_x_ * sum_x_(j) / static_cast<double>(rows_);
  return std::move(square_);
}

Eigen::MatrixXd Moments::cross(bool centred) const {
  if (!centred) return cross_;
  return cross_ - sum_x_ * sum_y_.transpose() / static_cast<double>(rows_);
}

std::size_t Moments::bytes() const {
  return static_cast<std::size_t>(square_.size() + cross_.size()) * sizeof(double) +
         (transposed_.size() + packed_.size() + product_.size()) * sizeof(float);
}

}  // namespace igq
