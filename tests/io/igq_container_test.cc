// The container of .igq files: round trips, and every kind of damage ends in igq::Error.
#include "io/igq_container.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/random.h"
#include "igq/error.h"
#include "io/bit_pack.h"
#include "io/json_fields.h"
#include "tests/io/forge.h"

namespace igq {
namespace {

using nlohmann::json;
using test::Forged;
using test::read_text;
using test::TemporaryFolder;
using test::write_text;

/// Reads everything that a file says it holds.
void read_all(const std::filesystem::path& path) {
  const ContainerReader reader(path);
  for (const StoredTensor& t : reader.tensors()) {
    if (t.type == StoredType::kF32) reader.read_f32(t);
    if (t.type == StoredType::kI32) reader.read_i32(t);
    if (t.type == StoredType::kCodes) reader.read_codes(t);
  }
}

std::string container_error(const std::filesystem::path& path) {
  return test::error_text([&] { read_all(path); });
}

AlignedBuffer<std::int8_t> random_codes(std::size_t count, int bits, std::uint64_t seed) {
  Random random(seed);
  AlignedBuffer<std::int8_t> codes(count);
  for (auto& c : codes) {
    c = static_cast<std::int8_t>(static_cast<int>(random.below(std::uint64_t{1} << bits)) - (1 << (bits - 1)));
  }
  return codes;
}

/// Three small tensors of every type; 70 x 3 codes of 3 bits end in the middle of a byte.
void write_small(const std::filesystem::path& path, bool overwrite = false) {
  const std::vector<float> f = {1.5f, -2.0f, 0.25f};
  const std::vector<std::int32_t> i = {7, -1};
  const auto packed = pack_codes(random_codes(210, 3, 1), 3);
  const std::vector<TensorToStore> tensors = {{"norm", StoredType::kF32, {3}, 0, std::as_bytes(std::span(f))},
                                              {"codes", StoredType::kCodes, {70, 3}, 3, packed},
                                              {"zeros", StoredType::kI32, {2, 1}, 0, std::as_bytes(std::span(i))}};
  write_container(path, json{{"hello", "world"}}, tensors, kIgqVersion, overwrite);
}

TEST(BitPack, StreamIsLeastSignificantFirst) {
  AlignedBuffer<std::int8_t> codes(3);
  codes[0] = -4 + 5, codes[1] = -4 + 2, codes[2] = -4 + 7;  // unsigned 5, 2, 7 of 3 bits: 111 010 101
  const auto packed = pack_codes(codes, 3);
  ASSERT_EQ(packed.size(), 2u);
  EXPECT_EQ(packed[0], std::byte{0b11010101});
  EXPECT_EQ(packed[1], std::byte{0b1});
}

TEST(BitPack, RoundTripAtEveryWidthAndAwkwardCount) {
  for (int bits = kMinCodeBits; bits <= kMaxCodeBits; ++bits) {
    for (const std::size_t count : {1u, 2u, 7u, 8u, 9u, 63u, 64u, 65u, 1000u, 4099u}) {
      const auto codes = random_codes(count, bits, count);
      const auto packed = pack_codes(codes, bits);
      ASSERT_EQ(packed.size(), packed_size(count, bits));
      AlignedBuffer<std::int8_t> back(count);
      unpack_codes(std::span<const std::byte>(packed), bits, {back.data(), back.size()});
      ASSERT_TRUE(std::equal(codes.begin(), codes.end(), back.begin())) << bits << " bits, " << count;
    }
  }
}

TEST(JsonFields, FloatsPrintShortAndComeBackExactly) {
  EXPECT_EQ(float_to_json(0.1f).dump(), "0.1");
  Random random(3);
  for (int n = 0; n < 200000; ++n) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(random.next()));
    if (!std::isfinite(value)) continue;
    const json back = json::parse(float_to_json(value).dump());
    ASSERT_EQ(std::bit_cast<std::uint32_t>(json_float(back, "x")), std::bit_cast<std::uint32_t>(value));
  }
}

