// Attention: integers and simulation against plain integers bit by bit, on every instruction set and thread count.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "quant/grouping.h"

namespace igq::test {
namespace {

struct AttentionCase {
  int windows, n, heads, dim;
  QkvGrouping qkv;
  Grouping softmax;
  int qkv_bits = 8, softmax_bits = 8;
  bool bias = false, saturate = false, centred = false;

  std::vector<float> x, table;
  std::vector<std::int32_t> pattern;
  std::shared_ptr<AttentionPlan> plan;

  void make(std::uint64_t seed) {
    Random random(seed);
    plan = std::make_shared<AttentionPlan>();
    plan->qkv.grouping = qkv;
    plan->qkv.bits = qkv_bits;
    plan->qkv.centred = centred;
    plan->qkv.centred_k = centred && qkv == QkvGrouping::kRow;
    const std::size_t fixed = qkv == QkvGrouping::kTensor ? 1
                              : qkv == QkvGrouping::kHead ? static_cast<std::size_t>(heads)
                                                          : 0;
    for (std::size_t h = 0; h < fixed; ++h)
      for (auto* bounds : {&plan->qkv.q, &plan->qkv.k, &plan->qkv.v})
        bounds->push_back({-1.0F - static_cast<float>(random.uniform()), 1.0F + static_cast<float>(random.uniform())});
    plan->softmax.grouping = softmax;
    plan->softmax.bits = softmax_bits;
    const int groups = softmax == Grouping::kUpperBound ? 0 : softmax == Grouping::kLayer ? 1 : 5;
    for (int g = 1; g <= groups; ++g)
      plan->softmax.groups.push_back({0.0F, 0.9F * static_cast<float>(g) / static_cast<float>(groups)});
    x.resize(static_cast<std::size_t>(windows * n * 3 * heads * dim));
    for (float& v : x) v = saturate ? (random.below(2) != 0 ? 50.0F : -50.0F) : static_cast<float>(random.normal());
    if (!bias) return;
    table.resize(static_cast<std::size_t>(2 * heads * n * n));
    for (float& v : table) v = static_cast<float>(random.normal());
    for (int w = 0; w < windows; ++w) pattern.push_back(w % 2);
  }
};

std::vector<float> forward(const AttentionCase& c, Execution execution, Isa isa, ThreadPool* pool) {
  Attention layer("attention", c.heads, c.dim);
  layer.set_site(0);
  layer.set_plan(c.plan);
  ExecContext context;
  context.kernels = &kernels::kernels_for(isa);
  context.pool = pool;
  context.execution = execution;
  std::vector<float> out(static_cast<std::size_t>(c.windows * c.n * c.heads * c.dim), -99.0F);
  const AttentionBias bias = c.bias ? AttentionBias{c.table.data(), c.pattern.data()} : AttentionBias{};
  layer.forward(context, c.x.data(), c.windows, c.n, bias, out.data());
  return out;
}

struct Operand2d {
  std::vector<int> code;                    ///< minus the zero-point
  std::vector<int> raw;                     ///< the code itself
  std::vector<UniformQuantizer> quantizer;  ///< of each value
};

struct Result {
  std::vector<float> y;  ///< what integers must give, bit by bit
};

class Expected {
 public:
  explicit Expected(const AttentionCase& c) : c_(c) {
    result_.y.resize(static_cast<std::size_t>(c.windows * c.n * c.heads * c.dim));
    for (int w = 0; w < c.windows; ++w)
      for (int h = 0; h < c.heads; ++h) head(w, h);
  }
  Result result_;

 private:
  std::size_t at(int r, int col, int cols) const {
    return static_cast<std::size_t>(r) * static_cast<std::size_t>(cols) + static_cast<std::size_t>(col);
  }

  /// Of one channel of k or v, found once.
  float mean_of(int window, int head, int part, int i) const {
    const auto at = static_cast<std::size_t>(((window * 3 + part) * c_.heads + head) * c_.dim + i);
    if (means_.empty()) means_.assign(static_cast<std::size_t>(c_.windows * 3 * c_.heads * c_.dim), INFINITY);
    if (means_[at] != INFINITY) return means_[at];
    float sum = 0.0F;
    for (int t = 0; t < c_.n; ++t)
      sum += c_.x[static_cast<std::size_t>(((window * c_.n + t) * 3 + part) * c_.heads * c_.dim + head * c_.dim + i)];
    return means_[at] = sum / static_cast<float>(c_.n);
  }

