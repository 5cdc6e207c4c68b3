// Class folders matched to the classes of a model; see image_folder.h.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/fail.h"
#include "io/image_folder.h"

namespace igq {
namespace {

constexpr std::array<std::string_view, 4> kOrders = {"auto", "alphabetical", "numeric", "index"};
constexpr std::string_view kChoose =
    "say how to count them with --class-order: alphabetical (as torchvision does), numeric (as timm does) or index "
    "(the "
    "name is the class)";

/// The first few of many names.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += fmt::format("{}'{}'", i == 0 ? "" : ", ", names[i]);
  return names.size() > kShown ? fmt::format("{} and {} more", text, names.size() - kShown) : text;
}

/// transformers' LABEL_0, LABEL_1 ... stand for no names.
bool are_names(const std::vector<std::string>& labels) {
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (labels[i] != fmt::format("LABEL_{}", i)) return true;
  return false;
}

std::optional<int> number_of(std::string_view name) {
  int value = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (error != std::errc{} || end != name.data() + name.size() || name.empty() || name[0] == '-') return {};
  return value;
}

class Matcher {
 public:
  Matcher(ImageFolder& folder, const std::vector<std::string>& labels, int num_classes)
      : folder_(folder), labels_(labels), used_(folder.classes.size()), target_(folder.classes.size(), -1) {
    classes_ = labels.empty() ? static_cast<std::size_t>(std::max(num_classes, 0)) : labels.size();
    for (const Sample& sample : folder.samples)
      if (sample.label >= 0) used_[static_cast<std::size_t>(sample.label)] = true;
  }

  std::vector<std::string> match(ClassOrder order) {
    if (folder_.classes.empty()) return {};
    if (order == ClassOrder::kAuto) order = choose();
    if (order == ClassOrder::kAlphabetical || order == ClassOrder::kNumeric) count(order);
    if (order == ClassOrder::kIndex) by_number();
    for (Sample& sample : folder_.samples)
      if (sample.label >= 0) sample.label = target_[static_cast<std::size_t>(sample.label)];
    rename();
    return std::move(notes_);
  }

