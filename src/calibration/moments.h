// Second moments of one layer's inputs over the calibration images, streamed: what weight rounding and compensation
// need to know of them. Sums of a chunk are float, sums of chunks double, all in a fixed order.
#pragma once

#include <Eigen/Core>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/table.h"

namespace igq {

class Moments {
 public:
  Moments(int in, int out, const kernels::Kernels& kernels, ThreadPool& pool);

  /// x [rows][in]: the inputs as the quantized model has them, y [rows][out]: what the layer should add to x W^T to
  /// meet its target. At most a few thousand rows at once, so that float sums stay accurate.
  void add(const float* x, const float* y, int rows);

  std::int64_t rows() const { return rows_; }
  /// sum of x x^T [in][in] and x y^T [in][out]; about the means when `centred`.
  Eigen::MatrixXd square(bool centred) const;
  Eigen::MatrixXd cross(bool centred) const;
  /// square(centred) without a copy of it, and the memory of add() freed: only cross(), the means and mean_square() may
  /// be asked for afterwards.
  Eigen::MatrixXd take_square(bool centred);
  /// Mean of the diagonal of sum of x x^T, not centred.
  double mean_square() const { return mean_square_; }
  Eigen::VectorXd mean_x() const { return sum_x_ / static_cast<double>(rows_); }
  Eigen::VectorXd mean_y() const { return sum_y_ / static_cast<double>(rows_); }
  std::size_t bytes() const;

 private:
  void add_product(const float* a, int cols, int rows, Eigen::MatrixXd& sum);

  int in_, out_;
  const kernels::Kernels& kernels_;
  ThreadPool& pool_;
  std::int64_t rows_ = 0;
  Eigen::MatrixXd square_, cross_;
  Eigen::VectorXd sum_x_, sum_y_;
  double mean_square_ = 0.0;
  AlignedBuffer<float> transposed_, packed_, product_;
};

}  // namespace igq
