#include "calibration/statistics.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/fail.h"

namespace igq {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void widen(Bounds& b, float mn, float mx) {
  b.lower = std::min(b.lower, mn);
  b.upper = std::max(b.upper, mx);
}

std::vector<Bounds> empty_bounds(int count) {
  return std::vector<Bounds>(static_cast<std::size_t>(count), Bounds{kInfinity, -kInfinity});
}

/// Minima and maxima pass over NaN, so the values themselves are looked at: an exponent of ones is NaN or infinity.
bool all_finite(const float* x, std::int64_t ld, int rows, int cols) {
  std::uint32_t largest = 0;
  for (int t = 0; t < rows; ++t)
    for (int c = 0; c < cols; ++c)
      largest = std::max(largest, std::bit_cast<std::uint32_t>(x[t * ld + c]) & 0x7FFFFFFFu);
  return largest < 0x7F800000u;
}

std::string_view operand_name(Operand operand) {
  switch (operand) {
    case Operand::kInput:
      return "input";
    case Operand::kQ:
      return "q";
    case Operand::kK:
      return "k";
    case Operand::kV:
      return "v";
    case Operand::kSoftmax:
      return "softmax";
    case Operand::kOutput:
      return "output";
  }
  return "";
}

}  // namespace

void Reservoir::add(Bounds point) {
  ++seen_;
  if (points_.size() < capacity_) {
    points_.push_back(point);
  } else if (const std::uint64_t at = random_.below(seen_); at < capacity_) {
    points_[at] = point;
  }
}

Statistics::Statistics(const Network& network, std::uint64_t seed)
    : network_(network), kernels_(kernels::kernels_for(best_isa())) {
  for (const Site& site : network.sites()) {
    const int id = network.find_site(site.name);
    const std::uint64_t site_seed = seed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(id);
    if (site.has_weights()) {
      auto& s = linears_.emplace(id, LinearStatistics(site_seed)).first->second;
      s.channels = empty_bounds(site.channels());
      s.padded = site.taps() > 1;
    } else {
      auto& s = attentions_.emplace(id, AttentionStatistics(site_seed)).first->second;
      s.q = s.k = s.v = s.centred_v = empty_bounds(site.attention->heads());
      s.row_position_max.assign(static_cast<std::size_t>(site.max_rows), 0.0f);
    }
  }
}

void Statistics::on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) {
  if (operand == Operand::kOutput) return;
  const bool by_row = operand == Operand::kSoftmax;
  const auto n = static_cast<std::size_t>(by_row ? rows : cols);
  mn_.assign(n, kInfinity);
  mx_.assign(n, -kInfinity);
  if (by_row)
    kernels_.row_range(x, ld, rows, cols, mn_.data(), mx_.data());
  else
    kernels_.channel_range(x, ld, rows, cols, mn_.data(), mx_.data());
  if (!all_finite(x, ld, rows, cols))
    fail("calibration: {}:{} has NaN or infinite values: the checkpoint or an image is damaged",
         network_.sites()[static_cast<std::size_t>(site)].name, operand_name(operand));
  if (operand == Operand::kInput) {
    LinearStatistics& s = linears_.at(site);
    for (std::size_t c = 0; c < n; ++c) {
      if (s.padded) {
        mn_[c] = std::min(mn_[c], 0.0f);
        mx_[c] = std::max(mx_[c], 0.0f);
      }
      widen(s.channels[c], mn_[c], mx_[c]);
      s.points.add({mn_[c], mx_[c]});
    }
    return;
  }
  AttentionStatistics& s = attentions_.at(site);
  if (operand == Operand::kSoftmax) {
    if (s.row_position_max.size() < n) s.row_position_max.resize(n);
    for (std::size_t r = 0; r < n; ++r) {
      s.row_position_max[r] = std::max(s.row_position_max[r], mx_[r]);
      s.row_max.add({0.0f, mx_[r]});
    }
    return;
  }
  auto& heads = operand == Operand::kQ ? s.q : operand == Operand::kK ? s.k : s.v;
  for (std::size_t c = 0; c < n; ++c) widen(heads[static_cast<std::size_t>(part)], mn_[c], mx_[c]);
  if (operand != Operand::kV) return;
  mn_.assign(n, kInfinity);
  mx_.assign(n, -kInfinity);
  mean_.resize(n);
  centred_.resize(n * static_cast<std::size_t>(rows));
  kernels_.centre_channels(x, ld, rows, cols, mean_.data(), centred_.data(), cols, mn_.data(), mx_.data());
  for (std::size_t c = 0; c < n; ++c) widen(s.centred_v[static_cast<std::size_t>(part)], mn_[c], mx_[c]);
}

std::vector<std::string> Statistics::unseen() const {
  std::vector<std::string> names;
  for (const auto& [site, s] : linears_)
    if (s.points.seen() == 0) names.push_back(network_.sites()[static_cast<std::size_t>(site)].name);
  for (const auto& [site, s] : attentions_)
    if (s.row_max.seen() == 0) names.push_back(network_.sites()[static_cast<std::size_t>(site)].name);
  return names;
}

std::size_t Statistics::bytes() const {
  std::size_t total = 0;
  for (const auto& [site, s] : linears_) total += (s.points.points().capacity() + s.channels.size()) * sizeof(Bounds);
  for (const auto& [site, s] : attentions_)
    total +=
        (s.row_max.points().capacity() + 4 * s.q.size()) * sizeof(Bounds) + s.row_position_max.size() * sizeof(float);
  return total;
}

}  // namespace igq
