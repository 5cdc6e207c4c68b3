// Expressions of site names: those that fit, and those that the standard library would hang or overflow on.
#include "calibration/site_pattern.h"

#include <gtest/gtest.h>

#include "tests/models/checkpoint_files.h"

namespace igq {
namespace {

bool fits(const std::string& pattern, const std::string& name) {
  return std::regex_search(name, site_pattern(pattern));
}

TEST(SitePattern, FitsNames) {
  EXPECT_TRUE(fits("mlp\\.fc[12]$", "blocks.11.mlp.fc2"));
  EXPECT_FALSE(fits("mlp\\.fc[12]$", "blocks.11.attn.qkv"));
  EXPECT_TRUE(fits("^blocks\\.(3|1[01])\\.", "blocks.10.attn"));
  EXPECT_FALSE(fits("^blocks\\.(3|1[01])\\.", "blocks.1.attn"));
  EXPECT_TRUE(fits("(?:qkv)|^(?!backbone\\.|vit\\.)", "neck.fpn_convs.0"));
  EXPECT_FALSE(fits("(?:qkv)|^(?!backbone\\.|vit\\.)", "backbone.fc1"));
  EXPECT_TRUE(fits("^[a-z]{2,4}$", "head"));
  EXPECT_TRUE(fits("\\bfc1", "mlp.fc1"));
}

TEST(SitePattern, TakesNoLongerThanTheNameIsLong) {
  const std::string name = "backbone.stages.0.blocks.0.attn.w_msa.relative.position.of.a.long.name";
  for (const char* pattern : {"^(([a-z0-9_.]*)*)*!", "^([a-z0-9_.]+)+!", "^(.|[a-z]|\\w)*!", "^(.*)*(.*)*(.*)*!"})
    EXPECT_FALSE(fits(pattern, name)) << pattern;
}

TEST(SitePattern, WhatTheLibraryDoesNotBearIsRefused) {
  const auto error = [](const std::string& pattern) { return test::error_text([&] { site_pattern(pattern); }); };
  EXPECT_SAYS(error("(a)\\1"), "back references");
  EXPECT_SAYS(error("\\99999999999999999999"), "back references");
  EXPECT_SAYS(error("a{99999999999999999999}"), "more than 4 digits");
  EXPECT_SAYS(error("a{1,99999}"), "more than 4 digits");
  EXPECT_SAYS(error(std::string(60, '(') + std::string(60, ')')), "more than 50 parentheses");
  EXPECT_SAYS(error(std::string(1001, 'a')), "more than 1000 characters");
  EXPECT_SAYS(error("((a{1000}){1000}){1000}"), "not a regular expression");
  EXPECT_SAYS(error("("), "not a regular expression");
  EXPECT_SAYS(error("[b-a]"), "not a regular expression");
  EXPECT_EQ(error("blocks\\.1234\\."), "");
}

}  // namespace
}  // namespace igq
