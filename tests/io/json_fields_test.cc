#include "io/json_fields.h"

#include <gtest/gtest.h>

#include "base/fail.h"

namespace igq {
namespace {

using nlohmann::json;

std::string parse_error(const std::string& text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, limits);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(ParseJson, GivesWhatTheLibraryGives) {
  for (const char* text :
       {"null", "true", "-1", "18446744073709551615", "1.5e3", R"("a\u0000b\n")", "[]", "{}", "[[],[{}]]",
        R"({"a":{"b":[1,2,{"c":null}],"d":"e"},"f":[[1],[2]],"g":-0.0})", " \n[1 , 2]\t"})
    EXPECT_EQ(parse_json(text), json::parse(text)) << text;
}

TEST(ParseJson, SaysWhatDoesNotParse) {
  for (const char* text :
       {"", "{", "[1,]", "[1] x", "nul", "\"\xff\"", "1e999", "NaN", "{'a':1}", "{\"a\"}", "[\"\n\"]"}) {
    const std::string error = parse_error(text);
    EXPECT_EQ(error.find("its JSON does not parse: "), 0u) << text << ": " << error;
    EXPECT_EQ(error.find("json.exception"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(ParseJson, RefusesTwoEntriesOfOneName) {
  EXPECT_EQ(parse_error(R"({"a":1,"b":{"a":2}})"), "");
  EXPECT_EQ(parse_error(R"({"a":1,"a":1})"), "it holds two entries called 'a'");
  EXPECT_EQ(parse_error(R"([{"b":{"c":{},"\u0063":1}}])"), "it holds two entries called 'c'");
}

TEST(ParseJson, LimitsComeFirst) {
  EXPECT_EQ(parse_error(std::string(65, '[') + std::string(65, ']')), "");
  EXPECT_EQ(parse_error(std::string(66, '[') + std::string(66, ']')), "its JSON is nested deeper than 64");
  EXPECT_EQ(parse_error(std::string(10000000, '[')), "its JSON is nested deeper than 64");
  EXPECT_EQ(parse_error("[1,2,3]", {.values = 4}), "");
  EXPECT_EQ(parse_error("[1,2,3]", {.values = 3}), "its JSON has more than 3 values");
  EXPECT_EQ(parse_error(R"({"a":{"b":[]}})", {.values = 2}), "its JSON has more than 2 values");
}

// What took minutes when every end of an object looked through all members of the one around it; a test that takes
// more than its time limit fails.
TEST(ParseJson, ManyObjectsTakeLinearTime) {
  std::string text = "{", list = "[";
  for (int i = 0; i < 300000; ++i) {
    text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":{}";
    list += i == 0 ? "{}" : ",{}";
  }
  EXPECT_EQ(parse_json(text + "}").size(), 300000u);
  EXPECT_EQ(parse_json(list + "]").size(), 300000u);
}

}  // namespace
}  // namespace igq