TEST(JsonFields, RefusesWhatIsNotExactlyTheType) {
  EXPECT_THROW(json_int(json(1.5), "x", 0, 9), Error);
  EXPECT_THROW(json_int(json(10), "x", 0, 9), Error);
  EXPECT_THROW(json_int(json(std::uint64_t{1} << 63), "x", INT64_MIN, INT64_MAX), Error);
  EXPECT_THROW(json_uint64(json(-1), "x"), Error);
  EXPECT_THROW(json_float(json("1"), "x"), Error);
  EXPECT_THROW(json_float(json(1e39), "x"), Error);
  EXPECT_THROW(json_float(json(nullptr), "x"), Error);
  EXPECT_THROW(json_at(json::array(), "x"), Error);
  EXPECT_THROW(parse_json("{\"a\":"), Error);
  EXPECT_THROW(parse_json(std::string(100, '[') + std::string(100, ']')), Error);
  EXPECT_THROW(parse_json(std::string(1000000, '[')), Error);
  EXPECT_THROW(parse_json("1e999"), Error);
}

TEST(IgqContainer, RoundTrip) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  const ContainerReader reader(folder / "a.igq");
  EXPECT_EQ(reader.version(), kIgqVersion);
  EXPECT_EQ(reader.header()["hello"], "world");
  ASSERT_EQ(reader.tensors().size(), 3u);
  for (const auto& t : reader.tensors()) EXPECT_EQ(t.offset % 64, 0u);
  const auto f = reader.read_f32(*reader.find("norm"));
  ASSERT_EQ(f.size(), 3u);
  EXPECT_EQ(f[1], -2.0f);
  const auto i = reader.read_i32(*reader.find("zeros"));
  ASSERT_EQ(i.size(), 2u);
  EXPECT_EQ(i[0], 7);
  const auto codes = reader.read_codes(*reader.find("codes"));
  const auto expected = random_codes(210, 3, 1);
  ASSERT_EQ(codes.size(), expected.size());
  EXPECT_TRUE(std::equal(codes.begin(), codes.end(), expected.begin()));
  EXPECT_EQ(reader.find("nothing"), nullptr);
}

TEST(IgqContainer, CodesLongerThanOnePiece) {
  const TemporaryFolder folder;
  for (const int bits : {3, 4, 8}) {
    for (const std::int64_t count : {(1 << 18) - 1, 1 << 18, (1 << 18) + 5, (1 << 19) + 64}) {
      const auto codes = random_codes(static_cast<std::size_t>(count), bits, 5);
      const auto packed = pack_codes(codes, bits);
      const std::vector<TensorToStore> tensors = {{"c", StoredType::kCodes, {count}, bits, packed}};
      write_container(folder / "c.igq", json::object(), tensors, kIgqVersion, true);
      const ContainerReader reader(folder / "c.igq");
      const auto back = reader.read_codes(reader.tensors()[0]);
      ASSERT_TRUE(std::equal(codes.begin(), codes.end(), back.begin(), back.end())) << bits << " bits, " << count;
    }
  }
}

TEST(IgqContainer, SameInputSameBytes) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  write_small(folder / "b.igq");
  EXPECT_EQ(read_text(folder / "a.igq"), read_text(folder / "b.igq"));
}

TEST(IgqContainer, FormatDescriptionMakesTheSameBytes) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  const std::string bytes = read_text(folder / "a.igq");
  EXPECT_EQ(Forged::from(bytes).to_bytes(), bytes);
}

TEST(IgqContainer, TextsThatAreNotUtf8AreMended) {
  const TemporaryFolder folder;
  write_container(folder / "a.igq", json{{"source", "caf\xe9"}}, {}, kIgqVersion, false);
  EXPECT_EQ(ContainerReader(folder / "a.igq").header()["source"], "caf\xef\xbf\xbd");
}

TEST(IgqContainer, ExistingFileStaysWithoutOverwrite) {
  const TemporaryFolder folder;
  write_container(folder / "a.igq", json{{"precious", true}}, {}, kIgqVersion, false);
  const std::string precious = read_text(folder / "a.igq");
  EXPECT_THROW(write_small(folder / "a.igq"), Error);
  EXPECT_EQ(read_text(folder / "a.igq"), precious);
  write_small(folder / "a.igq", true);
  EXPECT_NE(read_text(folder / "a.igq"), precious);
  EXPECT_EQ(container_error(folder / "a.igq"), "");
}

