// Every kind of wrong model, image, folder and flag: what igq says in one clear line, exit code 1 or 2, nothing
// written. The rows are those of the tables in docs/reliability.md; a test below holds the two together.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "tests/cli/bad_input.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;

Row image_row(const std::string& wrong, const std::string& fixture, const std::string& says) {
  return {wrong, {}, "predict model '" + (fixtures() / "images" / fixture).string() + "'", 1, says};
}

Row image_file_row(const std::string& wrong, const std::string& bytes, const std::string& says) {
  return {wrong, [bytes](const fs::path& at) { write_text(at / "x.jpg", bytes); }, "predict model x.jpg", 1, says};
}

std::vector<Row> image_rows() {
  return {
      {"no such image", {}, "predict model nothing.png", 1, "cannot open nothing.png: No such file or directory"},
      {"an image that is a folder", {}, "predict model images", 1, "cannot read images: not a regular file"},
      {"an image that is a pipe", [](const fs::path& at) { ::mkfifo((at / "pipe.png").c_str(), 0600); },
       "predict model pipe.png", 1, "cannot read pipe.png: not a regular file"},
      {"an image that is a device", {}, "predict model /dev/zero", 1, "cannot read /dev/zero: not a regular file"},
      image_row("an empty file", "empty.png", "the file is empty, not an image"),
      image_row(
          "text with an image's name", "text.jpg",
          "not an image that igq reads (JPEG, PNG, WebP, TIFF, GIF and BMP): it looks like a web page; fetch it again"),
      image_row("a GIF without a picture", "gif.png", "damaged GIF image: it holds no picture"),
      image_row("a GIF cut in half", "truncated.gif", "truncated GIF image: the file ends before the picture does"),
      image_row("a TIFF of Lab colours", "lab.tif", "a TIFF of photometric interpretation 8, 3 samples of 8 bits"),
      image_row("a BMP of unknown bit fields", "fields_unknown.bmp", "a BMP with these bit fields is not supported"),
      image_file_row("a WebP cut short", "RIFF....WEBPVP8 ",
                     "truncated WebP image: the file ends before the picture does; fetch it again"),
      image_file_row("a HEIC with a JPEG's name",
                     std::string("\0\0\0\x18"
                                 "ftypheic",
                                 12),
                     "it looks like a HEIF image or a film; convert it or remove it"),
      image_file_row("a BMP with a header of nobody's", "BM" + std::string(60, '.'),
                     "a BMP with a header of 774778414 bytes is not supported; convert it to PNG"),
      image_file_row("a JPEG 2000 with a JPEG's name", std::string("\0\0\0\x0CjP  ", 8),
                     "it looks like a JPEG 2000 image; convert it or remove it"),
      image_file_row("an image that is a pointer of git-lfs", "version https://git-lfs.github.com/spec/v1\noid",
                     "it looks like a pointer of git-lfs; run `git lfs pull` in its repository"),
      image_file_row("a JPEG of two bytes", "\xff\xd8", "it looks like a damaged image; fetch it again"),
      image_row("a JPEG cut in half", "truncated_half.jpg",
                "truncated JPEG image: the file ends before the picture does; fetch it again"),
      image_row("a progressive JPEG cut", "truncated_progressive.jpg", "truncated JPEG image"),
      image_row("a PNG cut in half", "truncated_half.png",
                "truncated PNG image: the file ends before the picture does; fetch it again"),
      image_row("a PNG whose header fails its checksum", "header_checksum.png", "damaged PNG image: IHDR: CRC error"),
      image_row("a JPEG without tables", "no_tables.jpg",
                "damaged JPEG image: Quantization table 0x00 was not defined"),
      image_row("a PNG that claims 2^60 pixels", "huge.png",
                "1073741824 x 1073741824 pixels are more than the limit of 178956970"),
      image_row("a JPEG that claims 4 gigapixels", "huge.jpg",
                "65500 x 65500 pixels are more than the limit of 178956970"),
      image_row("a short PNG that claims many pixels", "claims_more.png", "truncated PNG image"),
  };
}

