// What the verbs of the command line share: flags for models and execution, progress, tables, JSON.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "igq/error.h"
#include "io/image_folder.h"
#include "models/load_model.h"
#include "base/output_file.h"
#include "base/printable.h"
#include "models/runner.h"
#include "pipeline/quantize_model.h"

namespace igq::cli {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kGateNotMet = 3 };

/// Accepts text that `parse` accepts; the text of its Error becomes the usage error.
template <typename Parse>
CLI::Validator parsed_by(Parse parse, const std::string& shown) {
  return CLI::Validator(
      [parse](std::string& text) -> std::string {
        try {
          parse(text);
          return {};
        } catch (const Error& e) {
          return e.what();
        }
      },
      shown);
}

/// Accepts numbers from `least` to `most`; CLI11's own ranges let "nan" pass and print 300 digits.
CLI::Validator number_in(double least, double most);
/// Accepts 1, 2, ... up to what an int holds.
CLI::Validator count_from_one();
/// Error now, before hours of work, when `path` cannot be written later, or when what would be replaced is not of this
/// kind (nor empty): a slip of the keyboard must not cost a checkpoint or a photograph. Does nothing for an empty path.
void check_output(const std::string& path, bool overwrite, const OutputKind& kind);

/// --arch, --img-size, --crop-pct, --interpolation, --orientation, --labels and its like: how to read the MODEL
/// argument.
struct ModelFlags {
  std::string path;
  std::string architecture;
  std::vector<int> image_size;
  double crop_pct = 0.0;
  std::string interpolation;
  std::string orientation = "auto";
  std::string labels, label_embeddings;  ///< of a zero-shot classifier (models/zero_shot.h)
  double logit_scale = 100.0;

  /// `required`: MODEL must be given; otherwise --arch alone is enough.
  void add_to(CLI::App& app, bool required = true);
  CheckpointOptions checkpoint_options() const;
  /// load_model with the flags applied; says what it loads on stderr when that takes long.
  LoadedModel load() const;
  /// `other`, with the same preprocessing flags.
  LoadedModel load(const std::string& other) const;
  /// --crop-pct, --interpolation and --orientation over the configuration's own.
  void apply_preprocessing(Model& model) const;
};

/// --threads, --isa, --json, --seed and --execution.
struct RunFlags {
  int threads = 0;
  std::string isa = "auto";
  std::string execution;
  bool json = false;

  void add_to(CLI::App& app, bool with_execution = true);
  Isa parsed_isa() const { return parse_isa(isa); }
  /// --execution, or integer for a quantized model and float for others. Error: simulate or integer without a plan.
  Execution execution_for(const LoadedModel& model) const;
};

/// A line on stderr that says how far a job is and how long it still takes: rewritten in place on a terminal, a line
/// now and then otherwise. Calls may come from any thread, one at a time.
class Progress {
 public:
  /// `done` units were done before; from 0 on, images/s are shown too.
  Progress(std::string what, std::int64_t total, std::int64_t done = -1);
  ~Progress();
  void update(std::int64_t done);
  /// For callbacks.
  std::function<void(std::int64_t)> callback() {
    return [this](std::int64_t done) { update(done); };
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::int64_t total_, before_;
  bool rate_;
  bool terminal_;
  std::size_t width_ = 0;
  Clock::time_point start_, last_;
};

/// Adapts Progress to jobs of several stages; `current` holds the line of the running stage.
StageProgress stage_progress(std::unique_ptr<Progress>& current);

/// Columns of text: the first left-aligned, the others right-aligned.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) {
    for (std::string& cell : row) cell = printable(cell);
    rows_.push_back(std::move(row));
  }
  std::string text() const;
  std::string markdown() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// One JSON document on stdout.
void print_json(const nlohmann::json& document);
/// A line on stderr.
void note(const std::string& line);
/// Remembers to say so when fewer threads run than --threads asked for: once all is well, for an error is one line.
void note_threads(int wanted, int started);
/// What is noted after the results; empty for nothing.
std::string& closing_note();

/// Error, which names igq embed, when the model has no classes to `verb` ("predict").
void require_classes(const LoadedModel& model, const std::string& verb);
/// "12.6 MB", "3.4 k": decimal units.
std::string megabytes(double bytes);
std::string scaled(double value);
/// cpu, instruction set and threads as every report names them.
nlohmann::json machine_json(Isa isa, int threads);
std::string class_name(const ModelConfig& config, int c);

}  // namespace igq::cli
