// Safetensors as they should be, and everything a damaged or hostile file can say.
#include "io/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>

#include "igq/error.h"
#include "io/float_formats.h"
#include "io/memory_tensors.h"
#include "tests/io/forge.h"

namespace igq {
namespace {

using test::TemporaryFolder;
using test::write_text;

/// A file of this header and data; `claimed` overrides the header's size.
std::string file_of(const std::string& header, const std::string& data, std::uint64_t claimed = ~std::uint64_t{0}) {
  const std::uint64_t size = claimed == ~std::uint64_t{0} ? header.size() : claimed;
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

template <typename T>
std::string bytes_of(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(std::data(values)), values.size() * sizeof(T));
}

/// The text of the Error that opening gives; empty when it opens.
std::string weights_error(const std::filesystem::path& path) {
  return test::error_text([&] {
    if (path.extension() == ".json")
      open_sharded_safetensors(path);
    else
      open_safetensors(path);
  });
}

std::string bytes_error(const std::string& bytes) {
  const TemporaryFolder folder;
  write_text(folder / "w.safetensors", bytes);
  const std::string text = weights_error(folder / "w.safetensors");
  EXPECT_TRUE(text.empty() || text.find("w.safetensors") != std::string::npos) << text;
  return text;
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(FloatFormats, EveryHalfIsExact) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const int exponent = (half >> 10) & 31, fraction = half & 1023;
    const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f, value = float_of_half(half);
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(value), fraction != 0) << bits;
      EXPECT_TRUE(fraction != 0 || value == sign * std::numeric_limits<float>::infinity()) << bits;
      continue;
    }
    const float expected = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                         : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
    ASSERT_EQ(value, sign * expected) << bits;
    ASSERT_EQ(std::signbit(value), sign < 0.0f) << bits;
  }
}

TEST(FloatFormats, Bfloat16IsTheUpperHalf) {
  EXPECT_EQ(float_of_bfloat16(0x3F80), 1.0f);
  EXPECT_EQ(float_of_bfloat16(0xC049), -3.140625f);
  EXPECT_EQ(float_of_bfloat16(0x0001), std::ldexp(1.0f, -133));  // subnormal
  EXPECT_EQ(float_of_bfloat16(0xFF80), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(float_of_bfloat16(0x7FC0)));
}

TEST(Safetensors, EveryFloatTypeAndNothingElse) {
  const TemporaryFolder folder;
  const std::string header =
      R"({"__metadata__":{"format":"pt","a":"b"},
          "half":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},
          "brain":{"dtype":"BF16","shape":[1,1],"data_offsets":[6,8]},
          "index":{"dtype":"I64","shape":[2],"data_offsets":[8,24]},
          "single":{"dtype":"F32","shape":[2],"data_offsets":[24,32]},
          "mask":{"dtype":"BOOL","shape":[1],"data_offsets":[32,33]},
          "double":{"dtype":"F64","shape":[2],"data_offsets":[33,49]},
          "scalar":{"dtype":"F32","shape":[],"data_offsets":[49,53]},
          "empty":{"dtype":"F32","shape":[0,4],"data_offsets":[53,53]}}  )";
  write_text(folder / "w.safetensors",
             file_of(header, bytes_of<std::uint16_t>({0x3C00, 0x0001, 0xFC00, 0x4049}) +
                                 bytes_of<std::int64_t>({1, 2}) + bytes_of<float>({1.5f, -2.5f}) + "\x01" +
                                 bytes_of<double>({0.1, 1e300}) + bytes_of<float>({7.0f})));
  const auto tensors = open_safetensors(folder / "w.safetensors");
  std::string names;
  for (const auto& [name, shape] : tensors->shapes()) names += name + " ";
  EXPECT_EQ(names, "brain double empty half scalar single ");
  EXPECT_EQ(tensors->shapes().at("brain"), (Shape{1, 1}));
  EXPECT_EQ(tensors->shapes().at("scalar"), Shape{});
  const auto half = tensors->read("half");
  EXPECT_EQ(half[0], 1.0f);
  EXPECT_EQ(half[1], std::ldexp(1.0f, -24));
  EXPECT_EQ(half[2], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(tensors->read("brain")[0], 3.140625f);
  EXPECT_EQ(tensors->read("single")[1], -2.5f);
  EXPECT_EQ(tensors->read("double")[0], 0.1f);
  EXPECT_EQ(tensors->read("double")[1], std::numeric_limits<float>::infinity());
  EXPECT_EQ(tensors->read("scalar")[0], 7.0f);
  EXPECT_EQ(tensors->read("empty").size(), 0u);
  EXPECT_THROW(tensors->read("index"), Error);
  EXPECT_EQ(tensors->origin(), (folder / "w.safetensors").string());
}