std::vector<Row> folder_rows() {
  const auto empty = [](const fs::path& at) { fs::create_directories(at / "empty/a"); };
  const auto bad = [](const fs::path& at) { write_text(at / "bad/a/x.png", "no image"); };
  const auto many = [](const fs::path& at) {
    for (const std::string name : {"a", "b", "c", "d", "e", "f"}) {
      fs::create_directories(at / "many" / name);
      fs::copy_file(fixtures() / "images/one_pixel.png", at / "many" / name / "x.png");
    }
  };
  const auto folders = [](const char* root, std::vector<std::string> names) {
    return [root, names](const fs::path& at) {
      for (const std::string& name : names) {
        fs::create_directories(at / root / name);
        fs::copy_file(fixtures() / "images/one_pixel.png", at / root / name / "x.png");
      }
    };
  };
  const auto few = folders("few", {"b", "c", "d"}), numbered = folders("numbered", {"1", "2", "3"});
  const auto strangers = [folders](const fs::path& at) {
    folders("strangers", {"b", "c", "coat"})(at);
    auto config = nlohmann::json::parse(read_text(at / "model/config.json"));
    config["label_names"] = {"bag", "coat", "dress", "shirt", "shoe"};
    write_text(at / "model/config.json", config.dump());
  };
  return {
      {"no such folder", {}, "eval model --data-dir nothing", 1, "nothing: no such folder"},
      {"a folder that is a file",
       {},
       "eval model --data-dir model/config.json",
       1,
       "model/config.json: not a folder; give the folder that holds the images"},
      {"a folder without images", empty, "eval model --data-dir empty", 1,
       "empty: no image in this folder or the folders in it"},
      {"calibration from a folder without images", empty, "quantize model --calib empty -o out.igq", 1,
       "empty: no image in this folder"},
      {"images without class folders, for eval",
       {},
       "eval model --data-dir images/coat",
       1,
       "lies in no class folder, so its label is unknown: eval needs DIR/CLASS/IMAGE"},
      {"more class folders than classes", many, "eval model --data-dir many", 1,
       "the image folder has 6 class folders but the model only 5 classes; is it the data of another model?"},
      {"class folders that bear no class's name", strangers, "eval model --data-dir strangers", 1,
       "2 of 3 class folders bear no name of the model's classes: folders 'b', 'c'; classes 'bag', 'coat',"},
      {"fewer class folders than classes without names", few, "eval model --data-dir few", 1,
       "the model names no classes and has 5, the image folder has 3 class folders"},
      {"class folders numbered from 1", numbered, "eval model --data-dir numbered", 1,
       "the class folders are named by numbers, but none is 0"},
      {"images that cannot be read, for eval", bad, "eval model --data-dir bad --class-order alphabetical", 1,
       "1 of 1 images cannot be read; mend or remove them, or go on without them with --skip-bad-images"},
      {"no image that can be read, with --skip-bad-images", bad,
       "eval model --data-dir bad --class-order alphabetical --skip-bad-images", 1, "none of the 1 images can be read"},
      {"a calibration image that cannot be read", bad, "quantize model --calib bad --samples 1 -o out.igq", 1,
       "bad/a/x.png: not an image that igq reads"},
  };
}

