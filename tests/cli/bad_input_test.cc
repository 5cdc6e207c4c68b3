// Every kind of wrong model, image, folder and flag: what igq says in one clear line, exit code 1 or 2, nothing written.
// The rows are those of the tables in docs/reliability.md; a test below holds the two together.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "tests/cli/program.h"
#include "tests/io/forge.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void spill(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void edit_json(const fs::path& path, const std::function<void(json&)>& edit) {
  json value = json::parse(read_text(path));
  edit(value);
  spill(path, value.dump());
}

/// A safetensors file taken apart; what is edited is written with offsets that fit.
struct Weights {
  struct Entry {
    json type, shape;
    std::string bytes;
  };
  std::map<std::string, Entry> tensors;

  explicit Weights(const fs::path& path) {
    const std::string raw = read_text(path);
    std::uint64_t size = 0;
    std::memcpy(&size, raw.data(), 8);
    const json header = json::parse(raw.substr(8, size));
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") continue;
      const auto begin = value["data_offsets"][0].get<std::size_t>(), end = value["data_offsets"][1].get<std::size_t>();
      tensors[name] = {value["dtype"], value["shape"], raw.substr(8 + size + begin, end - begin)};
    }
  }
  void save(const fs::path& path) const {
    json header = json::object();
    std::string data;
    for (const auto& [name, entry] : tensors) {
      header[name] = {{"dtype", entry.type}, {"shape", entry.shape}, {"data_offsets", {data.size(), data.size() + entry.bytes.size()}}};
      data += entry.bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t size = text.size();
    spill(path, std::string(reinterpret_cast<const char*>(&size), 8) + text + data);
  }
};

/// One row: what is wrong, how it is made inside the test's folder, the command, and a part of what igq must say.
struct Row {
  std::string wrong;
  std::function<void(const fs::path&)> make;
  std::string command;
  int exit_code;
  std::string says;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.command; }

const fs::path kWeights = "model/model.safetensors";
const std::string kPredict = "predict model images/coat/0047.png";

Row model_row(const std::string& wrong, std::function<void(const fs::path&)> make, const std::string& says) {
  return {wrong, std::move(make), "quantize model --calib images --samples 2 -o out.igq", 1, says};
}

Row config_row(const std::string& wrong, std::function<void(json&)> edit, const std::string& says) {
  return model_row(wrong, [edit](const fs::path& at) { edit_json(at / "model/config.json", edit); }, says);
}

Row text_row(const std::string& wrong, const std::string& text, const std::string& says) {
  return model_row(wrong, [text](const fs::path& at) { spill(at / "model/config.json", text); }, says);
}

Row weights_row(const std::string& wrong, std::function<void(Weights&)> edit, const std::string& says) {
  return model_row(
      wrong,
      [edit](const fs::path& at) {
        Weights weights(at / kWeights);
        edit(weights);
        weights.save(at / kWeights);
      },
      says);
}

Row bytes_row(const std::string& wrong, std::function<void(std::string&)> edit, const std::string& says) {
  return model_row(
      wrong,
      [edit](const fs::path& at) {
        std::string bytes = read_text(at / kWeights);
        edit(bytes);
        spill(at / kWeights, bytes);
      },
      says);
}

Row igq_row(const std::string& wrong, std::function<void(std::string&)> edit, const std::string& says, const std::string& flags = "") {
  return {wrong,
          [edit](const fs::path& at) {
            std::string bytes = read_text(fixtures() / "igq/v1.igq");
            edit(bytes);
            spill(at / "q.igq", bytes);
          },
          "inspect q.igq" + flags, 1, says};
}

void set_first(Weights& weights, const std::string& name, float value) {
  std::memcpy(weights.tensors.at(name).bytes.data(), &value, 4);
}

