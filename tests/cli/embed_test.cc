// igq embed and what the other verbs do with a model without a head.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "tests/cli/program.h"
#include "tests/npy.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;

/// images/ and model/, the latter without its head.
class EmbedTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    fs::copy(tiny_model("hf_dinov2"), path() / "classifier");
    fs::copy(tiny_model("hf_dinov2"), path() / "encoder");
    // The header of safetensors names the tensors: another name for those of the head is none that the model has, so
    // they are cut out by their place in it.
    const std::string file = read_text(path() / "encoder" / "model.safetensors");
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
    nlohmann::json kept = nlohmann::json::object();
    std::string data;
    for (auto& [name, entry] : header.items()) {
      if (name == "__metadata__" || name.starts_with("classifier.")) continue;
      const std::uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
      kept[name] = entry;
      kept[name]["data_offsets"] = {data.size(), data.size() + (end - begin)};
      data += file.substr(8 + length + begin, end - begin);
    }
    const std::string text = kept.dump();
    length = text.size();
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    write_text(path() / "encoder" / "model.safetensors", out + text + data);
  }
  std::vector<float> vectors(const std::string& file, const std::vector<std::int64_t>& shape) const {
    const Npy array = read_npy(path() / file);
    EXPECT_EQ(array.type, "<f4");
    EXPECT_EQ(array.shape, shape) << file;
    return array.as<float>();
  }
};

TEST_F(EmbedTest, FolderListAndImageGiveTheSameVectors) {
  const Output folder = run("embed encoder images -o a.npy --json");
  ASSERT_EQ(folder.exit_code, 0) << folder.err;
  EXPECT_EQ(folder.json().at("dim"), 32);
  const std::vector<float> all = vectors("a.npy", {20, 32});
  std::istringstream names(read_text(path() / "a.npy.files.txt"));
  std::vector<std::string> files;
  for (std::string line; std::getline(names, line);) files.push_back(line);
  ASSERT_EQ(files.size(), 20U);
  EXPECT_TRUE(std::is_sorted(files.begin(), files.end()));
  write_text(path() / "list.txt", "images/" + files[7] + "\n\nimages/" + files[3] + "\r\n");
  ASSERT_EQ(run("embed encoder list.txt -o b.npy --threads 1").exit_code, 0);
  const std::vector<float> two = vectors("b.npy", {2, 32});
  EXPECT_TRUE(std::equal(two.begin(), two.begin() + 32, all.begin() + 7 * 32));
  EXPECT_TRUE(std::equal(two.begin() + 32, two.end(), all.begin() + 3 * 32));
  ASSERT_EQ(run("embed encoder images/" + files[7] + " -o c.npy --normalize").exit_code, 0);
  const std::vector<float> unit = vectors("c.npy", {1, 32});
  double length = 0.0, product = 0.0;
  for (std::size_t i = 0; i < 32; ++i) {
    length += static_cast<double>(unit[i]) * static_cast<double>(unit[i]);
    product += static_cast<double>(unit[i]) * static_cast<double>(two[i]);
  }
  EXPECT_NEAR(length, 1.0, 1e-5);
  double norm = 0.0;
  for (std::size_t i = 0; i < 32; ++i) norm += static_cast<double>(two[i]) * static_cast<double>(two[i]);
  EXPECT_NEAR(product, std::sqrt(norm), 1e-4 * std::sqrt(norm));
  ASSERT_EQ(run("embed encoder images/" + files[7] + " -o t.npy --tokens").exit_code, 0);
  const std::vector<float> tokens = vectors("t.npy", {5, 32});
  EXPECT_TRUE(std::equal(two.begin(), two.begin() + 32, tokens.begin())) << "the class token is the embedding";
  // A classifier of DINOv2 reads the class token and the mean of the patches.
  ASSERT_EQ(run("embed classifier list.txt -o d.npy").exit_code, 0);
  const std::vector<float> wide = vectors("d.npy", {2, 64});
  EXPECT_TRUE(std::equal(two.begin(), two.begin() + 32, wide.begin()));
}

