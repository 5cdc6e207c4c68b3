#include "coco/dataset.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "base/fail.h"
#include "io/json_fields.h"

namespace igq::coco {
namespace {

using nlohmann::json;

/// What of an object can only be settled when the whole file is read. Masks of images that come later in the file wait
/// as text, an eighth of what parsed JSON takes.
struct Pending {
  std::int64_t image_id, category_id;
  std::string segmentation;
};

class DatasetReader {
 public:
  explicit DatasetReader(Needs needs) : needs_(needs) {}

  void read(const std::filesystem::path& path, const ReadProgress& progress) {
    RecordHandlers handlers;
    handlers.wanted = [](const std::string& list) {
      return list == "images" || list == "categories" || list == "annotations";
    };
    handlers.begin = [this](const std::string& list) {
      if (list.empty()) fail("is a list; an annotation file is an object with images, annotations and categories");
      if (!lists_.insert(list).second) fail("has two lists '{}'", list);
    };
    handlers.record = [this](const std::string& list, std::int64_t, const json& record) {
      if (!record.is_object()) fail("is not an object");
      if (list == "images")
        add_image(record);
      else if (list == "categories")
        add_category(record);
      else
        add_annotation(record);
    };
    // A file that is a list is refused by begin; `wanted` is not asked for its elements.
    read_records(path, handlers, progress);
    for (const char* list : {"images", "annotations", "categories"})
      if (lists_.count(list) == 0) fail("{}: has no list '{}'; is it a COCO annotation file?", path.string(), list);
    try {
      finish();
    } catch (const Error& fault) {
      fail("{}: {}", path.string(), fault.what());
    }
  }
  Dataset take() { return std::move(data_); }

 private:
  void add_image(const json& record) {
    ImageInfo image;
    image.id = record_id(record, "id");
    const std::int64_t height = json_int(json_at(record, "height"), "height", 1, INT32_MAX);
    const std::int64_t width = json_int(json_at(record, "width"), "width", 1, INT32_MAX);
    if (needs_.masks) detection::check_mask_size(height, width, fmt::format("image {}", image.id));
    image.height = static_cast<int>(height);
    image.width = static_cast<int>(width);
    if (const json* name = json_find(record, "file_name")) image.file_name = json_string(*name, "file_name");
    if (!image_at_.emplace(image.id, data_.images.size()).second) fail("the image id {} occurs twice", image.id);
    data_.images.push_back(std::move(image));
  }

  void add_category(const json& record) {
    Category category;
    category.id = record_id(record, "id");
    if (const json* name = json_find(record, "name")) category.name = json_string(*name, "name");
    if (!category_ids_.insert(category.id).second) fail("the category id {} occurs twice", category.id);
    data_.categories.push_back(std::move(category));
  }

  void add_annotation(const json& record) {
    Annotation object;
    object.id = record_id(record, "id");
    if (!annotation_ids_.insert(object.id).second) fail("the annotation id {} occurs twice", object.id);
    const std::int64_t image_id = record_id(record, "image_id"), category_id = record_id(record, "category_id");
    if (const json* crowd = json_find(record, "iscrowd"))
      object.crowd = crowd->is_boolean() ? crowd->get<bool>() : json_int(*crowd, "iscrowd", 0, 1) != 0;
    object.area = read_number(json_at(record, "area"), "area");
    if (needs_.boxes) object.box = read_box(json_at(record, "bbox"));
    Pending pending{image_id, category_id, {}};
    if (needs_.masks) {
      const json* segmentation = json_find(record, "segmentation");
      if (segmentation == nullptr) fail("annotation {} has no segmentation", object.id);
      const auto image = image_at_.find(image_id);
      if (image != image_at_.end())
        object.mask = mask_text(*segmentation, data_.images[image->second], object.id);
      else
        pending.segmentation = segmentation->dump();
    }
    pending_.push_back(std::move(pending));
    data_.annotations.push_back(std::move(object));
  }

  static std::string mask_text(const json& segmentation, const ImageInfo& image, std::int64_t id) {
    return detection::rle_to_text(
        read_segmentation(segmentation, image.height, image.width, fmt::format("annotation {}", id)));
  }