std::vector<Row> model_rows() {
  constexpr auto kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  return {
      {"nothing at this path", {}, "predict nothing a.png", 1,
       "nothing does not exist: give a model folder, a .safetensors file or an .igq file"},
      {"an empty folder", [](const fs::path& at) { fs::create_directory(at / "empty"); }, "predict empty a.png", 1,
       "empty holds no model: a model folder has config.json and model.safetensors"},
      {"a file that is no model", {}, "predict images/coat/0047.png a.png", 1, "is no model that igq reads"},
      model_row("weights without config.json", [](const fs::path& at) { fs::remove(at / "model/config.json"); },
                "has no config.json beside it: name the architecture with --arch"),
      model_row("config.json without weights", [](const fs::path& at) { fs::remove(at / kWeights); }, "model holds no model"),
      model_row("a PyTorch pickle", [](const fs::path& at) { fs::rename(at / kWeights, at / "model/pytorch_model.bin"); },
                "is a PyTorch pickle, which can run code when it is opened; igq reads safetensors. Convert it once with"),
      text_row("config.json is empty", "", "config.json cannot be used: its JSON does not parse"),
      text_row("config.json is not JSON", "{\"architecture\": ", "config.json cannot be used: its JSON does not parse"),
      text_row("config.json is not UTF-8", "{\"architecture\": \"\xff\xfe\"}", "config.json cannot be used: its JSON does not parse"),
      text_row("config.json is nested 100,000 deep", std::string(100000, '['), "its JSON is nested deeper than 64"),
      text_row("config.json is of neither timm nor transformers", "{}", "it is neither timm's (no 'architecture') nor of transformers"),
      text_row("a transformers model that is no image classifier", R"({"model_type": "bert", "architectures": ["BertModel"]})",
               "'architectures' names BertModel, igq runs ViTForImageClassification"),
      config_row("an architecture igq does not have", [](json& c) { c["architecture"] = "resnet50"; }, "unknown architecture 'resnet50'; nearest:"),
      config_row("an argument igq does not know", [](json& c) { c["model_args"]["rope"] = true; },
                 "'model_args.rope' is not known to igq and may change what the model computes"),
      config_row("a number out of range", [](json& c) { c["model_args"]["depth"] = 1000000; }, "'model_args.depth' is 1000000, not between 1 and 4096"),
      config_row("a number that is text", [](json& c) { c["model_args"]["num_heads"] = "two"; }, "'model_args.num_heads' is not an integer"),
      config_row("heads that do not divide the width", [](json& c) { c["model_args"]["num_heads"] = 3; }, "'num_heads' 3 does not divide 'embed_dim' 32"),
      config_row("a standard deviation of 0", [](json& c) { c["pretrained_cfg"]["std"] = {0, 0, 0}; }, "'std' is 0, it must be above 0"),
      weights_row("a tensor is missing", [](Weights& w) { w.tensors.erase("blocks.1.mlp.fc1.bias"); }, "missing: blocks.1.mlp.fc1.bias"),
      weights_row("a tensor too many", [](Weights& w) { w.tensors["blocks.9.norm1.bias"] = w.tensors["norm.bias"]; }, "extra: blocks.9.norm1.bias"),
      weights_row("a tensor of another shape", [](Weights& w) { w.tensors["pos_embed"].shape = {1, 1, 544}; },
                  "misshapen: pos_embed is [1, 1, 544] instead of [1, 17, 32]"),
      weights_row("a tensor of another type",
                  [](Weights& w) {
                    w.tensors["norm.bias"].type = "I64";
                    w.tensors["norm.bias"].bytes.resize(256);
                  },
                  "norm.bias"),
      weights_row("a weight that is not a number", [](Weights& w) { set_first(w, "blocks.0.attn.qkv.weight", kNan); },
                  "tensor 'blocks.0.attn.qkv.weight' holds values that are not finite"),
      weights_row("an infinite weight", [](Weights& w) { set_first(w, "norm.bias", kInfinity); }, "tensor 'norm.bias' holds values that are not finite"),
      weights_row("a tensor that claims 4 TiB", [](Weights& w) { w.tensors["norm.bias"].shape = {std::int64_t{1} << 40}; },
                  "tensor 'norm.bias' has 128 bytes, its shape and type need 4398046511104"),
      bytes_row("weights that are empty", [](std::string& b) { b.clear(); }, "is damaged or not a safetensors file: it has only 0 bytes"),
      bytes_row("weights cut in half", [](std::string& b) { b.resize(b.size() / 2); }, "lies beyond the end of the file: download or copy it again"),
      bytes_row("a header that claims 2^62 bytes", [](std::string& b) { b[7] = 0x40; }, "it claims a header of 4611686018427"),
      igq_row("an .igq file that is empty", [](std::string& b) { b.clear(); }, "q.igq is not an .igq file: give a file written by igq quantize"),
      igq_row("an .igq file that is something else", [](std::string& b) { b = "hello, world"; }, "q.igq is not an .igq file"),
      igq_row("an .igq file cut short", [](std::string& b) { b.resize(b.size() - 100); }, "q.igq is damaged: it has"),
      igq_row("an .igq file with one bit flipped in a tensor", [](std::string& b) { b[b.size() - 64] ^= 1; }, "q.igq is damaged: the checksum of its tensor"),
      igq_row("an .igq file with one bit flipped in its header", [](std::string& b) { b[100] ^= 1; }, "q.igq is damaged: the checksum of its header fails"),
      igq_row("an .igq file of a newer version", [](std::string& b) { b[8] = 9; }, "q.igq has format version 9, this igq reads versions 1 to 1: update igq"),
      igq_row("--img-size or --arch on an .igq file", [](std::string&) {}, "is quantized for its image size, --img-size does not apply", " --img-size 64"),
      {"quantizing an .igq file", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "quantize q.igq --calib images --samples 2 -o out.igq", 1, "q.igq is quantized already: start from the float model"},
      {"integers from a float model", {}, kPredict + " --execution integer", 1,
       "model is a float model, which cannot run with --execution integer: quantize it first with `igq quantize`"},
      igq_row("an .igq file with a field of a newer version",
              [](std::string& b) {
                auto forged = ::igq::testing::Forged::from(b);
                json header = forged.json();
                header["config"]["vit"]["rope"] = true;
                forged.set_json(header);
                b = forged.to_bytes();
              },
              "q.igq was made by a newer igq: config.vit has a field 'rope', which this igq does not know: update igq"),
      {"a report on a float model", {}, "report model -o r.html", 1, "model is not an .igq file: quantize a model first with `igq quantize`"},
      {"a table of an .igq file", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "table q.igq --calib images --data-dir images", 1, "q.igq is quantized already: the table starts from the float model"},
      {"an image size below one patch, of an architecture", {}, "inspect --arch vit_tiny_patch16_224 --img-size 7", 1, "is smaller than one patch"},
      {"an image size below one patch", {}, kPredict + " --img-size 1", 1, "is smaller than one patch"},
  };
}

