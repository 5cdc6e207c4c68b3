#include "report/card_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/json.h"
#include "base/text.h"
#include "report/html.h"

namespace igq::report {
namespace {

constexpr std::string_view kGenerator = "generator: igq report --card\n---\n";
constexpr std::size_t kListedLabels = 20;

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

std::string bits_of(const SiteRow& s) {
  const auto bits = [](int b) { return b > 8 ? std::string("float") : std::to_string(b); };
  if (s.attention) return "softmax a" + bits(s.activation_bits);
  return s.weight_bits > 8 ? "float" : "w" + bits(s.weight_bits) + "a" + bits(s.activation_bits);
}

}  // namespace

const OutputKind kCardOutput{"a model card of igq", [](const InputFile& file) {
                               std::string text(std::min<std::uint64_t>(file.size(), 4096), '\0');
                               file.read(0, std::as_writable_bytes(std::span(text)));
                               return text.starts_with("---\nlibrary_name: igq\n") &&
                                      text.find(kGenerator) != std::string::npos;
                             }};

std::string plain(std::string_view text) {
  std::string safe;
  for (const char c : printable(text)) {
    if (std::string_view("\\`*_{}[]#!|<>~&").find(c) != std::string_view::npos) safe += '\\';
    safe += c;
  }
  return safe;
}

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

std::string yaml(std::string_view text) { return nlohmann::json(printable(text)).dump(); }

std::string card_head(std::string_view task, const Provenance& provenance) {
  std::string text =
      fmt::format("---\nlibrary_name: igq\npipeline_tag: {}\ntags:\n- igq\n- quantized\n- vision\n", task);
  // A model of the hub is named by its place there, without the commit; a folder's name names nothing elsewhere.
  if (const std::string& source = provenance.source; source.starts_with("hf:"))
    text += fmt::format("base_model: {}\nbase_model_relation: quantized\n",
                        yaml(std::string_view(source).substr(3, source.find('@') - 3)));
  return text + std::string(kGenerator);
}

std::string sites_by_bits(const std::vector<SiteRow>& sites) {
  std::map<std::string, int> counts;
  for (const SiteRow& s : sites) ++counts[bits_of(s)];
  std::string bits;
  for (const auto& [name, count] : counts) bits += fmt::format("{}{} x {}", bits.empty() ? "" : ", ", count, name);
  return bits;
}

std::string card_row(std::string_view name, const std::string& value, const std::string& on) {
  return fmt::format("| {} | {} | {} |\n", name, value, on);
}

std::string card_speed(const Speed& s) {
  return card_row("one image", fmt::format("{:.2f} ms ({:.2f} ms in float)", s.integer_ms, s.float_ms),
                  fmt::format("{}, {}, {}", plain(s.cpu), plain(s.isa), plural(s.threads, "thread", "threads")));
}

std::string card_provenance(const Provenance& p, std::string_view file) {
  std::string text = "## How it was made\n\n";
  text += fmt::format("- float model: {}, weights {}\n", code(p.source), code(p.source_checksum));
  text += fmt::format("- calibration: {}, {}, seed {}\n", plural(p.calibration_images, "image", "images"),
                      code(p.calibration_checksum), p.seed);
  text += fmt::format("- settings: {}\n- igq {}\n\n", code(p.settings), plain(p.tool_version));
  text += fmt::format(
      "The same model and images give these bytes again:\n\n```sh\nigq quantize {} --calib DIR --from {} -o again.igq\n"
      "```\n\n",
      shell(p.source), shell(file));
  return text;
}

std::string card_limits(const std::vector<std::string>& labels) {
  std::string text = "## Limits\n\n";
  if (!labels.empty()) {
    text += "Classes: ";
    for (std::size_t i = 0; i < std::min(labels.size(), kListedLabels); ++i)
      text += (i == 0 ? "" : ", ") + plain(labels[i]);
    text += labels.size() > kListedLabels ? fmt::format(" and {} more.\n\n", labels.size() - kListedLabels) : ".\n\n";
  }
  return text +
         "Whatever limits the float model limits this one. Its licence is that of the float model: the publisher of "
         "this file states it here.\n";
}

}  // namespace igq::report
