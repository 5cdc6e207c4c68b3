#include "models/check_tensors.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "models/model.h"

namespace igq {
namespace {

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// A position embedding is resized when the model is built; its width must fit and some patches be left.
bool fits(const std::string& name, const Shape& stored, const Shape& expected, const ModelConfig& config) {
  if (stored == expected) return true;
  if (config.family != Family::kVit || name != "pos_embed" || stored.size() != 3 || stored[0] != 1 ||
      stored[2] != expected[2])
    return false;
  const VitConfig& v = config.vit;
  const int prefix = (v.class_token ? 1 : 0) + (v.distilled ? 1 : 0) + v.reg_tokens;
  return stored[1] > (v.no_embed_class ? 0 : prefix) + v.detection_tokens;
}

/// "blocks.3.x", "blocks.4.x", "blocks.5.x" with the same fault -> "blocks.{3-5}.x".
std::string join_faults(const std::vector<std::pair<std::string, std::string>>& faults) {
  struct Group {
    std::string head, tail, fault;
    std::vector<int> numbers;
  };
  std::vector<Group> groups;
  std::map<std::array<std::string, 3>, std::size_t> known;  // head, tail, fault -> its place in groups
  for (const auto& [name, fault] : faults) {
    Group group{name, "", fault, {}};
    if (const auto at = name.find("blocks."); at != std::string::npos) {
      int number = -1;
      const char* begin = name.data() + at + 7;
      const auto parsed = std::from_chars(begin, name.data() + name.size(), number);
      if (parsed.ec == std::errc()) {
        group = {name.substr(0, at + 7),
                 std::string(parsed.ptr, static_cast<std::size_t>(name.data() + name.size() - parsed.ptr)),
                 fault,
                 {number}};
      }
    }
    const auto same = group.numbers.empty() ? known.end() : known.find({group.head, group.tail, fault});
    if (same != known.end()) {
      groups[same->second].numbers.push_back(group.numbers.front());
      continue;
    }
    if (!group.numbers.empty()) known[{group.head, group.tail, fault}] = groups.size();
    groups.push_back(std::move(group));
  }
  constexpr std::size_t kNamed = 100;
  std::string text;
  for (std::size_t at = 0; at < std::min(kNamed, groups.size()); ++at) {
    Group& g = groups[at];
    std::sort(g.numbers.begin(), g.numbers.end());
    std::vector<std::string> ranges;
    for (std::size_t i = 0; i < g.numbers.size();) {
      std::size_t j = i;
      while (j + 1 < g.numbers.size() && g.numbers[j + 1] == g.numbers[j] + 1) ++j;
      ranges.push_back(i == j ? fmt::format("{}", g.numbers[i]) : fmt::format("{}-{}", g.numbers[i], g.numbers[j]));
      i = j + 1;
    }
    const std::string all = fmt::format("{}", fmt::join(ranges, ","));
    text += fmt::format("{}{}{}{}{}", text.empty() ? "" : ", ", g.head, g.numbers.size() > 1 ? "{" + all + "}" : all,
                        g.tail, g.fault);
  }
  if (groups.size() > kNamed) text += fmt::format(" and {} more", groups.size() - kNamed);
  return text;
}

/// What tensors a network lacks, has too many or in another shape.
class Faults {
 public:
  void missing(const std::string& name) { missing_.emplace_back(name, ""); }
  void extra(const std::string& name, std::string why = "") { extra_.emplace_back(name, std::move(why)); }
  void misshapen(const std::string& name, const Shape& stored, const Shape& expected) {
    misshapen_.emplace_back(name, fmt::format(" is {} instead of {}", shape_text(stored), shape_text(expected)));
  }
  /// "missing: ...; extra: ...; misshapen: ...", empty without a fault.
  std::string text() const {
    std::string text;
    const auto list = [&text](const char* title, const auto& faults) {
      if (!faults.empty()) text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", title, join_faults(faults));
    };
    list("missing", missing_);
    list("extra", extra_);
    list("misshapen", misshapen_);
    return text;
  }

 private:
  std::vector<std::pair<std::string, std::string>> missing_, extra_, misshapen_;
};

/// [in, out] of a linear layer of this weight; a patch embedding's kernel is flat there.
Shape code_shape(const Shape& weight) {
  std::int64_t in = 1;
  for (std::size_t i = 1; i < weight.size(); ++i) in *= weight[i];
  return {in, weight[0]};
}

}  // namespace

void check_tensors(const RenamedTensors& tensors, const ModelConfig& config) {
  const std::map<std::string, Shape> expected = expected_tensors(config);
  Faults faults;
  for (const auto& [name, shape] : expected) {
    const auto found = tensors.shapes().find(name);
    if (found == tensors.shapes().end()) {
      faults.missing(name);
    } else if (!fits(name, found->second, shape, config)) {
      faults.misshapen(tensors.stored_name(name), found->second, shape);
    }
  }
  for (const auto& [name, shape] : tensors.shapes()) {
    if (!expected.contains(name)) faults.extra(tensors.stored_name(name));
  }
  for (const std::string& name : tensors.unread()) faults.extra(name, " (not of a floating-point type)");
  const std::string text = faults.text();
  if (text.empty()) return;
  fail(
      "{} does not hold the weights of {} ({} classes, image {}x{}): {}: check the architecture and the sizes in "
      "config.json or --arch",
      tensors.origin(), config.architecture, config.num_classes, config.image_height, config.image_width, text);
}

void check_quantized(const std::map<std::string, Shape>& floats, const std::map<std::string, Shape>& codes,
                     const ModelConfig& config, const QuantizationPlan& plan, bool part) {
  constexpr std::string_view kWeight = ".weight";
  const std::map<std::string, Shape> expected = expected_tensors(config);
  Faults faults;
  for (const auto& [name, shape] : expected) {
    const std::string site = name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : std::string();
    const auto coded = site.empty() ? codes.end() : codes.find(site);
    const auto found = floats.find(name);
    if (coded != codes.end() && shape.size() >= 2) {
      if (coded->second != code_shape(shape)) faults.misshapen(site + ":codes", coded->second, code_shape(shape));
      if (found != floats.end()) faults.extra(name, fmt::format(" (beside {}:codes)", site));
    } else if (found == floats.end()) {
      if (!part) faults.missing(name);
    } else if (!fits(name, found->second, shape, config)) {
      faults.misshapen(name, found->second, shape);
    }
  }
  for (const auto& [name, shape] : floats) {
    if (!expected.contains(name)) faults.extra(name);
  }
  for (const auto& [site, shape] : codes) {
    const auto weight = expected.find(site + std::string(kWeight));
    if (weight == expected.end() || weight->second.size() < 2) faults.extra(site + ":codes");
  }
  for (const auto& [site, linear] : plan.linears) {
    const auto weight = expected.find(site + std::string(kWeight));
    if (weight == expected.end() || weight->second.size() < 2)
      fail("its plan names the site '{}', which {} does not have", site, config.architecture);
  }
  const std::string text = faults.text();
  if (!text.empty())
    fail("plan, configuration ({}, {} classes, image {}x{}) and tensors contradict each other: {}", config.architecture,
         config.num_classes, config.image_height, config.image_width, text);
}

}  // namespace igq