Row image_row(const std::string& wrong, const std::string& fixture, const std::string& says) {
  return {wrong, {}, "predict model '" + (fixtures() / "images" / fixture).string() + "'", 1, says};
}

std::vector<Row> image_rows() {
  return {
      {"no such image", {}, "predict model nothing.png", 1, "cannot open nothing.png: No such file or directory"},
      {"an image that is a folder", {}, "predict model images", 1, "cannot read images: not a regular file"},
      {"an image that is a pipe", [](const fs::path& at) { ::mkfifo((at / "pipe.png").c_str(), 0600); }, "predict model pipe.png", 1,
       "cannot read pipe.png: not a regular file"},
      {"an image that is a device", {}, "predict model /dev/zero", 1, "cannot read /dev/zero: not a regular file"},
      image_row("an empty file", "empty.png", "the file is empty, not a JPEG or PNG image"),
      image_row("text with an image's name", "text.jpg", "not a JPEG or PNG image (it looks like no image); convert it or remove it"),
      image_row("a GIF with a PNG's name", "gif.png", "not a JPEG or PNG image (it looks like a GIF); convert it or remove it"),
      image_row("a JPEG cut in half", "truncated_half.jpg", "truncated JPEG image: the file ends before the picture does; fetch it again"),
      image_row("a progressive JPEG cut", "truncated_progressive.jpg", "truncated JPEG image"),
      image_row("a PNG cut in half", "truncated_half.png", "truncated PNG image: the file ends before the picture does; fetch it again"),
      image_row("a PNG whose checksum fails", "bad_checksum.png", "damaged PNG image: IDAT: incorrect data check"),
      image_row("a JPEG without tables", "no_tables.jpg", "damaged JPEG image: Quantization table 0x00 was not defined"),
      image_row("a PNG that claims 2^60 pixels", "huge.png", "1073741824 x 1073741824 pixels are more than the limit of 178956970"),
      image_row("a JPEG that claims 4 gigapixels", "huge.jpg", "65500 x 65500 pixels are more than the limit of 178956970"),
      image_row("a short PNG that claims many pixels", "claims_more.png", "truncated PNG image"),
  };
}

