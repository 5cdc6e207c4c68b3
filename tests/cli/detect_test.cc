// igq predict and igq eval of detectors on the fixtures beside the project.
#include <cmath>

#include "tests/cli/program.h"

namespace igq::test {
namespace {

using nlohmann::json;

class DetectTest : public CliTest {
 protected:
  void SetUp() override {
    if (find_shared().empty()) GTEST_SKIP() << kNoShared;
    data_ = find_shared() / "data" / "detection";
  }
  json predict(const std::string& name, const std::string& flags = "") const {
    const Output result = run("predict '" + (data_ / name).string() + "' '" + (data_ / name / "input.png").string() +
                              "' --json " + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.json();
  }
  std::filesystem::path data_;
};

TEST_F(DetectTest, PredictPrintsObjects) {
  for (const std::string name : {"mask_rcnn_odd", "yolos", "detr"}) {
    std::ifstream in(data_ / name / "expected.json");
    const json expected = json::parse(in), document = predict(name);
    ASSERT_EQ(document.size(), 1u);
    const json& image = document.at("images").at(0);
    EXPECT_EQ(image.at("height"), expected.at("ori_shape").at(0));
    EXPECT_EQ(image.at("width"), expected.at("ori_shape").at(1));
    if (name == "mask_rcnn_odd") {
      EXPECT_EQ(image.at("detections").size(), expected.at("detections"));
    }
    ASSERT_FALSE(image.at("detections").empty()) << name;
    for (const json& d : image.at("detections")) {
      EXPECT_EQ(d.at("bbox").size(), 4u);
      const auto label = d.at("label").get<std::string>();
      EXPECT_EQ(d.at("category_id"), std::stoi(label.substr(5)) + (name == "mask_rcnn_odd" ? 1 : 0));
      EXPECT_GT(d.at("score"), name == "mask_rcnn_odd" ? 0.05 : 0.5);
      EXPECT_EQ(d.contains("segmentation"), name == "mask_rcnn_odd");
      if (d.contains("segmentation")) {
        EXPECT_EQ(d.at("segmentation").at("size"), json({image.at("height"), image.at("width")}));
      }
    }
  }
  const Output text =
      run("predict '" + (data_ / "yolos").string() + "' '" + (data_ / "yolos/input.png").string() + "'");
  EXPECT_NE(text.out.find("class"), std::string::npos);
}

TEST_F(DetectTest, ThresholdsLeaveFewerObjects) {
  const std::size_t all = predict("mask_rcnn_odd").at("images").at(0).at("detections").size();
  const json some = predict("mask_rcnn_odd", "--score-threshold 0.8").at("images").at(0).at("detections");
  EXPECT_LT(some.size(), all);
  for (const json& d : some) EXPECT_GT(d.at("score"), 0.8);
  EXPECT_EQ(predict("mask_rcnn_odd", "--score-threshold 1").at("images").at(0).at("detections").size(), 0u);
  EXPECT_EQ(run("predict x y --score-threshold nan").exit_code, 2);
}

TEST_F(DetectTest, DrawsAPicture) {
  predict("mask_rcnn_odd", "--draw out.png");
  EXPECT_EQ(read_text(path() / "out.png").substr(1, 3), "PNG");
  EXPECT_NE(read_text(path() / "out.png"), read_text(data_ / "mask_rcnn_odd" / "input.png"));
  EXPECT_EQ(run("predict '" + (data_ / "yolos").string() + "' a.png b.png --draw o.png").exit_code, 1);
}

TEST_F(DetectTest, EvalScoresTheModelsOwnDetectionsAsPerfect) {
  // Annotations made of what the model finds: every figure of all sizes is 1.
  const json image = predict("mask_rcnn_odd").at("images").at(0);
  json annotations = {
      {"images",
       {{{"id", 7}, {"file_name", "input.png"}, {"height", image.at("height")}, {"width", image.at("width")}}}},
      {"categories", json::array()},
      {"annotations", json::array()}};
  for (int c = 0; c < 5; ++c)
    annotations["categories"].push_back({{"id", 10 * c + 3}, {"name", "class" + std::to_string(c)}});
  int id = 1;
  for (const json& d : image.at("detections")) {
    const int label = std::stoi(d.at("label").get<std::string>().substr(5));
    annotations["annotations"].push_back({{"id", id++},
                                          {"image_id", 7},
                                          {"category_id", 10 * label + 3},
                                          {"bbox", d.at("bbox")},
                                          {"area", 2000.0},
                                          {"iscrowd", 0},
                                          {"segmentation", d.at("segmentation")}});
  }
  std::ofstream(path() / "annotations.json") << annotations;
  const Output result = run("eval '" + (data_ / "mask_rcnn_odd").string() + "' --coco annotations.json --images '" +
                            (data_ / "mask_rcnn_odd").string() + "' --json --results-file found.json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json figures = result.json();
  EXPECT_EQ(figures.at("bbox").at("stats").size(), 12u);
  EXPECT_EQ(figures.at("bbox").at("AP50"), 1.0);
  EXPECT_TRUE(figures.contains("segm"));
  std::ifstream in(path() / "found.json");
  const json found = json::parse(in);
  EXPECT_EQ(found.size(), image.at("detections").size());
  EXPECT_EQ(found.at(0).at("image_id"), 7);
}

TEST_F(DetectTest, QuantizesAndComparesAndInspectsAndTimes) {
  const std::string model = "'" + (data_ / "mask_rcnn_odd").string() + "'";
  std::filesystem::create_directory(path() / "photos");
  std::filesystem::copy(data_ / "mask_rcnn_odd" / "input.png", path() / "photos" / "a.png");
  const Output dry = run("quantize " + model + " --calib photos -o d.igq --weights rtn --json --dry-run");
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_FALSE(std::filesystem::exists(path() / "d.igq"));
  const Output made = run("quantize " + model + " --calib photos -o d.igq --weights rtn --json");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const json report = made.json();
  EXPECT_EQ(dry.json().at("settings"), report.at("settings"));
  EXPECT_NEAR(dry.json().at("file_mb").get<double>(), report.at("file_mb").get<double>(),
              0.1 * report.at("file_mb").get<double>() + 0.1);
  EXPECT_GT(dry.json().at("seconds").get<double>(), 0.0);
  EXPECT_EQ(report.at("report").at("agreement").at("images"), 1);
  EXPECT_GT(report.at("report").at("agreement").at("box_ap").get<double>(), 0.0);
  EXPECT_NE(made.err.find("no images are held back"), std::string::npos);
  EXPECT_NE(report.at("settings").get<std::string>().find("--scope all"), std::string::npos);

  const json found = run("predict d.igq photos/a.png --json").json();
  EXPECT_FALSE(found.at("images").at(0).at("detections").empty());
  const json simulated = run("predict d.igq photos/a.png --json --execution simulate").json();
  EXPECT_EQ(found, simulated);

  const json compared = run("compare " + model + " d.igq --data-dir photos --json").json();
  EXPECT_EQ(compared.at("box_ap"), report.at("report").at("agreement").at("box_ap"));
  EXPECT_FALSE(compared.at("sites").empty());
  EXPECT_NE(run("compare " + model + " d.igq --data-dir photos").out.find("are found again"), std::string::npos);

  const json inspected = run("inspect d.igq --json").json();
  EXPECT_EQ(dry.json().at("sites").size(), run("inspect " + model + " --json").json().at("sites").size());
  EXPECT_EQ(inspected.at("provenance").at("source"), "mask_rcnn_odd");
  EXPECT_TRUE(inspected.at("plan").contains("linears") || inspected.at("plan").contains("sites"))
      << inspected.at("plan");
  EXPECT_NE(run("inspect " + model).out.find("neck.fpn_convs.0.conv"), std::string::npos);
  EXPECT_EQ(run("bench d.igq --seconds 0 --warmup 0 --min-speedup 1000000").exit_code, 3);
  const json together =
      run("bench d.igq --throughput --threads 3 --seconds 0 --warmup 0 --execution integer --json").json();
  EXPECT_EQ(together.at("images_at_once"), 3);
  EXPECT_EQ(together.at("batch"), 12);
  const json timed = run("bench d.igq --json --seconds 0 --warmup 0 --profile").json();
  EXPECT_GT(timed.at("executions").at("integer").at("latency_ms").at("median").get<double>(), 0.0);

  const Output page =
      run("report d.igq --float " + model + " --data-dir photos -o d.html --json --no-speed --noise-images 1");
  ASSERT_EQ(page.exit_code, 0) << page.err;
  EXPECT_EQ(page.json().at("agreement").at("box_ap"), report.at("report").at("agreement").at("box_ap"));
  EXPECT_NE(test::read_text(path() / "d.html").find("Which part hurts"), std::string::npos);
  ASSERT_EQ(run("report d.igq --card c.md --no-speed").exit_code, 0);
  EXPECT_NE(read_text(path() / "c.md").find("igq predict d.igq photo.jpg"), std::string::npos);
  EXPECT_NE(run("report " + model + " -o e.html").err.find("is not an .igq file"), std::string::npos);

  EXPECT_EQ(run("quantize " + model + " --calib photos -o e.igq --weights rtn --max-drop 0 --bits w3a3").exit_code, 3);
  const std::string again = "quantize " + model + " --calib photos ";
  ASSERT_EQ(run(again + "-o g.igq --bits w6a4 --preset paper --scope backbone --write-recipe g.json").exit_code, 0);
  ASSERT_EQ(run(again + "-o h.igq --recipe g.json").exit_code, 0);
  const Output from = run(again + "-o i.igq --from g.igq");
  ASSERT_EQ(from.exit_code, 0) << from.err;
  EXPECT_TRUE(test::read_text(path() / "g.igq") == test::read_text(path() / "h.igq"));
  EXPECT_TRUE(test::read_text(path() / "g.igq") == test::read_text(path() / "i.igq"));

  EXPECT_NE(run("quantize d.igq --calib photos -o f.igq").err.find("quantized already"), std::string::npos);
  EXPECT_NE(run("quantize " + model + " --calib photos -o f.igq --reconstruct").err.find("for classifiers"),
            std::string::npos);
  EXPECT_NE(run("quantize " + model + " --calib photos -o f.igq --keep nowhere").err.find("fits no site"),
            std::string::npos);
  EXPECT_EQ(run("quantize " + model + " --calib photos -o f.igq --scope neck").exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(path() / "f.igq"));
  EXPECT_EQ(run("embed d.igq photos/a.png -o v.npy").exit_code, 1);
}

TEST_F(DetectTest, FaultsSayHowToMendThem) {
  std::ofstream(path() / "model.pth") << "x";
  const Output pickle = run("predict model.pth a.png --arch mask_rcnn_swin_t_fpn");
  EXPECT_EQ(pickle.exit_code, 1);
  EXPECT_NE(pickle.err.find("save_file"), std::string::npos) << pickle.err;
  const std::string model = "'" + (data_ / "yolos").string() + "'";
  EXPECT_NE(run("eval " + model + " --data-dir images").err.find("--coco"), std::string::npos);
  EXPECT_EQ(run("predict " + model + " missing.png").exit_code, 1);
  EXPECT_EQ(run("predict " + model + " a.png --execution integer").exit_code, 1);
}

}  // namespace
}  // namespace igq::test
