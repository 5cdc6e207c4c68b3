// Chart helpers: escaping, numbers, ticks, labels, colours.
#include "report/svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "report/html.h"

namespace igq::report {
namespace {

TEST(Escape, MarkupQuotesControlCharactersAndBrokenUtf8) {
  EXPECT_EQ(escape("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape("\xc3\xa9l\xe2\x82\xac\xf0\x9f\x90\x98"), "\xc3\xa9l\xe2\x82\xac\xf0\x9f\x90\x98");
  EXPECT_EQ(escape(std::string_view("a\0b\x01\x7f\n", 6)), "a b   ");
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(escape("\xff"), bad);
  EXPECT_EQ(escape("x\xc3"), "x" + bad);
  EXPECT_EQ(escape("\xc0\xaf<"), bad + bad + "&lt;") << "overlong";
  EXPECT_EQ(escape("\xed\xa0\x80"), bad + bad + bad) << "surrogate";
  EXPECT_EQ(escape("\xf5\x80\x80\x80").substr(0, 3), bad) << "past U+10FFFF";
  EXPECT_EQ(breakable("a.b<"), "a.<wbr>b&lt;");
}

TEST(Number, ShortWithoutExponentsInTheMiddle) {
  EXPECT_EQ(number(0.0), "0");
  EXPECT_EQ(number(-0.0), "0");
  EXPECT_EQ(number(1234.5), "1234");
  EXPECT_EQ(number(12.345), "12.3");
  EXPECT_EQ(number(12.0), "12");
  EXPECT_EQ(number(0.0012345), "0.00123");
  EXPECT_EQ(number(-2.5), "-2.5");
  EXPECT_EQ(number(1.5e9), "1.5e+09");
  EXPECT_EQ(number(std::numeric_limits<double>::quiet_NaN()), "-");
}

TEST(TickLabel, Short) {
  EXPECT_EQ(tick_label(-10000.0), "-10k");
  EXPECT_EQ(tick_label(2500.0), "2500");
  EXPECT_EQ(tick_label(0.0), "0");
  EXPECT_EQ(tick_label(0.0002), "2e-4");
  EXPECT_EQ(tick_label(0.05), "0.05");
  EXPECT_EQ(tick_label(-5e30), "-5e30");
}

TEST(NiceTicks, RoundStepsWithinTheRange) {
  EXPECT_EQ(nice_ticks(0.0, 10.0, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks(-1.7, 2.1, 4), (std::vector<double>{-1, 0, 1, 2}));
  EXPECT_TRUE(nice_ticks(3.0, 3.0, 4).empty());
  EXPECT_TRUE(nice_ticks(0.0, std::numeric_limits<double>::infinity(), 4).empty());
  for (const auto& [low, high] : {std::pair{0.0, 1e-7}, {-3e8, 5e9}, {0.31, 0.33}, {7.0001, 7.0002}, {-200.0, 200.0}})
    for (int count = 1; count < 8; ++count) {
      const std::vector<double> ticks = nice_ticks(low, high, count);
      ASSERT_FALSE(ticks.empty()) << low << " " << high << " " << count;
      EXPECT_LE(ticks.size(), static_cast<std::size_t>(3 * count + 2));
      for (std::size_t i = 0; i < ticks.size(); ++i) {
        EXPECT_GE(ticks[i], low - 1e-6 * (high - low));
        EXPECT_LE(ticks[i], high + 1e-6 * (high - low));
        EXPECT_TRUE(i == 0 || ticks[i] > ticks[i - 1]);
      }
    }
}

TEST(SpreadLabels, ApartInOrderAndInside) {
  const std::vector<double> places = spread_labels({10, 11, 12, 90, 99.5}, 13, 5, 100);
  for (std::size_t i = 1; i < places.size(); ++i) EXPECT_GE(places[i] - places[i - 1], 13.0 - 1e-9);
  EXPECT_GE(places.front(), 5.0);
  EXPECT_LE(places.back(), 100.0);
  EXPECT_EQ(spread_labels({10, 50}, 13, 0, 100), (std::vector<double>{10, 50})) << "labels that are apart stay";
  EXPECT_TRUE(spread_labels({}, 13, 0, 100).empty());
}

TEST(Base64, AsInRfc4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe\xfd"), "//79");
}

double luminance(std::string_view color) {
  double sum = 0.0;
  constexpr double kWeights[] = {0.2126, 0.7152, 0.0722};
  for (std::size_t c = 0; c < 3; ++c) {
    const double v = std::stoi(std::string(color.substr(1 + 2 * c, 2)), nullptr, 16) / 255.0;
    sum += kWeights[c] * (v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4));
  }
  return sum;
}

TEST(Ramp, EveryGroupContrastsWithItsBackgroundAndGetsLighter) {
  for (const bool dark : {false, true}) {
    const double back = luminance(dark ? kDarkBackground : kLightBackground);
    double last = -1.0;
    for (int step = 0; step < kRampSteps; ++step) {
      const double here = luminance(ramp_color(step, dark));
      const double contrast = (std::max(here, back) + 0.05) / (std::min(here, back) + 0.05);
      EXPECT_GE(contrast, 3.0) << "WCAG 1.4.11, step " << step << (dark ? " dark " : " light ")
                               << ramp_color(step, dark);
      EXPECT_GT(here, last) << "ordered by lightness too, for readers who do not tell the hues apart: " << step
                            << (dark ? " dark" : " light");
      last = here;
    }
  }
  EXPECT_EQ(ramp_class(0, 8), "c0");
  EXPECT_EQ(ramp_class(7, 8), "c31");
  EXPECT_EQ(ramp_class(0, 1), "c0");
}

}  // namespace
}  // namespace igq::report
