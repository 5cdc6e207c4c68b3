// The model card: what is measured stands in it, what is not known is said, and no text of a file becomes markup.
#include "report/card.h"

#include <gtest/gtest.h>

#include "tests/report/pages.h"

namespace igq::report {
namespace {

ReportData collect(const test::SavedModel& saved, bool with_images) {
  ReportOptions options;
  options.file_bytes = saved.bytes;
  options.speed = false;
  options.threads = 1;
  options.noise_images = 4;
  if (with_images) options.samples = test::embedded_images(3, 4);
  options.labelled = with_images;
  return collect_report(saved.quantized, with_images ? &saved.reference : nullptr, options);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Card, ShowsWhatWasMeasuredAndWhereItComesFrom) {
  const test::TemporaryFolder folder;
  const test::SavedModel saved = test::save_model(folder.path(), "vit_token");
  const ReportData data = collect(saved, true);
  ASSERT_TRUE(data.accuracy && data.accuracy->agreement);
  const std::string card = model_card(data);
  EXPECT_TRUE(card.starts_with("---\nlibrary_name: igq\npipeline_tag: image-classification\n"));
  EXPECT_TRUE(has(
      card, fmt::format("| top-1 | {:.1f} % (+-{:.1f}) | 12 images |", data.accuracy->top1, data.accuracy->interval)));
  EXPECT_TRUE(has(card, fmt::format("| predicted as the float model predicts | {:.1f} % | 12 images |",
                                    *data.accuracy->agreement)));
  EXPECT_TRUE(has(card, fmt::format("{:.1f} dB | 4 images |", data.logits_snr)));
  EXPECT_TRUE(has(card, "igq eval vit_token.igq --data-dir DIR"));
  EXPECT_TRUE(has(card, data.provenance.source_checksum) && has(card, data.provenance.calibration_checksum));
  EXPECT_TRUE(has(card, "--from vit_token.igq -o again.igq"));
  EXPECT_FALSE(has(card, "license:") || has(card, "base_model:")) << "guessed";
  EXPECT_FALSE(has(card, "was not measured"));
}

TEST(Card, WithoutImagesSaysSoAndKeepsTheVerdict) {
  const test::TemporaryFolder folder;
  const test::SavedModel saved = test::save_model(folder.path(), "vit_token");
  ReportData data = collect(saved, false);
  EXPECT_TRUE(has(model_card(data), "Accuracy was not measured"));
  data.verdict = StoredVerdict{32, true, 21.5, 96.875, 6.0, {}, 0.0};
  data.noise_images = 0;
  const std::string card = model_card(data);
  EXPECT_TRUE(
      has(card, "| predicted as the float model predicts | 96.9 % (+-6.0) | 32 calibration images held back |"));
  EXPECT_TRUE(has(card, "| 21.5 dB | 32 calibration images held back |"));
  data.provenance.source = "hf:org/name@0123abc";
  EXPECT_TRUE(has(model_card(data), "base_model: \"org/name\"\nbase_model_relation: quantized\n"));
  data.config.num_classes = 0;
  data.verdict = StoredVerdict{32, true, 21.5, {}, 0.0, 0.99912, 0.998};
  EXPECT_TRUE(has(model_card(data), "pipeline_tag: image-feature-extraction\n"));
  EXPECT_TRUE(has(model_card(data), "0.99912 (0.99800)"));
  EXPECT_TRUE(has(model_card(data), "igq compare MODEL FILE"));
}

TEST(Card, TextsOfTheFileAreNoMarkup) {
  const test::TemporaryFolder folder;
  const test::SavedModel saved = test::save_model(folder.path(), "vit_token");
  ReportData data = test::extreme_report(collect(saved, true));
  data.provenance.settings = "--keep '``|x`\n# heading'";
  const std::string card = model_card(data);
  for (std::size_t at = card.find('<'); at != std::string::npos; at = card.find('<', at + 1)) {
    // outside of code every one is escaped; within code it is shown as it is
    const std::size_t line = card.rfind('\n', at) + 1;
    const bool in_code =
        card[line] == '-' || card.compare(line, 4, "igq ") == 0 || card.compare(line, 8, "model = ") == 0;
    EXPECT_TRUE(card[at - 1] == '\\' || in_code) << card.substr(line, 80);
  }
  EXPECT_TRUE(has(card, "- settings: ``` --keep '``|x`")) << "a fence that the text cannot end";
  EXPECT_FALSE(has(card, "\n# heading"));
  // A table's row has the cells of its head, whatever the processor is called.
  data.speed->cpu = "CPU | of | bars";
  EXPECT_TRUE(has(model_card(data), "CPU \\| of \\| bars"));
}

TEST(Card, ReplacesCardsAlone) {
  const test::TemporaryFolder folder;
  const test::SavedModel saved = test::save_model(folder.path(), "vit_token");
  const std::filesystem::path card = folder.path() / "README.md", other = folder.path() / "other.md";
  write_file(card, model_card(collect(saved, false)), false, &kCardOutput);
  write_file(card, "---\n", true, &kCardOutput);  // a card may be replaced, and what was written is none
  EXPECT_THROW(write_file(card, "", true, &kCardOutput), Error);
  write_file(other, "# Somebody's own\n", false);
  EXPECT_THROW(write_file(other, "", true, &kCardOutput), Error);
  EXPECT_EQ(test::read_text(other), "# Somebody's own\n");
}

}  // namespace
}  // namespace igq::report
