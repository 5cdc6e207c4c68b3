#include "pipeline/table_state.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/output_file.h"
#include "io/json_fields.h"

namespace igq {
namespace {

using nlohmann::json;

const OutputKind kTableState{"the state of an igq table", [](const InputFile& file) {
                               const json document = parse_json(read_file(file.path()));
                               const std::string& format = json_string(json_at(document, "format"), "format");
                               return format == kTableFormat || format == kDetectorTableFormat;
                             }};

}  // namespace

double table_number(const json& row, const char* key, double least, double most) {
  const json& value = json_at(row, key);
  if (!value.is_number()) fail("'{}' is not a number", key);
  const double given = value.get<double>();
  if (!(given >= least && given <= most)) fail("'{}' is {}, not between {} and {}", key, given, least, most);
  return given;
}

TableState::TableState(std::filesystem::path path, TableKind kind) : path_(std::move(path)), kind_(std::move(kind)) {
  std::error_code ignored;
  if (path_.empty() || !std::filesystem::exists(path_, ignored)) return;
  std::string fault;
  try {
    const json document = parse_json(read_file(path_));
    if (json_string(json_at(document, "format"), "format") != kind_.format) fail("it was written by another program");
    rows_ = json_at(document, "rows");
    if (!rows_.is_object()) fail("'rows' is not an object");
    for (const auto& [key, row] : rows_.items()) kind_.check(row);
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
             json{{"format", kind_.format}, {"rows", rows_}}.dump(1, ' ', false, json::error_handler_t::replace) + "\n",
             true, &kTableState);
}

}  // namespace igq
