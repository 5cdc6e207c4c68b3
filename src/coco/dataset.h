// COCO's annotation files (instances_*.json): images, categories, and objects with boxes and masks, read as a stream.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "coco/record_reader.h"
#include "detection/rle.h"

namespace igq::coco {

using XYWH = std::array<double, 4>;  ///< a box in pixels: left, top, width, height

struct ImageInfo {
  std::int64_t id = 0;
  std::string file_name;  ///< empty where the file names none
  int height = 0, width = 0;
};

struct Category {
  std::int64_t id = 0;
  std::string name;
};

/// An object of an image; `image` and `category` are positions in the data set's lists.
struct Annotation {
  std::int64_t id = 0;
  int image = 0, category = 0;
  bool crowd = false;
  double area = 0.0;
  XYWH box{};
  std::string mask;  ///< COCO's text of run lengths; empty unless masks were asked for
};

struct Dataset {
  std::vector<ImageInfo> images;        ///< by ascending id
  std::vector<Category> categories;     ///< by ascending id
  std::vector<Annotation> annotations;  ///< in the file's order
  /// Objects of images or categories that the file does not list; as in pycocotools they take no part.
  std::int64_t of_unknown_image = 0, of_unknown_category = 0;

  /// Position of an id, -1 when there is none.
  int image_of(std::int64_t id) const;
  int category_of(std::int64_t id) const;
};

/// What an evaluation needs of every object.
struct Needs {
  bool boxes = true, masks = false;
};

/// Reads an annotation file. Error for ids that occur twice, missing or impossible fields, boxes or masks that are
/// needed and missing (a polygon needs three points), and run lengths that do not fit their image.
Dataset read_dataset(const std::filesystem::path& path, Needs needs, const ReadProgress& progress = {});

/// An object's "segmentation" as a mask of height x width: polygons (united), run lengths as a list or as text. Error
/// for everything else; `what` names it.
detection::Rle read_segmentation(const nlohmann::json& segmentation, int height, int width, std::string_view what);

/// Four finite numbers. Error otherwise.
XYWH read_box(const nlohmann::json& box);
/// A finite number. Error otherwise; `what` names it.
double read_number(const nlohmann::json& value, std::string_view what);

}  // namespace igq::coco
