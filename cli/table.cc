// igq table: the paper's table for one model, one row per reference setting (docs/method.md, section 7).
#include "pipeline/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>

#include "base/fail.h"
#include "base/output_file.h"
#include "common.h"
#include "detect.h"
#include "folders.h"
#include "pipeline/quantize_detector.h"
#include "quantize_flags.h"
#include "table_detector.h"
#include "verbs.h"

namespace igq::cli {
namespace {

const std::vector<std::string> kSettings{"float",       "layer", "static-group", "igq",      "igq-allocated",
                                         "upper-bound", "scale", "best",         "best-bits"};

struct TableFlags {
  ModelFlags model;
  RunFlags run;
  QuantizeFlags quantize;
  std::string calibration_dir, data_dir, output, markdown;
  std::vector<std::string> bits{"w4a4"},
      settings{"float", "layer", "static-group", "igq", "igq-allocated", "upper-bound"}, weights{};
  std::vector<int> groups{8};
  int samples = 32;
  std::int64_t limit = 0;
  bool skip_bad_images = false;
  ClassFlags classes;
  std::string annotations, images, scope;  // of a detector
};

/// Settings that are the same in all that decides them are one row: --groups 1,8 is no choice for `best` up to 5 bits.
std::vector<TableSetting> without_twins(std::vector<TableSetting> rows) {
  std::vector<TableSetting> kept;
  for (TableSetting& row : rows) {
    const auto same = [&](const TableSetting& k) {
      return k.name == row.name && k.bits == row.bits && job_text(k.job) == job_text(row.job);
    };
    if (row.name != "float" && std::any_of(kept.begin(), kept.end(), same))
      note(fmt::format("igq: --groups has no effect on {} at {}: one row stands for all", row.name, row.bits));
    else
      kept.push_back(std::move(row));
  }
  return kept;
}

/// An option that changes none of the rows is refused.
void check_effects(const std::vector<QuantizeFlags>& rows) {
  std::map<std::string, std::size_t> idle;
  for (const QuantizeFlags& row : rows)
    for (const std::string& line : row.without_effect()) ++idle[line.substr(0, line.find(' '))];
  for (const auto& [option, count] : idle)
    if (count == rows.size())
      throw CLI::ValidationError(option + " has no effect on any of the rows asked for (--settings, --weights-list)");
}

/// The rows of the table, in reading order: per bits, settings without a number of groups once, others per number.
std::vector<TableSetting> table_settings(const TableFlags& flags) {
  std::vector<TableSetting> rows;
  auto wants = [&](const char* name) {
    return std::find(flags.settings.begin(), flags.settings.end(), name) != flags.settings.end();
  };
  if (wants("float")) rows.push_back({"float", "-", "-", {}});
  std::vector<QuantizeFlags> all;
  const std::vector<std::string> methods =
      flags.weights.empty() ? std::vector<std::string>{flags.quantize.weights} : flags.weights;
  for (const std::string& bits : flags.bits)
    for (const std::string& weights : methods) {
      QuantizeFlags base = flags.quantize;
      base.bits = bits;
      base.weights = weights;
      base.preset = "paper";
      const std::string suffix = methods.size() > 1 ? " " + weights : "";
      auto add = [&](const std::string& name, const char* grouping, const std::string& groups) {
        QuantizeFlags row = base;
        row.grouping = grouping;
        if (name.starts_with("best")) row.preset = "best";
        if (name == "best-bits") {
          row.bits = "auto";
          row.average_bits = bits;
        }
        if (name == "igq-allocated") {
          row.groups = "auto";
          row.average_groups = std::stoi(groups);
        } else if (groups != "each") {
          row.groups = groups;
        }
        all.push_back(row);
        const QuantizeJob job = row.job();
        const bool choice = name == "layer" || groups == "each" || job.allocate || groups_matter(job.options);
        rows.push_back({name + suffix, bits, choice ? groups : "-", job});
      };
      if (wants("layer")) add("layer", "layer", "1");
      for (const char* name : {"static-group", "igq", "igq-allocated", "scale"})
        if (wants(name))
          for (const int g : flags.groups)
            add(name, std::string(name) == "igq-allocated" ? "igq" : name, fmt::format("{}", g));
      if (wants("upper-bound")) add("upper-bound", "upper-bound", "each");
      for (const char* name : {"best", "best-bits"})
        if (wants(name))
          for (const int g : flags.groups) add(name, "", fmt::format("{}", g));
    }
  check_effects(all);
  return without_twins(std::move(rows));
}

Table text_table(const std::vector<TableRow>& rows) {
  Table table(
      {"setting", "bits", "groups", "top-1 %", "+-95 %", "top-5 %", "as float %", "+-95 %", "GBOPs", "file MB"});
  for (const TableRow& r : rows)
    table.add({r.name, r.bits, r.groups, fmt::format("{:.2f}", r.top1), fmt::format("{:.2f}", r.interval),
               fmt::format("{:.2f}", r.top5), fmt::format("{:.2f}", r.agreement),
               fmt::format("{:.2f}", confidence_95(r.agreement, r.images)), fmt::format("{:.2f}", r.gbops),
               fmt::format("{:.2f}", r.file_mb)});
  return table;
}

/// A table of this program: its first two lines.
const OutputKind kMarkdownOutput{"a table of igq",
                                 [](const InputFile& file) { return file.begins_with(text_table({}).markdown()); }};

void run_table(const TableFlags& flags) {
  { const TemporaryFile probe("igq-table-", ".igq"); }  // named now if it is missing, not after the first row
  if (!flags.output.empty())
    const OutputFile probe(flags.output);  // what is in it is read, or refused, before anything is written
  if (names_detector(flags.model)) {
    if (flags.annotations.empty() || flags.images.empty())
      throw CLI::ValidationError(flags.model.path + " is a detector: --coco ANNOTATIONS and --images DIR are required");
    if (!flags.data_dir.empty()) fail("--data-dir is for classifiers; a detector's test images are those of --coco");
    return table_detector(
        flags.model, flags.run, flags.quantize,
        {flags.calibration_dir, flags.annotations, flags.images, flags.output, flags.markdown,
         flags.scope.empty() ? "all" : flags.scope, flags.samples, flags.limit, flags.skip_bad_images},
        table_settings(flags));
  }
  if (flags.data_dir.empty()) throw CLI::RequiredError("--data-dir");
  if (!flags.annotations.empty() || !flags.images.empty() || !flags.scope.empty())
    fail("--coco, --images and --scope are for detectors; {} is none", flags.model.path);
  check_output(flags.markdown, true, kMarkdownOutput);
  LoadedModel loaded = flags.model.load();
  require_classes(loaded, "table");
  flags.quantize.check_sites(*loaded.model);
  if (loaded.quantized) fail("{} is quantized already: the table starts from the float model", loaded.name);
  const ModelConfig config = loaded.model->config();  // a copy: make_table builds the model anew
  const std::vector<TableSetting> settings = table_settings(flags);
  const CalibrationSet images = calibration_from_files(
      *loaded.model, choose_samples(open_folder(flags.calibration_dir), flags.samples, flags.quantize.seed));
  ImageFolder folder = open_folder(flags.data_dir);
  flags.classes.label(folder, config);
  const std::vector<Sample> samples =
      flags.limit > 0 ? choose_samples(folder, static_cast<int>(flags.limit), 0) : folder.samples;

  TableOptions options;
  options.isa = flags.run.parsed_isa();
  options.threads = flags.run.threads;
  options.execution = flags.run.execution.empty() ? Execution::kInteger : parse_execution(flags.run.execution);
  options.eval.skip_bad_images = flags.skip_bad_images;
  options.state = flags.output;
  std::vector<TableRow> rows;
  {
    std::unique_ptr<Progress> progress;
    rows = make_table(loaded, images, samples, settings, options, stage_progress(progress));
  }
  const Table table = text_table(rows);
  if (!flags.markdown.empty()) write_file(flags.markdown, table.markdown(), true, &kMarkdownOutput);
  if (flags.run.json) {
    nlohmann::json document = {{"model", loaded.name},
                               {"architecture", config.architecture},
                               {"calibration_images", images.count},
                               {"test_images", samples.size()},
                               {"execution", execution_name(options.execution)},
                               {"settings", job_text(flags.quantize.job())},
                               {"rows", nlohmann::json::array()}};
    for (const TableRow& row : rows) document["rows"].push_back(row_to_json(row));
    document.update(machine_json(options.isa, flags.run.threads));
    print_json(document);
    return;
  }
  std::cout << fmt::format("{} ({}), {} calibration images, {} test images, {} execution\n", printable(loaded.name),
                           printable(config.architecture), images.count, samples.size(),
                           execution_name(options.execution));
  std::cout << table.text();
}

}  // namespace

void add_table(CLI::App& app, int&) {
  auto* verb = app.add_subcommand(
      "table",
      "the paper's table for one classifier or detector: float, layer, static-group, igq, igq allocated, upper bound");
  const auto flags = std::make_shared<TableFlags>();
  flags->model.add_to(*verb);
  verb->add_option("--calib", flags->calibration_dir, "folder of calibration images")->required();
  verb->add_option("--samples", flags->samples, "calibration images taken from it")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  verb->add_option("--data-dir", flags->data_dir, "folder of labelled test images");
  verb->add_option("--coco", flags->annotations,
                   "of a detector, instead: annotations of test images in COCO's format (AP of boxes and masks)");
  verb->add_option("--images", flags->images, "of a detector: folder of the annotation file's images");
  verb->add_option("--scope", flags->scope, "of a detector: all, or backbone (default: all)")
      ->check(parsed_by([](const std::string& t) { parse_scope(t); }, "NAME"));
  flags->classes.add_to(*verb);
  verb->add_option("--limit", flags->limit, "only so many test images, spread over the classes")
      ->check(count_from_one());
  verb->add_flag("--skip-bad-images", flags->skip_bad_images, "go on without images that cannot be read");
  verb->add_option("--bits", flags->bits, "one or more, e.g. w4a4,w6a6")
      ->delimiter(',')
      ->check(parsed_by([](const std::string& t) { parse_bits(t); }, "wXaY"))
      ->capture_default_str();
  verb->add_option("--groups", flags->groups, "one or more numbers of groups, e.g. 8,12")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb->add_option("--settings", flags->settings, "rows: " + CLI::detail::join(kSettings, ", "))
      ->delimiter(',')
      ->check(CLI::IsMember(kSettings))
      ->capture_default_str();
  verb->add_option("--weights-list", flags->weights, "one or more weight methods, e.g. rtn,gptq (default: --weights)")
      ->delimiter(',')
      ->check(parsed_by([](const std::string& t) { parse_weight_method(t); }, "NAME"));
  verb->add_option("-o,--output", flags->output,
                   "keep finished rows in this JSON file; the same command goes on from there");
  verb->add_option("--markdown", flags->markdown, "also write the table as Markdown to this file");
  flags->quantize.add_to(*verb, false);
  flags->run.add_to(*verb);
  verb->callback([flags] { run_table(*flags); });
}

}  // namespace igq::cli
