// .igq files of detectors: the golden file of format version 3, and what damaged ones do. Needs no data beside the
// project.
#include "detectors/detector_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/fail.h"
#include "detectors/detector_runner.h"
#include "io/safetensors.h"
#include "pipeline/quantize_detector.h"
#include "tests/detectors/small_detector.h"
#include "tests/io/forge.h"
#include "tests/sanitized.h"
#include "tests/test_util.h"

namespace igq {
namespace {

using nlohmann::json;
using test::TemporaryFolder;

const std::filesystem::path kGolden = IGQ_SOURCE_DIR "/tests/fixtures/igq/v3.igq",
                            kAnswers = IGQ_SOURCE_DIR "/tests/fixtures/igq/v3.json";

std::vector<Detection> objects(Detector& detector, Isa isa, int threads) {
  DetectorRunner runner(detector, Execution::kInteger, isa, threads);
  return runner.detect(test::picture(60, 44), detector.evaluation_threshold());
}

json to_json(const std::vector<Detection>& found) {
  json all = json::array();
  for (const Detection& d : found) {
    json one = {{"label", d.label}, {"score", d.score}, {"box", detection::xywh(d.box)}};
    if (d.mask) one["mask_area"] = detection::rle_area(*d.mask);
    all.push_back(std::move(one));
  }
  return all;
}

/// The small Mask R-CNN at 4 bits by the default preset, as a file.
void write_small(const std::filesystem::path& file) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "config.json") << test::corpus("mask_rcnn");
  write_safetensors(folder.path() / "model.safetensors", test::weights(false), true);
  LoadedDetector loaded = load_detector(folder.path());
  loaded.name = "small";
  DetectorPictures pictures;
  pictures.count = 1;
  pictures.load = [](std::int64_t) { return test::picture(60, 44); };
  pictures.checksum = "xxh3:0000000000000001";
  QuantizeJob job;
  job.options = preset_options(Preset::kBest);
  job.options.weight_bits = job.options.activation_bits = 4;
  job.options.weights = WeightMethod::kNearest;
  DetectorReport report = quantize_detector(loaded, pictures, job, DetectorScope::kAll, Isa::kReference, 1, 1);
  save_detector(file, report.detector, true);
}

TEST(DetectorGolden, Version3GivesTheObjectsAndTheBytesItGave) {
  QuantizedDetector golden = load_detector_file(kGolden);
  std::ifstream in(kAnswers);
  const json want = json::parse(in);
  ASSERT_FALSE(want.empty());
  for (const Isa isa : supported_isas())
    for (const int threads : {1, 3}) EXPECT_EQ(to_json(objects(*golden.detector, isa, threads)), want);
  const TemporaryFolder folder;
  save_detector(folder / "again.igq", golden, false);
  EXPECT_TRUE(test::read_text(folder / "again.igq") == test::read_text(kGolden));
}

// Makes the golden file of a new version; never for one whose file is committed.
TEST(DetectorGolden, DISABLED_Write) {
  write_small(kGolden);
  std::ofstream(kAnswers) << to_json(objects(*load_detector_file(kGolden).detector, Isa::kReference, 1)).dump(1)
                          << '\n';
}

/// Either a detector or an Error that names the file; anything else ends the test.
bool loads(const std::filesystem::path& file, const std::string& bytes) {
  test::write_text(file, bytes);
  try {
    load_detector_file(file);
    return true;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(file.filename().string()), std::string::npos) << e.what();
    return false;
  }
}

TEST(DetectorFileDamage, EveryChangedByteIsFound) {
  const TemporaryFolder folder;
  const std::string bytes = test::read_text(kGolden);
  const std::size_t step = test::kSanitized ? 997 : 211;
  for (std::size_t i = 0; i < bytes.size(); i += step) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 4);
    EXPECT_FALSE(loads(folder / "d.igq", changed)) << "byte " << i;
  }
  for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / (test::kSanitized ? 9 : 97))
    EXPECT_FALSE(loads(folder / "d.igq", bytes.substr(0, size))) << size << " bytes";
  EXPECT_FALSE(loads(folder / "d.igq", bytes + std::string(64, '\0')));
}

/// Pointers to every value of a document, of long lists to the first two.
void list_values(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& all) {
  if (!at.empty()) all.push_back(at);
  if (value.is_object())
    for (const auto& [key, member] : value.items()) list_values(member, at / key, all);
  if (value.is_array())
    for (std::size_t i = 0; i < std::min<std::size_t>(value.size(), 2); ++i) list_values(value[i], at / i, all);
}

// With right checksums: what a careless or hostile writer could make of any value of the header.
TEST(DetectorFileDamage, EveryValueOfTheHeaderIsChecked) {
  const TemporaryFolder folder;
  test::Forged golden = test::Forged::from(test::read_text(kGolden));
  const json header = golden.json();
  ASSERT_TRUE(loads(folder / "d.igq", golden.to_bytes()));
  std::vector<json::json_pointer> values;
  list_values(header, json::json_pointer(), values);
  ASSERT_GT(values.size(), 500u);
  const json changes[] = {nullptr, -1, 0, 1000000007, 1e300, "x", json::array(), json::object(), true};
  int refused = 0, tried = 0;
  const std::size_t step = test::kSanitized ? 37 : 3;
  for (std::size_t i = 0; i < values.size(); i += step)
    for (std::size_t c = i % 3; c < std::size(changes); c += 3) {
      if (header.at(values[i]) == changes[c]) continue;
      json changed = header;
      changed.at(values[i]) = changes[c];
      golden.set_json(changed);
      SCOPED_TRACE(values[i].to_string() + " = " + changes[c].dump());
      refused += loads(folder / "d.igq", golden.to_bytes()) ? 0 : 1;
      ++tried;
    }
  // Reports, labels, settings and seeds may say anything of their kind.
  EXPECT_GT(refused, tried * 3 / 5) << tried;
}

TEST(DetectorFileDamage, MissingPartsAreNamed) {
  const TemporaryFolder folder;
  test::Forged golden = test::Forged::from(test::read_text(kGolden));
  const json header = golden.json();
  const auto fault = [&](const auto& change) -> std::string {
    json changed = header;
    change(changed);
    golden.set_json(changed);
    test::write_text(folder / "d.igq", golden.to_bytes());
    try {
      load_detector_file(folder / "d.igq");
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  };
  const auto expect_named = [&](const auto& change, const char* what) {
    const std::string text = fault(change);
    EXPECT_NE(text.find(what), std::string::npos) << what << ": " << text;
  };
  for (const char* key : {"detector", "plan", "provenance", "report", "tensors"})
    expect_named([&](json& h) { h.erase(key); }, key);
  for (const char* key : {"architecture", "config", "preprocessor", "shapes"})
    expect_named([&](json& h) { h["detector"].erase(key); }, key);
  expect_named([](json& h) { h["detector"]["shapes"].erase("rpn_head.rpn_conv.weight"); }, "rpn_head.rpn_conv");
  expect_named([](json& h) { h["detector"]["shapes"]["rpn_head.rpn_conv.weight"][0] = 9; }, "rpn_head.rpn_conv");
  // A layer whose codes are there and whose plan is not has no weights.
  expect_named([](json& h) { h["plan"]["linears"].erase("rpn_head.rpn_conv"); }, "rpn_head.rpn_conv");
}

}  // namespace
}  // namespace igq