TEST_F(EmbedTest, BadImagesAreRows) {
  write_text(path() / "images" / "coat" / "0000.png", "no, \"image\"");
  const Output table = run("embed encoder images -o a.csv");
  ASSERT_EQ(table.exit_code, 0) << table.err;
  EXPECT_NE(table.err.find("1 of 21 images cannot be read"), std::string::npos) << table.err;
  std::istringstream in(read_text(path() / "a.csv"));
  std::string line;
  std::getline(in, line);
  EXPECT_TRUE(line.starts_with("file,error,v0,v1,")) << line;
  int rows = 0, bad = 0;
  for (; std::getline(in, line); ++rows)
    if (line.starts_with("coat/0000.png,")) {
      ++bad;
      EXPECT_NE(line.find("0000.png"), std::string::npos);
      EXPECT_TRUE(line.ends_with(std::string(32, ','))) << line;
    }
  EXPECT_EQ(rows, 21);
  EXPECT_EQ(bad, 1);
  ASSERT_EQ(run("embed encoder images -o a.npy").exit_code, 0);
  const std::vector<float> all = vectors("a.npy", {21, 32});
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](float v) { return std::isnan(v); }), 32);
  EXPECT_NE(read_text(path() / "a.npy.files.txt").find("coat/0000.png\t"), std::string::npos);
  EXPECT_EQ(run("embed encoder images/coat/0000.png -o b.npy").exit_code, 1);
  EXPECT_FALSE(fs::exists(path() / "b.npy"));
  EXPECT_FALSE(fs::exists(path() / "b.npy.rows"));
}

// A run that is killed leaves its rows; a hard link keeps those of a whole run, cut off here at every kind of place.
TEST_F(EmbedTest, GoesOnWhereItWasKilled) {
  write_text(path() / "keep.rows", "");
  fs::create_hard_link(path() / "keep.rows", path() / "a.npy.rows");
  ASSERT_EQ(run("embed encoder images -o a.npy --resume").exit_code, 0);
  const std::string rows = read_text(path() / "keep.rows"), whole = read_text(path() / "a.npy");
  ASSERT_GT(rows.size(), 20U * 32 * 4);
  const std::size_t record = 32 * 4 + 4 + 8, head = rows.size() - 20 * record;
  for (const std::size_t size :
       {std::size_t{5}, head, head + 1, head + 7 * record, head + 8 * record - 1, rows.size()}) {
    write_text(path() / "b.npy.rows", rows.substr(0, size));
    const Output refused = run("embed encoder images -o b.npy");
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find("--resume"), std::string::npos) << refused.err;
    const Output resumed = run("embed encoder images -o b.npy --resume --json");
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_EQ(resumed.json().at("resumed_after"), size < head ? 0 : (size - head) / record);
    EXPECT_TRUE(read_text(path() / "b.npy") == whole) << size;
    EXPECT_FALSE(fs::exists(path() / "b.npy.rows"));
    fs::remove(path() / "b.npy");
  }
  std::string damaged = rows;
  damaged[head + 3 * record + 9] ^= 1;
  write_text(path() / "b.npy.rows", damaged);
  EXPECT_EQ(run("embed encoder images -o b.npy --resume --json").json().at("resumed_after"), 3);
  EXPECT_TRUE(read_text(path() / "b.npy") == whole);
  write_text(path() / "c.npy.rows", rows);
  const Output other = run("embed encoder images -o c.npy --resume --normalize");
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.err.find("rows of another run"), std::string::npos) << other.err;
}

TEST_F(EmbedTest, PredictionsOfAFolder) {
  write_text(path() / "images" / "coat" / "0000.png", "no image");
  const Output made = run("predict classifier images -o p.csv --topk 2 --json");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(made.json().at("bad_images"), 1);
  const std::string table = read_text(path() / "p.csv");
  EXPECT_TRUE(table.starts_with("file,error,class_1,class_2,label_1,label_2,score_1,score_2\n")) << table;
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 22);
  const auto one = run("predict classifier images/coat/0047.png --topk 2 --json").json();
  const int best = one.at("images")[0].at("predictions")[0].at("class");
  EXPECT_NE(table.find("coat/0047.png,," + std::to_string(best) + ","), std::string::npos) << table;
  EXPECT_EQ(run("predict classifier images/coat/0047.png --resume").exit_code, 2);
}

