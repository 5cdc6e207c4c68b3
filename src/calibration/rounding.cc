#include "calibration/rounding.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "base/fail.h"
#include "quant/weight_groups.h"
#include "quant/weights.h"

namespace igq {
namespace {

constexpr int kLanes = kernels::kFloatPanel;  // output channels worked on together
constexpr int kBlock = 64;                    // inputs between two products with all inputs before them

/// What all panels of outputs share. Inputs are permuted: the one with the largest second moment is rounded first.
struct Factors {
  int in = 0;
  std::vector<int> order;     // permuted index -> input
  AlignedBuffer<float> unit;  // [in][in]: R_kj / R_kk for j > k, zero elsewhere
  std::vector<double> pivot;  // R_kk^2
};

void check_finite(const Eigen::MatrixXd& h) {
  if (!std::isfinite(h.sum()))
    fail("weight rounding: the inputs' second moments are not finite: are the weights damaged?");
}

Factors factorize(const Eigen::MatrixXd& h) {
  check_finite(h);
  Factors f;
  f.in = static_cast<int>(h.rows());
  const auto n = static_cast<std::size_t>(f.in);
  f.order.resize(n);
  std::iota(f.order.begin(), f.order.end(), 0);
  std::stable_sort(f.order.begin(), f.order.end(), [&](int a, int b) { return h(a, a) < h(b, b); });
  Eigen::MatrixXd permuted(f.in, f.in);
  for (double more = 0.0;; more = more_damping(h, more)) {
    for (int j = 0; j < f.in; ++j)
      for (int i = 0; i < f.in; ++i)
        permuted(i, j) = h(f.order[static_cast<std::size_t>(i)], f.order[static_cast<std::size_t>(j)]);
    permuted.diagonal().array() += more;
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> llt(permuted);  // in place: L below the diagonal, R = L^T
    if (llt.info() == Eigen::Success) break;
  }
  f.unit.resize_zero(n * n);
  f.pivot.resize(n);
  for (int k = 0; k < f.in; ++k) {
    f.pivot[static_cast<std::size_t>(k)] = permuted(k, k) * permuted(k, k);
    for (int j = k + 1; j < f.in; ++j)
      f.unit[static_cast<std::size_t>(k) * n + static_cast<std::size_t>(j)] =
          static_cast<float>(permuted(j, k) / permuted(k, k));
  }
  return f;
}

/// The quantizers of kLanes output channels for one group of inputs (all of them without weight groups).
struct Lanes {
  float scale[kLanes], inv_scale[kLanes], zero[kLanes];
  void set(int lane, float s, float inverse, int z) {
    scale[lane] = s;
    inv_scale[lane] = inverse;
    zero[lane] = static_cast<float>(z);
  }
  void copy(int lane, const Lanes& from) {
    scale[lane] = from.scale[lane];
    inv_scale[lane] = from.inv_scale[lane];
    zero[lane] = from.zero[lane];
  }
};

/// One panel of output channels: w, codes and errors, [in][kLanes] in permuted order.
class Panel {
 public:
  Panel(const Factors& factors, const kernels::Kernels& kernels, int bits, int group_size)
      : f_(factors), kernels_(kernels), q_max_(static_cast<float>(code_max(bits))) {
    for (const int input : f_.order)
      group_.push_back(group_size == 0 ? 0 : static_cast<std::size_t>(input / group_size));
    const auto size = static_cast<std::size_t>(f_.in) * kLanes;
    for (auto* buffer : {&w_, &code_, &e_, &best_}) buffer->resize_zero(size);
  }

  void load(std::span<const float> w, int in, int first, int lanes) {
    std::fill(w_.begin(), w_.end(), 0.0f);
    for (int k = 0; k < in; ++k)
      for (int lane = 0; lane < lanes; ++lane)
        w_[at(k) + static_cast<std::size_t>(lane)] =
            w[static_cast<std::size_t>(first + lane) * static_cast<std::size_t>(in) +
              static_cast<std::size_t>(f_.order[static_cast<std::size_t>(k)])];
  }

