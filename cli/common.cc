#include "common.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <iostream>

#include "base/fail.h"
#include "base/output_file.h"
#include "base/printable.h"
#include "base/processors.h"
#include "models/zero_shot.h"

namespace igq::cli {

CLI::Validator number_in(double least, double most) {
  return parsed_by(
      [least, most](const std::string& text) {
        double value = 0.0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most))
          fail("'{}' is not a number from {} to {}", text, least, most);
      },
      fmt::format("{}..{}", least, most));
}

CLI::Validator count_from_one() { return number_in(1.0, INT_MAX); }

void check_output(const std::string& path, bool overwrite, const OutputKind& kind) {
  std::error_code ignored;
  if (path.empty()) return;
  const bool there = std::filesystem::exists(path, ignored);
  if (there && !overwrite && !std::filesystem::is_directory(path, ignored))
    fail("{} exists already: write to another file, or add --overwrite", path);
  const OutputFile probe(path, true, &kind);
}

void ModelFlags::add_to(CLI::App& app, bool required) {
  auto* model = app.add_option(
      "MODEL", path,
      "folder with config.json and model.safetensors (timm or transformers; detectors of mmdetection and\n"
      "transformers too), a .safetensors file with --arch, an .igq file, or hf:org/name[@revision] for a model that\n"
      "`hf download` has put into the local cache");
  if (required) model->required();
  app.add_option(
      "--arch", architecture,
      "timm name of the architecture, e.g. deit_small_patch16_224 (see igq inspect --list), or a detector's,\n"
      "e.g. mask_rcnn_swin_t_fpn");
  app.add_option("--img-size", image_size,
                 "input size: one number, or height and width (position embeddings are resized)")
      ->expected(1, 2)
      ->check(CLI::Range(1, 16384));
  app.add_option("--crop-pct", crop_pct, "share of the resized image that the centre crop keeps (default: the model's)")
      ->check(number_in(0.05, 2.0));
  app.add_option("--interpolation", interpolation, "bilinear, bicubic, ... (default: the model's)")
      ->check(parsed_by([](const std::string& t) { parse_interpolation(t); }, "NAME"));
  app.add_option(
         "--orientation", orientation,
         "pictures that the camera stored turned: exif (upright), ignore, or auto: as the model's source loads them\n"
         "(timm: ignore; transformers and detectors: exif; an .igq file: as the model that it was made from)")
      ->check(CLI::IsMember({"auto", "exif", "ignore"}))
      ->capture_default_str();
  CLI::Option* names = app.add_option("--labels", labels,
                                      "zero-shot: a text file, a label in each line; makes a classifier of an encoder");
  CLI::Option* embeddings =
      app.add_option("--label-embeddings", label_embeddings, "zero-shot: .npy [labels, width] of the labels' texts");
  names->needs(embeddings);
  embeddings->needs(names);
  app.add_option("--logit-scale", logit_scale, "zero-shot: factor of the cosines, exp of the checkpoint's logit_scale")
      ->check(number_in(1e-3, 1e4))
      ->needs(names)
      ->capture_default_str();
}

CheckpointOptions ModelFlags::checkpoint_options() const {
  CheckpointOptions options;
  options.architecture = architecture;
  if (!image_size.empty()) {
    options.image_height = image_size.front();
    options.image_width = image_size.back();
  }
  return options;
}

void ModelFlags::apply_preprocessing(Model& model) const {
  PreprocessConfig preprocess = model.config().preprocess;
  if (crop_pct > 0.0) {
    preprocess.crop_pct = crop_pct;
    preprocess.resize_height = preprocess.resize_width = preprocess.resize_short = 0;
  }
  if (!interpolation.empty()) preprocess.interpolation = parse_interpolation(interpolation);
  if (orientation != "auto") preprocess.orientation = parse_orientation(orientation);
  model.set_preprocess(preprocess);
}

LoadedModel ModelFlags::load() const {
  if (path.empty()) fail("no MODEL given");
  return load(path);
}

LoadedModel ModelFlags::load(const std::string& other) const {
  LoadedModel loaded = load_model(other, checkpoint_options());
  for (const std::string& line : loaded.model->config().notes) note(fmt::format("igq: {}: {}", other, line));
  if (!labels.empty()) add_zero_shot_head(loaded, {labels, label_embeddings, logit_scale});
  apply_preprocessing(*loaded.model);
  return loaded;
}

void RunFlags::add_to(CLI::App& app, bool with_execution) {
  app.add_option("-j,--threads", threads,
                 "threads (default: IGQ_NUM_THREADS, OMP_NUM_THREADS or one per processor that this process may use)")
      ->check(CLI::Range(1, 1024))
      ->each([](const std::string& text) { set_default_threads(std::atoi(text.c_str())); });  // loading too
  app.add_option("--isa", isa, "instruction set: auto, " + isa_names() + "; results are the same")
      ->check(parsed_by([](const std::string& t) { parse_isa(t); }, "NAME"))
      ->capture_default_str();
  if (with_execution)
    app.add_option("--execution", execution,
                   "float, simulate (quantize-dequantize in float) or integer\n(default: integer for an .igq file, "
                   "float otherwise)")
        ->check(parsed_by([](const std::string& t) { parse_execution(t); }, "NAME"));
  app.add_flag("--json", json, "print one JSON document on stdout");
}

