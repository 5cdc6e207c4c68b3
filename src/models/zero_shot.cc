#include "models/zero_shot.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include <fmt/ranges.h>

#include "base/fail.h"
#include "base/file.h"
#include "io/memory_tensors.h"
#include "io/npy.h"
#include "io/overlaid_tensors.h"

namespace igq {
namespace {

constexpr std::uint64_t kMaxNames = std::uint64_t{16} << 20;

/// Lines of the file without blanks around them; an empty last line is none.
std::vector<std::string> read_names(const std::filesystem::path& path) {
  std::istringstream in(read_file(path, kMaxNames));
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (std::string line; std::getline(in, line);) {
    const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!line.empty() && blank(line.back())) line.pop_back();
    line.erase(line.begin(), std::find_if_not(line.begin(), line.end(), blank));
    if (line.empty()) fail("{}: line {} is empty, it should name a label", path.string(), names.size() + 1);
    if (!seen.insert(line).second) fail("{}: '{}' stands in it twice", path.string(), line);
    names.push_back(std::move(line));
  }
  if (names.empty()) fail("{} names no label", path.string());
  return names;
}

/// logit_scale * t / |t|, row by row.
AlignedBuffer<float> head_weights(const NpyArray& rows, const ZeroShotLabels& labels) {
  const auto width = static_cast<std::size_t>(rows.shape[1]);
  AlignedBuffer<float> weights(rows.values.size());
  for (std::size_t begin = 0; begin < weights.size(); begin += width) {
    double square = 0.0;
    for (std::size_t i = begin; i < begin + width; ++i)
      square += static_cast<double>(rows.values[i]) * static_cast<double>(rows.values[i]);
    const double factor = labels.logit_scale / std::sqrt(square);
    if (!std::isfinite(factor))
      fail("{}: row {} has no direction, all of it is 0", labels.embeddings.string(), begin / width);
    for (std::size_t i = begin; i < begin + width; ++i)
      weights[i] = static_cast<float>(static_cast<double>(rows.values[i]) * factor);
  }
  return weights;
}

}  // namespace

void add_zero_shot_head(LoadedModel& model, const ZeroShotLabels& labels) {
  ModelConfig config = model.model->config();
  if (config.num_classes > 0)
    fail("{} has {} classes of its own: labels by their embeddings are for encoders without a head", model.name,
         config.num_classes);
  if (config.family != Family::kVit || config.vit.distilled)
    fail("{}: labels by their embeddings are for ViT encoders, such as CLIP's tower", model.name);
  config.labels = read_names(labels.names);
  const NpyArray rows = read_npy(labels.embeddings);
  const auto count = static_cast<std::int64_t>(config.labels.size()), width = std::int64_t{embedding_width(config)};
  if (rows.shape != std::vector<std::int64_t>{count, width})
    fail("{} has the shape [{}], but {} names {} labels and the embedding of {} has {} values: it must be [{}, {}]",
         labels.embeddings.string(), fmt::join(rows.shape, ", "), labels.names.string(), count, model.name, width,
         count, width);
  config.num_classes = static_cast<int>(count);
  config.vit.unit_head = true;
  const auto head = std::make_shared<MemoryTensors>(labels.embeddings.string());
  head->add("head.weight", {count, width}, head_weights(rows, labels));
  AlignedBuffer<float> no_bias(config.labels.size());
  std::fill(no_bias.begin(), no_bias.end(), 0.0f);
  head->add("head.bias", {count}, std::move(no_bias));
  const auto tensors = std::make_shared<OverlaidTensors>(head, model.tensors);
  model.model = build_model(config, *tensors, model.stored_plan);
  model.tensors = tensors;
}

}  // namespace igq
