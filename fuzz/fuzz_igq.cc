// .igq files: any bytes either load, and then build a model that runs one image in integers, or are an Error. Random changes never get past
// checksums, so all inputs but those that begin with a zero byte are a header and a payload that get right checksums first.
#include <algorithm>

#include "fuzz/fuzz.h"
#include "models/igq_file.h"
#include "models/model.h"
#include "tests/io/forge.h"

namespace {

/// flags (1 byte), header text, a zero byte, payload.
std::string forged(igq::fuzz::Bytes in) {
  igq::testing::Forged file;
  file.header = in.text();
  file.payload = in.rest();
  file.payload.resize((file.payload.size() + 63) / 64 * 64);
  nlohmann::json header = nlohmann::json::parse(file.header, nullptr, false);
  if (!header.is_object() || !header.contains("tensors") || !header["tensors"].is_array()) return file.to_bytes();
  for (auto& tensor : header["tensors"]) {
    if (!tensor.is_object() || !tensor.contains("offset") || !tensor.contains("size")) continue;
    if (!tensor["offset"].is_number_unsigned() || !tensor["size"].is_number_unsigned()) continue;
    const auto offset = std::min(tensor["offset"].get<std::size_t>(), file.payload.size());
    const auto size = std::min(tensor["size"].get<std::size_t>(), file.payload.size());
    const auto bytes = std::as_bytes(std::span(file.payload)).subspan(offset, std::min((size + 63) / 64 * 64, file.payload.size() - offset));
    tensor["checksum"] = igq::hash_text(igq::hash_bytes(bytes));
  }
  file.header = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return file.to_bytes();
}

void run_one_image(igq::Model& model) {
  using namespace igq;
  const ModelConfig& config = model.config();
  if (config.image_height > 64 || config.image_width > 64 || model.sites().size() > 64) return;  // right, but slow
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

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  static fuzz::MemoryFile file;
  fuzz::Bytes in(data, size);
  const bool raw = in.byte() == 0;
  const std::string bytes = raw ? std::string(in.rest()) : forged(in);
  fuzz::expect_error_or_success([&] {
    QuantizedModel stored = load_igq(file.with(bytes));
    const auto model = build_model(stored.config, *stored.tensors, std::make_shared<const QuantizationPlan>(std::move(stored.plan)));
    run_one_image(*model);
  });
  return 0;
}
