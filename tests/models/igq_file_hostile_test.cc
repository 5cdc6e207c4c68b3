// .igq files with every checksum right that say what cannot be: whatever field or value is changed, a file loads and
// classifies with finite logits, or is an Error in one line. The cases by hand are in tests/cli/bad_input_hostile.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "models/load_model.h"
#include "models/runner.h"
#include "tests/io/forge.h"
#include "tests/test_util.h"

namespace igq {
namespace {

using nlohmann::json;
using test::Forged;
using test::TemporaryFolder;

class HostileIgq : public ::testing::TestWithParam<const char*> {
 protected:
  HostileIgq() : base_(Forged::from(test::read_text(test::fixtures() / "igq" / GetParam()))) {
    image_.resize(3 * 8 * 8);
    for (std::size_t i = 0; i < image_.size(); ++i) image_[i] = static_cast<float>(i % 5) - 2.0f;
  }

  /// Loads and runs the file: "" when that gives finite logits, else what the Error says.
  std::string outcome(const Forged& file) {
    test::write_text(folder_ / "x.igq", file.to_bytes());
    try {
      LoadedModel loaded = load_model(folder_ / "x.igq");
      if (loaded.model->image_floats() != static_cast<std::int64_t>(image_.size())) return "";
      ++ran_;
      Runner runner(*loaded.model, Execution::kInteger, best_isa(), 1);
      for (const float logit : runner.run(image_.data())) EXPECT_TRUE(std::isfinite(logit));
      return "";
    } catch (const Error& e) {
      ++refused_;
      return e.what();
    }
  }

  void expect_sound(const Forged& file, const std::string& what) {
    const std::string error = outcome(file);
    EXPECT_EQ(error.find('\n'), std::string::npos) << what << ": " << error;
    EXPECT_EQ(error.find("json.exception"), std::string::npos) << what << ": " << error;
  }

  const Forged base_;
  const TemporaryFolder folder_;
  std::vector<float> image_;
  int ran_ = 0, refused_ = 0;
};

/// Every value inside a document.
void pointers_into(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& out) {
  if (!at.empty()) out.push_back(at);
  if (value.is_object())
    for (const auto& [key, inner] : value.items()) pointers_into(inner, at / key, out);
  else if (value.is_array())
    for (std::size_t i = 0; i < value.size() && i < 4; ++i) pointers_into(value[i], at / i, out);
}

const std::vector<json>& nasty_values() {
  static const std::vector<json> values = {nullptr,
                                           true,
                                           false,
                                           "",
                                           "a\nb\x1b[2J",
                                           json::array(),
                                           json::object(),
                                           -1,
                                           0,
                                           1,
                                           2,
                                           3,
                                           7,
                                           8,
                                           9,
                                           255,
                                           4096,
                                           65536,
                                           1 << 20,
                                           1 << 24,
                                           std::int64_t{1} << 31,
                                           std::numeric_limits<std::int64_t>::max(),
                                           std::numeric_limits<std::uint64_t>::max(),
                                           0.5,
                                           -0.5,
                                           1e-45,
                                           1e-38,
                                           3.4e38,
                                           -3.4e38,
                                           1e308,
                                           "igq",
                                           "scale",
                                           "layer",
                                           "float",
                                           "upper-bound",
                                           "head",
                                           "row",
                                           "avg",
                                           "swin",
                                           json::parse("[[-3.4e38,3.4e38]]"),
                                           json::parse("[[0,1e-45]]"),
                                           json::parse("[[1,-1]]"),
                                           std::vector<int>(4097, 1)};
  return values;
}

TEST_P(HostileIgq, WhateverTheHeaderSays) {
  const json header = base_.json();
  std::vector<json::json_pointer> places;
  for (const char* part : {"config", "plan", "provenance"})
    pointers_into(header[part], json::json_pointer("/" + std::string(part)), places);
  ASSERT_GT(places.size(), 200u);
  for (std::size_t i = 0; i < places.size(); ++i) {
    for (std::size_t v = 0; v < nasty_values().size(); ++v) {
      if ((i + v) % 3 != 0) continue;  // a third of all pairs takes seconds; the fuzzer runs the rest
      json changed = header;
      changed[places[i]] = nasty_values()[v];
      Forged file = base_;
      file.set_json(changed);
      expect_sound(file, places[i].to_string() + " = " + nasty_values()[v].dump().substr(0, 40));
    }
  }
  EXPECT_GT(ran_, 100);
  EXPECT_GT(refused_, 1000);
}

TEST_P(HostileIgq, AFieldThatIsMissing) {
  const json header = base_.json();
  std::vector<json::json_pointer> places;
  for (const char* part : {"config", "plan"})
    pointers_into(header[part], json::json_pointer("/" + std::string(part)), places);
  for (const auto& place : places) {
    json changed = header;
    json& parent = changed[place.parent_pointer()];
    if (!parent.is_object()) continue;
    parent.erase(place.back());
    Forged file = base_;
    file.set_json(changed);
    expect_sound(file, "no " + place.to_string());
  }
}

TEST_P(HostileIgq, WhateverTheTensorsHold) {
  const json table = base_.json()["tensors"];
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto offset = table[i]["offset"].get<std::size_t>(), size = table[i]["size"].get<std::size_t>();
    const std::string name = table[i]["name"];
    if (table[i]["dtype"] != "f32") {
      for (const char byte : {'\0', '\xff', '\x0f', '\xaa', '\x80'}) {
        Forged file = base_;
        file.payload.replace(offset, size, size, byte);
        file.mend_checksum(i);
        expect_sound(file, name);
      }
      continue;
    }
    for (const float value : {kNan, kInfinity, -kInfinity, 0.0f, -1.0f, 3.4e38f, -3.4e38f, 1e30f, 1e-45f, 1e-38f}) {
      for (const bool all : {false, true}) {
        Forged file = base_;
        for (std::size_t at = 0; at < (all ? size : sizeof(value)); at += sizeof(value))
          std::memcpy(&file.payload[offset + at], &value, sizeof(value));
        file.mend_checksum(i);
        const std::string error = outcome(file);
        EXPECT_EQ(error.find('\n'), std::string::npos) << name << ": " << error;
        if (std::isfinite(value)) continue;
        const bool scale = name.ends_with(":scale");
        EXPECT_NE(error.find(scale ? "is not a positive number" : "'" + name + "' holds values that are not finite"),
                  std::string::npos)
            << name << " of " << value << ": " << error;
      }
    }
  }
}

TEST_P(HostileIgq, ATensorThatIsLeftOutOrRenamed) {
  const json header = base_.json();
  for (std::size_t i = 0; i < header["tensors"].size(); ++i) {
    Forged file = base_;
    json changed = header;
    changed["tensors"][i]["name"] = "other";
    file.set_json(changed);
    EXPECT_NE(outcome(file), "") << header["tensors"][i]["name"];
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, HostileIgq, ::testing::Values("v1.igq", "v2.igq"),
                         [](const auto& golden) { return std::string(golden.param).substr(0, 2); });

}  // namespace
}  // namespace igq
