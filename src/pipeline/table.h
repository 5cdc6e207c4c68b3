// The paper's table for one model: every reference setting of docs/method.md, section 7, evaluated on the same images.
// Rows are kept in a file as they are finished, so that an interrupted table goes on where it was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/evaluate.h"
#include "pipeline/quantize_model.h"
#include "pipeline/table_state.h"

namespace igq {

/// One row to be measured.
struct TableSetting {
  std::string name;    ///< "float", "layer", "static-group", "igq", "igq allocated", "upper-bound", ...
  std::string bits;    ///< "w4a4"; "-" for float
  std::string groups;  ///< as asked for: "8", "auto 8", "1", "each"; "-" where that is no choice
  QuantizeJob job;     ///< unused for float
};

struct TableRow {
  std::string name, bits;
  std::string groups;  ///< as asked for and, where that differs, as the layers have them (groups_in_use.h)
  std::int64_t images = 0;
  double top1 = 0.0, top5 = 0.0;  ///< percent
  double interval = 0.0;          ///< half the 95 % interval of top1
  double agreement = 100.0;       ///< percent of images predicted as float predicts them
  double gbops = 0.0;             ///< 10^9 bit operations per image
  double file_mb = 0.0;           ///< .igq file, or float32 weights
  double quantize_seconds = 0.0;
};

struct TableOptions {
  Execution execution = Execution::kInteger;
  Isa isa = best_isa();
  int threads = 0;
  EvalOptions eval;
  /// Finished rows are kept here (JSON) and not measured again; empty: nowhere.
  std::filesystem::path state;
};

/// Measures every setting on `samples`. The float row, when asked for, is what agreement is counted against; it is
/// measured in any case. row_done hears of each row, whether measured now or found in the state.
std::vector<TableRow> make_table(LoadedModel& model, const CalibrationSet& images, const std::vector<Sample>& samples,
                                 const std::vector<TableSetting>& settings, const TableOptions& options,
                                 const StageProgress& progress = {},
                                 const std::function<void(const TableRow&)>& row_done = {});

nlohmann::json row_to_json(const TableRow& row);
/// The inverse. Error when a field is missing, of another type or not finite.
TableRow row_from_json(const nlohmann::json& row);
/// Of the file that keeps rows of classifiers.
TableKind table_kind();

}  // namespace igq