TEST_F(EmbedTest, RefusalsAreOneLine) {
  const auto says = [&](const std::string& arguments, const std::string& part) {
    const Output result = run(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_NE(result.err.find(part), std::string::npos) << arguments << ": " << result.err;
  };
  says("embed encoder images -o a.parquet", "pyarrow");
  says("embed encoder images -o a.txt", ".npy or .csv");
  says("embed encoder images -o a.csv --tokens", ".npy");
  says("embed encoder nothing.png -o a.npy", "nothing.png");
  says("predict encoder images/coat/0047.png", "igq embed");
  says("eval encoder --data-dir images", "igq embed");
  write_text(path() / "notes.npy", "mine");
  says("embed encoder images -o notes.npy --overwrite", "notes.npy");
  EXPECT_EQ(read_text(path() / "notes.npy"), "mine");
}

TEST_F(EmbedTest, EncodersAreQuantizedByDirection) {
  for (const std::string flags : {"--bits w8a8", "--bits w4a8 --groups auto --preset paper --average-groups 4"}) {
    const Output made = run("quantize encoder --calib images --samples 8 --overwrite -o q.igq --json " + flags);
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const nlohmann::json verdict = made.json().at("verdict");
    EXPECT_GT(verdict.at("cosine_mean"), 0.9);
    EXPECT_LE(verdict.at("cosine_percentile_1"), verdict.at("cosine_mean"));
    EXPECT_FALSE(verdict.contains("agreement"));
  }
  ASSERT_EQ(
      run("quantize encoder --calib images --samples 8 --overwrite -o q.igq --bits w8a8 --data-dir images").exit_code,
      0);
  ASSERT_EQ(run("embed q.igq images -o q.npy").exit_code, 0);
  ASSERT_EQ(run("embed q.igq images -o s.npy --execution simulate").exit_code, 0);
  EXPECT_TRUE(read_text(path() / "q.npy") == read_text(path() / "s.npy"));
  ASSERT_EQ(run("embed encoder images -o f.npy").exit_code, 0);
  const std::vector<float> a = vectors("f.npy", {20, 32}), b = vectors("q.npy", {20, 32});
  double least = 1.0;
  for (std::size_t i = 0; i < 20; ++i) {
    double aa = 0.0, bb = 0.0, ab = 0.0;
    for (std::size_t c = i * 32; c < i * 32 + 32; ++c) {
      aa += static_cast<double>(a[c]) * static_cast<double>(a[c]);
      bb += static_cast<double>(b[c]) * static_cast<double>(b[c]);
      ab += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    }
    least = std::min(least, ab / std::sqrt(aa * bb));
  }
  const Output compared = run("compare encoder q.igq --data-dir images --json");
  ASSERT_EQ(compared.exit_code, 0) << compared.err;
  EXPECT_NEAR(compared.json().at("cosine_percentile_1").get<double>(), least, 1e-6);
  EXPECT_GE(compared.json().at("recall_at_10"), 0.5);
  EXPECT_EQ(run("compare encoder encoder --data-dir images --json").json().at("recall_at_1"), 1.0);
  EXPECT_EQ(run("compare encoder q.igq --data-dir images").exit_code, 0);
  EXPECT_EQ(run("inspect q.igq").exit_code, 0);
  EXPECT_EQ(run("report q.igq -o r.html --no-speed").exit_code, 0);
  EXPECT_EQ(run("bench q.igq --seconds 0.1").exit_code, 0);
  EXPECT_EQ(run("quantize encoder --calib images --samples 8 --bits w2a2 --max-drop 0 -o r.igq").exit_code, 3);
}

}  // namespace
}  // namespace igq::test
