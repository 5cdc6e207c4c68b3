#include "models/check_tensors.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "models/model.h"

namespace igq {
namespace {

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// A position embedding is resized when the model is built; its width must fit and some patches be left.
bool fits(const std::string& name, const Shape& stored, const Shape& expected, const VitConfig& v) {
  if (stored == expected) return true;
  if (name != "pos_embed" || stored.size() != 3 || stored[0] != 1 || stored[2] != expected[2]) return false;
  const int prefix = (v.class_token ? 1 : 0) + (v.distilled ? 1 : 0) + v.reg_tokens;
  return stored[1] > (v.no_embed_class ? 0 : prefix);
}

/// "blocks.3.x", "blocks.4.x", "blocks.5.x" with the same fault -> "blocks.{3-5}.x".
std::string join_faults(const std::vector<std::pair<std::string, std::string>>& faults) {
  struct Group {
    std::string head, tail, fault;
    std::vector<int> numbers;
  };
  std::vector<Group> groups;
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
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return !group.numbers.empty() && !g.numbers.empty() && g.head == group.head && g.tail == group.tail &&
             g.fault == group.fault;
    });
    if (same != groups.end())
      same->numbers.push_back(group.numbers.front());
    else
      groups.push_back(std::move(group));
  }
  std::string text;
  for (Group& g : groups) {
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
  return text;
}

}  // namespace

void check_tensors(const RenamedTensors& tensors, const ModelConfig& config) {
  const std::map<std::string, Shape> expected = expected_tensors(config);
  std::vector<std::pair<std::string, std::string>> missing, left_over, misshapen;
  for (const auto& [name, shape] : expected) {
    const auto found = tensors.shapes().find(name);
    if (found == tensors.shapes().end()) {
      missing.emplace_back(name, "");
    } else if (!fits(name, found->second, shape, config.vit)) {
      misshapen.emplace_back(tensors.stored_name(name),
                             fmt::format(" is {} instead of {}", shape_text(found->second), shape_text(shape)));
    }
  }
  for (const auto& [name, shape] : tensors.shapes()) {
    if (!expected.contains(name)) left_over.emplace_back(tensors.stored_name(name), "");
  }
  if (missing.empty() && left_over.empty() && misshapen.empty()) return;
  std::string text;
  const auto list = [&text](const char* title, const auto& faults) {
    if (!faults.empty()) text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", title, join_faults(faults));
  };
  list("missing", missing);
  list("extra", left_over);
  list("misshapen", misshapen);
  fail(
      "{} does not hold the weights of {} ({} classes, image {}x{}): {}: check the architecture and the sizes in "
      "config.json or --arch",
      tensors.origin(), config.architecture, config.num_classes, config.image_height, config.image_width, text);
}

}  // namespace igq