 private:
  /// Class folders with images.
  std::vector<std::string> used_names() const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < used_.size(); ++i)
      if (used_[i]) names.push_back(folder_.classes[i]);
    return names;
  }

  [[noreturn]] void fail_too_many() const {
    fail("the image folder has {} class folders but the model only {} classes; is it the data of another model?",
         folder_.classes.size(), classes_);
  }

  /// kAuto itself when the folders were matched by name.
  ClassOrder choose() {
    const bool named = !labels_.empty() && are_names(labels_);
    std::vector<std::string> strangers;
    if (!labels_.empty() && by_name(strangers)) return ClassOrder::kAuto;
    const std::vector<std::string> used = used_names();
    const bool numbers = std::all_of(used.begin(), used.end(), [](const auto& n) { return number_of(n).has_value(); });
    const bool from_zero = std::any_of(used.begin(), used.end(), [](const auto& n) { return number_of(n) == 0; });
    if (numbers && from_zero) {
      notes_.push_back(
          "class folders are named by numbers from 0: folder i is class i; --class-order alphabetical counts "
          "them as torchvision's ImageFolder does");
      return ClassOrder::kIndex;
    }
    if (classes_ != 0 && folder_.classes.size() > classes_) fail_too_many();
    if (named)
      fail(
          "{} of {} class folders bear no name of the model's classes: folders {}; classes {}: rename the folders, or "
          "{}",
          strangers.size(), used.size(), some_of(strangers), some_of(labels_), kChoose);
    if (numbers)
      fail(
          "the class folders are named by numbers, but none is 0 ({}), so it is not sure which class of {} each one "
          "is: {}",
          some_of(used), classes_, kChoose);
    if (classes_ != 0 && folder_.classes.size() != classes_)
      fail(
          "the model names no classes and has {}, the image folder has {} class folders ({}), so it is not known which "
          "class each one is: {}",
          classes_, folder_.classes.size(), some_of(folder_.classes), kChoose);
    return ClassOrder::kAlphabetical;
  }

  /// False, with the folders that bear no label's name, when there are such folders with images.
  bool by_name(std::vector<std::string>& strangers) {
    std::map<std::string_view, std::vector<int>> places;
    for (std::size_t i = 0; i < labels_.size(); ++i) places[labels_[i]].push_back(static_cast<int>(i));
    std::vector<std::string> empty;
    for (std::size_t i = 0; i < folder_.classes.size(); ++i) {
      const auto found = places.find(folder_.classes[i]);
      if (found == places.end())
        (used_[i] ? strangers : empty).push_back(folder_.classes[i]);
      else
        target_[i] = found->second[0];
    }
    if (!strangers.empty()) return false;
    for (std::size_t i = 0; i < folder_.classes.size(); ++i) {
      const auto found = places.find(folder_.classes[i]);
      if (found != places.end() && found->second.size() > 1)
        fail("class folder '{}' fits labels {} and {} of the model, which bear one name; name the folders by number",
             folder_.classes[i], found->second[0], found->second[1]);
    }
    if (!empty.empty())
      notes_.push_back(fmt::format("class folders without images that bear no name of a class: {}", some_of(empty)));
    return true;
  }

  void count(ClassOrder order) {
    if (classes_ != 0 && folder_.classes.size() > classes_) fail_too_many();
    std::vector<std::size_t> places(folder_.classes.size());
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = i;
    if (order == ClassOrder::kNumeric) {
      for (const std::string& name : folder_.classes)
        if (!number_of(name)) fail("class folder '{}' is not named by a number, as --class-order numeric wants", name);
      std::stable_sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
        return *number_of(folder_.classes[a]) < *number_of(folder_.classes[b]);
      });
    }
    for (std::size_t i = 0; i < places.size(); ++i) target_[places[i]] = static_cast<int>(i);
    notes_.push_back(fmt::format("class folders are counted in {} order: {} is class 0, {} is class {}",
                                 class_order_name(order), folder_.classes[places.front()],
                                 folder_.classes[places.back()], places.size() - 1));
  }

  void by_number() {
    std::set<int> seen;
    for (std::size_t i = 0; i < folder_.classes.size(); ++i) {
      const std::optional<int> value = number_of(folder_.classes[i]);
      if (!value) {
        if (!used_[i]) continue;
        fail("class folder '{}' is not named by the number of a class", folder_.classes[i]);
      }
      if (classes_ != 0 && static_cast<std::size_t>(*value) >= classes_)
        fail("class folder '{}' is beyond the model's {} classes, 0 to {}; is it the data of another model?",
             folder_.classes[i], classes_, classes_ - 1);
      if (!seen.insert(*value).second) fail("two class folders are class {}; join them", *value);
      target_[i] = *value;
    }
  }

  /// Names by class: the model's, else those of the folders.
  void rename() {
    if (!labels_.empty()) {
      folder_.classes = labels_;
      return;
    }
    const int most = *std::max_element(target_.begin(), target_.end());
    std::vector<std::string> names(static_cast<std::size_t>(std::max(most + 1, 0)));
    for (std::size_t i = 0; i < target_.size(); ++i)
      if (target_[i] >= 0) names[static_cast<std::size_t>(target_[i])] = folder_.classes[i];
    folder_.classes = std::move(names);
  }

  ImageFolder& folder_;
  const std::vector<std::string>& labels_;
  std::size_t classes_ = 0;
  std::vector<bool> used_;
  std::vector<int> target_;  ///< class of each folder
  std::vector<std::string> notes_;
};

}  // namespace

std::string_view class_order_name(ClassOrder order) { return kOrders[static_cast<std::size_t>(order)]; }

ClassOrder parse_class_order(std::string_view name) {
  for (std::size_t i = 0; i < kOrders.size(); ++i)
    if (kOrders[i] == name) return static_cast<ClassOrder>(i);
  fail("order of classes '{}' is unknown; use one of auto, alphabetical, numeric, index", name);
}

std::vector<std::string> map_labels(ImageFolder& folder, const std::vector<std::string>& labels, int num_classes,
                                    ClassOrder order) {
  return Matcher(folder, labels, num_classes).match(order);
}

}  // namespace igq
