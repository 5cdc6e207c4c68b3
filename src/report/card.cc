#include "report/card.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/text.h"
#include "report/html.h"

namespace igq::report {
namespace {

constexpr std::string_view kGenerator = "generator: igq report --card\n---\n";
constexpr std::size_t kListedLabels = 20;

/// Plain text within a line of Markdown: nothing in it is markup, a cell of a table or HTML.
std::string plain(std::string_view text) {
  std::string safe;
  for (const char c : printable(text)) {
    if (std::string_view("\\`*_{}[]#!|<>~&").find(c) != std::string_view::npos) safe += '\\';
    safe += c;
  }
  return safe;
}

/// Code within a line, whatever it holds: the fence is longer than any run of backticks inside. A bar would end the
/// cell of a table.
std::string code(std::string_view text) {
  std::string safe = printable(text);
  std::size_t longest = 0, run = 0;
  for (const char c : safe) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  const std::string pad = longest > 0 ? " " : "";
  return fence + pad + safe + pad + fence;
}

/// A word of a shell's command line; quoted where it is more than a plain name.
std::string shell(std::string_view text) {
  const std::string safe = printable(text);
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-/:@+,=").find(c) != std::string_view::npos;
  };
  if (!safe.empty() && std::all_of(safe.begin(), safe.end(), is_plain)) return safe;
  std::string quoted = "'";
  for (const char c : safe) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// A string of YAML, which takes those of JSON.
std::string yaml(std::string_view text) { return nlohmann::json(printable(text)).dump(); }

bool is_encoder(const ReportData& data) { return data.config.num_classes == 0; }

std::string head(const ReportData& data) {
  std::string text = "---\nlibrary_name: igq\n";
  text += fmt::format("pipeline_tag: {}\n", is_encoder(data) ? "image-feature-extraction" : "image-classification");
  text += "tags:\n- igq\n- quantized\n- vision\n";
  // A model of the hub is named by its place there, without the commit; a folder's name names nothing elsewhere.
  if (const std::string& source = data.provenance.source; source.starts_with("hf:"))
    text += fmt::format("base_model: {}\nbase_model_relation: quantized\n",
                        yaml(std::string_view(source).substr(3, source.find('@') - 3)));
  return text + std::string(kGenerator);
}

std::string bits_of(const SiteRow& s) {
  const auto bits = [](int b) { return b > 8 ? std::string("float") : std::to_string(b); };
  if (s.attention) return "softmax a" + bits(s.activation_bits);
  return s.weight_bits > 8 ? "float" : "w" + bits(s.weight_bits) + "a" + bits(s.activation_bits);
}

std::string lead(const ReportData& data) {
  const ModelConfig& config = data.config;
  std::map<std::string, int> counts;
  for (const SiteRow& s : data.sites) ++counts[bits_of(s)];
  std::string bits;
  for (const auto& [name, count] : counts) bits += fmt::format("{}{} x {}", bits.empty() ? "" : ", ", count, name);
  return fmt::format(
      "# {}\n\n{} quantized for CPUs by igq: its network runs in integers. {} x {} "
      "pixels in, {}. Sites by bits: {}.\n\n",
      plain(data.file), config.architecture.empty() ? "A vision transformer" : plain(config.architecture),
      config.image_width, config.image_height,
      is_encoder(data) ? std::string("a vector out") : plural(config.num_classes, "class", "classes"), bits);
}

std::string row(std::string_view name, const std::string& value, const std::string& on) {
  return fmt::format("| {} | {} | {} |\n", name, value, on);
}

std::string measured_rows(const ReportData& data) {
  std::string rows;
  if (data.accuracy) {
    const Accuracy& a = *data.accuracy;
    const std::string on = plural(a.images, "image", "images");
    if (a.labelled) rows += row("top-1", fmt::format("{:.1f} % (+-{:.1f})", a.top1, a.interval), on);
    if (a.float_top1) rows += row("top-1 of the float model", fmt::format("{:.1f} %", *a.float_top1), on);
    if (a.agreement) rows += row("predicted as the float model predicts", fmt::format("{:.1f} %", *a.agreement), on);
  }
  if (data.verdict) {
    const StoredVerdict& v = *data.verdict;
    const std::string on =
        plural(v.images, "calibration image", "calibration images") + (v.held_back ? " held back" : "");
    if (v.agreement && !(data.accuracy && data.accuracy->agreement))
      rows += row("predicted as the float model predicts",
                  fmt::format("{:.1f} % (+-{:.1f})", *v.agreement, v.agreement_interval), on);
    if (v.cosine_mean)
      rows += row("cosine to the float vector, mean (1st percentile)",
                  fmt::format("{:.5f} ({:.5f})", *v.cosine_mean, v.cosine_percentile1), on);
    if (data.noise_images == 0) rows += row("signal to noise of the output", fmt::format("{:.1f} dB", v.snr), on);
  }
  if (data.noise_images > 0)
    rows += row("signal to noise of the output",
                data.logits_snr >= kNoNoise ? "exact" : fmt::format("{:.1f} dB", data.logits_snr),
                plural(data.noise_images, data.noise_on_data ? "image" : "calibration image",
                       data.noise_on_data ? "images" : "calibration images"));
  return rows;
}

std::string results(const ReportData& data) {
  std::string text = "## Results\n\n| | | measured on |\n|---|---:|---|\n" + measured_rows(data);
  text += row("file", fmt::format("{:.2f} MB ({:.2f} MB in float)", data.file_mb, data.float_mb), "");
  text +=
      row("bit operations of an image", fmt::format("{:.2f} G ({:.2f} G in float)", data.gbops, data.float_gbops), "");
  if (data.speed) {
    const Speed& s = *data.speed;
    text += row("one image", fmt::format("{:.2f} ms ({:.2f} ms in float)", s.integer_ms, s.float_ms),
                fmt::format("{}, {}, {}", plain(s.cpu), plain(s.isa), plural(s.threads, "thread", "threads")));
  }
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

std::string provenance(const ReportData& data) {
  const Provenance& p = data.provenance;
  std::string text = "## How it was made\n\n";
  text += fmt::format("- float model: {}, weights {}\n", code(p.source), code(p.source_checksum));
  text += fmt::format("- calibration: {}, {}, seed {}\n", plural(p.calibration_images, "image", "images"),
                      code(p.calibration_checksum), p.seed);
  text += fmt::format("- settings: {}\n- igq {}\n\n", code(p.settings), plain(p.tool_version));
  text += fmt::format(
      "The same model and images give these bytes again:\n\n```sh\nigq quantize {} --calib DIR --from {} -o again.igq\n"
      "```\n\n",
      shell(p.source), shell(data.file));
  return text;
}

std::string limits(const ReportData& data) {
  std::string text = "## Limits\n\n";
  const std::vector<std::string>& labels = data.config.labels;
  if (!labels.empty()) {
    text += "Classes: ";
    for (std::size_t i = 0; i < std::min(labels.size(), kListedLabels); ++i)
      text += (i == 0 ? "" : ", ") + plain(labels[i]);
    text += labels.size() > kListedLabels ? fmt::format(" and {} more.\n\n", labels.size() - kListedLabels) : ".\n\n";
  }
  return text +
         "Whatever limits the float model limits this one. Its licence is that of the float model: the publisher of "
         "this "
         "file states it here.\n";
}

}  // namespace

const OutputKind kCardOutput{"a model card of igq", [](const InputFile& file) {
                               std::string text(std::min<std::uint64_t>(file.size(), 4096), '\0');
                               file.read(0, std::as_writable_bytes(std::span(text)));
                               return text.starts_with("---\nlibrary_name: igq\n") &&
                                      text.find(kGenerator) != std::string::npos;
                             }};

std::string model_card(const ReportData& data) {
  return head(data) + "\n" + lead(data) + results(data) + usage(data) + provenance(data) + limits(data);
}

}  // namespace igq::report
