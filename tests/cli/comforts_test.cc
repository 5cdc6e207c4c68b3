// Models of the hub's cache, doctor, recipes, dry runs, completion and the manual page.
#include <algorithm>

#include "tests/cli/program.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

/// A cache as huggingface_hub lays it out, with the test's model as org/vit.
void make_hub(const fs::path& folder) {
  const fs::path root = folder / "hub/models--org--vit", snapshot = root / "snapshots" / kCommit;
  fs::create_directories(root / "refs");
  fs::create_directories(root / "blobs");
  fs::create_directories(snapshot);
  std::ofstream(root / "refs/main") << kCommit;
  int number = 0;
  for (const auto& file : fs::directory_iterator(folder / "model")) {
    const std::string blob = std::to_string(number++);
    fs::copy_file(file.path(), root / "blobs" / blob);
    fs::create_symlink("../../blobs/" + blob, snapshot / file.path().filename());
  }
}

TEST_F(CliTest, ModelsOfTheHubsCache) {
  make_hub(path());
  const std::string at = "hf:org/vit@" + std::string(kCommit);
  for (const std::string where : {"HF_HUB_CACHE=hub ", "HF_HOME=. ", "HUGGINGFACE_HUB_CACHE=hub "}) {
    const Output found = igq_with("unset HF_HOME HF_HUB_CACHE; " + where, "inspect hf:org/vit", path());
    EXPECT_EQ(found.exit_code, 0) << where << found.err;
    EXPECT_EQ(found.out, run("inspect model").out);
  }
  const std::string hub = "HF_HUB_CACHE=hub ";
  EXPECT_EQ(igq_with(hub, "inspect hf:org/vit@0123456", path()).exit_code, 0);
  ASSERT_EQ(igq_with(hub, "quantize hf:org/vit --calib images --samples 2 -o h.igq --weights rtn", path()).exit_code,
            0);
  EXPECT_NE(run("inspect h.igq").out.find(at), std::string::npos) << "the commit is part of the provenance";
  ASSERT_EQ(run("quantize model --calib images --samples 2 -o m.igq --weights rtn").exit_code, 0);
  for (const std::string name : {"h", "m"})
    ASSERT_EQ(run("eval " + name + ".igq --data-dir images --results-file " + name + ".csv").exit_code, 0);
  EXPECT_EQ(read_text(path() / "h.csv"), read_text(path() / "m.csv"));
  for (const auto& [name, says] : std::vector<std::pair<std::string, std::string>>{
           {"hf:org/other", "`hf download org/other`"},
           {"hf:org/vit@dev", "`hf download org/vit --revision dev`"},
           {"hf:org/vit@ffffffff", "`hf download org/vit --revision ffffffff`"},
           {"hf:../../etc", "names no model of the hub"},
           {"hf:", "names no model of the hub"}}) {
    const Output result = igq_with(hub, "predict " + name + " x.png", path());
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.err.find(says), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
  }
  fs::remove(path() / "hub/models--org--vit/blobs/0");
  EXPECT_NE(igq_with(hub, "inspect hf:org/vit", path()).err.find("leads nowhere"), std::string::npos);
}

TEST_F(CliTest, DoctorSaysHowManyThreadsAndWhy) {
  const nlohmann::json plain = igq_with("unset OMP_NUM_THREADS; IGQ_NUM_THREADS=3 ", "doctor --json", path()).json();
  EXPECT_EQ(plain.at("threads"), 3);
  EXPECT_EQ(plain.at("threads_from"), "IGQ_NUM_THREADS");
  EXPECT_GE(plain.at("processors_allowed").get<int>(), 1);
  EXPECT_EQ(plain.at("instruction_sets")[0], "reference");
  const nlohmann::json one = run("doctor model -j 1 --json").json();
  EXPECT_EQ(one.at("threads_from"), "--threads");
  EXPECT_EQ(one.at("model").at("threads_started"), 1);
  EXPECT_GT(one.at("model").at("peak_rss_mb").get<double>(), 1.0);
  EXPECT_EQ(run("doctor nothing").exit_code, 1);
}

