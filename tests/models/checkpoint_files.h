// Checkpoints made by editing fixtures: what tests of loading and its errors are built from.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/json.h"
#include "igq/error.h"
#include "io/memory_tensors.h"
#include "io/safetensors.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "tests/test_util.h"

namespace igq::test {

/// Values for tensors whose shape alone matters: a new AlignedBuffer holds anything, values that are not finite too.
inline AlignedBuffer<float> zeros(std::size_t count) {
  AlignedBuffer<float> values;
  values.resize_zero(count);
  return values;
}

/// A copy of fixture `name` in a folder of its own, below a temporary one.
class EditedFixture {
 public:
  /// A copy of tests/fixtures/<kind>/<name>.
  explicit EditedFixture(const std::string& name, const std::string& kind = "models") : path_(folder_.path() / name) {
    std::filesystem::copy(fixtures() / kind / name, path_);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path weights() const { return path_ / "model.safetensors"; }

  template <typename Edit>
  void edit_json(const std::string& file, Edit&& edit) {
    nlohmann::json value = nlohmann::json::parse(std::ifstream(path_ / file));
    edit(value);
    std::ofstream(path_ / file) << value;
  }
  /// edit(std::map<std::string, Tensor>&) on the stored tensors, which become F32.
  struct Tensor {
    Shape shape;
    AlignedBuffer<float> values;
  };
  template <typename Edit>
  void edit_tensors(Edit&& edit) {
    std::map<std::string, Tensor> all;
    {
      const auto stored = open_safetensors(weights());
      for (const auto& [name, shape] : stored->shapes()) all[name] = {shape, stored->read(name)};
    }
    edit(all);
    MemoryTensors edited("edited");
    for (auto& [name, tensor] : all) edited.add(name, tensor.shape, std::move(tensor.values));
    write_safetensors(weights(), edited, true);
  }

 private:
  TemporaryFolder folder_;
  std::filesystem::path path_;
};

/// The text of the Error of load_model; empty when it loads.
inline std::string load_error(const std::filesystem::path& path, const CheckpointOptions& options = {}) {
  return test::error_text([&] { load_model(path, options); });
}

/// Float logits of one image whose values are a fixed pattern.
inline std::vector<float> logits_of(const LoadedModel& loaded) {
  std::vector<float> image(static_cast<std::size_t>(loaded.model->image_floats()));
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i * 37 % 101) / 50.0f - 1.0f;
  Runner runner(*loaded.model, Execution::kFloat, best_isa(), 1);
  const auto logits = runner.run(image.data());
  return {logits.begin(), logits.end()};
}

}  // namespace igq::test

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)
