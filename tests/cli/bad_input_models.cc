// The rows of wrong models: the tests' tiny model and .igq file, each damaged in one way.
#include <sys/stat.h>

#include <cstring>
#include <limits>
#include <map>

#include "tests/cli/bad_input.h"
#include "tests/io/forge.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void edit_json(const fs::path& path, const std::function<void(json&)>& edit) {
  json value = json::parse(read_text(path));
  edit(value);
  write_text(path, value.dump());
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
      header[name] = {{"dtype", entry.type},
                      {"shape", entry.shape},
                      {"data_offsets", {data.size(), data.size() + entry.bytes.size()}}};
      data += entry.bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t size = text.size();
    write_text(path, std::string(reinterpret_cast<const char*>(&size), 8) + text + data);
  }
};

const fs::path kWeights = "model/model.safetensors";

Row model_row(const std::string& wrong, std::function<void(const fs::path&)> make, const std::string& says) {
  return {wrong, std::move(make), "quantize model --calib images --samples 2 -o out.igq", 1, says};
}

Row config_row(const std::string& wrong, std::function<void(json&)> edit, const std::string& says) {
  return model_row(
      wrong, [edit](const fs::path& at) { edit_json(at / "model/config.json", edit); }, says);
}

Row text_row(const std::string& wrong, const std::string& text, const std::string& says) {
  return model_row(
      wrong, [text](const fs::path& at) { write_text(at / "model/config.json", text); }, says);
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
        write_text(at / kWeights, bytes);
      },
      says);
}

Row igq_row(const std::string& wrong, std::function<void(std::string&)> edit, const std::string& says,
            const std::string& flags = "") {
  return {wrong,
          [edit](const fs::path& at) {
            std::string bytes = read_text(fixtures() / "igq/v1.igq");
            edit(bytes);
            write_text(at / "q.igq", bytes);
          },
          "inspect q.igq" + flags, 1, says};
}

void set_first(Weights& weights, const std::string& name, float value) {
  std::memcpy(weights.tensors.at(name).bytes.data(), &value, 4);
}

/// The weights as the shard `shard` of an index that says `shard_in_index`.
Row shard_row(const std::string& wrong, const std::string& shard, const std::string& shard_in_index,
              const std::string& says) {
  return model_row(
      wrong,
      [shard, shard_in_index](const fs::path& at) {
        json map = json::object();
        for (const auto& [name, entry] : Weights(at / kWeights).tensors) map[name] = shard_in_index;
        fs::rename(at / kWeights, at / "model" / shard);
        write_text(at / "model/model.safetensors.index.json", json{{"weight_map", map}}.dump());
      },
      says);
}

}  // namespace

