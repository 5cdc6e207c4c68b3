// What a report collects, and that its page is well-formed whatever the texts in the files say.
#include "report/report.h"

#include <gtest/gtest.h>

#include <set>

#include "base/fail.h"
#include "io/png_writer.h"
#include "report/card.h"
#include "report/charts.h"
#include "report/html.h"
#include "report/svg.h"
#include "tests/report/pages.h"

namespace igq::report {
namespace {

/// Empty when every tag is closed in order and every attribute quoted; otherwise where it fails. Strict as XML, but for
/// the elements that HTML never closes.
std::string malformed(std::string_view html) {
  const std::set<std::string, std::less<>> never_closed{"meta", "img", "br", "wbr", "!DOCTYPE"};
  std::vector<std::string> open;
  for (std::size_t i = 0; i < html.size();) {
    if (html[i] == '&' && html.substr(i, 12).find(';') == std::string_view::npos)
      return "bare & at " + std::string(html.substr(i, 40));
    if (html[i] == '>') return "bare > at " + std::string(html.substr(i, 40));
    if (html[i] != '<') {
      ++i;
      continue;
    }
    const std::size_t start = i;
    const bool closing = html[++i] == '/';
    i += closing;
    std::string name;
    while (i < html.size() && html[i] != ' ' && html[i] != '>' && html[i] != '/') name += html[i++];
    bool quoted = false;
    while (i < html.size() && (quoted || html[i] != '>')) {
      if (html[i] == '"') quoted = !quoted;
      if (html[i] == '<') return "< within " + std::string(html.substr(start, 60));
      ++i;
    }
    const bool empty = html[i - 1] == '/';
    ++i;
    if (closing) {
      if (open.empty() || open.back() != name)
        return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
      open.pop_back();
    } else if (!empty && !never_closed.contains(name)) {
      open.push_back(name);
      if (name == "style") i = html.find("</style>", i);
    }
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

void expect_safe(const std::string& html) {
  EXPECT_EQ(malformed(html), "");
  EXPECT_EQ(html.find("<script"), std::string::npos);
  for (const char* network : {"http://", "https://", "src=\"/", "@import", "url("})
    EXPECT_EQ(html.find(network), std::string::npos) << network;
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(html.find("onerror=alert(1)>"), std::string::npos);
  EXPECT_EQ(html.find(">nan<"), std::string::npos);
  EXPECT_EQ(html.find("\"nan"), std::string::npos);
  EXPECT_EQ(html.find("inf\""), std::string::npos);
}

class Report : public ::testing::Test {
 protected:
  ReportData collect(const test::SavedModel& saved, bool with_images, bool with_float) const {
    ReportOptions options;
    options.file_bytes = saved.bytes;
    options.speed = false;
    options.threads = 1;
    options.noise_images = 4;
    if (with_images) options.samples = test::embedded_images(3, 4);
    options.labelled = with_images;
    return collect_report(saved.quantized, with_float ? &saved.reference : nullptr, options);
  }
  std::filesystem::path folder() const { return folder_.path(); }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(Report, WithoutImagesShowsWhatTheFileKeeps) {
  const test::SavedModel saved = test::save_model(folder(), "vit_token");
  const ReportData data = collect(saved, false, false);
  EXPECT_EQ(data.noise_images, 2);
  EXPECT_FALSE(data.noise_on_data);
  for (const SiteRow& s : data.sites) {
    EXPECT_TRUE(s.alone && s.accumulated) << s.name;
    EXPECT_EQ(s.block, s.name.starts_with("blocks.") ? s.name[7] - '0' : -1);
  }
  ASSERT_TRUE(data.channels && data.rows);
  EXPECT_EQ(data.channels->images.size(), 2u);
  EXPECT_FALSE(data.accuracy || data.speed);
  EXPECT_NEAR(data.file_mb, static_cast<double>(saved.bytes) / 1e6, 1e-9);
  EXPECT_LT(data.file_mb, data.float_mb);
  EXPECT_LT(data.one_group_gbops, data.gbops);
  EXPECT_LT(data.gbops, data.float_gbops);
  const std::string html = report_html(data);
  expect_safe(html);
  for (const char* part :
       {"Which layer hurts", "Groups of every layer", "Before: one quantizer for the whole layer",
        "Before: one quantizer for all rows", "change group between", "Softmax rows", "Where it comes from"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
}

TEST_F(Report, ImagesAndFloatModelGiveAccuracyErrorsAndPredictions) {
  const test::SavedModel saved = test::save_model(folder(), "vit_token");
  const ReportData data = collect(saved, true, true);
  ASSERT_TRUE(data.accuracy && data.accuracy->agreement && data.accuracy->float_top1);
  EXPECT_EQ(data.accuracy->images, 12);
  EXPECT_NEAR(*data.accuracy->agreement, 100.0 * static_cast<double>(12 - data.accuracy->changed) / 12.0, 1e-9);
  EXPECT_TRUE(data.noise_on_data);
  EXPECT_EQ(data.noise_images, 4);
  EXPECT_TRUE(data.examples_on_data);
  ASSERT_EQ(data.predictions.size(), 12u);
  std::int64_t changed = 0;
  bool after_unchanged = false;
  for (const PredictionExample& p : data.predictions) {
    EXPECT_FALSE(p.changed() && after_unchanged) << "changed predictions come first";
    after_unchanged = after_unchanged || !p.changed();
    changed += p.changed();
    const Image image = decode_image(std::as_bytes(std::span(p.thumbnail)), "thumbnail");
    EXPECT_LE(std::max(image.width, image.height), 84);
  }
  EXPECT_EQ(changed, std::min<std::int64_t>(data.accuracy->changed, 8));
  expect_safe(report_html(data));
  const nlohmann::json json = report_to_json(data);
  EXPECT_EQ(json.at("predictions").size(), 12u);
  EXPECT_EQ(json.at("noise").at("measured_on"), "data-dir");
  EXPECT_EQ(json.at("channels").at("images")[0].at("max").size(),
            json.at("channels").at("images")[0].at("group").size());
}

TEST_F(Report, TheFloatModelMustBeTheOneItWasMadeFrom) {
  const test::SavedModel saved = test::save_model(folder(), "vit_token"),
                         other = test::save_model(folder(), "vit_mlpratio");
  ReportOptions options;
  options.speed = false;
  options.samples = test::embedded_images(1, 2);
  EXPECT_THROW(collect_report(saved.quantized, &other.reference, options), Error);
  EXPECT_THROW(collect_report(saved.quantized, &saved.quantized, options), Error);
  EXPECT_THROW(collect_report(saved.reference, nullptr, options), Error);
}

TEST_F(Report, EveryArchitectureAndGrouping) {
  for (const Grouping grouping :
       {Grouping::kLayer, Grouping::kStaticGroup, Grouping::kIgq, Grouping::kScale, Grouping::kUpperBound})
    for (const std::string fixture : {"vit_swiglu", "swin_stages"}) {
      QuantizeOptions options;
      options.grouping = grouping;
      options.groups = 3;
      const ReportData data = collect(test::save_model(folder(), fixture, options), false, false);
      expect_safe(report_html(data));
      ASSERT_TRUE(data.channels && data.rows) << fixture;
      if (grouping == Grouping::kStaticGroup) {
        EXPECT_EQ(moved_percent(*data.channels, 0, 1), 0.0);
      }
      if (grouping == Grouping::kUpperBound) {
        EXPECT_EQ(data.channels->groups, 0);
      }
      for (const auto* example : {&*data.channels, &*data.rows})
        for (std::size_t i = 0; i < example->images.size(); ++i)
          for (const Member& m : example->images[i]) {
            EXPECT_GE(m.group, 0);
            EXPECT_LT(m.group, std::max(example->groups, 1));
            EXPECT_LE(m.codes.lower, 0.0f + (grouping == Grouping::kScale ? 1e6f : 0.0f)) << "codes hold zero";
          }
    }
}

TEST(GroupExample, ChannelsGoToTheNearestBoundsAndGroupsAreRankedByWidth) {
  ActivationPlan plan;
  plan.grouping = Grouping::kIgq;
  plan.bits = 4;
  plan.groups = {{-4.0f, 4.0f}, {-1.0f, 1.0f}, {0.0f, 3.0f}};
  RangeExample ranges;
  ranges.site = "s";
  ranges.members = 3;
  ranges.images = {{{-3.9f, 4.5f}, {-0.9f, 0.9f}, {0.1f, 2.9f}}, {{-0.9f, 0.9f}, {-0.9f, 1.1f}, {-3.0f, 4.0f}}};
  const GroupedExample example = group_example(ranges, plan);
  EXPECT_EQ(example.images[0][0].group, 2);
  EXPECT_EQ(example.images[0][1].group, 0);
  EXPECT_EQ(example.images[0][2].group, 1);
  EXPECT_EQ(example.images[1][0].group, 0);
  EXPECT_NEAR(moved_percent(example, 0, 1), 200.0 / 3.0, 1e-9);
  EXPECT_NEAR(example.images[0][1].codes.upper - example.images[0][1].codes.lower, 2.0f, 1e-5f);
  // The widest over both images spans [-3.9, 4.5]: steps of 0.56, the median channel is 2.8 wide.
  const GroupingGain gain = grouping_gain(example, 0);
  EXPECT_NEAR(gain.steps_single, 2.8 / 0.56, 1e-4);
  EXPECT_NEAR(gain.steps_grouped, 2.8 / 0.2, 0.1);
  EXPECT_EQ(gain.clipped, 0.0);

  ActivationPlan rows = plan;
  rows.groups = {{0.0f, 1.0f}, {0.0f, 0.2f}};
  ranges.head = 0;
  ranges.images = {{{0.0f, 0.15f}, {0.0f, 0.9f}, {0.0f, 0.5f}}};
  const GroupedExample softmax = group_example(ranges, rows);
  EXPECT_EQ(softmax.images[0][0].group, 0);
  EXPECT_EQ(softmax.images[0][1].group, 1);
  EXPECT_EQ(softmax.images[0][2].group, 0) << "0.5 is nearer to 0.2 than to 1";
  EXPECT_NEAR(grouping_gain(softmax, 0).clipped, 100.0 / 3.0, 1e-9) << "and loses more than a step there";
}

TEST_F(Report, HostileTextsAreEscapedEverywhere) {
  ReportData data = test::extreme_report(collect(test::save_model(folder(), "vit_token"), true, true));
  const std::string html = report_html(data);
  expect_safe(html);
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
  EXPECT_EQ(html.find("<img src=x"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
}

TEST_F(Report, DamagedReportDataNameTheFile) {
  test::SavedModel saved = test::save_model(folder(), "vit_token");
  saved.quantized.report["noise"]["sites"][0]["site"] = "nothing";
  try {
    collect(saved, false, false);
    FAIL() << "an unknown site was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("vit_token.igq"), std::string::npos) << e.what();
  }
  saved.quantized.report = nlohmann::json::object();
  const ReportData data = collect(saved, false, false);
  EXPECT_EQ(data.noise_images, 0);
  EXPECT_FALSE(data.channels || data.rows);
  expect_safe(report_html(data));
}

TEST(EncoderReport, ShowsTheNearestImagesOfFloatAndIntegers) {
  const test::TemporaryFolder folder;
  LoadedModel reference = load_model(test::fixtures() / "towers" / "siglip");
  QuantizeJob job;
  job.options = preset_options(Preset::kBest);
  job.options.weight_bits = job.options.activation_bits = 4;
  job.options.weights = WeightMethod::kNearest;
  const QuantizeReport made =
      quantize_model(reference, synthetic_calibration(*reference.model, 4, 3), job, best_isa(), 1, 2);
  const std::filesystem::path file = folder.path() / "siglip.igq";
  save_igq(file, made.model, true);
  reference = load_model(test::fixtures() / "towers" / "siglip");
  const LoadedModel quantized = load_model(file);
  ReportOptions options;
  options.file_bytes = std::filesystem::file_size(file);
  options.speed = false;
  options.threads = 1;
  options.noise_images = 2;
  options.samples = test::embedded_images(4, 3);
  const ReportData data = collect_report(quantized, &reference, options);
  ASSERT_TRUE(data.vectors);
  EXPECT_FALSE(data.accuracy);
  EXPECT_TRUE(data.noise_on_data);
  const VectorFacts& facts = *data.vectors;
  EXPECT_EQ(facts.images, 12);
  EXPECT_GT(facts.cosines.mean, 0.5);
  EXPECT_LT(facts.cosines.mean, 1.0);
  EXPECT_LE(facts.cosines.percentile1, facts.cosines.mean);
  ASSERT_EQ(facts.examples.size(), 6u);
  std::size_t shared = 0;
  for (const NeighbourExample& e : facts.examples) {
    EXPECT_GE(e.shared(), shared) << "those that differ most come first";
    shared = e.shared();
    EXPECT_TRUE(e.thumbnail.starts_with("\x89PNG"));
    for (const auto* list : {&e.original, &e.integer}) {
      ASSERT_EQ(list->size(), 4u);
      for (std::size_t n = 0; n < list->size(); ++n) {
        EXPECT_NE((*list)[n].file, e.file) << "no image is its own neighbour";
        EXPECT_LE((*list)[n].cosine, (*list)[n == 0 ? 0 : n - 1].cosine);
      }
    }
  }
  const std::string html = report_html(data);
  EXPECT_NE(html.find("Nearest images"), std::string::npos);
  EXPECT_EQ(html.find("Example predictions"), std::string::npos);
  EXPECT_NE(html.find("vectors of"), std::string::npos);
  const nlohmann::json json = report_to_json(data);
  EXPECT_EQ(json.at("vectors").at("images"), 12);
  EXPECT_EQ(json.at("vectors").at("examples").size(), 6u);
  EXPECT_FALSE(json.contains("accuracy"));
  EXPECT_NE(model_card(data).find("| 12 images |"), std::string::npos);

  options.samples.resize(1);  // there is no other image to be near
  const ReportData one = collect_report(quantized, &reference, options);
  EXPECT_TRUE(one.vectors && one.vectors->examples.empty());
  EXPECT_NE(report_html(one).find("Cosine to float"), std::string::npos);
  const ReportData alone = collect_report(quantized, nullptr, options);
  EXPECT_FALSE(alone.vectors);
  EXPECT_NE(report_html(alone).find("--float MODEL --data-dir DIR"), std::string::npos);
}

}  // namespace
}  // namespace igq::report