std::vector<Row> folder_rows() {
  const auto empty = [](const fs::path& at) { fs::create_directories(at / "empty/a"); };
  const auto bad = [](const fs::path& at) { spill(at / "bad/a/x.png", "no image"); };
  const auto many = [](const fs::path& at) {
    for (const std::string name : {"a", "b", "c", "d", "e", "f"}) {
      fs::create_directories(at / "many" / name);
      fs::copy_file(fixtures() / "images/one_pixel.png", at / "many" / name / "x.png");
    }
  };
  return {
      {"no such folder", {}, "eval model --data-dir nothing", 1, "nothing: no such folder"},
      {"a folder that is a file", {}, "eval model --data-dir model/config.json", 1, "model/config.json: not a folder; give the folder that holds the images"},
      {"a folder without images", empty, "eval model --data-dir empty", 1, "empty: no .jpg, .jpeg or .png image in this folder or the folders in it"},
      {"calibration from a folder without images", empty, "quantize model --calib empty -o out.igq", 1, "empty: no .jpg, .jpeg or .png image"},
      {"images without class folders, for eval", {}, "eval model --data-dir images/coat", 1,
       "lies in no class folder, so its label is unknown: eval needs DIR/CLASS/IMAGE"},
      {"more class folders than classes", many, "eval model --data-dir many", 1,
       "the image folder has 6 class folders but the model only 5 classes; is it the data of another model?"},
      {"images that cannot be read, for eval", bad, "eval model --data-dir bad", 1,
       "1 of 1 images cannot be read; mend or remove them, or go on without them with --skip-bad-images"},
      {"no image that can be read, with --skip-bad-images", bad, "eval model --data-dir bad --skip-bad-images", 1, "none of the 1 images can be read"},
      {"a calibration image that cannot be read", bad, "quantize model --calib bad --samples 1 -o out.igq", 1, "bad/a/x.png: not a JPEG or PNG image"},
  };
}

std::vector<Row> output_rows() {
  const auto exists = [](const fs::path& at) { spill(at / "out.igq", "precious"); };
  const auto state = [](const fs::path& at) { spill(at / "t.json", "{}"); };
  const std::string quantize = "quantize model --calib images --samples 2 -o ";
  return {
      {"an output that exists", exists, quantize + "out.igq", 1, "out.igq exists already: write to another file, or add --overwrite"},
      {"an output in no folder", {}, quantize + "nodir/out.igq", 1, "cannot write nodir/out.igq: No such file or directory"},
      {"an output below a file", {}, quantize + "model/config.json/out.igq", 1, "cannot write model/config.json/out.igq: Not a directory"},
      {"an output that is a folder", {}, quantize + "images --overwrite", 1, "cannot write images: it is a directory"},
      {"weights as the output, with --overwrite", {}, quantize + "model/model.safetensors --overwrite", 1,
       "model/model.safetensors exists and is not an .igq file: igq replaces only files of the kind it writes; remove it, or write to another file"},
      {"an image as the output, with --overwrite", {}, quantize + "images/coat/0047.png --overwrite", 1, "0047.png exists and is not an .igq file"},
      {"the model as its own report", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "report q.igq --no-speed -o q.igq --overwrite", 1, "q.igq exists and is not an HTML page"},
      {"an image as the results file", {}, "eval model --data-dir images --overwrite --results-file images/coat/0047.png", 1,
       "0047.png exists and is not a results file"},
      {"weights as the table in Markdown", {}, "table model --calib images --data-dir images --settings float --markdown model/model.safetensors", 1,
       "model/model.safetensors exists and is not a table of igq"},
      {"an image as the perturbation cache", {}, "quantize model --calib images --groups auto --perturbation-cache images/coat/0047.png -o out.igq", 1,
       "0047.png is not a perturbation cache of igq: name another file or remove it"},
      {"a report in no folder", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "report q.igq --no-speed -o nodir/r.html", 1, "cannot write nodir/r.html: No such file or directory"},
      {"an output that is a pipe", [](const fs::path& at) { ::mkfifo((at / "pipe").c_str(), 0600); }, quantize + "pipe --overwrite", 1,
       "cannot write pipe: it is not a regular file"},
      {"an output that is a device", {}, quantize + "/dev/full --overwrite", 1, "cannot write /dev/full: it is not a regular file"},
      {"a results file in no folder", {}, "eval model --data-dir images --results-file nodir/r.csv", 1, "cannot write nodir/r.csv: No such file or directory"},
      {"a state of table that is none", state, "table model --calib images --data-dir images --settings float -o t.json", 1,
       "t.json is not the state of an igq table"},
  };
}

