// Folders of images: labels from the names of class folders as torchvision's ImageFolder gives them, and the choice of
// calibration images. Every order is by bytes of the path, never that of the file system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
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
};

/// Lists the .jpg, .jpeg and .png files (any case) of `root`: each folder directly in it is a class, labelled by its
/// place in byte order (classes without images count), its images found at any depth; images directly in `root` come
/// first, unlabelled. Links are followed; names that begin with a dot are skipped. Error when the folder is missing,
/// cannot be read or holds no image.
ImageFolder list_images(const std::filesystem::path& root);

/// Turns folder labels into a model's. When every class folder bears the name of one of the model's `labels`, samples
/// are relabelled by name and `classes` becomes `labels`; otherwise folder i stays class i. `num_classes`: outputs of
/// the model when it has no label names. Error when there are more folders than classes, or a name fits two labels.
void map_labels(ImageFolder& folder, const std::vector<std::string>& labels, int num_classes = 0);

/// `count` samples for calibration (all of them when there are fewer), spread over the classes: the classes in an order
/// drawn from `seed`, round after round one image of each, drawn from `seed` too. The same folder, count and seed give
/// the same samples in the same order, and a smaller count a beginning of it.
std::vector<Sample> choose_samples(const ImageFolder& folder, int count, std::uint64_t seed);

}  // namespace igq