  /// part 0 q, 1 k, 2 v; kRow: q symmetric per row, k per row, v per column.
  Operand2d operand(int window, int head, int part) const {
    const int n = c_.n, d = c_.dim, bits = c_.qkv_bits, middle = 1 << (bits - 1);
    const auto value = [&](int t, int i) {
      const float x = c_.x[static_cast<std::size_t>(((window * n + t) * 3 + part) * c_.heads * d + head * d + i)];
      const bool centred = part == 2 ? c_.plan->qkv.centred : part == 1 && c_.plan->qkv.centred_k;
      return centred ? x - mean_of(window, head, part, i) : x;
    };
    const auto& fixed = part == 0 ? c_.plan->qkv.q : part == 1 ? c_.plan->qkv.k : c_.plan->qkv.v;
    Operand2d o;
    for (int t = 0; t < n; ++t)
      for (int i = 0; i < d; ++i) {
        UniformQuantizer u;
        if (c_.qkv != QkvGrouping::kRow) {
          u = make_quantizer(fixed[fixed.size() == 1 ? 0 : static_cast<std::size_t>(head)], bits);
        } else {
          float mn = INFINITY, mx = -INFINITY;
          for (int j = 0; j < (part == 2 ? n : d); ++j) {
            mn = std::fmin(mn, part == 2 ? value(j, i) : value(t, j));
            mx = std::fmax(mx, part == 2 ? value(j, i) : value(t, j));
          }
          u = make_quantizer({mn, mx}, bits);
          if (part == 0) {
            const float scale = std::fmax(-mn, mx) / static_cast<float>(middle - 1);
            u = {scale, 1.0F / scale, middle, code_max(bits)};
          }
        }
        const int raw = quantize(value(t, i), u);
        o.raw.push_back(raw);
        o.code.push_back(raw - u.zero_point);
        o.quantizer.push_back(u);
      }
    return o;
  }

  void head(int window, int head) {
    const int n = c_.n, d = c_.dim, middle = 1 << (c_.qkv_bits - 1);
    const Operand2d q = operand(window, head, 0), k = operand(window, head, 1), v = operand(window, head, 2);
    const bool by_row = c_.qkv == QkvGrouping::kRow;
    const float softmax_scale = 1.0F / std::sqrt(static_cast<float>(d));
    for (int t = 0; t < n; ++t) {
      std::vector<float> p(static_cast<std::size_t>(n));
      for (int j = 0; j < n; ++j) {
        std::int64_t sum = 0, row_sum = 0;
        for (int i = 0; i < d; ++i) {
          sum += q.code[at(t, i, d)] * (k.raw[at(j, i, d)] - middle);
          row_sum += q.code[at(t, i, d)];
        }
        const UniformQuantizer &uq = q.quantizer[at(t, 0, d)], &uk = k.quantizer[at(j, 0, d)];
        float s = std::fma(-(static_cast<float>(uk.zero_point) - static_cast<float>(middle)),
                           static_cast<float>(row_sum), static_cast<float>(sum));
        if (by_row) s = s * uq.scale;
        p[static_cast<std::size_t>(j)] = s * (uk.scale * (by_row ? 1.0F : uq.scale));
      }
      float row_max = 0.0F;
      const float* bias =
          c_.bias ? c_.table.data() + ((c_.pattern[static_cast<std::size_t>(window)] * c_.heads + head) * n + t) * n
                  : nullptr;
      const kernels::Kernels& reference = kernels::kernels_for(Isa::kReference);
      const std::vector<float> scores = p;
      reference.softmax_rows({p.data(), n, 1, n}, {softmax_scale, bias, n}, &row_max);
      UniformQuantizer us = row_quantizer(t, row_max);
      std::vector<int> code(static_cast<std::size_t>(n));
      for (std::size_t j = 0; j < code.size(); ++j) code[j] = quantize(p[j], us);
      if (c_.softmax == Grouping::kUpperBound) {  // exponentials become codes without having been probabilities
        std::vector<std::uint8_t> row_codes(p.size());
        float code_sum = 0.0F;
        reference.softmax_row_codes({scores.data(), n, 1, n}, {softmax_scale, bias, n}, code_max(c_.softmax_bits),
                                    row_codes.data(), n, &us.scale, &code_sum);
        code.assign(row_codes.begin(), row_codes.end());
      }
      for (int i = 0; i < d; ++i) {
        const UniformQuantizer& uv = v.quantizer[at(0, i, d)];
        std::int64_t sum = 0, row_sum = 0;
        for (int j = 0; j < n; ++j) {
          const int pj = code[static_cast<std::size_t>(j)];
          sum += pj * (v.raw[at(j, i, d)] - middle);
          row_sum += pj;
        }
        float y = std::fma(-(static_cast<float>(uv.zero_point) - static_cast<float>(middle)),
                           static_cast<float>(row_sum), static_cast<float>(sum));
        y = y * us.scale;
        const auto o = static_cast<std::size_t>((window * n + t) * c_.heads * d + head * d + i);
        result_.y[o] = std::fma(y, uv.scale, c_.centred ? mean_of(window, head, 2, i) : 0.0F);
      }
    }
  }

  UniformQuantizer row_quantizer(int t, float row_max) const {
    const auto& groups = c_.plan->softmax.groups;
    const int count = static_cast<int>(groups.size());
    int best = 0;
    switch (c_.softmax) {
      case Grouping::kUpperBound:
        return make_quantizer({0.0F, row_max}, c_.softmax_bits);
      case Grouping::kStaticGroup:
        best = static_cast<int>(static_cast<std::int64_t>(t) * count / c_.n);
        break;
      case Grouping::kScale:
        while (best + 1 < count && groups[static_cast<std::size_t>(best)].upper < row_max) ++best;
        break;
      case Grouping::kIgq:
        for (int g = 1; g < count; ++g) {
          const auto distance = [&](int i) {
            const float du = row_max - groups[static_cast<std::size_t>(i)].upper;
            return du * du;
          };
          if (distance(g) < distance(best)) best = g;
        }
        break;
      default:
        break;
    }
    return make_quantizer({0.0F, groups[static_cast<std::size_t>(best)].upper}, c_.softmax_bits);
  }