std::vector<Row> output_rows() {
  const auto exists = [](const fs::path& at) { write_text(at / "out.igq", "precious"); };
  const auto state = [](const fs::path& at) { write_text(at / "t.json", "{}"); };
  const std::string quantize = "quantize model --calib images --samples 2 -o ";
  return {
      {"an output that exists", exists, quantize + "out.igq", 1,
       "out.igq exists already: write to another file, or add --overwrite"},
      {"an output in no folder",
       {},
       quantize + "nodir/out.igq",
       1,
       "cannot write nodir/out.igq: No such file or directory"},
      {"an output below a file",
       {},
       quantize + "model/config.json/out.igq",
       1,
       "cannot write model/config.json/out.igq: Not a directory"},
      {"an output that is a folder", {}, quantize + "images --overwrite", 1, "cannot write images: it is a directory"},
      {"weights as the output, with --overwrite",
       {},
       quantize + "model/model.safetensors --overwrite",
       1,
       "model/model.safetensors exists and is not an .igq file: igq replaces only files of the kind it writes; remove "
       "it, or write to another file"},
      {"an image as the output, with --overwrite",
       {},
       quantize + "images/coat/0047.png --overwrite",
       1,
       "0047.png exists and is not an .igq file"},
      {"the model as its own report",
       [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "report q.igq --no-speed -o q.igq --overwrite", 1, "q.igq exists and is not a report of igq"},
      {"an image as the results file",
       {},
       "eval model --data-dir images --overwrite --results-file images/coat/0047.png",
       1,
       "0047.png exists and is not a results file"},
      {"weights as the table in Markdown",
       {},
       "table model --calib images --data-dir images --settings float --markdown model/model.safetensors",
       1,
       "model/model.safetensors exists and is not a table of igq"},
      {"an image as the perturbation cache",
       {},
       "quantize model --calib images --groups auto --perturbation-cache images/coat/0047.png -o out.igq",
       1,
       "0047.png is not a perturbation cache of igq: name another file or remove it"},
      {"a report in no folder", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "report q.igq --no-speed -o nodir/r.html", 1, "cannot write nodir/r.html: No such file or directory"},
      {"an output that is a pipe", [](const fs::path& at) { ::mkfifo((at / "pipe").c_str(), 0600); },
       quantize + "pipe --overwrite", 1, "cannot write pipe: it is not a regular file"},
      {"an output that is a device",
       {},
       quantize + "/dev/full --overwrite",
       1,
       "cannot write /dev/full: it is not a regular file"},
      {"a results file in no folder",
       {},
       "eval model --data-dir images --results-file nodir/r.csv",
       1,
       "cannot write nodir/r.csv: No such file or directory"},
      {"a state of table that is none", state,
       "table model --calib images --data-dir images --settings float -o t.json", 1,
       "t.json is not the state of an igq table"},
  };
}

std::vector<Row> flag_rows() {
  const std::string eval = "eval model --data-dir images ", quantize = "quantize model --calib images -o out.igq ";
  return {
      {"no verb",
       {},
       "",
       2,
       "no verb given: use one of inspect, quantize, eval, predict, embed, bench, compare, table"},
      {"an unknown verb", {}, "frobnicate", 2, "unknown verb 'frobnicate': use one of inspect, quantize"},
      {"an unknown flag", {}, eval + "--frobnicate", 2, "The following argument was not expected: --frobnicate"},
      {"a flag that is required", {}, "eval model", 2, "--data-dir is required"},
      {"no model", {}, "bench", 2, "MODEL, or --arch NAME for random weights, is required"},
      {"an empty argument", {}, "eval model --data-dir ''", 2, "argument 4 is empty: a variable that is not set?"},
      {"no place for the report", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "report q.igq", 2, "say where to write the report: -o report.html (or --json)"},
      {"no threads", {}, eval + "--threads 0", 2, "--threads: Value 0 not in range 1 to 1024"},
      {"threads that are no number", {}, eval + "--threads many", 2, "--threads: Value many not in range 1 to 1024"},
      {"an instruction set nobody knows",
       {},
       eval + "--isa z80",
       2,
       "--isa: unknown instruction set 'z80': this machine runs reference"},
      {"an instruction set nobody knows, in IGQ_ISA",
       {},
       kPredict,
       1,
       "IGQ_ISA in the environment: unknown instruction set 'z80'",
       "IGQ_ISA=z80 "},
      {"an execution nobody knows",
       {},
       eval + "--execution fast",
       2,
       "--execution: unknown execution 'fast': use one of float, simulate, integer"},
      {"an interpolation nobody knows",
       {},
       eval + "--interpolation magic",
       2,
       "--interpolation: interpolation 'magic' is unknown; use one of nearest, bilinear"},
      {"a share that is not a number",
       {},
       eval + "--crop-pct nan",
       2,
       "--crop-pct: 'nan' is not a number from 0.05 to 2"},
      {"an image size of 0", {}, eval + "--img-size 0", 2, "--img-size: Value 0 not in range 1 to 16384"},
      {"a limit of 0", {}, eval + "--limit 0", 2, "--limit: '0' is not a number from 1 to 2147483647"},
      {"a limit beyond an int",
       {},
       eval + "--limit 99999999999999",
       2,
       "--limit: '99999999999999' is not a number from 1 to 2147483647"},
      {"bits out of range",
       {},
       quantize + "--bits w9a4",
       2,
       "--bits: 'w9a4' does not say bits: write w4a4 for 4-bit weights and 4-bit activations, 2 to 8 each"},
      {"no groups", {}, quantize + "--groups 0", 2, "--groups: '0' is no number of groups: write 1 to 1024, or auto"},
      {"several groups where one number is expected",
       {},
       quantize + "--groups 8,9",
       2,
       "--groups: '8,9' is no number of groups: write 1 to 1024, or auto"},
      {"a budget that nothing fits",
       {},
       quantize + "--groups auto --budget-gbops 0.0001",
       1,
       "GBOPs is too small: the smallest number of groups in every layer takes"},
      {"a budget that is not a number",
       {},
       quantize + "--groups auto --budget-gbops nan",
       2,
       "--budget-gbops: 'nan' is not a number from 1e-06 to"},
      {"a grouping nobody knows",
       {},
       quantize + "--grouping magic",
       2,
       "--grouping: unknown grouping 'magic': use one of float, layer, static-group, igq"},
      {"a time limit of nothing",
       {},
       quantize + "--reconstruct-minutes 1",
       2,
       "--reconstruct-minutes requires --reconstruct"},
      {"a weight method nobody knows",
       {},
       quantize + "--weights magic",
       2,
       "--weights: unknown weight method 'magic': use one of rtn, gptq, erq, auto"},
      {"a regular expression that is none", {}, quantize + "--keep '('", 2, "--keep: '(' is not a regular expression"},
      {"a regular expression that fits nothing",
       {},
       quantize + "--keep zzz",
       1,
       "--keep 'zzz' fits no site of the model: `igq inspect` prints their names"},
      {"bits for sites without bits", {}, quantize + "--site-bits head", 2, "--site-bits: 'head' is not REGEX=w6a6"},
      {"an argument too many", {}, "inspect model model", 2, "The following argument was not expected: model"},
      {"a batch of 0", {}, eval + "--batch-size 0", 2, "--batch-size: '0' is not a number from 1 to 2147483647"},
      {"top 0", {}, "predict model images/coat/0047.png --topk 0", 2, "--topk: Value 0 not in range 1 to"},
      {"a seed below 0", {}, quantize + "--seed -1", 2, "--seed: '-1' is no seed: write a number from 0 to 2^64 - 1"},
      {"no samples", {}, quantize + "--samples 0", 2, "--samples: Value 0 not in range 1 to 100000"},
      {"--max-drop without anything measured",
       {},
       quantize + "--max-drop 1 --noise-images 0",
       2,
       "--max-drop has nothing to go by: add --data-dir DIR"},
      {"bounds without groups that have bounds",
       {},
       quantize + "--bounds mse",
       2,
       "--bounds has no effect without igq groups"},
      {"an average of bits out of range",
       {},
       quantize + "--bits auto --average-bits 1.5",
       2,
       "--average-bits: '1.5' is no average of bits: write a number from 2 to 8"},
      {"a row of the table nobody knows",
       {},
       "table model --calib images --data-dir images --settings magic",
       2,
       "--settings: magic not in"},
  };
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (const auto& some : {model_rows(), hostile_rows(), image_rows(), folder_rows(), output_rows(), flag_rows()})
    rows.insert(rows.end(), some.begin(), some.end());
  return rows;
}

/// Every file below a folder and its bytes.
std::map<std::string, std::string> snapshot(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    files[entry.path().string()] = entry.is_regular_file() ? read_text(entry.path()) : "";
  return files;
}

class BadInput : public CliTest, public ::testing::WithParamInterface<Row> {};

TEST_P(BadInput, SaysItClearlyAndWritesNothing) {
  const Row& row = GetParam();
  if (row.make) row.make(path());
  const auto before = snapshot(path());
  const Output result = igq_with(row.before, row.command, path());
  EXPECT_EQ(result.exit_code, row.exit_code) << row.command << "\n" << result.err;
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_NE(result.err.find(row.says), std::string::npos) << result.err;
  const auto error = result.err.find("igq: error: ");
  ASSERT_NE(error, std::string::npos) << result.err;
  const std::string line = result.err.substr(error, result.err.find('\n', error) - error);
  EXPECT_NE(line.find(row.says), std::string::npos) << "not in the first line: " << result.err;
  EXPECT_EQ(error + line.size() + 1, result.err.size()) << "more than one line: " << result.err;
  EXPECT_EQ(snapshot(path()), before) << "something was written or changed";
}

std::string test_name(const ::testing::TestParamInfo<Row>& info) {
  std::string name;
  for (const char c : info.param.wrong) name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Model, BadInput, ::testing::ValuesIn(model_rows()), test_name);
INSTANTIATE_TEST_SUITE_P(Hostile, BadInput, ::testing::ValuesIn(hostile_rows()), test_name);
INSTANTIATE_TEST_SUITE_P(Image, BadInput, ::testing::ValuesIn(image_rows()), test_name);
INSTANTIATE_TEST_SUITE_P(Folder, BadInput, ::testing::ValuesIn(folder_rows()), test_name);
INSTANTIATE_TEST_SUITE_P(Output, BadInput, ::testing::ValuesIn(output_rows()), test_name);
INSTANTIATE_TEST_SUITE_P(Flag, BadInput, ::testing::ValuesIn(flag_rows()), test_name);

TEST(BadInputTable, IsTheOneInTheDocs) {
  const std::string docs = read_text(fs::path(IGQ_SOURCE_DIR) / "docs/reliability.md");
  for (const Row& row : all_rows()) {
    std::string says = row.says;
    std::replace(says.begin(), says.end(), '`', '\'');  // a code span holds no back quotes
    const std::string expected = "| " + row.wrong + " | `" + says + "` | " + std::to_string(row.exit_code) + " |";
    EXPECT_NE(docs.find(expected), std::string::npos) << "docs/reliability.md lacks the row\n" << expected;
  }
}

TEST_F(CliTest, AFolderThatMayNotBeReadIsSaidSo) {
  const fs::path folder = path() / "images";
  fs::permissions(path(), fs::perms::all);
  fs::permissions(folder, fs::perms::none);
  std::string as_other;
  if (::geteuid() == 0) {  // root reads everything
    as_other = "setpriv --reuid 65534 --clear-groups ";
    if (std::system((as_other + "test -x '" IGQ_PROGRAM "' 2>/dev/null").c_str()) != 0)
      GTEST_SKIP() << "runs as root, and other users cannot run igq here";
  }
  const Output result = igq_with(as_other, "eval model --data-dir images", path());
  fs::permissions(folder, fs::perms::owner_all);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("images: the folder cannot be read: Permission denied"), std::string::npos) << result.err;
}

