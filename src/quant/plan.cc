#include "quant/plan.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/fail.h"

namespace igq {
namespace {

constexpr std::array<std::pair<Grouping, std::string_view>, 6> kGroupings{{{Grouping::kFloat, "float"},
                                                                           {Grouping::kLayer, "layer"},
                                                                           {Grouping::kStaticGroup, "static-group"},
                                                                           {Grouping::kIgq, "igq"},
                                                                           {Grouping::kScale, "scale"},
                                                                           {Grouping::kUpperBound, "upper-bound"}}};
constexpr std::array<std::pair<QkvGrouping, std::string_view>, 4> kQkvGroupings{{{QkvGrouping::kFloat, "float"},
                                                                                 {QkvGrouping::kTensor, "tensor"},
                                                                                 {QkvGrouping::kHead, "head"},
                                                                                 {QkvGrouping::kRow, "row"}}};

template <typename Table, typename Value>
std::string_view name_of(const Table& table, Value value) {
  return std::find_if(table.begin(), table.end(), [&](const auto& e) { return e.first == value; })->second;
}

template <typename Table>
auto value_of(const Table& table, std::string_view what, std::string_view name) {
  std::string known;
  for (const auto& [value, text] : table) {
    if (text == name) return value;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", text);
  }
  fail("unknown {} '{}': use one of {}", what, name, known);
}

}  // namespace

std::string_view grouping_name(Grouping grouping) { return name_of(kGroupings, grouping); }
Grouping parse_grouping(std::string_view name) { return value_of(kGroupings, "grouping", name); }
std::string_view qkv_grouping_name(QkvGrouping grouping) { return name_of(kQkvGroupings, grouping); }
QkvGrouping parse_qkv_grouping(std::string_view name) { return value_of(kQkvGroupings, "qkv grouping", name); }

}  // namespace igq