TEST_F(CliTest, RecipesGiveTheSameBytes) {
  const std::string flags = "--samples 3 --bits w4a6 --weights gptq --keep 'blocks.0.attn$' --seed 7";
  ASSERT_EQ(run("quantize model --calib images -o a.igq --write-recipe r.json " + flags).exit_code, 0);
  ASSERT_EQ(run("quantize model --calib images -o b.igq --recipe r.json").exit_code, 0);
  ASSERT_EQ(run("quantize model --calib images -o c.igq --from a.igq").exit_code, 0);
  EXPECT_EQ(read_text(path() / "a.igq"), read_text(path() / "b.igq"));
  EXPECT_EQ(read_text(path() / "a.igq"), read_text(path() / "c.igq"));

  const Output twice = run("quantize model --calib images -o d.igq --recipe r.json --bits w8a8");
  EXPECT_EQ(twice.exit_code, 1);
  EXPECT_NE(twice.err.find("--bits is given beside r.json"), std::string::npos) << twice.err;
  for (const std::string text : {R"({"format":"igq recipe 1","options":{"colour":["red"]}})", "[1]", "{",
                                 R"({"format":"igq recipe 1","options":{"output":["/tmp/x"]}})",
                                 R"({"format":"igq recipe 1","options":{"bits":"w4a4"}})",
                                 R"({"format":"igq recipe 1","options":{"bits":["w9a9"]}})",
                                 R"({"format":"igq recipe 1","more":1,"options":{}})"}) {
    std::ofstream(path() / "bad.json") << text;
    EXPECT_NE(run("quantize model --calib images -o d.igq --recipe bad.json").exit_code, 0) << text;
  }
  EXPECT_EQ(run("quantize model --calib images -o d.igq --from model/config.json").exit_code, 1);
  EXPECT_FALSE(fs::exists(path() / "d.igq"));
}

TEST_F(CliTest, ADryRunPredictsTheSizeAndWritesNothing) {
  for (const std::string flags : {"--bits w8a8", "--bits w4a4", "--preset paper --bits w6a6", "--keep 'mlp.fc1'"}) {
    const nlohmann::json dry =
        run("quantize model --calib images --dry-run --json --weights rtn --samples 2 " + flags).json();
    ASSERT_EQ(run("quantize model --calib images --overwrite -o q.igq --weights rtn --samples 2 " + flags).exit_code,
              0);
    const nlohmann::json made = run("inspect q.igq --json").json();
    const double size = static_cast<double>(fs::file_size(path() / "q.igq")) / 1e6;
    EXPECT_NEAR(dry.at("file_mb").get<double>(), size, 0.1 * size + 0.1) << flags;
    EXPECT_EQ(dry.at("sites").size(), made.at("sites").size());
    EXPECT_GT(dry.at("seconds").get<double>(), 0.0);
    EXPECT_EQ(dry.at("settings"), made.at("provenance").at("settings"));
    fs::remove(path() / "q.igq");
  }
  const auto before = std::distance(fs::directory_iterator(path()), fs::directory_iterator());
  EXPECT_EQ(run("quantize model --calib images --dry-run -o q.igq").exit_code, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(path()), fs::directory_iterator()), before);
  EXPECT_EQ(run("quantize model --calib images").exit_code, 2) << "an output or a dry run";
}

TEST_F(CliTest, CompletionAndManualHaveEveryVerbAndFlag) {
  const std::string manual = run("man").out;
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string text = run("completion " + shell).out;
    for (const std::string word : {"quantize", "doctor", "bits", "orientation", "score-threshold", "exif"})
      EXPECT_NE(text.find(word), std::string::npos) << shell << word;
  }
  for (const std::string word : {"igq quantize", "\\-\\-orientation", ".SH EXIT STATUS"})
    EXPECT_NE(manual.find(word), std::string::npos) << word;
  EXPECT_EQ(run("completion tcsh").exit_code, 2);
  std::ofstream(path() / "try.sh") << run("completion bash").out
                                   << "COMP_WORDS=(igq predict --orientation '')\nCOMP_CWORD=3\n_igq\n"
                                      "echo \"${COMPREPLY[*]}\"\n";
  ASSERT_EQ(std::system(("bash '" + (path() / "try.sh").string() + "' >'" + (path() / "said").string() + "'").c_str()),
            0);
  EXPECT_EQ(read_text(path() / "said"), "auto exif ignore\n");
}

}  // namespace
}  // namespace igq::test