  /// Babai's nearest plane with the quantizers of each group; error [kLanes]: E, the sum over inputs of R_kk^2 times
  /// the squared gap of its rounding.
  void nearest_plane(const std::vector<Lanes>& groups, double* error) {
    std::fill_n(error, kLanes, 0.0);
    float sum[kBlock][kLanes];
    for (int end = f_.in; end > 0; end -= kBlock) {
      const int begin = std::max(0, end - kBlock);
      for (auto& row : sum) std::fill_n(row, kLanes, 0.0f);
      if (end < f_.in)
        kernels_.gemm_f32({.x = f_.unit.data() + static_cast<std::int64_t>(begin) * f_.in + end,
                           .ldx = f_.in,
                           .rows = end - begin,
                           .k = f_.in - end,
                           .packed = e_.data() + at(end),
                           .panel_begin = 0,
                           .panel_end = 1,
                           .n = kLanes,
                           .bias = nullptr,
                           .accumulate = false,
                           .y = &sum[0][0],
                           .ldy = kLanes});
      for (int k = end - 1; k >= begin; --k) {
        float* acc = sum[k - begin];
        const float* row = f_.unit.data() + static_cast<std::int64_t>(k) * f_.in;
        for (int j = k + 1; j < end; ++j) {
          const float* e = e_.data() + at(j);
          for (int lane = 0; lane < kLanes; ++lane) acc[lane] += row[j] * e[lane];
        }
        const double pivot = f_.pivot[static_cast<std::size_t>(k)];
        const Lanes& q = groups[group_[static_cast<std::size_t>(k)]];
        for (int lane = 0; lane < kLanes; ++lane) {
          const std::size_t i = at(k) + static_cast<std::size_t>(lane);
          const float u = w_[i] + acc[lane];
          code_[i] = std::clamp(std::nearbyint(u * q.inv_scale[lane]) + q.zero[lane], 0.0f, q_max_);
          const float w_hat = q.scale[lane] * (code_[i] - q.zero[lane]);
          e_[i] = w_[i] - w_hat;
          const auto gap = static_cast<double>(u - w_hat);
          error[lane] += pivot * gap * gap;
        }
      }
    }
  }

  void keep(int lane) {
    for (int k = 0; k < f_.in; ++k)
      best_[at(k) + static_cast<std::size_t>(lane)] = code_[at(k) + static_cast<std::size_t>(lane)];
  }
  /// The kept codes, as plan.codes holds them.
  void store(int out, int first, int lanes, WeightPlan& plan) const {
    const int offset = 1 << (plan.bits - 1);
    for (int k = 0; k < f_.in; ++k)
      for (int lane = 0; lane < lanes; ++lane) {
        const auto n = static_cast<std::size_t>(first + lane), width = static_cast<std::size_t>(out);
        const std::size_t at_group = group_[static_cast<std::size_t>(k)] * width + n;
        const int code = static_cast<int>(best_[at(k) + static_cast<std::size_t>(lane)]);
        plan.codes[static_cast<std::size_t>(f_.order[static_cast<std::size_t>(k)]) * width + n] =
            static_cast<std::int8_t>(
                plan.group_size == 0 ? code - offset : plan.multiplier[at_group] * (code - plan.group_zero[at_group]));
      }
  }

 private:
  static std::size_t at(int k) { return static_cast<std::size_t>(k) * kLanes; }

