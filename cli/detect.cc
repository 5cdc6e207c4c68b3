#include "detect.h"

#include <fmt/format.h>

#include <iostream>

#include "base/fail.h"
#include "base/file.h"
#include "base/output_file.h"
#include "draw/draw_detections.h"
#include "io/png_writer.h"
#include "pipeline/detect_dataset.h"

namespace igq::cli {
namespace {

/// The text chunk by which a picture of igq is told from others, after the first 33 bytes: signature and header.
constexpr std::size_t kChunkAt = 33;
constexpr std::string_view kChunk("\000\000\000\033tEXtSoftware\000igq predict --draw\032\0215&", 39);

const OutputKind kPngOutput{"a picture drawn by igq", [](const InputFile& file) {
                              std::string text(kChunkAt + kChunk.size(), '\0');
                              file.read(0, std::as_writable_bytes(std::span(text)));
                              return text.starts_with("\x89PNG\r\n") && text.ends_with(kChunk);
                            }};

/// The picture with what was found on it, as a PNG file.
void write_drawn(Image image, const std::vector<Detection>& found, const Detector& detector,
                 const PredictDetectionsFlags& flags) {
  std::vector<draw::Drawn> drawn;
  for (const Detection& d : found) drawn.push_back({d.box, d.mask.value_or(detection::Rle{}), d.label, d.score});
  draw::draw_detections(image, drawn, detector.labels());
  write_file(flags.draw, encode_png(image).insert(kChunkAt, kChunk), flags.overwrite, &kPngOutput);
}

}  // namespace

bool names_detector(const ModelFlags& flags) { return is_detector(flags.path, flags.architecture); }

RunningDetector::RunningDetector(const ModelFlags& model, const RunFlags& run) {
  if (!model.image_size.empty() || model.crop_pct > 0.0 || !model.interpolation.empty())
    fail(
        "--img-size, --crop-pct and --interpolation are for classifiers: a detector's config.json says how pictures "
        "are "
        "resized");
  if (!model.labels.empty()) fail("--labels is for encoders; {} is a detector", model.path);
  orientation_ = model.orientation == "ignore" ? Orientation::kIgnore : Orientation::kExif;
  loaded_ = load_detector(model.path, model.architecture);
  Execution execution = loaded_.quantized ? Execution::kInteger : Execution::kFloat;
  if (!run.execution.empty()) execution = parse_execution(run.execution);
  if (!loaded_.quantized && execution != Execution::kFloat)
    fail("{} is a float model, which cannot run with --execution {}", model.path, run.execution);
  runner_ = std::make_unique<DetectorRunner>(*loaded_.detector, execution, run.parsed_isa(), run.threads);
  note_threads(run.threads, runner_->pool().size());
}

Image RunningDetector::load(const std::string& file) const { return load_image(file, orientation_); }

std::vector<Detection> RunningDetector::detect(const Image& image, const std::string& file, float threshold) {
  return detect_in_file(*runner_, image, file, threshold);
}

void predict_detections(const ModelFlags& model, const RunFlags& run, const std::vector<std::string>& images,
                        const PredictDetectionsFlags& flags) {
  if (!flags.draw.empty() && images.size() != 1) fail("--draw paints one picture, {} are given", images.size());
  check_output(flags.draw, flags.overwrite, kPngOutput);
  RunningDetector running(model, run);
  const Detector& detector = running.detector();
  const float threshold = flags.threshold.value_or(detector.default_threshold());
  nlohmann::json pictures = nlohmann::json::array();
  for (const std::string& file : images) {
    const Image image = running.load(file);
    const std::vector<Detection> found = running.detect(image, file, threshold);
    if (!flags.draw.empty()) write_drawn(image, found, detector, flags);
    nlohmann::json entries = nlohmann::json::array();
    if (!run.json) std::cout << fmt::format("{} ({}x{}): {} objects\n", file, image.width, image.height, found.size());
    for (const Detection& d : found) {
      const std::array<double, 4> box = detection::xywh(d.box);
      if (!run.json) {
        std::cout << fmt::format("  {:6.2f} %  {:<16} x {:7.1f}  y {:7.1f}  {:7.1f} x {:.1f}\n",
                                 100.0 * static_cast<double>(d.score), printable(detector.label_name(d.label)), box[0],
                                 box[1], box[2], box[3]);
        continue;
      }
      nlohmann::json entry = {{"category_id", detector.category_id(d.label)},
                              {"label", detector.label_name(d.label)},
                              {"score", static_cast<double>(d.score)},
                              {"bbox", box}};
      if (d.mask)
        entry["segmentation"] = {{"size", {d.mask->height, d.mask->width}},
                                 {"counts", detection::rle_to_text(*d.mask)}};
      entries.push_back(std::move(entry));
    }
    pictures.push_back(
        {{"file", file}, {"height", image.height}, {"width", image.width}, {"detections", std::move(entries)}});
  }
  if (run.json) print_json({{"images", std::move(pictures)}});
}

}  // namespace igq::cli