TEST(IgqContainer, AFileOfAnotherKindStaysEvenWithOverwrite) {
  const TemporaryFolder folder;
  write_text(folder / "a.igq", "precious");
  const std::string error = test::error_text([&] { write_small(folder / "a.igq", true); });
  EXPECT_NE(error.find("a.igq exists and is not an .igq file"), std::string::npos) << error;
  EXPECT_EQ(read_text(folder / "a.igq"), "precious");
}

TEST(IgqContainer, MagicIsRecognised) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  write_text(folder / "short", "\x89IGQ");
  write_text(folder / "other", "a longer text that is no model");
  EXPECT_TRUE(has_igq_magic(folder / "a.igq"));
  for (const char* name : {"short", "other", "missing"}) EXPECT_FALSE(has_igq_magic(folder / name));
  EXPECT_FALSE(has_igq_magic(folder.path()));
  EXPECT_EQ(igq_version_of(folder / "a.igq"), ContainerReader(folder / "a.igq").version());
  for (const char* name : {"short", "other", "missing"}) EXPECT_EQ(igq_version_of(folder / name), 0u);
}

TEST(IgqContainerDamage, EveryTruncation) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  const std::string bytes = read_text(folder / "a.igq");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    write_text(folder / "cut.igq", bytes.substr(0, size));
    const std::string error = container_error(folder / "cut.igq");
    ASSERT_NE(error.find("cut.igq"), std::string::npos) << "cut to " << size;
  }
  write_text(folder / "long.igq", bytes + '\0');
  EXPECT_NE(container_error(folder / "long.igq"), "");
}

TEST(IgqContainerDamage, EveryFlippedByteOfTheWholeFile) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  std::string bytes = read_text(folder / "a.igq");
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      write_text(folder / "flip.igq", bytes);
      ASSERT_NE(container_error(folder / "flip.igq"), "") << "byte " << at;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
    }
  }
}

TEST(IgqContainerDamage, NewerVersionSaysSo) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  Forged f = Forged::from(read_text(folder / "a.igq"));
  f.version = kIgqVersion + 1;
  write_text(folder / "new.igq", f.to_bytes());
  EXPECT_NE(container_error(folder / "new.igq").find("format version 4"), std::string::npos);
  f.version = 0;
  write_text(folder / "new.igq", f.to_bytes());
  EXPECT_NE(container_error(folder / "new.igq").find("damaged"), std::string::npos);
}

TEST(IgqContainerDamage, SizesInTheFirstBytes) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  const Forged f = Forged::from(read_text(folder / "a.igq"));
  const std::string good = f.to_bytes();
  const auto max = ~std::uint64_t{0};
  const std::uint64_t h = f.header.size(), o = good.size() - f.payload.size(), p = f.payload.size();
  const std::array<std::array<std::uint64_t, 3>, 10> table = {{{max, o, p},
                                                               {max - 63, o, p},
                                                               {h, max, p},
                                                               {h, o, max},
                                                               {h, o + 64, p - 64},
                                                               {h, max - p + 1, p},
                                                               {0, 64, good.size() - 64},
                                                               {1 << 26, 64 + (1 << 26), 0},
                                                               {(std::uint64_t{1} << 26) + 1, o, p},
                                                               {h, o - 64, p + 64}}};
  for (const auto& [header_size, offset, size] : table) {
    write_text(folder / "x.igq", f.preamble(header_size, offset, size, 0) + good.substr(64));
    EXPECT_NE(container_error(folder / "x.igq").find("damaged"), std::string::npos)
        << header_size << " " << offset << " " << size;
  }
}

