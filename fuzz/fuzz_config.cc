// config.json of timm and transformers, preprocessor_config.json and igq's own form: any text either gives a
// configuration that igq's own form keeps unchanged, or is an Error. Input: config text, a zero byte, preprocessor
// text.
#include <numeric>

#include "base/json.h"
#include "fuzz/fuzz.h"
#include "io/json_fields.h"
#include "models/config_json.h"
#include "models/model.h"
#include "models/timm_config.h"
#include "models/transformers_config.h"

namespace {

void check(const igq::ModelConfig& config) {
  const nlohmann::json stored = igq::config_to_json(config);
  const igq::ModelConfig again = igq::config_from_json(stored);  // throws where a value is out of range
  if (igq::config_to_json(again) != stored) std::abort();
  const int blocks = again.family == igq::Family::kSwin
                         ? std::accumulate(again.swin.depths.begin(), again.swin.depths.end(), 0)
                         : again.vit.depth;
  if (blocks <= 32) igq::expected_tensors(again);  // thousands are right, but slow
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  fuzz::Bytes in(data, size);
  const std::string_view config_text = in.text(), preprocessor_text = in.rest();
  fuzz::expect_error_or_success([&] {
    const nlohmann::json config = parse_json(config_text);
    if (is_timm_config(config)) {
      check(timm_config(config));
    } else if (is_transformers_config(config)) {
      check(transformers_config(config,
                                preprocessor_text.empty() ? nlohmann::json(nullptr) : parse_json(preprocessor_text)));
    } else {
      check(config_from_json(config));
    }
  });
  return 0;
}
