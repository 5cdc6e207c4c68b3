// igq embed: the vectors of images, for search, deduplication and zero-shot labels: what the model pools, through its
// projection where it has one; or all of its tokens. Bulk runs go on where they were killed (base/row_log.h).
#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>

#include "base/fail.h"
#include "base/normalize_rows.h"
#include "base/output_file.h"
#include "base/row_log.h"
#include "common.h"
#include "detect.h"
#include "eval/benchmark.h"
#include "eval/bulk.h"
#include "eval/evaluate.h"
#include "images.h"
#include "io/npy.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct EmbedFlags {
  ModelFlags model;
  RunFlags run;
  std::string images, output;
  bool normalize = false, tokens = false, resume = false, overwrite = false;
};

const OutputKind kVectorsCsv{"a table of vectors",
                             [](const InputFile& file) { return file.begins_with("file,error,"); }};
const OutputKind kNamesOutput{"a list of files", [](const InputFile& file) {
                                std::string head(std::min<std::uint64_t>(file.size(), 4096), '\0');
                                file.read(0, std::as_writable_bytes(std::span(head)));
                                return head.find('\0') == std::string::npos;
                              }};

bool is_csv(const std::string& path) { return path.ends_with(".csv"); }
std::string names_path(const std::string& output) { return output + ".files.txt"; }

void check_format(const EmbedFlags& flags) {
  const std::string& path = flags.output;
  if (path.ends_with(".parquet"))
    fail(
        "igq writes no Parquet: write {0}.csv, then python3 -c \"import pyarrow.csv as c, pyarrow.parquet as p; "
        "p.write_table(c.read_csv('{0}.csv'), '{0}.parquet')\"",
        path.substr(0, path.size() - 8));
  if (!is_csv(path) && !path.ends_with(".npy")) fail("{}: vectors are written as .npy or .csv", path);
  if (is_csv(path) && flags.tokens) fail("{}: --tokens are written as .npy", path);
}

/// What a row holds.
struct Shape2 {
  std::int64_t tokens = 1, width = 0;
  std::int64_t count() const { return tokens * width; }
};

Shape2 output_shape(const Model& model, bool tokens) {
  const ModelConfig& config = model.config();
  if (!tokens) return {1, embedding_width(config)};
  return {model.output_tokens(), token_width(config)};
}

void write_npy(const EmbedFlags& flags, const ImageList& images, Shape2 shape, const RowLog& log) {
  OutputFile out(flags.output, true, &kNpyOutput), names(names_path(flags.output), true, &kNamesOutput);
  std::vector<std::int64_t> dims{static_cast<std::int64_t>(images.files.size()), shape.tokens, shape.width};
  if (!flags.tokens) dims.erase(dims.begin() + 1);
  if (flags.tokens && images.single) dims.erase(dims.begin());
  out.write(npy_header(dims));
  const std::vector<float> nothing(static_cast<std::size_t>(shape.count()), std::numeric_limits<float>::quiet_NaN());
  std::size_t at = 0;
  log.for_each([&](std::span<const std::byte> row, const std::string& fault) {
    out.write(fault.empty() ? row : std::as_bytes(std::span(nothing)));
    names.write(fault.empty() ? images.names[at] + "\n" : fmt::format("{}\t{}\n", images.names[at], printable(fault)));
    ++at;
  });
  names.commit();
  out.commit();
}

void write_csv(const EmbedFlags& flags, const ImageList& images, Shape2 shape, const RowLog& log) {
  OutputFile out(flags.output, true, &kVectorsCsv);
  std::string line = "file,error";
  for (std::int64_t i = 0; i < shape.width; ++i) line += fmt::format(",v{}", i);
  out.write(line + "\n");
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  std::size_t at = 0;
  log.for_each([&](std::span<const std::byte> row, const std::string& fault) {
    line = csv_field(images.names[at++]) + "," + csv_field(printable(fault));
    std::memcpy(values.data(), row.data(), row.size());
    for (const float v : values) line += fault.empty() ? fmt::format(",{}", v) : ",";
    out.write(line + "\n");
  });
  out.commit();
}

