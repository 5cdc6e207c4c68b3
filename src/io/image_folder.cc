// Walks image folders in torchvision's order and chooses calibration images; see image_folder.h.
#include "io/image_folder.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string_view>
#include <system_error>

#include "base/fail.h"
#include "base/random.h"

namespace igq {
namespace fs = std::filesystem;
namespace {

bool is_hidden(const fs::path& path) { return path.filename().native().starts_with('.'); }

bool has_image_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

struct Listing {
  std::vector<fs::path> folders, images;  ///< sorted by bytes
};

Listing list_one(const fs::path& folder) {
  Listing listing;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (is_hidden(it->path())) continue;
    std::error_code ignored;  // a dangling link is neither
    if (it->is_directory(ignored)) {
      listing.folders.push_back(it->path());
    } else if (has_image_extension(it->path()) && it->is_regular_file(ignored)) {
      listing.images.push_back(it->path());
    }
  }
  if (error) fail("{}: the folder cannot be read: {}", folder.string(), error.message());
  const auto by_bytes = [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); };
  std::sort(listing.folders.begin(), listing.folders.end(), by_bytes);
  std::sort(listing.images.begin(), listing.images.end(), by_bytes);
  return listing;
}

/// All folders at and below `folder`. `ancestors`: real paths on the way down, so that a link to one of them ends
/// there.
void collect_folders(const fs::path& folder, std::vector<fs::path>& ancestors,
                     std::map<std::string, std::vector<fs::path>>& found) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error || std::find(ancestors.begin(), ancestors.end(), real) != ancestors.end()) return;
  Listing listing = list_one(folder);
  found[folder.native()] = std::move(listing.images);
  ancestors.push_back(real);
  for (const fs::path& sub : listing.folders) collect_folders(sub, ancestors, found);
  ancestors.pop_back();
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
  const Listing top = list_one(root);
  for (const fs::path& image : top.images) add(image, -1);
  for (const fs::path& class_folder : top.folders) {
    const int label = static_cast<int>(folder.classes.size());
    folder.classes.push_back(class_folder.filename().string());
    // A map, since torchvision sorts the paths of nested folders as strings: "a-b" comes before "a/b".
    std::map<std::string, std::vector<fs::path>> found;
    std::vector<fs::path> ancestors;
    collect_folders(class_folder, ancestors, found);
    for (const auto& [path, images] : found)
      for (const fs::path& image : images) add(image, label);
  }
  if (folder.samples.empty())
    fail("{}: no .jpg, .jpeg or .png image in this folder or the folders in it", root.string());
  return folder;
}

void map_labels(ImageFolder& folder, const std::vector<std::string>& labels, int num_classes) {
  std::map<std::string_view, std::vector<int>> by_name;
  for (std::size_t i = 0; i < labels.size(); ++i) by_name[labels[i]].push_back(static_cast<int>(i));
  const bool named =
      !folder.classes.empty() && std::all_of(folder.classes.begin(), folder.classes.end(),
                                             [&](const std::string& name) { return by_name.contains(name); });
  if (named) {
    std::vector<int> mapped;
    for (const std::string& name : folder.classes) {
      const std::vector<int>& indices = by_name[name];
      if (indices.size() > 1)
        fail("class folder '{}' fits labels {} and {} of the model, which bear one name; name the folders by number",
             name, indices[0], indices[1]);
      mapped.push_back(indices[0]);
    }
    for (Sample& sample : folder.samples)
      if (sample.label >= 0) sample.label = mapped[static_cast<std::size_t>(sample.label)];
    folder.classes = labels;
    return;
  }
  const std::size_t limit = labels.empty() ? static_cast<std::size_t>(std::max(num_classes, 0)) : labels.size();
  if (limit != 0 && folder.classes.size() > limit)
    fail("the image folder has {} class folders but the model only {} classes; is it the data of another model?",
         folder.classes.size(), limit);
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
