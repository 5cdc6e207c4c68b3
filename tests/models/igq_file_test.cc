// .igq files: what is saved comes back; what cannot be right is refused with igq::Error.
#include "models/igq_file.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <limits>

#include "igq/error.h"
#include "models/config_json.h"
#include "tests/io/forge.h"
#include "tests/models/tiny_igq.h"

namespace igq {
namespace {

using nlohmann::json;
using testing::Forged;
using testing::slurp;
using testing::spill;
using testing::TemporaryFolder;
using testing::tiny_igq;

std::string error_of(const std::filesystem::path& path) {
  try {
    load_igq(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void expect_same(const QuantizedModel& a, const QuantizedModel& b) {
  EXPECT_EQ(config_to_json(a.config), config_to_json(b.config));
  EXPECT_EQ(plan_to_json(a.plan), plan_to_json(b.plan));
  EXPECT_EQ(a.provenance, b.provenance);
  EXPECT_EQ(a.report, b.report);
  ASSERT_EQ(a.plan.linears.size(), b.plan.linears.size());
  for (const auto& [site, linear] : a.plan.linears) {
    const WeightPlan& x = linear.weight;
    const WeightPlan& y = b.plan.linears.at(site).weight;
    EXPECT_EQ(linear.input.groups, b.plan.linears.at(site).input.groups) << site;
    EXPECT_EQ(x.bits, y.bits) << site;
    EXPECT_EQ(x.scale, y.scale) << site;
    EXPECT_EQ(x.zero_point, y.zero_point) << site;
    EXPECT_TRUE(std::equal(x.codes.begin(), x.codes.end(), y.codes.begin(), y.codes.end())) << site;
  }
  for (const auto& [site, attention] : a.plan.attentions) {
    EXPECT_EQ(attention.qkv.q, b.plan.attentions.at(site).qkv.q) << site;
    EXPECT_EQ(attention.softmax.groups, b.plan.attentions.at(site).softmax.groups) << site;
  }
  ASSERT_EQ(a.tensors->shapes(), b.tensors->shapes());
  for (const auto& [name, shape] : a.tensors->shapes()) {
    const auto x = a.tensors->read(name), y = b.tensors->read(name);
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << name;
  }
}

TEST(IgqFile, RoundTrip) {
  const TemporaryFolder folder;
  const QuantizedModel model = tiny_igq();
  save_igq(folder / "a.igq", model, false);
  EXPECT_TRUE(is_igq_file(folder / "a.igq"));
  const QuantizedModel back = load_igq(folder / "a.igq");
  expect_same(model, back);
  save_igq(folder / "b.igq", back, false);
  EXPECT_EQ(slurp(folder / "a.igq"), slurp(folder / "b.igq"));
}

TEST(IgqFile, ErrorsNameThePath) {
  const TemporaryFolder folder;
  spill(folder / "a.igq", "not a model");
  EXPECT_NE(error_of(folder / "a.igq").find("a.igq is not an .igq file"), std::string::npos);
  EXPECT_FALSE(is_igq_file(folder / "a.igq"));
}

}  // namespace
}  // namespace igq