std::vector<Row> flag_rows() {
  const std::string eval = "eval model --data-dir images ", quantize = "quantize model --calib images -o out.igq ";
  return {
      {"no verb", {}, "", 2, "no verb given: use one of inspect, quantize, eval, predict, bench, compare, table"},
      {"an unknown verb", {}, "frobnicate", 2, "unknown verb 'frobnicate': use one of inspect, quantize"},
      {"an unknown flag", {}, eval + "--frobnicate", 2, "The following argument was not expected: --frobnicate"},
      {"a flag that is required", {}, "eval model", 2, "--data-dir is required"},
      {"no model", {}, "bench", 2, "MODEL, or --arch NAME for random weights, is required"},
      {"an empty argument", {}, "eval model --data-dir ''", 2, "argument 4 is empty: a variable that is not set?"},
      {"no place for the report", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); }, "report q.igq", 2,
       "say where to write the report: -o report.html (or --json)"},
      {"no threads", {}, eval + "--threads 0", 2, "--threads: Value 0 not in range 1 to 1024"},
      {"threads that are no number", {}, eval + "--threads many", 2, "--threads: Value many not in range 1 to 1024"},
      {"an instruction set nobody knows", {}, eval + "--isa z80", 2, "--isa: unknown instruction set 'z80': this machine runs reference"},
      {"an execution nobody knows", {}, eval + "--execution fast", 2, "--execution: unknown execution 'fast': use one of float, simulate, integer"},
      {"an interpolation nobody knows", {}, eval + "--interpolation magic", 2, "--interpolation: interpolation 'magic' is unknown; use one of nearest, bilinear"},
      {"a share that is not a number", {}, eval + "--crop-pct nan", 2, "--crop-pct: 'nan' is not a number from 0.05 to 2"},
      {"an image size of 0", {}, eval + "--img-size 0", 2, "--img-size: Value 0 not in range 1 to 16384"},
      {"a limit of 0", {}, eval + "--limit 0", 2, "--limit: '0' is not a number from 1 to 2147483647"},
      {"a limit beyond an int", {}, eval + "--limit 99999999999999", 2, "--limit: '99999999999999' is not a number from 1 to 2147483647"},
      {"bits out of range", {}, quantize + "--bits w9a4", 2,
       "--bits: 'w9a4' does not say bits: write w4a4 for 4-bit weights and 4-bit activations, 2 to 8 each"},
      {"no groups", {}, quantize + "--groups 0", 2, "--groups: '0' is no number of groups: write 1 to 1024, or auto"},
      {"a grouping nobody knows", {}, quantize + "--grouping magic", 2, "--grouping: unknown grouping 'magic': use one of float, layer, static-group, igq"},
      {"a weight method nobody knows", {}, quantize + "--weights magic", 2, "--weights: unknown weight method 'magic': use one of rtn, gptq, erq"},
      {"a regular expression that is none", {}, quantize + "--keep '('", 2, "--keep: '(' is not a regular expression"},
      {"a regular expression that fits nothing", {}, quantize + "--keep zzz", 1, "--keep 'zzz' fits no site of the model: `igq inspect` prints their names"},
      {"bits for sites without bits", {}, quantize + "--site-bits head", 2, "--site-bits: 'head' is not REGEX=w6a6"},
      {"a seed below 0", {}, quantize + "--seed -1", 2, "--seed: '-1' is no seed: write a number from 0 to 2^64 - 1"},
      {"no samples", {}, quantize + "--samples 0", 2, "--samples: Value 0 not in range 1 to 100000"},
      {"--max-drop without test images", {}, quantize + "--max-drop 1", 2, "--max-drop needs labelled images: add --data-dir DIR"},
      {"a row of the table nobody knows", {}, "table model --calib images --data-dir images --settings magic", 2, "--settings: magic not in"},
  };
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (const auto& some : {model_rows(), image_rows(), folder_rows(), output_rows(), flag_rows()}) rows.insert(rows.end(), some.begin(), some.end());
  return rows;
}

