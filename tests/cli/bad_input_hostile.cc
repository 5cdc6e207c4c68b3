// The rows of files that are whole - every checksum right - and say what cannot be: contradictions, numbers nothing can
// be computed with, sizes no small file should ask for.
#include <cstring>
#include <limits>

#include "tests/cli/bad_input.h"
#include "tests/io/forge.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;
using ::igq::test::Forged;
using nlohmann::json;

/// The golden .igq file (a ViT of 8 x 8 images in patches of 4, 8 channels, 2 blocks) with its header or payload
/// changed.
Row forged_row(const std::string& wrong, std::function<void(json&, std::string&)> edit, const std::string& says,
               const std::string& command = "inspect q.igq") {
  return {wrong,
          [edit](const fs::path& at) {
            Forged file = Forged::from(read_text(fixtures() / "igq/v1.igq"));
            json header = file.json();
            edit(header, file.payload);
            file.set_json(header);
            for (std::size_t i = 0; i < header["tensors"].size(); ++i) file.mend_checksum(i);
            test::write_text(at / "q.igq", file.to_bytes());
          },
          command, 1, says};
}

Row header_row(const std::string& wrong, std::function<void(json&)> edit, const std::string& says) {
  return forged_row(
      wrong, [edit](json& header, std::string&) { edit(header); }, says);
}

Row config_row(const std::string& wrong, const std::string& pointer, const json& value, const std::string& says) {
  return header_row(
      wrong, [pointer, value](json& header) { header["config"][json::json_pointer(pointer)] = value; }, says);
}

/// Every value of a float tensor.
std::function<void(json&, std::string&)> fill(const std::string& name, float value) {
  return [name, value](json& header, std::string& payload) {
    for (const json& t : header["tensors"]) {
      if (t["name"] != name) continue;
      const auto offset = t["offset"].get<std::size_t>(), size = t["size"].get<std::size_t>();
      for (std::size_t at = 0; at < size; at += sizeof(value))
        std::memcpy(&payload[offset + at], &value, sizeof(value));
    }
  };
}

void put_be32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
}

std::uint32_t crc_of(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

std::string chunk(const std::string& type, const std::string& data) {
  std::string out;
  put_be32(out, static_cast<std::uint32_t>(data.size()));
  out += type + data;
  put_be32(out, crc_of(type + data));
  return out;
}

/// A gray PNG that claims a size and holds next to nothing.
std::string png_of_size(std::uint32_t width, std::uint32_t height) {
  std::string header;
  put_be32(header, width);
  put_be32(header, height);
  header += std::string("\x08\0\0\0\0", 5);
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + chunk("IDAT", "x") + chunk("IEND", "");
}

}  // namespace

