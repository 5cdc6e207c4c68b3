#include "pipeline/shadow_sites.h"

#include <cmath>

namespace igq {

ShadowSites::ShadowSites(const Network& network, const kernels::Kernels& kernels, ThreadPool& pool)
    : network_(network), sums_(network.sites().size()) {
  context_.kernels = &kernels;
  context_.pool = &pool;
  context_.execution = Execution::kInteger;
}

bool ShadowSites::quantized(int site) const {
  const Site& s = network_.sites()[static_cast<std::size_t>(site)];
  return s.has_weights() && s.plan() != nullptr && s.plan()->weight.bits != 0;
}

void ShadowSites::on_map(int site, const float* x, MapGrid grid, int, const kernels::Activation* activation) {
  if (!quantized(site)) return;
  const Conv2d& conv = *network_.sites()[static_cast<std::size_t>(site)].conv;
  shadow_.resize(static_cast<std::size_t>(conv.output(grid).pixels()) * static_cast<std::size_t>(conv.shape().out));
  conv.forward(context_, x, grid, shadow_.data(),
               activation == nullptr ? std::nullopt : std::optional<kernels::Activation>(*activation));
  waiting_ = site;
}

void ShadowSites::on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) {
  if (!quantized(site)) return;
  const Site& s = network_.sites()[static_cast<std::size_t>(site)];
  if (operand == Operand::kInput && s.linear != nullptr && ld == cols) {
    shadow_.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(s.outputs()));
    s.linear->forward(context_, x, rows, shadow_.data());
    waiting_ = site;
  }
  if (operand != Operand::kOutput || waiting_ != site) return;
  waiting_ = -1;
  Sums& sums = sums_[static_cast<std::size_t>(site)];
  sums.seen = true;
  for (std::int64_t t = 0; t < rows; ++t)
    for (int c = 0; c < cols; ++c) {
      const auto exact = static_cast<double>(x[t * ld + c]),
                 other = static_cast<double>(shadow_[static_cast<std::size_t>(t * cols + c)]);
      sums.signal += exact * exact;
      sums.error += (other - exact) * (other - exact);
    }
}

std::vector<SiteNoise> ShadowSites::noise() const {
  std::vector<SiteNoise> result;
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    if (!sums_[i].seen) continue;
    SiteNoise site;
    site.site = network_.sites()[i].name;
    site.alone = sums_[i].error > 0.0 ? 10.0 * std::log10(sums_[i].signal / sums_[i].error) : kNoNoise;
    result.push_back(site);
  }
  return result;
}

}  // namespace igq
