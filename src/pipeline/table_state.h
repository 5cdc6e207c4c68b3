// The finished rows of a table in a file, so that an interrupted table goes on where it was.
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"
#include "pipeline/table.h"

namespace igq {

/// A row of the state: what row_to_json() gives. Error when a field is missing, of another type or not finite.
TableRow row_from_json(const nlohmann::json& row);

class TableState {
 public:
  /// Reads the file if there is one and checks every row; an empty path remembers nothing. Error (path, reason).
  explicit TableState(std::filesystem::path path);
  /// Null when no row of this key is finished.
  const nlohmann::json* find(const std::string& key) const;
  /// Adds a row and writes all of them; Error when the file cannot be written.
  void keep(const std::string& key, const nlohmann::json& row);

 private:
  std::filesystem::path path_;
  nlohmann::json rows_ = nlohmann::json::object();
};

}  // namespace igq