std::vector<Row> model_rows() {
  constexpr auto kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  return {
      {"nothing at this path",
       {},
       "predict nothing a.png",
       1,
       "nothing does not exist: give a model folder, a .safetensors file or an .igq file"},
      {"an empty folder", [](const fs::path& at) { fs::create_directory(at / "empty"); }, "predict empty a.png", 1,
       "empty holds no model: a model folder has config.json and model.safetensors"},
      {"a file that is no model", {}, "predict images/coat/0047.png a.png", 1, "is no model that igq reads"},
      model_row(
          "weights without config.json", [](const fs::path& at) { fs::remove(at / "model/config.json"); },
          "has no config.json beside it: name the architecture with --arch"),
      model_row(
          "config.json without weights", [](const fs::path& at) { fs::remove(at / kWeights); }, "model holds no model"),
      model_row(
          "a PyTorch pickle", [](const fs::path& at) { fs::rename(at / kWeights, at / "model/pytorch_model.bin"); },
          "is a PyTorch pickle, which can run code when it is opened; igq reads safetensors. Convert it once with"),
      text_row("config.json is empty", "", "config.json cannot be used: its JSON does not parse"),
      text_row("config.json is not JSON", "{\"architecture\": ", "config.json cannot be used: its JSON does not parse"),
      text_row("config.json is not UTF-8", "{\"architecture\": \"\xff\xfe\"}",
               "config.json cannot be used: its JSON does not parse"),
      text_row("config.json is nested 100,000 deep", std::string(100000, '['), "its JSON is nested deeper than 64"),
      text_row("config.json is of neither timm nor transformers", "{}",
               "it is neither timm's (no 'architecture') nor of transformers"),
      text_row("a transformers model that is no image classifier",
               R"({"model_type": "bert", "architectures": ["BertModel"]})",
               "'architectures' names BertModel and 'model_type' is bert, igq runs ViTForImageClassification"),
      config_row(
          "an architecture igq does not have", [](json& c) { c["architecture"] = "resnet50"; },
          "unknown architecture 'resnet50'; nearest:"),
      config_row(
          "an argument igq does not know", [](json& c) { c["model_args"]["rope"] = true; },
          "'model_args.rope' is not known to igq and may change what the model computes"),
      config_row(
          "a number out of range", [](json& c) { c["model_args"]["depth"] = 1000000; },
          "'model_args.depth' is 1000000, not between 1 and 4096"),
      config_row(
          "a number that is text", [](json& c) { c["model_args"]["num_heads"] = "two"; },
          "'model_args.num_heads' is not an integer"),
      config_row(
          "heads that do not divide the width", [](json& c) { c["model_args"]["num_heads"] = 3; },
          "'num_heads' 3 does not divide 'embed_dim' 32"),
      config_row(
          "a standard deviation of 0",
          [](json& c) {
            c["pretrained_cfg"]["std"] = {0, 0, 0};
          },
          "'std' is 0, it must be above 0"),
      config_row(
          "more classes than memory", [](json& c) { c["num_classes"] = std::int64_t{1} << 40; },
          "'num_classes' is 1099511627776, not between 0 and 1048576"),
      config_row(
          "a model of gray images",
          [](json& c) {
            c["pretrained_cfg"]["input_size"] = {1, 32, 32};
          },
          "the model takes 1 channels, igq feeds it RGB images"),
      config_row(
          "an activation igq does not have", [](json& c) { c["model_args"]["act_layer"] = "mish"; },
          "'model_args.act_layer' is 'mish', igq has gelu"),
      config_row(
          "a pooling igq does not have", [](json& c) { c["global_pool"] = "max"; },
          "'global_pool' is 'max', igq has token, avg and map"),
      config_row(
          "an interpolation igq does not have", [](json& c) { c["pretrained_cfg"]["interpolation"] = "magic"; },
          "interpolation 'magic' is unknown; use one of nearest, bilinear"),
      config_row(
          "a mean of one channel", [](json& c) { c["pretrained_cfg"]["mean"] = {0.5}; },
          "'mean' does not have 3 entries"),
      model_row(
          "config.json is a pipe",
          [](const fs::path& at) {
            fs::remove(at / "model/config.json");
            ::mkfifo((at / "model/config.json").c_str(), 0600);
          },
          "has no config.json beside it"),
      shard_row("a shard is missing", "elsewhere.safetensors", "part-1.safetensors",
                "names the shard 'part-1.safetensors', which is not there: download or copy it too"),
      shard_row("a shard in another folder", "part-1.safetensors", "../part-1.safetensors",
                "it names the shard '../part-1.safetensors', which is not a file beside it"),
      model_row(
          "an index of shards that is not JSON",
          [](const fs::path& at) {
            fs::rename(at / kWeights, at / "model/x"), write_text(at / "model/model.safetensors.index.json", "{");
          },
          "model.safetensors.index.json cannot be used: its JSON does not parse"),
      bytes_row(
          "two tensors of one name",
          [](std::string& b) {
            const auto at = b.find("\"norm.bias\"");
            b.replace(at, 11, "\"head.bias\"");
          },
          "it holds two entries called 'head.bias'"),
      weights_row(
          "a tensor is missing", [](Weights& w) { w.tensors.erase("blocks.1.mlp.fc1.bias"); },
          "missing: blocks.1.mlp.fc1.bias"),
      weights_row(
          "a tensor too many", [](Weights& w) { w.tensors["blocks.9.norm1.bias"] = w.tensors["norm.bias"]; },
          "extra: blocks.9.norm1.bias"),
      weights_row(
          "a tensor of another shape",
          [](Weights& w) {
            w.tensors["pos_embed"].shape = {1, 1, 544};
          },
          "misshapen: pos_embed is [1, 1, 544] instead of [1, 17, 32]"),
      weights_row(
          "a tensor of another type",
          [](Weights& w) {
            w.tensors["norm.bias"].type = "I64";
            w.tensors["norm.bias"].bytes.resize(256);
          },
          "norm.bias"),
      weights_row(
          "a weight that is not a number", [](Weights& w) { set_first(w, "blocks.0.attn.qkv.weight", kNan); },
          "tensor 'blocks.0.attn.qkv.weight' holds values that are not finite"),
      weights_row(
          "an infinite weight", [](Weights& w) { set_first(w, "norm.bias", kInfinity); },
          "tensor 'norm.bias' holds values that are not finite"),
      weights_row(
          "a tensor that claims 4 TiB", [](Weights& w) { w.tensors["norm.bias"].shape = {std::int64_t{1} << 40}; },
          "tensor 'norm.bias' has 128 bytes, its shape and type need 4398046511104"),
      bytes_row(
          "weights that are empty", [](std::string& b) { b.clear(); },
          "is damaged or not a safetensors file: it has only 0 bytes"),
      bytes_row(
          "weights cut in half", [](std::string& b) { b.resize(b.size() / 2); },
          "lies beyond the end of the file: download or copy it again"),
      bytes_row(
          "a header that claims 2^62 bytes", [](std::string& b) { b[7] = 0x40; },
          "it claims a header of 4611686018427"),
      igq_row(
          "an .igq file that is empty", [](std::string& b) { b.clear(); },
          "q.igq is not an .igq file: give a file written by igq quantize"),
      igq_row(
          "an .igq file that is something else", [](std::string& b) { b = "hello, world"; },
          "q.igq is not an .igq file"),
      igq_row(
          "an .igq file cut short", [](std::string& b) { b.resize(b.size() - 100); }, "q.igq is damaged: it has"),
      igq_row(
          "an .igq file with one bit flipped in a tensor", [](std::string& b) { b[b.size() - 64] ^= 1; },
          "q.igq is damaged: the checksum of its tensor"),
      igq_row(
          "an .igq file with one bit flipped in its header", [](std::string& b) { b[100] ^= 1; },
          "q.igq is damaged: the checksum of its header fails"),
      igq_row(
          "an .igq file of a newer version", [](std::string& b) { b[8] = 9; },
          "q.igq has format version 9, this igq reads versions 1 to 3: update igq"),
      igq_row(
          "--img-size or --arch on an .igq file", [](std::string&) {},
          "is quantized for its image size, --img-size does not apply", " --img-size 64"),
      {"quantizing an .igq file", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "quantize q.igq --calib images --samples 2 -o out.igq", 1,
       "q.igq is quantized already: start from the float model"},
      {"integers from a float model",
       {},
       kPredict + " --execution integer",
       1,
       "model is a float model, which cannot run with --execution integer: quantize it first with `igq quantize`"},
      igq_row(
          "an .igq file with a field of a newer version",
          [](std::string& b) {
            auto forged = ::igq::test::Forged::from(b);
            json header = forged.json();
            header["config"]["vit"]["sparsity"] = true;
            forged.set_json(header);
            b = forged.to_bytes();
          },
          "q.igq was made by a newer igq: config.vit has a field 'sparsity', which this igq does not know: update igq"),
      {"a report on a float model",
       {},
       "report model -o r.html",
       1,
       "model is not an .igq file: quantize a model first with `igq quantize`"},
      {"a table of an .igq file", [](const fs::path& at) { fs::copy_file(fixtures() / "igq/v1.igq", at / "q.igq"); },
       "table q.igq --calib images --data-dir images", 1,
       "q.igq is quantized already: the table starts from the float model"},
      {"an image size below one patch, of an architecture",
       {},
       "inspect --arch vit_tiny_patch16_224 --img-size 7",
       1,
       "is smaller than one patch"},
      {"an image size below one patch", {}, kPredict + " --img-size 1", 1, "is smaller than one patch"},
  };
}

}  // namespace igq::test
