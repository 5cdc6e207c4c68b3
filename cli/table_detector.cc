#include "table_detector.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "base/fail.h"
#include "base/output_file.h"
#include "detect.h"
#include "eval_coco.h"
#include "eval_detector.h"
#include "folders.h"
#include "pipeline/detector_table.h"
#include "quantize_detector.h"

namespace igq::cli {
namespace {

Table detector_text_table(const std::vector<DetectorTableRow>& rows) {
  Table table({"setting", "bits", "groups", "box AP", "+-95 %", "mask AP", "+-95 %", "GBOPs", "file MB"});
  const auto ap = [](double value) { return value < 0.0 ? std::string("-") : fmt::format("{:.2f}", value); };
  for (const DetectorTableRow& r : rows)
    table.add({r.name, r.bits, r.groups, ap(r.box_ap), fmt::format("{:.2f}", r.box_interval), ap(r.mask_ap),
               r.mask_ap < 0.0 ? "-" : fmt::format("{:.2f}", r.mask_interval), fmt::format("{:.2f}", r.gbops),
               fmt::format("{:.2f}", r.file_mb)});
  return table;
}

/// A table of this program: its first two lines.
const OutputKind kDetectorTable{
    "a table of igq", [](const InputFile& file) { return file.begins_with(detector_text_table({}).markdown()); }};

}  // namespace

void table_detector(const ModelFlags& model, const RunFlags& run, const QuantizeFlags& quantize,
                    const TableDetectorFlags& flags, const std::vector<TableSetting>& settings) {
  check_output(flags.markdown, true, kDetectorTable);
  DetectorTableOptions options;
  options.isa = run.parsed_isa();
  options.threads = run.threads;
  options.execution = run.execution.empty() ? Execution::kInteger : parse_execution(run.execution);
  options.scope = parse_scope(flags.scope);
  options.run.images = flags.images;
  options.run.skip_bad_images = flags.skip_bad_images;
  options.state = flags.output;
  const LoadedDetector loaded = load_detector(model.path, model.architecture);
  if (loaded.quantized) fail("{} is quantized already: the table starts from the float detector", loaded.name);
  quantize.check_sites(*loaded.detector);
  options.run.orientation =
      model.orientation == "ignore" ? Orientation::kIgnore : picture_orientation(*loaded.detector);
  coco::Dataset dataset = read_coco_dataset(flags.annotations, {true, loaded.detector->has_masks()});
  keep_first_images(dataset, flags.limit);
  const std::vector<Sample> samples = choose_samples(open_folder(flags.calibration_dir), flags.samples, quantize.seed);
  const DetectorPictures pictures = pictures_from_files(*loaded.detector, paths_of(samples), {});
  std::vector<DetectorTableRow> rows;
  {
    std::unique_ptr<Progress> progress;
    rows = make_detector_table([&] { return load_detector(model.path, model.architecture); }, pictures, dataset,
                               settings, options, stage_progress(progress));
  }
  const Table table = detector_text_table(rows);
  if (!flags.markdown.empty()) write_file(flags.markdown, table.markdown(), true, &kDetectorTable);
  if (run.json) {
    nlohmann::json document = {{"model", loaded.name},
                               {"architecture", loaded.detector->architecture()},
                               {"calibration_images", pictures.count},
                               {"test_images", dataset.images.size()},
                               {"execution", execution_name(options.execution)},
                               {"scope", flags.scope},
                               {"settings", job_text(quantize.job())},
                               {"rows", nlohmann::json::array()}};
    for (const DetectorTableRow& row : rows) document["rows"].push_back(row_to_json(row));
    document.update(machine_json(options.isa, run.threads));
    return print_json(document);
  }
  std::cout << fmt::format("{} ({}), {} calibration images, {} test images, {} execution\n", printable(loaded.name),
                           printable(loaded.detector->architecture()), pictures.count, dataset.images.size(),
                           execution_name(options.execution));
  std::cout << table.text();
}

}  // namespace igq::cli