Execution RunFlags::execution_for(const LoadedModel& model) const {
  const bool has_plan = model.model->plan() != nullptr;
  if (execution.empty()) return has_plan ? Execution::kInteger : Execution::kFloat;
  const Execution chosen = parse_execution(execution);
  if (chosen != Execution::kFloat && !has_plan)
    fail("{} is a float model, which cannot run with --execution {}: quantize it first with `igq quantize`", model.name,
         execution);
  return chosen;
}

Progress::Progress(std::string what, std::int64_t total, std::int64_t done)
    : what_(std::move(what)),
      total_(total),
      before_(std::max<std::int64_t>(done, 0)),
      rate_(done >= 0),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (terminal_ && width_ > 0) std::cerr << '\r' << std::setw(static_cast<int>(width_)) << "" << '\r' << std::flush;
}

void Progress::update(std::int64_t done) {
  const auto now = Clock::now();
  const double since_last = std::chrono::duration<double>(now - last_).count();
  if (since_last < (terminal_ ? 0.1 : 10.0)) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const auto fresh = static_cast<double>(done - before_);
  const double left = fresh > 0.0 ? elapsed / fresh * static_cast<double>(total_ - done) : 0.0;
  std::string line = fmt::format("{} {}/{}, ", what_, done, total_);
  if (rate_) line += fmt::format("{:.1f} images/s, ", fresh / std::max(elapsed, 1e-9));
  line += fmt::format("{:.0f} s left", left);
  if (terminal_) {
    const std::size_t width = line.size();
    line.resize(std::max(width, width_), ' ');
    width_ = width;
    std::cerr << '\r' << line << std::flush;
  } else {
    std::cerr << line << '\n';
  }
}

StageProgress stage_progress(std::unique_ptr<Progress>& current) {
  return [&current](const std::string& name, std::int64_t units) {
    current.reset();
    current = std::make_unique<Progress>(name, units);
    return current->callback();
  };
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c >= widths.size()) widths.push_back(0);
      widths[c] = std::max(widths[c], row[c].size());
    }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - row[c].size(), ' ');
      line += c == 0 ? row[c] + space : "  " + space + row[c];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string Table::markdown() const {
  std::string text;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    text += '|';
    for (const std::string& cell : rows_[r]) text += ' ' + cell + " |";
    text += '\n';
    if (r != 0) continue;
    text += '|';
    for (std::size_t c = 0; c < rows_[0].size(); ++c) text += c == 0 ? "---|" : "---:|";
    text += '\n';
  }
  return text;
}

void print_json(const nlohmann::json& document) {
  const std::string text = document.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
  // What commands a terminal stands only in strings, where JSON has escapes of its own for it.
  std::string shown;
  shown.reserve(text.size());
  escape_controls(text, true, [&](std::string_view piece) {
    if (piece.starts_with("\\x"))
      shown.append("\\u00").append(piece.substr(2));
    else
      shown += piece;
  });
  std::cout << shown << '\n' << std::flush;
  if (!std::cout) fail("cannot write to standard output");
}

std::string& closing_note() {
  static std::string text;
  return text;
}

void note_threads(int wanted, int started) {
  if (started < wanted)
    closing_note() =
        fmt::format("only {} of {} threads could be started: limits on processes or memory", started, wanted);
}

void note(const std::string& line) { std::cerr << printable(line) << '\n'; }

void require_classes(const LoadedModel& model, const std::string& verb) {
  if (model.model->config().num_classes > 0) return;
  fail(
      "{} is an encoder without a head, so `igq {}` has no classes to go by: `igq embed` gives its vectors, `igq "
      "compare` "
      "measures them",
      model.name, verb);
}

std::string megabytes(double bytes) { return fmt::format("{:.1f} MB", bytes / 1e6); }

std::string scaled(double value) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T"};
  std::size_t unit = 0;
  while (value >= 1000.0 && unit + 1 < std::size(kUnits)) {
    value /= 1000.0;
    ++unit;
  }
  return fmt::format("{:.{}f}{}", value, unit == 0 ? 0 : 2, kUnits[unit]);
}

nlohmann::json machine_json(Isa isa, int threads) {
  return {{"cpu", cpu_name()}, {"isa", isa_name(isa)}, {"threads", threads}};
}

std::string class_name(const ModelConfig& config, int c) {
  const auto at = static_cast<std::size_t>(c);
  return at < config.labels.size() ? printable(config.labels[at]) : fmt::format("class {}", c);
}

}  // namespace igq::cli
