#include "pipeline/table_state.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/output_file.h"
#include "io/json_fields.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "igq table 2";

const OutputKind kTableState{"the state of an igq table", [](const InputFile& file) {
                               const json document = parse_json(read_file(file.path()));
                               return json_string(json_at(document, "format"), "format") == kFormat;
                             }};

}  // namespace

TableRow row_from_json(const json& j) {
  const auto number = [&](const char* key, double least, double most) {
    const json& value = json_at(j, key);
    if (!value.is_number()) fail("'{}' is not a number", key);
    const double given = value.get<double>();
    if (!(given >= least && given <= most)) fail("'{}' is {}, not between {} and {}", key, given, least, most);
    return given;
  };
  constexpr double kPercent = 100.0, kMost = 1e18;
  TableRow row;
  row.name = json_string(json_at(j, "setting"), "setting");
  row.bits = json_string(json_at(j, "bits"), "bits");
  row.groups = json_string(json_at(j, "groups"), "groups");
  row.images = json_int(json_at(j, "images"), "images", 0, INT64_MAX);
  row.top1 = number("top1", 0.0, kPercent);
  row.top5 = number("top5", 0.0, kPercent);
  row.interval = number("top1_interval_95", 0.0, kPercent);
  row.agreement = number("agreement", 0.0, kPercent);
  row.gbops = number("gbops", 0.0, kMost);
  row.file_mb = number("file_mb", 0.0, kMost);
  row.quantize_seconds = number("quantize_seconds", 0.0, kMost);
  return row;
}

TableState::TableState(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ignored;
  if (path_.empty() || !std::filesystem::exists(path_, ignored)) return;
  std::string fault;
  try {
    const json document = parse_json(read_file(path_));
    if (json_string(json_at(document, "format"), "format") != kFormat) fail("it was written by another program");
    rows_ = json_at(document, "rows");
    if (!rows_.is_object()) fail("'rows' is not an object");
    for (const auto& [key, row] : rows_.items()) row_from_json(row);
    return;
  } catch (const Error& e) {
    fault = e.what();
  }
  fail("{} is not the state of an igq table ({}): name another file or remove it", path_.string(), fault);
}

const json* TableState::find(const std::string& key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &*found;
}

void TableState::keep(const std::string& key, const json& row) {
  rows_[key] = row;
  if (path_.empty()) return;
  write_file(path_,
             json{{"format", kFormat}, {"rows", rows_}}.dump(1, ' ', false, json::error_handler_t::replace) + "\n",
             true, &kTableState);
}

}  // namespace igq