TEST(Safetensors, LongHalvesAreReadInPieces) {
  const TemporaryFolder folder;
  const std::size_t count = (1 << 20) + 12345;  // more than one piece, not a multiple
  std::string data(count * 2, '\0');
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = static_cast<std::uint16_t>(i * 7 % 0x7C00);
    std::memcpy(data.data() + 2 * i, &bits, 2);
  }
  write_text(
      folder / "w.safetensors",
      file_of(fmt::format(R"({{"w":{{"dtype":"F16","shape":[{}],"data_offsets":[0,{}]}}}})", count, 2 * count), data));
  const auto values = open_safetensors(folder / "w.safetensors")->read("w");
  ASSERT_EQ(values.size(), count);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(values[i], float_of_half(static_cast<std::uint16_t>(i * 7 % 0x7C00))) << i;
  }
}

TEST(Safetensors, WhatIsWrittenComesBack) {
  const TemporaryFolder folder;
  MemoryTensors tensors("memory");
  const auto add = [&](const char* name, Shape shape, std::size_t count, float first) {
    AlignedBuffer<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = first + 0.1f * static_cast<float>(i);
    tensors.add(name, std::move(shape), std::move(values));
  };
  add("z.weight", {2, 3}, 6, -1.0f);
  add("a.bias", {5}, 5, 1e-40f);
  add("a", {}, 1, 3.0f);
  write_safetensors(folder / "w.safetensors", tensors, false);
  const auto back = open_safetensors(folder / "w.safetensors");
  ASSERT_EQ(back->shapes(), tensors.shapes());
  for (const auto& [name, shape] : tensors.shapes()) {
    const auto x = tensors.read(name), y = back->read(name);
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << name;
  }
  EXPECT_THROW(write_safetensors(folder / "w.safetensors", tensors, false), Error);
  write_safetensors(folder / "w.safetensors", tensors, true);
}

TEST(SafetensorsFaults, Sizes) {
  const std::string header = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(bytes_error(file_of(header, std::string(8, 'x'))), "");
  EXPECT_SAYS(bytes_error(""), "0 bytes");
  EXPECT_SAYS(bytes_error("1234567"), "7 bytes");
  EXPECT_SAYS(bytes_error(file_of(header, std::string(8, 'x'), std::uint64_t{1} << 62)),
              "header of 4611686018427387904");
  EXPECT_SAYS(bytes_error(file_of(header, std::string(8, 'x'), ~std::uint64_t{0} - 7)), "header of");
  EXPECT_SAYS(bytes_error(file_of(header, std::string(8, 'x'), 1000)), "in all");
  EXPECT_SAYS(bytes_error(file_of(header, std::string(7, 'x'))), "beyond the end");
  EXPECT_SAYS(bytes_error(file_of(header, std::string(9, 'x'))), "take 8 bytes and 9");
  const std::string whole = file_of(header, std::string(8, 'x'));
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_NE(bytes_error(whole.substr(0, size)), "") << size;
}