  const AttentionCase& c_;
  mutable std::vector<float> means_;
};

void check(AttentionCase c, std::uint64_t seed) {
  c.make(seed);
  SCOPED_TRACE(::testing::Message() << qkv_grouping_name(c.qkv) << " " << grouping_name(c.softmax) << ", " << c.windows
                                    << " windows of " << c.n << ", " << c.heads << "x" << c.dim << ", bits "
                                    << c.qkv_bits << " " << c.softmax_bits);
  static ThreadPool two(2), three(3);
  const Expected want(c);
  for (const Isa isa : supported_isas())
    ASSERT_EQ(forward(c, Execution::kInteger, isa, nullptr), want.result_.y) << isa_name(isa);
  for (ThreadPool* pool : {&two, &three}) ASSERT_EQ(forward(c, Execution::kInteger, best_isa(), pool), want.result_.y);
  for (const Isa isa : {Isa::kReference, best_isa()})
    ASSERT_EQ(forward(c, Execution::kSimulate, isa, nullptr), want.result_.y) << "simulated, " << isa_name(isa);
}

constexpr QkvGrouping kQkv[] = {QkvGrouping::kTensor, QkvGrouping::kHead, QkvGrouping::kRow};
constexpr Grouping kSoftmax[] = {Grouping::kLayer, Grouping::kStaticGroup, Grouping::kIgq, Grouping::kScale,
                                 Grouping::kUpperBound};

TEST(Attention, IntegersEqualPlainIntegersOnAllBits) {
  for (const QkvGrouping qkv : kQkv)
    for (const Grouping softmax : kSoftmax)
      for (int bits = 2; bits <= 8; ++bits)
        for (const int softmax_bits : {2, 5, 8})
          check({.windows = 1,
                 .n = 21,
                 .heads = 2,
                 .dim = 12,
                 .qkv = qkv,
                 .softmax = softmax,
                 .qkv_bits = bits,
                 .softmax_bits = softmax_bits,
                 .x = {},
                 .table = {},
                 .pattern = {},
                 .plan = {}},
                static_cast<std::uint64_t>(bits));
}

void check_centred(int windows, int n, int bits, QkvGrouping qkv, Grouping softmax) {
  check({.windows = windows,
         .n = n,
         .heads = 2,
         .dim = 33,
         .qkv = qkv,
         .softmax = softmax,
         .qkv_bits = bits,
         .softmax_bits = bits,
         .bias = windows > 1,
         .centred = true,
         .x = {},
         .table = {},
         .pattern = {},
         .plan = {}},
        static_cast<std::uint64_t>(bits + n));
}

TEST(Attention, KeysAndValuesLessTheirMeans) {
  for (const QkvGrouping qkv : kQkv)
    for (const Grouping softmax : kSoftmax)
      for (const int bits : {2, 4, 8}) {
        check_centred(1, 1, bits, qkv, softmax);
        check_centred(3, 21, bits, qkv, softmax);
      }
}

/// More tokens than a float holds the sum of, in one piece.
TEST(Attention, ManyTokens) { check_centred(1, 600, 8, QkvGrouping::kRow, Grouping::kUpperBound); }

TEST(Attention, AwkwardShapes) {
  struct Size {
    int windows, n, heads, dim;
  };
  for (const QkvGrouping qkv : kQkv)
    for (const Size s : {Size{1, 1, 1, 1},
                         {1, 2, 1, 3},
                         {2, 3, 3, 5},
                         {1, 55, 1, 32},
                         {1, 57, 2, 33},
                         {3, 49, 2, 32},
                         {1, 65, 1, 64},
                         {1, 113, 1, 65}})
      for (const bool bias : {false, true})
        check({.windows = s.windows,
               .n = s.n,
               .heads = s.heads,
               .dim = s.dim,
               .qkv = qkv,
               .softmax = Grouping::kIgq,
               .bias = bias,
               .x = {},
               .table = {},
               .pattern = {},
               .plan = {}},
              static_cast<std::uint64_t>(s.n));
}

TEST(Attention, SaturatingInputs) {
  for (const QkvGrouping qkv : kQkv)
    for (const Grouping softmax : kSoftmax)
      for (const int bits : {2, 4, 8})
        check({.windows = 1,
               .n = 60,
               .heads = 1,
               .dim = 64,
               .qkv = qkv,
               .softmax = softmax,
               .qkv_bits = bits,
               .softmax_bits = bits,
               .saturate = true,
               .x = {},
               .table = {},
               .pattern = {},
               .plan = {}},
              7);
}

}  // namespace
}  // namespace igq::test
