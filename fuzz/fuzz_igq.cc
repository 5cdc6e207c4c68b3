// .igq files, of classifiers and of detectors: any bytes either load, and then build a network that runs one image in
// integers, or are an Error. Random changes never get past checksums or hit the right sizes, so all inputs but those
// that begin with a zero byte are a header and a payload that are made to fit first.
#include <algorithm>

#include "detectors/detector_file.h"
#include "detectors/detector_runner.h"
#include "fuzz/fuzz.h"
#include "models/igq_file.h"
#include "models/model.h"
#include "tests/io/forge.h"

namespace {

using nlohmann::json;

/// Bytes that a tensor of the table takes; 0 when its entry says nothing sound, or too much for a small file.
std::size_t size_of(const json& tensor) {
  const json shape = tensor.value("shape", json());
  const bool codes = tensor.contains("bits");
  std::size_t bits = codes && tensor["bits"].is_number_unsigned() ? tensor["bits"].get<std::size_t>() % 9 : 32;
  if (!shape.is_array()) return 0;
  for (const json& d : shape) {
    if (!d.is_number_unsigned() || d.get<std::size_t>() > 4096 || bits > 1 << 18) return 0;
    bits *= d.get<std::size_t>();
  }
  return bits > 1 << 18 ? 0 : (bits + 7) / 8;
}

/// A header text, a zero byte, a payload. Tensors without offset or size get those that fit, all get right checksums; a
/// payload that is too short for them is filled with numbers that any tensor may hold.
std::string forged(igq::fuzz::Bytes in) {
  igq::test::Forged file;
  file.header = in.text();
  file.payload = in.rest();
  json header = json::parse(file.header, nullptr, false);
  const auto aligned = [](std::size_t size) { return (size + 63) / 64 * 64; };
  if (!header.is_object() || !header.contains("tensors") || !header["tensors"].is_array()) {
    file.payload.resize(aligned(file.payload.size()));
    return file.to_bytes();
  }
  if (header.contains("detector")) file.version = 3;
  std::size_t end = 0;
  for (json& tensor : header["tensors"]) {
    if (!tensor.is_object()) continue;
    const std::size_t size = size_of(tensor);
    if (!tensor.contains("offset")) tensor["offset"] = end;
    if (!tensor.contains("size")) tensor["size"] = size;
    end += aligned(size);
    const json type = tensor.value("dtype", json());
    const char* fill = type == "i32" ? "\1\0\0\0" : type == "u8" ? "\x11\x11\x11\x11" : "\0\0\0\x3f";
    while (file.payload.size() < end && end < 1 << 16) file.payload += fill[file.payload.size() % 4];
  }
  file.payload.resize(aligned(file.payload.size()));
  for (json& tensor : header["tensors"]) {
    if (!tensor.is_object() || !tensor["offset"].is_number_unsigned() || !tensor["size"].is_number_unsigned()) continue;
    const auto offset = std::min(tensor["offset"].get<std::size_t>(), file.payload.size());
    const auto size = std::min(tensor["size"].get<std::size_t>(), file.payload.size());
    const auto bytes =
        std::as_bytes(std::span(file.payload)).subspan(offset, std::min(aligned(size), file.payload.size() - offset));
    tensor["checksum"] = igq::hash_text(igq::hash_bytes(bytes));
  }
  file.header = header.dump(-1, ' ', false, json::error_handler_t::replace);
  return file.to_bytes();
}

void run_one_image(igq::Model& model) {
  using namespace igq;
  const ModelConfig& config = model.config();
  if (config.image_height > 16 || config.image_width > 16 || model.sites().size() > 24) return;  // right, but slow
  ExecContext context;
  context.kernels = &kernels::kernels_for(best_isa());
  context.execution = Execution::kInteger;
  model.prepare(Execution::kInteger, *context.kernels);
  AlignedBuffer<float> image(static_cast<std::size_t>(model.image_floats()));
  for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 7) - 3.0f;
  StepState state;
  model.forward(context, image.data(), state);
  if (state.logits.size() < static_cast<std::size_t>(config.num_classes)) std::abort();
}

void run_one_picture(igq::Detector& detector) {
  using namespace igq;
  const auto [height, width] = detector.usual_size();
  if (height > 128 || width > 128 || detector.sites().size() > 64) return;  // right, but slow
  Image image;
  image.width = 12;
  image.height = 10;
  image.rgb.resize(360);
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<std::uint8_t>(37 * i);
  DetectorRunner runner(detector, Execution::kInteger, best_isa(), 1);
  runner.detect(image, detector.default_threshold());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  static fuzz::MemoryFile file;
  fuzz::Bytes in(data, size);
  const bool raw = in.byte() == 0;
  const std::string bytes = raw ? std::string(in.rest()) : forged(in);
  fuzz::expect_error_or_success([&] {
    const std::string path = file.with(bytes);
    if (is_detector_file(path)) return run_one_picture(*load_detector_file(path).detector);
    QuantizedModel stored = load_igq(path);
    const auto model =
        build_model(stored.config, *stored.tensors, std::make_shared<const QuantizationPlan>(std::move(stored.plan)));
    run_one_image(*model);
  });
  return 0;
}