TEST(SafetensorsFaults, Headers) {
  const std::string data(8, 'x');
  const auto says = [&](const std::string& header) { return bytes_error(file_of(header, data)); };
  EXPECT_SAYS(says("[]"), "no JSON object");
  EXPECT_SAYS(says("{"), "does not parse");
  EXPECT_SAYS(says("{\"\xFF\":1}"), "does not parse");
  EXPECT_SAYS(says(R"({"w":3})"), "dtype");
  EXPECT_SAYS(says(R"({"w":{"shape":[2],"data_offsets":[0,8]}})"), "dtype");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})"), "unknown type 'F31'");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})"), "F64, F32, F16 and BF16");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})"), "need 12");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})"), "shape");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})"), "shape");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,8]}})"), "absurd");
  // 2^62 * 4 bytes would wrap to 0.
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})"), "shape");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})"), "ends before it begins");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})"), "data_offsets");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0]}})"), "data_offsets");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})"), "beyond the end");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}})"),
              "beyond the end");
  EXPECT_SAYS(says(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                       "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
              "overlaps");
  EXPECT_SAYS(says(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"), "gap");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                       "w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
              "two entries called 'w'");
  const std::string deep = "{\"w\":" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_SAYS(says(deep), "nested deeper");
  EXPECT_SAYS(says(R"({"w":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})"),
              "shape");
}

TEST(SafetensorsFaults, OtherFiles) {
  EXPECT_SAYS(bytes_error("PK\x03\x04 this is a zip, as torch.save writes"), "not a safetensors file");
  EXPECT_SAYS(bytes_error(std::string(4096, '\0')), "no JSON object");
  EXPECT_SAYS(weights_error("/nowhere/w.safetensors"), "/nowhere/w.safetensors");
}

class Shards : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto file = [](const std::string& name, float value) {
      const std::string header = R"({")" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                                    "index":{"dtype":"I64","shape":[1],"data_offsets":[4,12]}})";
      return file_of(header, bytes_of<float>({value}) + bytes_of<std::int64_t>({5}));
    };
    write_text(folder_ / "one.safetensors", file("a", 1.0f));
    write_text(folder_ / "two.safetensors", file("b", 2.0f));
  }
  std::string error_with(const std::string& index) {
    write_text(folder_ / "model.safetensors.index.json", index);
    return weights_error(folder_ / "model.safetensors.index.json");
  }
  TemporaryFolder folder_;
};

TEST_F(Shards, AreOneSource) {
  ASSERT_EQ(error_with(R"({"metadata":{"total_size":8},
                           "weight_map":{"a":"one.safetensors","b":"two.safetensors","index":"two.safetensors"}})"),
            "");
  const auto tensors = open_sharded_safetensors(folder_ / "model.safetensors.index.json");
  EXPECT_EQ(tensors->shapes(), (std::map<std::string, Shape>{{"a", {1}}, {"b", {1}}}));
  EXPECT_EQ(tensors->read("a")[0], 1.0f);
  EXPECT_EQ(tensors->read("b")[0], 2.0f);
  EXPECT_THROW(tensors->read("index"), Error);
}

TEST_F(Shards, Faults) {
  EXPECT_SAYS(error_with(R"({"weight_map":{"a":"three.safetensors"}})"), "'three.safetensors', which is not there");
  EXPECT_SAYS(error_with(R"({"weight_map":{"b":"one.safetensors"}})"), "promises tensor 'b' in 'one.safetensors'");
  for (const char* name :
       {"../one.safetensors", "/etc/passwd", "..", "", "x/one.safetensors", "..\\\\one.safetensors"}) {
    EXPECT_SAYS(error_with(fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", name)), "not a file beside it");
  }
  EXPECT_SAYS(error_with(R"({"weight_map":{"a":1}})"), "weight_map");
  EXPECT_SAYS(error_with(R"({"weight_map":[]})"), "weight_map");
  EXPECT_SAYS(error_with("{}"), "weight_map");
  EXPECT_SAYS(error_with("nonsense"), "does not parse");
  EXPECT_SAYS(error_with(R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})"), "two entries");
  write_text(folder_ / "two.safetensors", "short");
  EXPECT_SAYS(error_with(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"),
              "two.safetensors is damaged");
}

}  // namespace
}  // namespace igq