/// Every file below a folder and its bytes.
std::map<std::string, std::string> snapshot(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) files[entry.path().string()] = entry.is_regular_file() ? read_text(entry.path()) : "";
  return files;
}

class BadInput : public CliTest, public ::testing::WithParamInterface<Row> {};

TEST_P(BadInput, SaysItClearlyAndWritesNothing) {
  const Row& row = GetParam();
  if (row.make) row.make(path());
  const auto before = snapshot(path());
  const Output result = run(row.command);
  EXPECT_EQ(result.exit_code, row.exit_code) << row.command << "\n" << result.err;
  EXPECT_TRUE(result.out.empty()) << result.out;
  EXPECT_NE(result.err.find(row.says), std::string::npos) << result.err;
  const auto error = result.err.find("igq: error: ");
  ASSERT_NE(error, std::string::npos) << result.err;
  const std::string line = result.err.substr(error, result.err.find('\n', error) - error);
  EXPECT_NE(line.find(row.says), std::string::npos) << "not in the first line: " << result.err;
  EXPECT_EQ(snapshot(path()), before) << "something was written or changed";
}

std::string test_name(const ::testing::TestParamInfo<Row>& info) {
  std::string name;
  for (const char c : info.param.wrong) name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Model, BadInput, ::testing::ValuesIn(model_rows()), test_name);
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
    if (std::system((as_other + "test -x '" IGQ_PROGRAM "' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "runs as root, and other users cannot run igq here";
  }
  const Output result = igq_with(as_other, "eval model --data-dir images", path());
  fs::permissions(folder, fs::perms::owner_all);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("images: the folder cannot be read: Permission denied"), std::string::npos) << result.err;
}

TEST_F(CliTest, UnusualImagesAreRead) {
  for (const std::string name : {"one_pixel.png", "gray16.png", "rgb16.png", "rgba16_interlaced.png", "cmyk.jpg", "ycck.jpg", "palette1.png",
                                 "very_tall.png", "png_named.JPEG", "exif_rotated.jpg", "gray_progressive.jpg"}) {
    const Output result = run("predict model '" + (fixtures() / "images" / name).string() + "'");
    EXPECT_EQ(result.exit_code, 0) << name << result.err;
  }
}

TEST_F(CliTest, AFullDiskUnderStandardOutputIsAFault) {
  for (const std::string verb : {"--help", "inspect --list", "inspect model", "inspect model --json", "predict model images/coat/0047.png",
                                 "eval model --data-dir images"}) {
    const Output result = igq_with("", verb, path(), "/dev/full");
    EXPECT_EQ(result.exit_code, 1) << verb;
    EXPECT_EQ(result.err, "igq: error: cannot write to standard output\n") << verb;
  }
}

TEST_F(CliTest, AnOutputThatIsALinkStaysOne) {
  spill(path() / "real.csv", "file,label,old");
  fs::create_symlink("real.csv", path() / "link.csv");
  ASSERT_EQ(run("eval model --data-dir images --results-file link.csv --overwrite").exit_code, 0);
  EXPECT_TRUE(fs::is_symlink(path() / "link.csv"));
  EXPECT_EQ(read_text(path() / "real.csv").substr(0, 18), "file,label,class_1");
}

}  // namespace
}  // namespace igq::test
