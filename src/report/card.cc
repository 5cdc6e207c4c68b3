#include "report/card.h"

#include <fmt/format.h>

#include "base/text.h"
#include "report/card_text.h"
#include "report/html.h"

namespace igq::report {
namespace {

bool is_encoder(const ReportData& data) { return data.config.num_classes == 0; }

std::string lead(const ReportData& data) {
  const ModelConfig& config = data.config;
  return fmt::format(
      "# {}\n\n{} quantized for CPUs by igq: its network runs in integers. {} x {} "
      "pixels in, {}. Sites by bits: {}.\n\n",
      plain(data.file), config.architecture.empty() ? "A vision transformer" : plain(config.architecture),
      config.image_width, config.image_height,
      is_encoder(data) ? std::string("a vector out") : plural(config.num_classes, "class", "classes"),
      sites_by_bits(data.sites));
}

std::string measured_rows(const ReportData& data) {
  std::string rows;
  if (data.accuracy) {
    const Accuracy& a = *data.accuracy;
    const std::string on = plural(a.images, "image", "images");
    if (a.labelled) rows += card_row("top-1", fmt::format("{:.1f} % (+-{:.1f})", a.top1, a.interval), on);
    if (a.float_top1) rows += card_row("top-1 of the float model", fmt::format("{:.1f} %", *a.float_top1), on);
    if (a.agreement)
      rows += card_row("predicted as the float model predicts", fmt::format("{:.1f} %", *a.agreement), on);
  }
  if (data.vectors) {
    const VectorFacts& v = *data.vectors;
    const std::string on = plural(v.images, "image", "images");
    rows += card_row("cosine to the float vector, mean (1st percentile)",
                     fmt::format("{:.5f} ({:.5f})", v.cosines.mean, v.cosines.percentile1), on);
    if (v.recall.images > 1)
      rows += card_row("nearest image kept (of the ten nearest)",
                       fmt::format("{:.1f} % ({:.1f} %)", 100.0 * v.recall.at1, 100.0 * v.recall.at10), on);
  }
  if (data.verdict) {
    const StoredVerdict& v = *data.verdict;
    const std::string on =
        plural(v.images, "calibration image", "calibration images") + (v.held_back ? " held back" : "");
    if (v.agreement && !(data.accuracy && data.accuracy->agreement))
      rows += card_row("predicted as the float model predicts",
                       fmt::format("{:.1f} % (+-{:.1f})", *v.agreement, v.agreement_interval), on);
    if (v.cosine_mean && !data.vectors)
      rows += card_row("cosine to the float vector, mean (1st percentile)",
                       fmt::format("{:.5f} ({:.5f})", *v.cosine_mean, v.cosine_percentile1), on);
    if (data.noise_images == 0) rows += card_row("signal to noise of the output", fmt::format("{:.1f} dB", v.snr), on);
  }
  if (data.noise_images > 0)
    rows += card_row("signal to noise of the output",
                     data.logits_snr >= kNoNoise ? "exact" : fmt::format("{:.1f} dB", data.logits_snr),
                     plural(data.noise_images, data.noise_on_data ? "image" : "calibration image",
                            data.noise_on_data ? "images" : "calibration images"));
  return rows;
}

std::string results(const ReportData& data) {
  std::string text = "## Results\n\n| | | measured on |\n|---|---:|---|\n" + measured_rows(data);
  text += card_row("file", fmt::format("{:.2f} MB ({:.2f} MB in float)", data.file_mb, data.float_mb), "");
  text += card_row("bit operations of an image",
                   fmt::format("{:.2f} G ({:.2f} G in float)", data.gbops, data.float_gbops), "");
  if (data.speed) text += card_speed(*data.speed);
  if (is_encoder(data))
    text += "\nMeasure it on other images: `igq compare MODEL FILE --data-dir DIR` prints cosines and recall.\n";
  else if (!data.accuracy)
    text +=
        "\nAccuracy was not measured for this card: `igq report FILE --data-dir DIR --float MODEL --card README.md`.\n";
  return text + "\n";
}

std::string usage(const ReportData& data) {
  const std::string file = shell(data.file);
  std::string text = "## Use\n\nWith igq, or its Python package (`pip install .` in its clone):\n\n```sh\n";
  if (is_encoder(data)) {
    text += fmt::format("igq embed {} photos/ -o vectors.npy --normalize\n", file);
  } else {
    text +=
        fmt::format("igq predict {} photo.jpg --topk 5\nigq eval {} --data-dir DIR   # DIR/CLASS/IMAGE\n", file, file);
  }
  text += fmt::format(
      "```\n\n```python\nimport igq\nmodel = igq.Model({})\n{}\n```\n\n", yaml(data.file),
      is_encoder(data) ? "vectors = model.embed([\"a.jpg\", \"b.jpg\"])" : "model.predict(\"photo.jpg\", topk=5)");
  return text + "The same image gives the same bits on every instruction set and any number of threads.\n\n";
}

}  // namespace

std::string model_card(const ReportData& data) {
  return card_head(is_encoder(data) ? "image-feature-extraction" : "image-classification", data.provenance) + "\n" +
         lead(data) + results(data) + usage(data) + card_provenance(data.provenance, data.file) +
         card_limits(data.config.labels);
}

}  // namespace igq::report