TEST_F(CliTest, UnusualImagesAreRead) {
  for (const std::string name :
       {"one_pixel.png", "gray16.png", "rgb16.png", "rgba16_interlaced.png", "cmyk.jpg", "ycck.jpg", "palette1.png",
        "very_tall.png", "png_named.JPEG", "exif_rotated.jpg", "gray_progressive.jpg"}) {
    const Output result = run("predict model '" + (fixtures() / "images" / name).string() + "'");
    EXPECT_EQ(result.exit_code, 0) << name << result.err;
  }
}

TEST_F(CliTest, AFullDiskUnderStandardOutputIsAFault) {
  for (const std::string verb : {"--help", "inspect --list", "inspect model", "inspect model --json",
                                 "predict model images/coat/0047.png", "eval model --data-dir images"}) {
    const Output result = igq_with("", verb, path(), "/dev/full");
    EXPECT_EQ(result.exit_code, 1) << verb;
    EXPECT_EQ(without_class_note(result.err), "igq: error: cannot write to standard output\n") << verb;
  }
}

TEST_F(CliTest, AnOutputThatIsALinkStaysOne) {
  write_text(path() / "real.csv", "file,label,class_1,score_1\nold.png,0,0,1\n");  // as an earlier igq eval wrote it
  fs::create_symlink("real.csv", path() / "link.csv");
  ASSERT_EQ(run("eval model --data-dir images --results-file link.csv --overwrite").exit_code, 0);
  EXPECT_TRUE(fs::is_symlink(path() / "link.csv"));
  const std::string now = read_text(path() / "real.csv");
  EXPECT_EQ(now.substr(0, 18), "file,label,class_1");
  EXPECT_EQ(now.find("old.png"), std::string::npos);
}

}  // namespace
}  // namespace igq::test
