// config.json of detectors - mmdetection's resolved form, transformers' YOLOS and DETR - and preprocessor_config.json:
// any text either gives a configuration or is an Error. Input: config text, a zero byte, preprocessor text.

#include "base/json.h"
#include "detectors/detr.h"
#include "detectors/mmdet_config.h"
#include "detectors/yolos.h"
#include "fuzz/fuzz.h"
#include "io/json_fields.h"
#include "io/memory_tensors.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  fuzz::Bytes in(data, size);
  const std::string_view config_text = in.text(), preprocessor_text = in.rest();
  fuzz::expect_error_or_success([&] {
    const nlohmann::json config = parse_json(config_text);
    if (is_mmdet_config(config)) {
      const TwoStageConfig parsed = mmdet_config(config);
      if (parsed.box_heads.empty() || parsed.rpn.anchors() < 1) std::abort();
      return;
    }
    const nlohmann::json preprocessor =
        preprocessor_text.empty() ? nlohmann::json(nullptr) : parse_json(preprocessor_text);
    MemoryTensors tensors("memory");
    tensors.add("class_labels_classifier.weight", {5, 4}, AlignedBuffer<float>(20));
    const QueryPreprocess p = config.contains("image_size") ? yolos_config(config, preprocessor).preprocess
                                                            : detr_config(config, preprocessor, tensors).preprocess;
    const auto [height, width] = query_size(p, 480, 640);
    if (height < 1 || width < 1) std::abort();
  });
  return 0;
}
