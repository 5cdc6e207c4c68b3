#include "eval/bulk.h"

#include <algorithm>

#include "base/fail.h"
#include "io/preprocess.h"

namespace igq {

void run_bulk(Runner& runner, const std::vector<std::filesystem::path>& files, std::size_t row_bytes,
              const MakeRow& make_row, RowLog& log, const std::function<void(std::int64_t)>& after) {
  const ModelConfig& config = runner.model().config();
  // Threads wait for each other at the end of a chunk; what a kill loses is at most one.
  const std::int64_t total = static_cast<std::int64_t>(files.size()), most = std::max(64, 16 * runner.threads());
  std::vector<std::byte> rows(static_cast<std::size_t>(most) * row_bytes);
  std::vector<std::string> faults(static_cast<std::size_t>(most));
  const auto row = [&](std::int64_t i) {
    return std::span(rows).subspan(static_cast<std::size_t>(i) * row_bytes, row_bytes);
  };
  while (log.rows() < total) {
    const std::int64_t first = log.rows(), count = std::min(most, total - first);
    std::fill(rows.begin(), rows.end(), std::byte{0});
    std::fill(faults.begin(), faults.end(), std::string());
    runner.run_each(
        count,
        [&](std::int64_t i, float* image) {
          try {
            preprocess_file(files[static_cast<std::size_t>(first + i)], config.preprocess, config.image_height,
                            config.image_width, image);
            return true;
          } catch (const Error& e) {
            faults[static_cast<std::size_t>(i)] = e.what();
            return false;
          }
        },
        [&](std::int64_t i, std::span<const float> output) { make_row(output, row(i)); });
    for (std::int64_t i = 0; i < count; ++i) log.append(row(i), faults[static_cast<std::size_t>(i)]);
    log.flush();
    if (after) after(log.rows());
  }
}

}  // namespace igq
