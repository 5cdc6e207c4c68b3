// Folders of images: labels from the names of class folders, and the choice of calibration images. Every order is by
// bytes of the path, never that of the file system. Nothing is left out, and no order of classes assumed, without a
// line that says so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace igq {

struct Sample {
  std::filesystem::path path;
  std::string relative;  ///< path below the folder, '/' between its parts
  int label = -1;        ///< -1: lies in no class folder
};

struct ImageFolder {
  std::vector<Sample> samples;
  std::vector<std::string> classes;  ///< name of each label
  /// Images by extension (".jpg"), and what lies beside them and is no image, by extension or kind ("hidden files").
  std::map<std::string, std::int64_t> formats, left_out;
};

/// Lists the image files (is_image_extension) of `root`: each folder directly in it is a class, labelled by its place
/// in byte order (classes without images count), its images found at any depth; images directly in `root` come first,
/// unlabelled. Links are followed; names that begin with a dot are skipped, as other files are, and counted. Error when
/// the folder is missing, cannot be read or holds no image.
ImageFolder list_images(const std::filesystem::path& root);

/// Lines for the user, without the folder's name: which files were left out, and which are images that timm's reader of
/// folders, which knows .jpg, .jpeg and .png only, leaves out. Empty when there is nothing to say.
std::vector<std::string> listing_notes(const ImageFolder& folder);

/// Which class of the model a class folder holds.
enum class ClassOrder {
  kAuto,          ///< by the model's label names, or by number where folders are named 0, 1, ...; Error in doubt
  kAlphabetical,  ///< folder i in byte order is class i (torchvision's ImageFolder)
  kNumeric,       ///< folder i in order of number is class i (timm's natural order, for folders named by numbers)
  kIndex          ///< the folder named i is class i
};
std::string_view class_order_name(ClassOrder order);
ClassOrder parse_class_order(std::string_view name);

/// Turns folder labels into a model's `labels` (of `num_classes` outputs; 0: unknown), and gives lines that say what
/// was assumed. kAuto: when every folder with images bears the name of one of the labels, by name; else, when they are
/// named by numbers from 0, by number; else, when the model names no classes (LABEL_0, LABEL_1 ... are no names) and
/// has as many classes as there are folders, in byte order. Error otherwise, naming folders and labels; also when there
/// are more folders than classes, and when a name fits two labels.
std::vector<std::string> map_labels(ImageFolder& folder, const std::vector<std::string>& labels, int num_classes = 0,
                                    ClassOrder order = ClassOrder::kAuto);

/// `count` samples for calibration (all of them when there are fewer), spread over the classes: the classes in an order
/// drawn from `seed`, round after round one image of each, drawn from `seed` too. The same folder, count and seed give
/// the same samples in the same order, and a smaller count a beginning of it.
std::vector<Sample> choose_samples(const ImageFolder& folder, int count, std::uint64_t seed);

}  // namespace igq
