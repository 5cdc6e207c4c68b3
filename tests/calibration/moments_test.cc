// Streamed second moments against their definition in double.
#include "calibration/moments.h"

#include <gtest/gtest.h>
#include <vector>

#include "base/random.h"

namespace igq {
namespace {

TEST(Moments, EqualTheDefinitionWhateverTheChunksAndThreads) {
  const int in = 19, out = 7, rows = 150;
  Random random(1);
  std::vector<float> x(in * rows), y(out * rows);
  for (float& v : x) v = 2.0f + static_cast<float>(random.normal());
  for (float& v : y) v = static_cast<float>(random.normal());
  Eigen::MatrixXd dx(rows, in), dy(rows, out);
  for (int t = 0; t < rows; ++t) {
    for (int c = 0; c < in; ++c) dx(t, c) = static_cast<double>(x[static_cast<std::size_t>(t * in + c)]);
    for (int o = 0; o < out; ++o) dy(t, o) = static_cast<double>(y[static_cast<std::size_t>(t * out + o)]);
  }
  ThreadPool one(1), three(3);
  Moments a(in, out, kernels::kernels_for(best_isa()), one), b(in, out, kernels::kernels_for(best_isa()), three);
  for (int t = 0; t < rows; t += 50) {
    a.add(x.data() + t * in, y.data() + t * out, 50);
    b.add(x.data() + t * in, y.data() + t * out, 50);
  }
  EXPECT_EQ(a.rows(), rows);
  EXPECT_LT((a.square(false) - dx.transpose() * dx).norm(), 1e-5 * (dx.transpose() * dx).norm());
  EXPECT_LT((a.cross(false) - dx.transpose() * dy).norm(), 1e-4 * (dx.transpose() * dy).norm());
  const Eigen::MatrixXd cx = dx.rowwise() - dx.colwise().mean(), cy = dy.rowwise() - dy.colwise().mean();
  EXPECT_LT((a.square(true) - cx.transpose() * cx).norm(), 1e-4 * (cx.transpose() * cx).norm());
  EXPECT_LT((a.cross(true) - cx.transpose() * cy).norm(), 1e-3 * (cx.transpose() * cy).norm());
  EXPECT_LT((a.mean_x() - dx.colwise().mean().transpose()).norm(), 1e-6);
  EXPECT_LT((a.mean_y() - dy.colwise().mean().transpose()).norm(), 1e-6);
  for (const bool centred : {false, true}) {
    EXPECT_EQ(a.square(centred), b.square(centred));
    EXPECT_EQ(a.cross(centred), b.cross(centred));
  }
}

}  // namespace
}  // namespace igq