  const Factors& f_;
  const kernels::Kernels& kernels_;
  float q_max_;
  std::vector<std::size_t> group_;  // [in], permuted
  AlignedBuffer<float> w_, code_, e_, best_;
};

/// What round_weights() is given, for the functions that find quantizers.
struct Search {
  std::span<const float> w;
  int in, out;
  const RoundingOptions& options;
  std::vector<Bounds> bounds;     // [out], without weight groups
  std::vector<float> importance;  // [in], the diagonal of H, with them
};

/// Quantizers of output channel o for one factor of clipping; weight groups: those searched for rounding to nearest, or
/// `shared` the channel's one, because what is best for rounding to nearest need not be for nearest planes, at 2 bits
/// least of all.
ChannelGroups channel_quantizers(const Search& s, int o, float factor, bool shared, std::vector<Lanes>& lanes,
                                 int lane) {
  if (s.options.group_size == 0) {
    const Bounds b = o < s.out ? s.bounds[static_cast<std::size_t>(o)] : Bounds{};
    const UniformQuantizer q = make_quantizer({b.lower * factor, b.upper * factor}, s.options.bits);
    lanes.front().set(lane, q.scale, q.inv_scale, q.zero_point);
    return {};
  }
  if (o >= s.out) {
    for (Lanes& group : lanes) group.set(lane, 1.0f, 1.0f, 0);
    return {};
  }
  const std::span<const float> w =
      s.w.subspan(static_cast<std::size_t>(o) * static_cast<std::size_t>(s.in), static_cast<std::size_t>(s.in));
  ChannelGroups found = shared ? shared_weight_groups(w, s.options.bits, s.options.group_size, factor)
                               : search_weight_groups(w, s.importance, s.options.bits, s.options.group_size, factor);
  for (std::size_t g = 0; g < lanes.size(); ++g) {
    const float step = found.scale * static_cast<float>(found.multiplier[g]);
    lanes[g].set(lane, step, 1.0f / step, found.zero[g]);
  }
  return found;
}

}  // namespace

double more_damping(const Eigen::MatrixXd& h, double before) {
  check_finite(h);
  if (before > 0.0) return 10.0 * before;  // definite at the latest above the largest sum of a row's sizes
  const double largest = h.cwiseAbs().maxCoeff();
  return largest > 0.0 ? 1e-6 * largest : 1.0;
}

Rounded round_weights(const Eigen::MatrixXd& h, std::span<const float> w, int in, int out,
                      const RoundingOptions& options, const kernels::Kernels& kernels, ThreadPool& pool) {
  assert(h.rows() == in && h.cols() == in && w.size() == static_cast<std::size_t>(in) * static_cast<std::size_t>(out));
  assert(!options.clipping.empty());
  const Factors factors = factorize(h);
  Search search{w, in, out, options, {}, {}};
  if (options.group_size == 0)
    search.bounds = weight_bounds(w, in, out, options.quantile);
  else
    for (int k = 0; k < in; ++k) search.importance.push_back(static_cast<float>(h(k, k)));
  Rounded result;
  result.error.resize(static_cast<std::size_t>(out));
  WeightPlan& plan = result.plan;
  plan = options.group_size == 0
             ? make_weight_plan(std::vector<UniformQuantizer>(static_cast<std::size_t>(out)), in, options.bits)
             : make_grouped_plan(in, out, options.bits, options.group_size);
  pool.parallel_for((out + kLanes - 1) / kLanes, 1, [&](std::int64_t begin, std::int64_t end, int) {
    Panel panel(factors, kernels, options.bits, options.group_size);
    const auto groups =
        static_cast<std::size_t>(options.group_size == 0 ? 1 : weight_group_count(in, options.group_size));
    std::vector<Lanes> q(groups), best(groups);
    for (std::int64_t p = begin; p < end; ++p) {
      const int first = static_cast<int>(p) * kLanes, lanes = std::min(kLanes, out - first);
      panel.load(w, in, first, lanes);
      ChannelGroups found[kLanes], kept[kLanes];
      double best_error[kLanes], error[kLanes];
      std::fill_n(best_error, kLanes, std::numeric_limits<double>::infinity());
      for (const float factor : options.clipping)
        for (const bool shared : {false, true}) {
          if (shared && options.group_size == 0) continue;
          for (int lane = 0; lane < kLanes; ++lane)
            found[lane] = channel_quantizers(search, first + lane, factor, shared, q, lane);
          panel.nearest_plane(q, error);
          for (int lane = 0; lane < kLanes; ++lane)
            if (error[lane] < best_error[lane]) {
              best_error[lane] = error[lane];
              for (std::size_t g = 0; g < groups; ++g) best[g].copy(lane, q[g]);
              kept[lane] = found[lane];
              panel.keep(lane);
            }
        }
      for (int lane = 0; lane < lanes; ++lane) {
        const auto n = static_cast<std::size_t>(first + lane);
        result.error[n] = best_error[lane];
        if (options.group_size != 0) {
          set_channel_groups(plan, first + lane, kept[lane]);
          continue;
        }
        plan.scale[n] = best.front().scale[lane];
        plan.zero_point[n] = static_cast<std::int32_t>(best.front().zero[lane]);
      }
      panel.store(out, first, lanes, plan);
    }
  });
  return result;
}

}  // namespace igq