TEST(IgqContainerDamage, HeadersWithRightChecksumsThatLie) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  const Forged good = Forged::from(read_text(folder / "a.igq"));
  write_text(folder / "x.igq", good.to_bytes());
  ASSERT_EQ(container_error(folder / "x.igq"), "");
  const auto max = ~std::uint64_t{0};
  using Edit = std::function<void(json&)>;
  const std::vector<std::pair<const char*, Edit>> table = {
      {"no table", [](json& j) { j.erase("tensors"); }},
      {"table is an object", [](json& j) { j["tensors"] = json::object(); }},
      {"not an object", [](json& j) { j = json::array(); }},
      {"entry is a number", [](json& j) { j["tensors"][0] = 1; }},
      {"entry missing", [](json& j) { j["tensors"].erase(2); }},
      {"entry twice", [](json& j) { j["tensors"].push_back(j["tensors"][2]); }},
      {"duplicate name", [](json& j) { j["tensors"][0]["name"] = "codes"; }},
      {"name is a number", [](json& j) { j["tensors"][0]["name"] = 3; }},
      {"unknown dtype", [](json& j) { j["tensors"][0]["dtype"] = "f64"; }},
      {"bits missing", [](json& j) { j["tensors"][1].erase("bits"); }},
      {"bits 0", [](json& j) { j["tensors"][1]["bits"] = 0; }},
      {"bits 9", [](json& j) { j["tensors"][1]["bits"] = 9; }},
      {"bits text", [](json& j) { j["tensors"][1]["bits"] = "3"; }},
      {"shape negative", [](json& j) { j["tensors"][0]["shape"] = {-3}; }},
      {"shape zero", [](json& j) { j["tensors"][0]["shape"] = {0}; }},
      {"shape float", [](json& j) { j["tensors"][0]["shape"] = {3.0}; }},
      {"shape larger", [](json& j) { j["tensors"][0]["shape"] = {4}; }},
      {"shape overflows",
       [](json& j) {
         j["tensors"][0]["shape"] = {3037000500, 3037000500, 3037000500};
       }},
      {"shape wraps to 0",
       [](json& j) {
         j["tensors"][0]["shape"] = {std::int64_t{1} << 40, std::int64_t{1} << 40, 3};
       }},
      {"rank 9", [](json& j) { j["tensors"][0]["shape"] = {3, 1, 1, 1, 1, 1, 1, 1, 1}; }},
      {"size oversize", [](json& j) { j["tensors"][0]["size"] = std::uint64_t{1} << 60; }},
      {"huge claim",
       [](json& j) {
         j["tensors"][2]["shape"] = {std::int64_t{1} << 40};
         j["tensors"][2]["size"] = std::int64_t{4} << 40;
       }},
      {"size negative", [](json& j) { j["tensors"][0]["size"] = -12; }},
      {"size short", [](json& j) { j["tensors"][0]["size"] = 11; }},
      {"offset huge", [=](json& j) { j["tensors"][1]["offset"] = max - 63; }},
      {"offset negative", [](json& j) { j["tensors"][1]["offset"] = -64; }},
      {"offset odd", [](json& j) { j["tensors"][1]["offset"] = 65; }},
      {"overlap", [](json& j) { j["tensors"][1]["offset"] = 0; }},
      {"gap", [](json& j) { j["tensors"][2]["offset"] = 256; }},
      {"order", [](json& j) { std::swap(j["tensors"][0], j["tensors"][1]); }},
      {"checksum form", [](json& j) { j["tensors"][0]["checksum"] = "xxh3:12"; }},
      {"checksum letters", [](json& j) { j["tensors"][0]["checksum"] = "xxh3:0123456789abcdeg"; }},
      {"checksum other", [](json& j) { j["tensors"][0]["checksum"] = j["tensors"][1]["checksum"]; }},
  };
  for (const auto& [what, edit] : table) {
    Forged f = good;
    json j = f.json();
    edit(j);
    f.set_json(j);
    write_text(folder / "x.igq", f.to_bytes());
    const std::string error = container_error(folder / "x.igq");
    EXPECT_NE(error.find("x.igq is damaged"), std::string::npos) << what << ": " << error;
  }
  Forged f = good;
  for (const std::string& text : {std::string(), std::string("{"), std::string("null"), std::string(5000, '['),
                                  std::string("{\"tensors\":[") + std::string(1, '\0') + "]}"}) {
    f.header = text;
    write_text(folder / "x.igq", f.to_bytes());
    EXPECT_NE(container_error(folder / "x.igq").find("x.igq is damaged"), std::string::npos) << text.substr(0, 20);
  }
}

TEST(IgqContainerDamage, FileThatShrinksWhileOpen) {
  const TemporaryFolder folder;
  write_small(folder / "a.igq");
  const ContainerReader reader(folder / "a.igq");
  std::filesystem::resize_file(folder / "a.igq", reader.file_size() - 200);
  EXPECT_THROW(reader.read_codes(*reader.find("codes")), Error);
}

TEST(IgqContainerDamage, NotAFile) {
  const TemporaryFolder folder;
  EXPECT_NE(container_error(folder / "missing.igq"), "");
  EXPECT_NE(container_error(folder.path()), "");
}

}  // namespace
}  // namespace igq
