// Folders of timm and transformers: any config.json, preprocessor_config.json and tensors either give a model that runs
// one image to finite logits, or are an Error. Input: the three texts, each up to a zero byte - the tensors as the JSON
// header of a safetensors file - and the tensors' bytes. Offsets that are not given are those that fit, bytes that
// are missing are numbers any tensor may hold; an empty header gets every tensor that the configuration asks for.
#include <cmath>
#include <fstream>

#include "base/json.h"
#include "fuzz/fuzz.h"
#include "io/json_fields.h"
#include "models/config_check.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "models/timm_config.h"
#include "models/transformers_config.h"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kMostBytes = 1 << 18;

const fs::path& folder() {
  static const fs::path& path = *[] {
    const char* memory = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    std::string pattern = std::string(memory) + "/igq_fuzz_XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    std::atexit([] {
      std::error_code ignored;
      fs::remove_all(folder(), ignored);
    });
    return new fs::path(pattern);  // never destroyed: the handler above runs after destructors of statics
  }();
  return path;
}

void spill(const char* name, std::string_view text) {
  const fs::path path = folder() / name;
  if (text.empty()) {
    std::error_code ignored;
    fs::remove(path, ignored);
    return;
  }
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// Bytes of a tensor by its entry; 0 when that says nothing sound, or too much.
std::size_t size_of(const json& entry) {
  const json shape = entry.value("shape", json()), type = entry.value("dtype", json());
  if (!shape.is_array() || !type.is_string()) return 0;
  const std::string& name = type.get_ref<const std::string&>();
  std::size_t bytes = name.ends_with("64") ? 8 : name.ends_with("32") ? 4 : name.ends_with("16") ? 2 : 1;
  for (const json& d : shape) {
    if (!d.is_number_unsigned() || d.get<std::size_t>() > kMostBytes || bytes > kMostBytes) return 0;
    bytes *= d.get<std::size_t>();
  }
  return bytes > kMostBytes ? 0 : bytes;
}

/// The header of every tensor that the configuration asks for, {} when that is too much or no configuration.
json asked_for(std::string_view config_text, std::string_view preprocessor_text) {
  json header = json::object();
  const json config = igq::parse_json(config_text);
  const igq::ModelConfig model =
      igq::is_timm_config(config)
          ? igq::timm_config(config)
          : igq::transformers_config(config, preprocessor_text.empty() ? json() : igq::parse_json(preprocessor_text));
  igq::check_config(model);
  if ((model.family == igq::Family::kVit ? model.vit.depth : 0) > 4) return header;
  for (const int depth : model.swin.depths)
    if (model.family == igq::Family::kSwin && depth > 4) return header;
  std::size_t total = 0;
  for (const auto& [name, shape] : igq::expected_tensors(model)) {
    header[name] = {{"dtype", "F32"}, {"shape", shape}};
    total += size_of(header[name]);
    if (size_of(header[name]) == 0 || total > kMostBytes) return json::object();
  }
  return header;
}

std::string weights(json header, std::string_view bytes) {
  std::string data(bytes);
  std::size_t end = 0;
  for (auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || !entry.is_object()) continue;
    const std::size_t size = size_of(entry);
    if (!entry.contains("data_offsets")) entry["data_offsets"] = {end, end + size};
    end += size;
    constexpr std::string_view kFill("\x00\x3c\x00\x3c", 4);  // 0.0078 as F32 and BF16, 1 as F16
    while (data.size() < end && end <= kMostBytes) data += kFill[data.size() % kFill.size()];
  }
  data.resize(std::min(std::max(end, bytes.size()), kMostBytes));
  const std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  const std::uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data;
}

void run_one_image(igq::Model& model) {
  const igq::ModelConfig& config = model.config();
  if (config.image_height > 32 || config.image_width > 32 || model.sites().size() > 24) return;  // right, but slow
  igq::Runner runner(model, igq::Execution::kFloat, igq::best_isa(), 1);
  igq::AlignedBuffer<float> image(static_cast<std::size_t>(model.image_floats()));
  for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 7) - 3.0f;
  for (const float logit : runner.run(image.data()))
    if (!std::isfinite(logit)) std::abort();
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  fuzz::Bytes in(data, size);
  const std::string_view config = in.text(), preprocessor = in.text(), header = in.text();
  fuzz::expect_error_or_success([&] {
    json tensors = header.empty() ? asked_for(config, preprocessor) : json::parse(header, nullptr, false);
    spill("config.json", config);
    spill("preprocessor_config.json", preprocessor);
    spill("model.safetensors", tensors.is_object() ? weights(std::move(tensors), in.rest()) : std::string(header));
    const LoadedModel loaded = load_model(folder());
    run_one_image(*loaded.model);
  });
  return 0;
}
