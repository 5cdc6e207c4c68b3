#include "coco/detections.h"

#include <functional>
#include <limits>
#include <utility>

#include "base/fail.h"
#include "base/file.h"
#include "base/output_file.h"
#include "io/json_fields.h"

namespace igq::coco {
namespace {

using nlohmann::json;

/// pycocotools' test of the first detection: a box that is not an empty list.
bool carries_box(const json& record) {
  const auto box = record.find("bbox");
  return box != record.end() && !(box->is_array() && box->empty());
}

class DetectionsReader {
 public:
  DetectionsReader(const Dataset& dataset, Needs needs) : dataset_(dataset), needs_(needs) {}

  void add(std::int64_t position, const json& record) {
    if (!record.is_object()) fail("is not an object");
    if (position == 0) {
      found_.has_boxes = carries_box(record);
      found_.has_masks = record.contains("segmentation");
      if (!found_.has_boxes && !found_.has_masks) fail("has neither 'bbox' nor 'segmentation'");
    }
    Detection detection;
    const std::int64_t image_id = record_id(record, "image_id"), category_id = record_id(record, "category_id");
    detection.image = dataset_.image_of(image_id);
    if (detection.image < 0) fail("is of the image {}, which the annotations do not list", image_id);
    detection.category = dataset_.category_of(category_id);
    detection.score = read_number(json_at(record, "score"), "score");
    if (found_.has_boxes) {
      detection.box = read_box(json_at(record, "bbox"));
      detection.area = detection.box[2] * detection.box[3];
    }
    if (needs_.masks || !found_.has_boxes) read_mask(record, detection);
    if (detection.category < 0) {
      ++found_.of_unknown_category;
      return;
    }
    found_.list.push_back(std::move(detection));
  }
  Detections take() { return std::move(found_); }

 private:
  void read_mask(const json& record, Detection& detection) {
    const ImageInfo& image = dataset_.images[static_cast<std::size_t>(detection.image)];
    const json* segmentation = json_find(record, "segmentation");
    const XYWH& b = detection.box;
    const double x2 = b[0] + b[2], y2 = b[1] + b[3];
    const json around_box = json::array({json::array({b[0], b[1], b[0], y2, x2, y2, x2, b[1]})});
    if (segmentation == nullptr && !found_.has_boxes) fail("'segmentation' is missing");
    // pycocotools takes the area of masks from run lengths as text only.
    if (!found_.has_boxes && !segmentation->is_object()) fail("'segmentation' is not a mask's run lengths");
    const detection::Rle rle =
        read_segmentation(segmentation == nullptr ? around_box : *segmentation, image.height, image.width, "its mask");
    if (!found_.has_boxes) {
      detection.area = static_cast<double>(detection::rle_area(rle));
      // A box that only later detections have is taken as it is; the first has none.
      detection.box = record.contains("bbox") ? read_box(record.at("bbox")) : detection::rle_box(rle);
    }
    if (needs_.masks) detection.mask = detection::rle_to_text(rle);
  }

  const Dataset& dataset_;
  Needs needs_;
  Detections found_;
};

/// Streams a result file's detections.
void read_list(const std::filesystem::path& path, const std::function<void(std::int64_t, const json&)>& record,
               const ReadProgress& progress) {
  bool is_list = false;
  RecordHandlers handlers;
  handlers.wanted = [](const std::string&) { return false; };  // of an object's lists
  handlers.begin = [&](const std::string&) { is_list = true; };
  handlers.record = [&](const std::string&, std::int64_t position, const json& detection) {
    record(position, detection);
  };
  read_records(path, handlers, progress);
  if (!is_list) fail("{}: is not a list of detections, as COCO's result files are", path.string());
}

/// Ends the reading of a file whose first record was all that is asked for.
struct SeenFirst {};

}  // namespace

Detections read_detections(const std::filesystem::path& path, const Dataset& dataset, Needs needs,
                           const ReadProgress& progress) {
  DetectionsReader reader(dataset, needs);
  read_list(
      path, [&](std::int64_t position, const json& record) { reader.add(position, record); }, progress);
  return reader.take();
}

std::pair<bool, bool> detections_carry(const std::filesystem::path& path) {
  std::pair<bool, bool> carried{false, false};
  try {
    read_list(path,
              [&](std::int64_t, const json& record) {
                if (!record.is_object()) fail("is not an object");
                carried = {carries_box(record), record.contains("segmentation")};
                throw SeenFirst{};
              },
              {});
  } catch (const SeenFirst&) {
  }
  return carried;
}

const OutputKind kDetectionsOutput{
    "a result file of detections", [](const InputFile& file) {
      std::string text(std::min<std::uint64_t>(file.size(), std::uint64_t{16} << 20), '\0');
      file.read(0, std::as_writable_bytes(std::span(text)));
      if (text == "[\n]\n") return true;
      const std::size_t end = text.find('\n', 2);
      if (!text.starts_with("[\n{") || end == std::string::npos) return false;
      const json first = parse_json(std::string_view(text).substr(2, end - 2 - (text[end - 1] == ',' ? 1 : 0)));
      for (const char* key : {"image_id", "category_id", "bbox", "score"})
        if (!first.contains(key)) return false;
      return first.size() == 4 || (first.size() == 5 && first.contains("segmentation"));
    }};

void write_detections(const std::filesystem::path& path, const Dataset& dataset,
                      const std::vector<Detection>& detections, bool overwrite) {
  OutputFile file(path, overwrite, &kDetectionsOutput);
  std::string text = "[";
  for (std::size_t i = 0; i < detections.size(); ++i) {
    const Detection& d = detections[i];
    const ImageInfo& image = dataset.images[static_cast<std::size_t>(d.image)];
    json record = {{"image_id", image.id},
                   {"category_id", dataset.categories[static_cast<std::size_t>(d.category)].id},
                   {"bbox", d.box},
                   {"score", d.score}};
    if (!d.mask.empty()) record["segmentation"] = {{"size", {image.height, image.width}}, {"counts", d.mask}};
    text += (i == 0 ? "\n" : ",\n") + record.dump();
    if (text.size() < (std::size_t{1} << 20)) continue;
    file.write(text);
    text.clear();
  }
  file.write(text + "\n]\n");
  file.commit();
}

}  // namespace igq::coco
