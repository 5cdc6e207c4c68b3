// igq table of a detector: the embedded one on a scene or two.
#include "tests/cli/program.h"

namespace igq::test {
namespace {

using nlohmann::json;

class DetectorTableTest : public CliTest {
 protected:
  static std::string asset(const std::string& name) {
    return "'" + std::string(IGQ_SOURCE_DIR "/assets/") + name + "'";
  }
  std::string command(const std::string& more) const {
    return "table " + asset("garment_mask_rcnn") + " --calib " + asset("garment_scenes/calibration") +
           " --samples 1 --weights rtn --bits w4a4 --limit 1 " + more;
  }
  const std::string scenes_ =
      "--coco " + asset("garment_scenes/annotations.json") + " --images " + asset("garment_scenes/images") + " ";
};

TEST_F(DetectorTableTest, RowsAreScoredKeptAndNotMeasuredAgain) {
  const std::string line = command(scenes_ + "--settings float,layer -o t.json --markdown t.md --json");
  const Output first = run(line);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const json document = first.json();
  ASSERT_EQ(document.at("rows").size(), 2u);
  EXPECT_EQ(document.at("scope"), "all");
  EXPECT_EQ(document.at("test_images"), 1);
  for (const json& row : document.at("rows")) {
    EXPECT_EQ(row.at("images"), 1);
    for (const char* key : {"box_ap", "mask_ap"}) {
      EXPECT_GT(row.at(key), 0.0) << row;
      EXPECT_LE(row.at(key), 100.0) << row;
    }
    EXPECT_EQ(row.at("box_ap_interval_95"), 0.0);  // of a single image
    EXPECT_GT(row.at("gbops"), 0.0);
  }
  const json &exact = document.at("rows")[0], &layer = document.at("rows")[1];
  EXPECT_EQ(exact.at("setting"), "float");
  EXPECT_GT(exact.at("gbops").get<double>(), 20.0 * layer.at("gbops").get<double>());  // 32 x 32 and 4 x 4 bits
  EXPECT_GT(exact.at("file_mb"), layer.at("file_mb"));
  EXPECT_NE(read_text(path() / "t.md").find("| layer"), std::string::npos);

  // What is kept is not measured again: a figure that was changed stays.
  json state = json::parse(read_text(path() / "t.json"));
  EXPECT_EQ(state.at("format"), "igq detector table 1");
  for (auto& [key, row] : state.at("rows").items())
    if (row.at("setting") == "layer") row["box_ap"] = 12.5;
  std::ofstream(path() / "t.json") << state;
  EXPECT_EQ(run(line).json().at("rows")[1].at("box_ap"), 12.5);
  // Nor are the rows of a classifier taken for a detector's.
  state["format"] = "igq table 2";
  std::ofstream(path() / "t.json") << state;
  const Output other = run(line);
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.err.find("t.json is not the state of an igq table"), std::string::npos) << other.err;
}

TEST_F(DetectorTableTest, WhatIsMissingOrOfAnotherKindIsNamed) {
  const Output none = run(command("--settings float"));
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("--coco ANNOTATIONS and --images DIR are required"), std::string::npos) << none.err;
  const Output labelled = run(command(scenes_ + "--data-dir ."));
  EXPECT_NE(labelled.exit_code, 0);
  EXPECT_NE(labelled.err.find("--data-dir is for classifiers"), std::string::npos) << labelled.err;
  const Output reconstruct = run(command(scenes_ + "--settings best --reconstruct"));
  EXPECT_NE(reconstruct.exit_code, 0);
  EXPECT_NE(reconstruct.err.find("--reconstruct is for classifiers"), std::string::npos) << reconstruct.err;
}

}  // namespace
}  // namespace igq::test
