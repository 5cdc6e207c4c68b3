#include "calibration/balance.h"

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <cmath>
#include <numbers>

#include "base/fail.h"

namespace igq {
namespace {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

/// Sums over all tokens of all images of one head.
struct HeadMoments {
  Matrix qq, kk;
  Vector k;
  double tokens = 0.0;
};

class HeadObserver final : public SiteObserver {
 public:
  explicit HeadObserver(const Model& model) {
    for (const Site& site : model.sites())
      heads.emplace_back(site.attention == nullptr ? 0 : static_cast<std::size_t>(site.attention->heads()));
  }
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override {
    if (operand != Operand::kQ && operand != Operand::kK) return;
    HeadMoments& m = heads[static_cast<std::size_t>(site)][static_cast<std::size_t>(part)];
    using Rows = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0,
                            Eigen::OuterStride<>>;
    const Matrix d = Rows(x, rows, cols, Eigen::OuterStride<>(ld)).cast<double>();
    Matrix& sum = operand == Operand::kQ ? m.qq : m.kk;
    if (sum.size() == 0) sum = Matrix::Zero(cols, cols);
    sum += d.transpose() * d;
    if (operand == Operand::kQ) return;
    if (m.k.size() == 0) m.k = Vector::Zero(cols);
    m.k += d.colwise().sum().transpose();
    m.tokens += rows;
  }
  std::vector<std::vector<HeadMoments>> heads;  // [site][head]
};

/// f(S) of a symmetric positive semidefinite matrix.
template <typename Function>
Matrix matrix_function(const Matrix& s, const Function& f) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(s);
  const Vector values = solver.eigenvalues().unaryExpr([&](double v) { return f(std::max(v, 0.0)); });
  return solver.eigenvectors() * values.asDiagonal() * solver.eigenvectors().transpose();
}

/// Orthogonal, all entries small: Hadamard where it exists, else the cosine transform.
Matrix spreading_matrix(int d) {
  Matrix m(d, d);
  const bool power_of_two = (d & (d - 1)) == 0;
  for (int i = 0; i < d; ++i)
    for (int j = 0; j < d; ++j) {
      if (power_of_two)
        m(i, j) = (__builtin_popcount(static_cast<unsigned>(i & j)) % 2 == 0 ? 1.0 : -1.0) / std::sqrt(d);
      else
        m(i, j) = std::sqrt((i == 0 ? 1.0 : 2.0) / d) * std::cos(std::numbers::pi * (j + 0.5) * i / d);
    }
  return m;
}

/// A for moments of q and k.
Matrix balancing_matrix(Matrix q, Matrix k) {
  const auto d = q.rows();
  for (Matrix* s : {&q, &k}) s->diagonal().array() += 1e-3 * s->diagonal().mean() + 1e-12;
  const Matrix root = matrix_function(q, [](double v) { return std::sqrt(v); });
  const Matrix inverse_root = matrix_function(q, [](double v) { return 1.0 / std::sqrt(v); });
  const Matrix m =
      inverse_root * matrix_function(root * k * root, [](double v) { return std::sqrt(v); }) * inverse_root;
  const Matrix half = matrix_function(m, [](double v) { return std::sqrt(v); });
  const Eigen::SelfAdjointEigenSolver<Matrix> balanced(half * q * half);
  return spreading_matrix(static_cast<int>(d)) * balanced.eigenvectors().transpose() * half;
}

/// A where the channels j and j + d/2 turn together.
Matrix balancing_pairs(const Matrix& q, const Matrix& k) {
  const Eigen::Index d = q.rows(), half = d / 2;
  const auto energies = [&](const Matrix& s) {
    const Vector pairs = s.diagonal().head(half) + s.diagonal().tail(half);
    return (pairs.array() + 1e-3 * pairs.mean() + 1e-12).eval();
  };
  const Vector factors = (energies(k) / energies(q)).pow(0.25).matrix();
  Vector diagonal(d);
  diagonal << factors, factors;
  return diagonal.asDiagonal();
}

/// rows [first, first + d) of weight [out][in] and of bias: replaced by a times them.
void transform_rows(const Matrix& a, AlignedBuffer<float>& weight, int in, Vector& bias, int first) {
  const auto d = a.rows();
  using Rows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  Rows w(weight.data() + static_cast<std::int64_t>(first) * in, d, in);
  w = (a * w.cast<double>()).cast<float>().eval();
  if (bias.size() != 0) bias.segment(first, d) = (a * bias.segment(first, d)).eval();
}

}  // namespace

BiasMap balance_queries_and_keys(Model& model, const QuantizeOptions& options, std::int64_t images,
                                 const std::function<void(std::int64_t, float*)>& load, Isa isa, ThreadPool& pool) {
  // Eigen splits products by cache sizes; fixed ones give the same bytes on every machine.
  Eigen::setCpuCacheSizes(32 * 1024, 512 * 1024, 4 * 1024 * 1024);
  HeadObserver observer(model);
  ExecContext context;
  context.kernels = &kernels::kernels_for(isa);
  context.pool = &pool;
  context.observer = &observer;
  StepState state;
  AlignedBuffer<float> image(static_cast<std::size_t>(model.image_floats()));
  for (std::int64_t i = 0; i < images; ++i) {
    load(i, image.data());
    model.forward(context, image.data(), state);
  }
  const ModelConfig& config = model.config();
  const bool turned = config.family == Family::kVit && config.vit.rope != Rope::kNone;
  BiasMap changed;
  const auto sites = model.sites();
  for (std::size_t id = 0; id < sites.size(); ++id) {
    const Site& site = sites[id];
    if (site.attention == nullptr || bits_of(site, options).activation > 8) continue;
    const int qkv_id = model.find_site(site.name + ".qkv");
    if (qkv_id < 0) continue;
    const Site& qkv = sites[static_cast<std::size_t>(qkv_id)];
    if (bits_of(qkv, options).is_float()) continue;
    Linear& linear = *qkv.linear;
    const int in = linear.in_features(), out = linear.out_features(), d = site.attention->head_dim(),
              heads = site.attention->heads();
    AlignedBuffer<float> weight = linear.weight();
    Vector bias(static_cast<Eigen::Index>(linear.bias().size()));
    for (Eigen::Index i = 0; i < bias.size(); ++i)
      bias(i) = static_cast<double>(linear.bias()[static_cast<std::size_t>(i)]);
    for (int h = 0; h < heads; ++h) {
      const HeadMoments& m = observer.heads[id][static_cast<std::size_t>(h)];
      const int q_row = h * d, k_row = (heads + h) * d;
      Matrix kk = m.kk / m.tokens;
      if (bias.size() != 0 && !turned) {
        const Vector mean = m.k / m.tokens;
        kk -= mean * mean.transpose();
        bias.segment(k_row, d) -= mean;
      }
      const Matrix qq = m.qq / m.tokens, a = turned ? balancing_pairs(qq, kk) : balancing_matrix(qq, kk);
      transform_rows(a, weight, in, bias, q_row);
      transform_rows(a.inverse().transpose(), weight, in, bias, k_row);
    }
    AlignedBuffer<float> new_bias(static_cast<std::size_t>(bias.size()));
    for (Eigen::Index i = 0; i < bias.size(); ++i) new_bias[static_cast<std::size_t>(i)] = static_cast<float>(bias(i));
    linear = Linear(linear.name(), in, out, {weight.data(), weight.size()}, {new_bias.data(), new_bias.size()});
    linear.set_site(qkv_id);
    if (!new_bias.empty()) changed[linear.name() + ".bias"] = std::move(new_bias);
  }
  return changed;
}

}  // namespace igq