std::vector<Row> hostile_rows() {
  constexpr auto kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  std::vector<Row> rows = {
      config_row("registers without a tensor or a position", "/vit/reg_tokens", 4096,
                 "missing: reg_token; misshapen: pos_embed is [1, 5, 8] instead of [1, 4101, 8]"),
      forged_row("a bias that is not a number", fill("head.bias", kNan),
                 "tensor 'head.bias' holds values that are not finite"),
      forged_row("a norm that is infinite", fill("blocks.1.norm2.weight", kInfinity),
                 "tensor 'blocks.1.norm2.weight' holds values that are not finite"),
      forged_row("a position that is infinite", fill("pos_embed", -kInfinity),
                 "tensor 'pos_embed' holds values that are not finite"),
      config_row("tensors that the configuration has no place for", "/vit/final_norm", false,
                 "tensors contradict each other: extra: norm.bias, norm.weight"),
      config_row("a configuration that lacks tensors", "/vit/layer_scale", true,
                 "missing: blocks.{0-1}.ls1.gamma, blocks.{0-1}.ls2.gamma"),
      config_row("weight codes of another shape", "/vit/mlp_hidden", 14,
                 "misshapen: blocks.{0-1}.mlp.fc1.bias is [13] instead of [14]"),
      config_row("more blocks than tensors", "/vit/depth", 3, "missing: blocks.2.attn.proj.bias"),
      config_row("token pooling without a class token", "/vit/class_token", false,
                 "'pooling' is token and 'class_token' false: nothing to classify"),
      header_row(
          "two heads on one pooled token",
          [](json& h) {
            h["config"]["vit"].update({{"distilled", true}, {"pooling", "avg"}});
          },
          "'pooling' of a distilled model must be token"),
      config_row("gray images in an .igq file", "/in_channels", 1,
                 "the model takes 1 channels, igq feeds it RGB images"),
      config_row("a standard deviation that cannot be divided by", "/preprocess/std", {1e-45, 1e-45, 1e-45},
                 "'std' is 1e-45, no number that pixels can be divided by"),
      config_row("a mean that makes pixels infinite", "/preprocess/mean", {3e38, 0, 0},
                 "'mean' 3e+38 and 'std' 0.229 make pixels infinite"),
      config_row("a crop of next to nothing", "/preprocess/crop_pct", 1e-38,
                 "'crop_pct' 1e-38 is not usable for an input of 8 pixels"),
      config_row("half a resize", "/preprocess/resize_height", 9, "the resize size 9 x 0 lacks a side"),
      config_row("a layer norm that divides by nothing", "/vit/norm_eps", 1e-45,
                 "'norm_eps' is 1e-45, no number that a layer norm can use"),
      config_row("an image size that 14 kilobytes ask 20 seconds for", "/image_height", 65536,
                 "the image has 32768 patches and 1 tokens more, 16640 are allowed"),
      header_row(
          "an input of more pixels than any model's",
          [](json& h) {
            h["config"].update({{"image_height", 8192}, {"image_width", 8192}});
          },
          "images of 8192 x 8192 pixels are larger than the 16777216 pixels allowed"),
      header_row(
          "bounds too far apart",
          [](json& h) {
            h["plan"]["linears"]["patch_embed.proj"]["input"]["groups"] = {{-3.4e38, 3.4e38}};
          },
          "are too far apart for a quantizer"),
      forged_row("a weight scale that makes weights infinite", fill("head:scale", 3e38f),
                 "weight scale 3e+38 makes weights infinite"),
      header_row(
          "a plan of 65,537 sites",
          [](json& h) {
            const json site = h["plan"]["linears"]["head"];
            for (int i = 0; i < 65537; ++i) h["plan"]["linears"]["s" + std::to_string(i)] = site;
          },
          "sites, at most 65536 are allowed"),
      header_row(
          "a site that the network does not have",
          [](json& h) { h["plan"]["attentions"]["head"] = h["plan"]["attentions"]["blocks.0.attn"]; },
          "the quantization plan names the site 'head', which tiny_test_vit does not have"),
      header_row(
          "line breaks and escape sequences in a name",
          [](json& h) { h["plan"]["linears"]["head"]["input"]["grouping"] = "magic\n\x1b[31m"; },
          "unknown grouping 'magic\\n\\x1b[31m'"),
      header_row(
          "a header of millions of values", [](json& h) { h["report"]["values"] = std::vector<int>((1 << 21) + 1); },
          "its JSON has more than 2097152 values"),
      {"two entries of one name in a header",
       [](const fs::path& at) {
         Forged file = Forged::from(read_text(fixtures() / "igq/v1.igq"));
         file.header.insert(1, "\"plan\":{},");
         test::write_text(at / "q.igq", file.to_bytes());
       },
       "inspect q.igq", 1, "it holds two entries called 'plan'"},
      {"two entries of one name in config.json",
       [](const fs::path& at) {
         std::string text = read_text(at / "model/config.json");
         test::write_text(at / "model/config.json",
                          text.insert(text.find('{') + 1, "\"architecture\": \"deit_tiny_patch16_224\","));
       },
       "inspect model", 1, "it holds two entries called 'architecture'"},
      {"an image of an extreme shape",
       [](const fs::path& at) { test::write_text(at / "x.png", png_of_size(1u << 21, 1)); }, "predict model x.png", 1,
       "an image of 2097152 x 1 pixels is too elongated: no side may be above 1048576"},
  };
  const auto overflow = [](json& header, std::string& payload) {
    fill("head:scale", 1.3e36f)(header, payload);
    fill("norm.weight", 1e4f)(header, payload);
    header["plan"]["linears"]["head"]["input"]["groups"] = {{-1e5, 1e5}};
  };
  for (const auto& [verb, command] :
       {std::pair<std::string, std::string>{"predict", "predict q.igq images/coat/0047.png"},
        {"eval", "eval q.igq --data-dir labelled"},
        {"compare", "compare q.igq q.igq --data-dir labelled"}}) {
    Row row = forged_row("weights too large to compute with, for " + verb, overflow,
                         "computes values that are not finite for this image", command);
    row.make = [make = row.make](const fs::path& at) {
      make(at);
      for (const char* label : {"cat", "dog \"Rex\"", "\xc3\xa9l\xc3\xa9phant"}) {
        fs::create_directories(at / "labelled" / label);
        fs::copy_file(fixtures() / "images/one_pixel.png", at / "labelled" / label / "x.png");
      }
    };
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace igq::test
