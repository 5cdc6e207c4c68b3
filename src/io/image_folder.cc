// Walks image folders in torchvision's order and chooses calibration images; see image_folder.h. Class folders are
// matched to classes in class_folders.cc.
#include "io/image_folder.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>
#include <system_error>

#include "base/directory.h"
#include "base/fail.h"
#include "base/random.h"
#include "io/image.h"

namespace igq {
namespace fs = std::filesystem;
namespace {

bool is_hidden(const fs::path& path) { return path.filename().native().starts_with('.'); }

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

struct Listing {
  std::vector<fs::path> folders, images;  ///< sorted by bytes
};

/// The entries of one folder; what is no image is counted in `into`.
Listing list_one(const fs::path& folder, ImageFolder& into) {
  Listing listing;
  const std::error_code error = for_each_entry(folder, [&](const fs::path& path) {
    std::error_code ignored;  // a dangling link is neither
    const bool is_folder = fs::is_directory(path, ignored);
    if (is_hidden(path)) {
      ++into.left_out[is_folder ? "hidden folders" : "hidden files"];
    } else if (is_folder) {
      listing.folders.push_back(path);
    } else if (!fs::is_regular_file(path, ignored)) {
      ++into.left_out[fs::is_symlink(path, ignored) ? "links to nothing" : "special files"];
    } else if (const std::string extension = lower_extension(path); is_image_extension(extension)) {
      listing.images.push_back(path);
      ++into.formats[extension];
    } else {
      ++into.left_out[extension.empty() ? "files without extension" : extension];
    }
  });
  if (error) fail("{}: the folder cannot be read: {}", folder.string(), error.message());
  const auto by_bytes = [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); };
  std::sort(listing.folders.begin(), listing.folders.end(), by_bytes);
  std::sort(listing.images.begin(), listing.images.end(), by_bytes);
  return listing;
}

/// All folders at and below `folder`. `ancestors`: real paths on the way down, so that a link to one of them ends
/// there.
void collect_folders(const fs::path& folder, std::vector<fs::path>& ancestors,
                     std::map<std::string, std::vector<fs::path>>& found, ImageFolder& into) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error || std::find(ancestors.begin(), ancestors.end(), real) != ancestors.end()) return;
  Listing listing = list_one(folder, into);
  found[folder.native()] = std::move(listing.images);
  ancestors.push_back(real);
  for (const fs::path& sub : listing.folders) collect_folders(sub, ancestors, found, into);
  ancestors.pop_back();
}

/// "20 .png, 10 .webp"
std::string counted(const std::map<std::string, std::int64_t>& kinds) {
  std::string text;
  for (const auto& [kind, count] : kinds) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  return text;
}

void shuffle(std::vector<std::size_t>& values, Random& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

}  // namespace

ImageFolder list_images(const fs::path& root) {
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    if (fs::exists(root, error)) fail("{}: not a folder; give the folder that holds the images", root.string());
    fail("{}: no such folder", root.string());
  }
  ImageFolder folder;
  const auto add = [&](const fs::path& path, int label) {
    folder.samples.push_back({path, path.lexically_relative(root).generic_string(), label});
  };
  const Listing top = list_one(root, folder);
  for (const fs::path& image : top.images) add(image, -1);
  for (const fs::path& class_folder : top.folders) {
    const int label = static_cast<int>(folder.classes.size());
    folder.classes.push_back(class_folder.filename().string());
    // A map, since torchvision sorts the paths of nested folders as strings: "a-b" comes before "a/b".
    std::map<std::string, std::vector<fs::path>> found;
    std::vector<fs::path> ancestors;
    collect_folders(class_folder, ancestors, found, folder);
    for (const auto& [path, images] : found)
      for (const fs::path& image : images) add(image, label);
  }
  if (folder.samples.empty())
    fail("{}: no image in this folder or the folders in it (.jpg, .jpeg, .png, .webp, .tif, .tiff, .gif, .bmp){}",
         root.string(), folder.left_out.empty() ? "" : fmt::format(", only {}", counted(folder.left_out)));
  return folder;
}

std::vector<std::string> listing_notes(const ImageFolder& folder) {
  std::vector<std::string> notes;
  if (!folder.left_out.empty()) notes.push_back(fmt::format("left out, not images: {}", counted(folder.left_out)));
  const bool others = std::any_of(folder.formats.begin(), folder.formats.end(), [](const auto& format) {
    return format.first != ".jpg" && format.first != ".jpeg" && format.first != ".png";
  });
  if (others)
    notes.push_back(
        fmt::format("{} images are read: {} (timm's reader of folders leaves out all but .jpg, .jpeg and .png)",
                    folder.samples.size(), counted(folder.formats)));
  return notes;
}

std::vector<Sample> choose_samples(const ImageFolder& folder, int count, std::uint64_t seed) {
  if (count < 1) fail("{} images asked for; at least 1 is needed", count);
  std::map<int, std::vector<std::size_t>> by_label;
  for (std::size_t i = 0; i < folder.samples.size(); ++i) by_label[folder.samples[i].label].push_back(i);
  Random random(seed);
  std::vector<std::vector<std::size_t>> classes;
  for (auto& [label, indices] : by_label) {
    shuffle(indices, random);
    classes.push_back(std::move(indices));
  }
  std::vector<std::size_t> order(classes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  shuffle(order, random);

  std::vector<Sample> chosen;
  const std::size_t wanted = std::min(static_cast<std::size_t>(count), folder.samples.size());
  for (std::size_t round = 0; chosen.size() < wanted; ++round)
    for (std::size_t c : order)
      if (chosen.size() < wanted && round < classes[c].size()) chosen.push_back(folder.samples[classes[c][round]]);
  return chosen;
}

}  // namespace igq
