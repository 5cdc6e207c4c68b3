// The finished rows of a table in a file, so that an interrupted table goes on where it was.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace igq {

inline constexpr std::string_view kTableFormat = "igq table 2", kDetectorTableFormat = "igq detector table 1";

/// What a file of rows is: one of these formats, and a check of a row, which throws an Error.
struct TableKind {
  std::string_view format;
  std::function<void(const nlohmann::json&)> check;
};

inline constexpr double kMostOfTable = 1e18;
/// A number of a row. Error when it is missing, of another type or not between `least` and `most`.
double table_number(const nlohmann::json& row, const char* key, double least, double most);

class TableState {
 public:
  /// Reads the file if there is one and checks every row; an empty path remembers nothing. Error (path, reason).
  TableState(std::filesystem::path path, TableKind kind);
  /// Null when no row of this key is finished.
  const nlohmann::json* find(const std::string& key) const;
  /// Adds a row and writes all of them; Error when the file cannot be written.
  void keep(const std::string& key, const nlohmann::json& row);

 private:
  std::filesystem::path path_;
  TableKind kind_;
  nlohmann::json rows_ = nlohmann::json::object();
};

}  // namespace igq
