// What quantize_model leaves in the .igq file for reports: the ranges of one layer on two images.
#include "pipeline/examples.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "base/fail.h"
#include "pipeline/quantize_model.h"
#include "tests/test_util.h"

namespace igq {
namespace {

using nlohmann::json;

struct Explained {
  LoadedModel model;
  QuantizeReport report;
};

Explained quantized(const std::string& fixture, Grouping grouping = Grouping::kIgq, int threads = 1) {
  Explained q{load_model(test::fixtures() / "models" / fixture), {}};
  QuantizeJob job;
  job.options.groups = 4;
  job.options.grouping = grouping;
  job.options.never_worse = false;  // groups at every site, also where one quantizer would lose less
  const CalibrationSet images = synthetic_calibration(*q.model.model, 4, 7);
  q.report = quantize_model(q.model, images, job, best_isa(), threads, 2);
  return q;
}

TEST(Examples, RoundTripThroughTheReportOfEveryArchitecture) {
  for (const std::string fixture : {"vit_token", "vit_swiglu", "swin_basic", "swin_pad", "swin_smallmap"}) {
    const Explained q = quantized(fixture);
    const json& stored = q.report.model.report.at("examples");
    const Examples examples = examples_from_json(json::parse(stored.dump()), *q.model.model);
    EXPECT_EQ(examples_to_json(examples), stored) << fixture;
    ASSERT_EQ(examples.channels.images.size(), 2u) << fixture;
    ASSERT_EQ(examples.rows.images.size(), 2u) << fixture;
    EXPECT_EQ(q.model.model->plan()->linears.at(examples.channels.site).input.groups.size(), 4u)
        << "a site with groups";
    for (const auto& image : examples.rows.images)
      for (const Bounds& b : image) {
        EXPECT_EQ(b.lower, 0.0f);
        EXPECT_GT(b.upper, 0.0f);
        EXPECT_LE(b.upper, 1.0f);
      }
    EXPECT_NE(examples.channels.images[0], examples.channels.images[1]) << "ranges depend on the image";
  }
}

TEST(Examples, RangesAreThoseOfTheSiteAndDoNotDependOnThreads) {
  const Explained one = quantized("vit_token", Grouping::kIgq, 1), three = quantized("vit_token", Grouping::kIgq, 3);
  EXPECT_EQ(one.report.model.report.dump(), three.report.model.report.dump());
  const Examples examples = examples_from_json(one.report.model.report.at("examples"), *one.model.model);
  const auto& site =
      one.model.model->sites()[static_cast<std::size_t>(one.model.model->find_site(examples.channels.site))];
  EXPECT_EQ(examples.channels.members, site.linear->in_features());
  for (const Bounds& b : examples.channels.images[0]) EXPECT_LT(b.lower, b.upper);
}

TEST(Examples, NothingToShowWithoutQuantizedSites) {
  Explained q = quantized("vit_token");
  q.model.model->set_plan(std::make_shared<QuantizationPlan>());
  ThreadPool pool(1);
  const std::int64_t floats = q.model.model->image_floats();
  const auto load = [floats](std::int64_t, float* image) { std::fill_n(image, floats, 0.0f); };
  const Examples examples = measure_examples(*q.model.model, best_isa(), pool, 1, load);
  EXPECT_TRUE(examples.channels.site.empty() && examples.rows.site.empty());
  EXPECT_EQ(examples_to_json(examples), json::object());
}

TEST(Examples, DamagedJsonIsAnErrorNamingTheField) {
  const Explained q = quantized("vit_token");
  const json good = q.report.model.report.at("examples");
  const auto refused = [&](const std::string& pointer, const json& value) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    EXPECT_THROW(examples_from_json(bad, *q.model.model), Error) << pointer << " " << value;
  };
  refused("/channels/site", "blocks.9.nothing");
  refused("/channels/site", "blocks.0.attn");
  refused("/softmax/site", "head");
  refused("/softmax/head", 99);
  refused("/channels/members", 1000000);
  refused("/channels/stride", 0);
  refused("/channels/images", json::array());
  refused("/channels/images/0/max", json::array({1.0}));
  refused("/channels/images/0/max/0", "1");
  refused("/channels/images/0/min/0", 1e30);
  refused("/channels/images/1", 5);
  EXPECT_THROW(examples_from_json(json(3), *q.model.model), Error);
}

}  // namespace
}  // namespace igq
