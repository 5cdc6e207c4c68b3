// Many images through a model: in order, with a fault beside an image that cannot be read instead of an end, kept row
// by row so that a run that was killed goes on (base/row_log.h). Every thread decodes an image and runs it, chunk by
// chunk; memory does not grow with the number of images but for their names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/row_log.h"
#include "models/runner.h"

namespace igq {

/// What one image is turned into: `row` bytes of the log from the model's output.
using MakeRow = std::function<void(std::span<const float> output, std::span<std::byte> row)>;

/// Runs files[log.rows()], ... and adds a row of `row_bytes` for each. after(done) counts all rows, from the caller's
/// thread.
void run_bulk(Runner& runner, const std::vector<std::filesystem::path>& files, std::size_t row_bytes,
              const MakeRow& make_row, RowLog& log, const std::function<void(std::int64_t)>& after = {});

}  // namespace igq
