#include "pipeline/verdict.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/evaluate.h"

namespace igq {
namespace {

constexpr std::size_t kWorstSites = 5;

std::string site_list(const std::vector<SiteNoise>& sites, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < std::min(sites.size(), most); ++i)
    text += fmt::format("{}{} {:.1f} dB", i == 0 ? "" : ", ", sites[i].site, *sites[i].alone);
  return text;
}

const char* kind_of(const Verdict& v) { return v.held_back ? "held back" : "that it was calibrated with"; }

}  // namespace

Verdict judge(const Comparison& noise, bool held_back) {
  Verdict v;
  v.images = noise.images;
  v.held_back = held_back;
  v.agreements = noise.agreements;
  v.logits_snr = noise.logits_snr;
  if (v.images == 0) return v;
  if (!noise.cosines.empty())
    v.cosines = summarize(noise.cosines);
  else
    v.agreement = 100.0 * static_cast<double>(v.agreements) / static_cast<double>(v.images);
  v.agreement_interval = confidence_95(v.agreement, v.images);
  std::vector<SiteNoise> sites;
  std::copy_if(noise.sites.begin(), noise.sites.end(), std::back_inserter(sites),
               [](const SiteNoise& s) { return s.alone.has_value(); });
  std::stable_sort(sites.begin(), sites.end(),
                   [](const SiteNoise& a, const SiteNoise& b) { return *a.alone < *b.alone; });
  const auto below =
      std::count_if(sites.begin(), sites.end(), [](const SiteNoise& s) { return !(*s.alone >= kSiteWarningDb); });
  if (!(v.agreement >= kAgreementWarning))
    v.warnings.push_back(fmt::format(
        "only {} of {} images {} are predicted as the float model predicts them ({:.1f} %, below {:.0f} %): do not use "
        "this model before its accuracy was measured (igq eval); more bits lose less",
        v.agreements, v.images, kind_of(v), v.agreement, kAgreementWarning));
  if (v.cosines && !(v.cosines->mean >= kCosineWarning))
    v.warnings.push_back(fmt::format(
        "the embeddings of {} images {} have a mean cosine of {:.4f} to float, below {}: do not search with this model "
        "before its neighbours were compared (igq compare); more bits lose less",
        v.images, kind_of(v), v.cosines->mean, kCosineWarning));
  if (below > 0)
    v.warnings.push_back(fmt::format(
        "{} of {} sites are below {:.0f} dB on their own: {}; --site-bits 'NAME=w8a8' or --keep NAME spares a site",
        below, sites.size(), kSiteWarningDb,
        site_list(sites, std::min<std::size_t>(static_cast<std::size_t>(below), 3))));
  sites.resize(std::min(sites.size(), kWorstSites));
  v.worst_sites = std::move(sites);
  return v;
}

nlohmann::json verdict_to_json(const Verdict& v) {
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteNoise& s : v.worst_sites) sites.push_back({{"site", s.site}, {"snr_alone_db", *s.alone}});
  nlohmann::json document = {{"images", v.images},
                             {"held_back", v.held_back},
                             {"logits_snr_db", v.logits_snr},
                             {"worst_sites", std::move(sites)},
                             {"site_warning_db", kSiteWarningDb},
                             {"warnings", v.warnings}};
  if (v.cosines) {
    document["cosine_mean"] = v.cosines->mean;
    document["cosine_percentile_1"] = v.cosines->percentile1;
    document["cosine_warning"] = kCosineWarning;
  } else {
    document["agreements"] = v.agreements;
    document["agreement"] = v.agreement;
    document["agreement_interval_95"] = v.agreement_interval;
    document["agreement_warning"] = kAgreementWarning;
  }
  return document;
}

std::string verdict_text(const Verdict& v) {
  std::string text = fmt::format("verdict on {} calibration images {}: ", v.images, kind_of(v));
  text += v.cosines ? fmt::format(
                          "embeddings at cosine {:.5f} to float in the mean, {:.5f} at the 1st percentile, {:.1f} dB\n",
                          v.cosines->mean, v.cosines->percentile1, v.logits_snr)
                    : fmt::format("{:.1f} % (+-{:.1f}) predicted as in float, logits {:.1f} dB\n", v.agreement,
                                  v.agreement_interval, v.logits_snr);
  if (!v.worst_sites.empty()) text += fmt::format("worst sites, alone: {}\n", site_list(v.worst_sites, kWorstSites));
  return text;
}

}  // namespace igq
