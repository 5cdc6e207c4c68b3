#include "report/detector_report.h"

#include <algorithm>

#include "base/fail.h"
#include "draw/draw_detections.h"
#include "io/json_fields.h"
#include "io/png_writer.h"
#include "io/resize.h"
#include "pipeline/detector_latencies.h"
#include "pipeline/groups_in_use.h"
#include "pipeline/shadow_sites.h"
#include "report/site_text.h"

namespace igq::report {
namespace {

using nlohmann::json;

constexpr std::size_t kShownPictures = 6;
constexpr int kLongestSide = 560;  // of a picture in the page

void set_noise(DetectorReportData& data, const std::string& site, double db) {
  for (SiteRow& row : data.sites)
    if (row.name == site) row.alone = db;
}

/// The errors and the verdict that quantize left in the file.
void take_stored(const json& report, DetectorReportData& data) {
  if (const json* noise = json_find(report, "noise"); noise != nullptr) {
    data.noise_images = json_int(json_at(*noise, "images"), "images", 0, INT32_MAX);
    for (const json& site : json_array(json_at(*noise, "sites"), "sites", 1 << 16))
      set_noise(data, json_string(json_at(site, "site"), "site"),
                static_cast<double>(json_float(json_at(site, "snr_alone_db"), "snr_alone_db")));
  }
  if (const json* stored = json_find(report, "agreement"); stored != nullptr) {
    data.agreement = agreement_from_json(*stored);
    const json* held_back = json_find(*stored, "held_back");
    data.held_back = held_back != nullptr && held_back->is_boolean() && held_back->get<bool>();
  }
}

/// The picture with its objects above the detector's threshold, as a PNG file no longer than kLongestSide.
std::string drawn(Image image, const std::vector<Detection>& found, const Detector& detector) {
  std::vector<draw::Drawn> shown;
  for (const Detection& d : found)
    if (d.score > truth_threshold(detector))
      shown.push_back({d.box, d.mask.value_or(detection::Rle{}), d.label, d.score});
  draw::draw_detections(image, shown, detector.labels());
  return encode_png(shrunk(image, kLongestSide));
}

/// What both found in one picture.
struct Found {
  std::size_t picture = 0;
  std::vector<Detection> original, integer;
  DetectionAgreement agreement;
};

void look_at_pictures(const LoadedDetector& model, const LoadedDetector* original, const DetectorReportOptions& options,
                      const StageProgress& progress, DetectorReportData& data) {
  const Detector& detector = *model.detector;
  DetectorRunner integer(*model.detector, Execution::kInteger, options.isa, options.threads);
  std::optional<DetectorRunner> exact;
  if (original != nullptr) exact.emplace(*original->detector, Execution::kFloat, options.isa, options.threads);
  const float truth = truth_threshold(original != nullptr ? *original->detector : detector),
              threshold = detector.evaluation_threshold();
  ShadowSites shadow(detector, integer.kernels(), integer.pool());
  AgreementCounter all(detector, truth);
  std::vector<Found> found;
  const auto tick = begin_stage(progress, "looking at pictures", static_cast<std::int64_t>(options.pictures.size()));
  for (std::size_t i = 0; i < options.pictures.size(); ++i) {
    const Image image = load_image(options.pictures[i], picture_orientation(detector));
    Found one{i, {}, integer.detect(image, threshold), {}};
    if (exact) {
      const bool watched = static_cast<std::int64_t>(i) < options.noise_images;
      one.original = watched ? exact->watch(image, threshold, shadow) : exact->detect(image, threshold);
      AgreementCounter alone(detector, truth);
      alone.add(one.original, one.integer, image.height, image.width);
      one.agreement = alone.result();
      all.add(one.original, one.integer, image.height, image.width);
    }
    found.push_back(std::move(one));
    tick(static_cast<std::int64_t>(i) + 1);
  }
  data.pictures_seen = static_cast<std::int64_t>(found.size());
  if (exact) {
    data.agreement = all.result();
    data.agreement_on_data = true;
    data.held_back = false;
    if (options.noise_images > 0) {
      data.noise_images = std::min<std::int64_t>(options.noise_images, data.pictures_seen);
      for (SiteRow& row : data.sites) row.alone.reset();
      for (const SiteNoise& site : shadow.noise()) set_noise(data, site.site, *site.alone);
    }
  }
  const auto differing = [](const Found& f) { return f.agreement.objects - f.agreement.found + f.agreement.invented; };
  std::stable_sort(found.begin(), found.end(),
                   [&](const Found& a, const Found& b) { return differing(a) > differing(b); });
  found.resize(std::min(found.size(), kShownPictures));
  for (const Found& f : found) {
    const std::filesystem::path& file = options.pictures[f.picture];
    const Image image = load_image(file, picture_orientation(detector));
    DetectorPicture picture;
    picture.file = file.filename().string();
    picture.height = image.height;
    picture.width = image.width;
    if (exact) picture.original = drawn(image, f.original, detector);
    picture.integer = drawn(image, f.integer, detector);
    picture.objects = f.agreement.objects;
    picture.found = f.agreement.found;
    picture.invented = f.agreement.invented;
    picture.shown = std::count_if(f.integer.begin(), f.integer.end(),
                                  [&](const Detection& d) { return d.score > truth_threshold(detector); });
    data.pictures.push_back(std::move(picture));
  }
}

Speed measure_speed(Detector& detector, const Image& picture, const DetectorReportOptions& options) {
  DetectorRunner original(detector, Execution::kFloat, options.isa, options.threads),
      integer(detector, Execution::kInteger, options.isa, options.threads);
  DetectorRunner* const both[] = {&original, &integer};
  const BenchmarkOptions few{.warmup = 1, .min_passes = 5, .min_seconds = 1.0};
  const std::vector<Latency> latency = measure_latencies(both, picture, few);
  Speed speed;
  speed.float_ms = latency[0].median_ms;
  speed.integer_ms = latency[1].median_ms;
  speed.rounds = static_cast<int>(latency[0].passes);
  speed.threads = integer.pool().size();
  speed.cpu = cpu_name();
  speed.isa = isa_name(options.isa);
  return speed;
}

}  // namespace

std::string part_of(const std::string& site) {
  const std::size_t dot = site.find('.');
  if (!site.starts_with("roi_head.")) return site.substr(0, dot);
  return site.substr(0, site.find('.', dot + 1));
}

std::vector<SiteRow> site_rows(const Network& network) {
  std::vector<SiteRow> rows;
  for (const Site& site : network.sites()) {
    SiteRow row;
    row.name = site.name;
    row.attention = site.attention != nullptr;
    const ActivationPlan* activation = nullptr;
    if (site.has_weights() && site.plan() != nullptr) {
      if (site.plan()->weight.bits != 0) row.weight_bits = site.plan()->weight.bits;
      activation = &site.plan()->input;
    } else if (row.attention && site.attention->plan() != nullptr) {
      activation = &site.attention->plan()->softmax;
    }
    if (activation != nullptr && activation->grouping != Grouping::kFloat) {
      row.activation_bits = activation->bits;
      row.grouping = activation->grouping;
      row.groups = groups_in_use(*activation);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

DetectorReportData collect_detector_report(const LoadedDetector& model, const LoadedDetector* original,
                                           const DetectorReportOptions& options, const StageProgress& progress) {
  if (!model.quantized) fail("{} is not quantized: quantize a model first with `igq quantize`", model.name);
  const Detector& detector = *model.detector;
  if (original != nullptr) {
    if (original->quantized) fail("{} is quantized: --float wants the detector it was made from", original->name);
    if (original->detector->labels() != detector.labels() || original->detector->has_masks() != detector.has_masks())
      fail("{} and {} find other things: they cannot be compared", original->name, model.name);
  }
  DetectorReportData data;
  data.file = model.name;
  if (original != nullptr) data.float_name = original->name;
  data.architecture = detector.architecture();
  data.labels = detector.labels();
  data.masks = detector.has_masks();
  data.provenance = model.provenance;
  data.file_mb = static_cast<double>(options.file_bytes) / 1e6;
  data.float_mb = float_bytes(model.tensors->shapes()) / 1e6;
  data.sites = site_rows(detector);
  take_stored(model.report, data);
  if (!options.pictures.empty()) {
    look_at_pictures(model, original, options, progress, data);
    if (options.speed)
      data.speed =
          measure_speed(*model.detector, load_image(options.pictures.front(), picture_orientation(detector)), options);
  }
  return data;
}

std::vector<PartNoise> noise_of_parts(const DetectorReportData& data) {
  std::vector<PartNoise> parts;
  for (const SiteRow& site : data.sites) {
    const std::string part = part_of(site.name);
    auto at = std::find_if(parts.begin(), parts.end(), [&](const PartNoise& p) { return p.part == part; });
    if (at == parts.end()) {
      at = parts.insert(parts.end(), PartNoise{});
      at->part = part;
    }
    ++at->sites;
    if (!site.alone) continue;
    if (at->measured++ == 0 || *site.alone < at->worst_db) {
      at->worst = site.name;
      at->worst_db = *site.alone;
    }
    at->mean_percent += noise_percent(*site.alone);
  }
  for (PartNoise& part : parts) part.mean_percent /= std::max(part.measured, 1);
  std::stable_sort(parts.begin(), parts.end(), [](const PartNoise& a, const PartNoise& b) {
    return a.mean_percent > b.mean_percent;  // those not measured have 0
  });
  return parts;
}

nlohmann::json detector_report_json(const DetectorReportData& data) {
  json sites = json::array(), parts = json::array(), pictures = json::array();
  for (const SiteRow& s : data.sites)
    sites.push_back({{"site", s.name},
                     {"part", part_of(s.name)},
                     {"weight_bits", s.weight_bits},
                     {"activation_bits", s.activation_bits},
                     {"grouping", grouping_name(s.grouping)},
                     {"groups", s.groups},
                     {"snr_alone_db", s.alone ? json(*s.alone) : json()}});
  for (const PartNoise& p : noise_of_parts(data)) {
    json part = {{"part", p.part}, {"sites", p.sites}, {"measured", p.measured}};
    if (p.measured > 0) {
      part["mean_noise_percent"] = p.mean_percent;
      part["worst_site"] = p.worst;
      part["worst_db"] = p.worst_db;
    }
    parts.push_back(std::move(part));
  }
  for (const DetectorPicture& p : data.pictures)
    pictures.push_back(
        {{"file", p.file}, {"objects", p.objects}, {"found", p.found}, {"invented", p.invented}, {"shown", p.shown}});
  json document = {{"file", data.file},
                   {"float", data.float_name.empty() ? json() : json(data.float_name)},
                   {"architecture", data.architecture},
                   {"labels", data.labels.size()},
                   {"masks", data.masks},
                   {"file_mb", data.file_mb},
                   {"float_mb", data.float_mb},
                   {"provenance", provenance_to_json(data.provenance)},
                   {"noise_images", data.noise_images},
                   {"parts", std::move(parts)},
                   {"sites", std::move(sites)},
                   {"pictures_seen", data.pictures_seen},
                   {"pictures", std::move(pictures)}};
  if (data.agreement) {
    document["agreement"] = agreement_to_json(*data.agreement);
    document["agreement"]["held_back"] = data.held_back;
    document["agreement"]["on_data"] = data.agreement_on_data;
  }
  if (data.speed)
    document["speed"] = {{"float_ms", data.speed->float_ms}, {"integer_ms", data.speed->integer_ms},
                         {"passes", data.speed->rounds},     {"threads", data.speed->threads},
                         {"cpu", data.speed->cpu},           {"isa", data.speed->isa}};
  return document;
}

}  // namespace igq::report