void run_embed(const EmbedFlags& flags) {
  check_format(flags);
  if (names_detector(flags.model)) fail("{} is a detector: it has no vector of an image", flags.model.path);
  if (!begin_rows(flags.output, flags.resume, flags.overwrite)) return;
  const bool replace = flags.overwrite || flags.resume;
  check_output(flags.output, replace, is_csv(flags.output) ? kVectorsCsv : kNpyOutput);
  if (!is_csv(flags.output)) check_output(names_path(flags.output), replace, kNamesOutput);
  LoadedModel loaded = flags.model.load();
  const ImageList images = list_inputs(flags.images);
  const Execution execution = flags.run.execution_for(loaded);
  const Isa isa = flags.run.parsed_isa();
  const std::string key =
      run_key(loaded, flags.model, images,
              fmt::format("embed {} {}{}", execution_name(execution), flags.tokens ? "tokens" : "pooled",
                          flags.normalize ? " normalized" : ""));
  loaded.prepare_only(execution, kernels::kernels_for(isa));
  Runner runner(*loaded.model, execution, isa, flags.run.threads,
                flags.tokens ? ModelOutput::kTokens : ModelOutput::kEmbedding);
  note_threads(flags.run.threads, runner.threads());
  const Shape2 shape = output_shape(*loaded.model, flags.tokens);
  const std::size_t bytes = static_cast<std::size_t>(shape.count()) * sizeof(float);
  const auto total = static_cast<std::int64_t>(images.files.size());
  RowLog log(rows_path(flags.output), key, bytes);
  const std::int64_t before = log.rows();
  if (before > 0) note(fmt::format("igq: going on after {} of {} images", before, total));
  const auto start = std::chrono::steady_clock::now();
  {
    Progress progress("embedding", total, before);
    run_bulk(
        runner, images.files, bytes,
        [&](std::span<const float> output, std::span<std::byte> row) {
          std::vector<float> values(output.begin(), output.end());
          if (flags.normalize) normalize_rows(values, static_cast<std::size_t>(shape.width));
          std::memcpy(row.data(), values.data(), row.size());
        },
        log, progress.callback());
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::int64_t bad = log.faults();
  const std::string& first = log.first_fault();
  if (bad == total) {
    log.remove();
    if (total == 1) fail("{}", first);
    fail("none of the {} images can be read; the first: {}", total, first);
  }
  is_csv(flags.output) ? write_csv(flags, images, shape, log) : write_npy(flags, images, shape, log);
  log.remove();
  const double rate = static_cast<double>(total - before) / std::max(seconds, 1e-9);
  if (flags.run.json) {
    nlohmann::json document = {{"model", loaded.name},   {"execution", execution_name(execution)},
                               {"output", flags.output}, {"images", total},
                               {"bad_images", bad},      {"resumed_after", before},
                               {"tokens", shape.tokens}, {"dim", shape.width},
                               {"images_per_s", rate},   {"peak_rss_mb", peak_rss_mb()}};
    document.update(machine_json(runner.isa(), runner.threads()));
    print_json(document);
  } else {
    std::cout << fmt::format("{}: {} image{} as {} values each, {:.1f} images/s\n", flags.output, total,
                             total == 1 ? "" : "s", shape.count(), rate);
  }
  if (bad > 0)
    closing_note() =
        fmt::format("{} of {} images cannot be read; their rows say why ({}): {}", bad, total,
                    is_csv(flags.output) ? "column error"
                                         : "after their names in " + names_path(flags.output) + ", vectors are NaN",
                    first);
}

}  // namespace

void add_embed(CLI::App& app, int&) {
  auto* verb = app.add_subcommand("embed", "the vectors of images, for search and deduplication");
  const auto flags = std::make_shared<EmbedFlags>();
  flags->model.add_to(*verb);
  verb->add_option("IMAGES", flags->images, "an image, a folder, or a .txt file with the path of an image in each line")
      ->required();
  verb->add_option(
          "-o,--output", flags->output,
          "the file to write: .npy (float32 [images, dim] in the order of the list, names and faults beside it\n"
          "in OUTPUT.files.txt) or .csv; finished rows are kept in OUTPUT.rows until it is written")
      ->required();
  verb->add_flag("--normalize", flags->normalize, "divide each vector by its length");
  verb->add_flag("--tokens", flags->tokens,
                 "all tokens after the final norm instead of the pooled vector: [images, tokens, dim], for a single\n"
                 "image [tokens, dim]");
  verb->add_flag("--resume", flags->resume, "go on with a run that was interrupted: the same rows, none twice");
  verb->add_flag("--overwrite", flags->overwrite, "replace an existing output");
  flags->run.add_to(*verb);
  verb->callback([flags] { run_embed(*flags); });
}

}  // namespace igq::cli
