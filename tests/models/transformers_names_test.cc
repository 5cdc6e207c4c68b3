// The module names of transformers 5, which its save_pretrained(..., save_original_format=False) writes: the fixtures
// of every family under these names give the same bits as under the older ones. The renaming is that of transformers'
// conversion_mapping.py.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/models/checkpoint_files.h"

namespace igq {
namespace {

using test::EditedFixture;
using Tensors = std::map<std::string, EditedFixture::Tensor>;
using Rules = std::vector<std::pair<std::string, std::string>>;

const Rules kVit = {{"encoder.layer.", "layers."},
                    {"attention.attention.query", "attention.q_proj"},
                    {"attention.attention.key", "attention.k_proj"},
                    {"attention.attention.value", "attention.v_proj"},
                    {"attention.output.dense", "attention.o_proj"},
                    {"intermediate.dense", "mlp.fc1"},
                    {"output.dense", "mlp.fc2"}};
const Rules kSwin = {
    {"attention.self.query", "attention.q_proj"},
    {"attention.self.key", "attention.k_proj"},
    {"attention.self.value", "attention.v_proj"},
    {"attention.self.relative_position_bias_table", "attention.relative_position_bias.relative_position_bias_table"},
    {"attention.output.dense", "attention.o_proj"},
    {"intermediate.dense", "mlp.fc1"},
    {"output.dense", "mlp.fc2"}};
const Rules kDino = {{"attention.attention.query", "attention.q_proj"},
                     {"attention.attention.key", "attention.k_proj"},
                     {"attention.attention.value", "attention.v_proj"},
                     {"attention.output.dense", "attention.o_proj"},
                     {"mlp.weights_out", "mlp.down_proj"}};

/// The halves of DINOv2's packed gate and value under names of their own.
void split_gates(Tensors& tensors) {
  const std::string packed = "mlp.weights_in";
  Tensors split;
  for (auto& [name, tensor] : tensors) {
    const auto at = name.find(packed);
    if (at == std::string::npos) {
      split.emplace(name, std::move(tensor));
      continue;
    }
    const std::size_t half = tensor.values.size() / 2;
    Shape shape = tensor.shape;
    shape[0] /= 2;
    for (const bool value : {false, true}) {
      std::string part = name;
      part.replace(at, packed.size(), value ? "mlp.up_proj" : "mlp.gate_proj");
      AlignedBuffer<float> rows(half);
      std::copy_n(tensor.values.begin() + (value ? half : 0), half, rows.begin());
      split[part] = {shape, std::move(rows)};
    }
  }
  tensors = std::move(split);
}

void rename(Tensors& tensors, const Rules& rules) {
  Tensors renamed;
  for (auto& [name, tensor] : tensors) {
    std::string now = name;
    for (const auto& [from, to] : rules)
      if (const auto at = now.find(from); at != std::string::npos) now.replace(at, from.size(), to);
    renamed.emplace(now, std::move(tensor));
  }
  tensors = std::move(renamed);
}

struct Case {
  const char* fixture;
  const Rules* rules;
  int renamed;  ///< how many names change at least
};

class TransformersFive : public testing::TestWithParam<Case> {};

TEST_P(TransformersFive, SameBitsUnderBothNames) {
  EditedFixture fixture(GetParam().fixture);
  const auto want = test::logits_of(load_model(fixture.path()));
  int changed = 0;
  fixture.edit_tensors([&](Tensors& tensors) {
    Tensors before;
    for (const auto& [name, tensor] : tensors) before[name].shape = tensor.shape;
    split_gates(tensors);
    rename(tensors, *GetParam().rules);
    for (const auto& [name, tensor] : tensors) changed += before.contains(name) ? 0 : 1;
  });
  EXPECT_GE(changed, GetParam().renamed);
  EXPECT_EQ(test::logits_of(load_model(fixture.path())), want);
  // A wrapper of training around it.
  for (const std::string prefix : {"module.", "_orig_mod.", "model."}) {
    fixture.edit_tensors([&](Tensors& tensors) {
      Tensors wrapped;
      for (auto& [name, tensor] : tensors) wrapped.emplace(prefix + name, std::move(tensor));
      tensors = std::move(wrapped);
    });
    EXPECT_EQ(test::logits_of(load_model(fixture.path())), want) << prefix;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TransformersFive,
                         testing::Values(Case{"hf_vit", &kVit, 32}, Case{"hf_vit_nobias", &kVit, 26},
                                         Case{"hf_deit", &kVit, 32}, Case{"hf_deit_teacher", &kVit, 32},
                                         Case{"hf_swin", &kSwin, 52}, Case{"hf_swin_pad", &kSwin, 52},
                                         Case{"hf_dinov2", &kDino, 16}, Case{"hf_dinov2_swiglu", &kDino, 28},
                                         Case{"hf_dinov2_reg", &kDino, 16}),
                         [](const auto& test_case) { return std::string(test_case.param.fixture); });

// Gate and value are one layer: a checkpoint that lacks one of them says so by the names it has.
TEST(TransformersFiveNames, HalfAGateIsMissing) {
  EditedFixture fixture("hf_dinov2_swiglu");
  fixture.edit_tensors([](Tensors& tensors) {
    split_gates(tensors);
    rename(tensors, kDino);
    tensors.erase("dinov2.encoder.layer.0.mlp.up_proj.weight");
  });
  const std::string text = test::load_error(fixture.path());
  EXPECT_SAYS(text, "missing: blocks.0.mlp.fc1.bias, blocks.0.mlp.fc1.weight");
  EXPECT_SAYS(text, "dinov2.encoder.layer.0.mlp.gate_proj.weight");
}

}  // namespace
}  // namespace igq