  /// Ids to positions, objects of unknown images and categories dropped.
  void finish() {
    const auto by_id = [](const auto& a, const auto& b) { return a.id < b.id; };
    std::vector<ImageInfo>& images = data_.images;
    std::sort(images.begin(), images.end(), by_id);
    std::sort(data_.categories.begin(), data_.categories.end(), by_id);
    std::vector<Annotation> kept;
    kept.reserve(data_.annotations.size());
    for (std::size_t i = 0; i < data_.annotations.size(); ++i) {
      Annotation& object = data_.annotations[i];
      object.image = data_.image_of(pending_[i].image_id);
      object.category = data_.category_of(pending_[i].category_id);
      if (object.image < 0) {
        ++data_.of_unknown_image;
        continue;
      }
      if (object.category < 0) {
        ++data_.of_unknown_category;
        continue;
      }
      if (needs_.masks && object.mask.empty())
        object.mask =
            mask_text(parse_json(pending_[i].segmentation), images[static_cast<std::size_t>(object.image)], object.id);
      kept.push_back(std::move(object));
    }
    data_.annotations = std::move(kept);
  }

  Needs needs_;
  Dataset data_;
  std::unordered_set<std::string> lists_;
  std::unordered_map<std::int64_t, std::size_t> image_at_;
  std::unordered_set<std::int64_t> category_ids_, annotation_ids_;
  std::vector<Pending> pending_;  // one for each object
};

template <typename List>
int position_of(const List& sorted, std::int64_t id) {
  const auto found = std::lower_bound(sorted.begin(), sorted.end(), id,
                                      [](const auto& entry, std::int64_t v) { return entry.id < v; });
  return found != sorted.end() && found->id == id ? static_cast<int>(found - sorted.begin()) : -1;
}

detection::Rle read_polygons(const json& polygons, int height, int width, std::string_view what) {
  if (polygons.empty()) fail("{}: its segmentation is an empty list", what);
  std::vector<detection::Rle> parts;
  for (const json& polygon : polygons) {
    if (!polygon.is_array()) fail("{}: its segmentation is a list of what are no polygons", what);
    if (polygon.size() < 6 || polygon.size() % 2 != 0)
      fail("{}: a polygon has {} numbers; three points or more are needed", what, polygon.size());
    std::vector<double> xy;
    xy.reserve(polygon.size());
    for (const json& v : polygon) xy.push_back(read_number(v, "a polygon's coordinate"));
    parts.push_back(detection::rle_from_polygon(xy, height, width, what));
  }
  return detection::rle_union(parts);
}

}  // namespace

int Dataset::image_of(std::int64_t id) const { return position_of(images, id); }
int Dataset::category_of(std::int64_t id) const { return position_of(categories, id); }

double read_number(const json& value, std::string_view what) {
  if (!value.is_number()) fail("'{}' is not a number", what);
  const double number = value.get<double>();
  if (!std::isfinite(number)) fail("'{}' is not finite", what);
  return number;
}

XYWH read_box(const json& box) {
  if (!box.is_array() || box.size() != 4) fail("'bbox' is not a list of four numbers");
  XYWH result;
  for (std::size_t i = 0; i < 4; ++i) result[i] = read_number(box[i], "bbox");
  return result;
}

detection::Rle read_segmentation(const json& segmentation, int height, int width, std::string_view what) {
  if (segmentation.is_array()) return read_polygons(segmentation, height, width, what);
  if (!segmentation.is_object()) fail("{}: its segmentation is neither polygons nor run lengths", what);
  const json& size = json_at(segmentation, "size");
  if (!size.is_array() || size.size() != 2) fail("{}: the 'size' of its mask is not [height, width]", what);
  const std::int64_t rle_height = json_int(size[0], "size", 0, INT32_MAX),
                     rle_width = json_int(size[1], "size", 0, INT32_MAX);
  if (rle_height != height || rle_width != width)
    fail("{}: its mask is {} x {} pixels, its image {} x {}", what, rle_width, rle_height, width, height);
  const json& counts = json_at(segmentation, "counts");
  if (counts.is_string()) return detection::rle_from_text(counts.get_ref<const std::string&>(), height, width, what);
  if (!counts.is_array()) fail("{}: the 'counts' of its mask are neither a text nor a list", what);
  std::vector<std::int64_t> runs;
  runs.reserve(counts.size());
  for (const json& run : counts) runs.push_back(json_int(run, "counts", 0, INT32_MAX));
  return detection::rle_from_counts(runs, height, width, what);
}

Dataset read_dataset(const std::filesystem::path& path, Needs needs, const ReadProgress& progress) {
  DatasetReader reader(needs);
  reader.read(path, progress);
  return reader.take();
}

}  // namespace igq::coco
