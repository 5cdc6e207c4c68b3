#include "folders.h"

#include <fmt/format.h>

#include "common.h"

namespace igq::cli {

ImageFolder open_folder(const std::string& path) {
  ImageFolder folder = list_images(path);
  for (const std::string& line : listing_notes(folder)) note(fmt::format("igq: {}: {}", path, line));
  return folder;
}

void ClassFlags::add_to(CLI::App& app) {
  app.add_option(
         "--class-order", order,
         "which class a class folder holds: auto (the label it is named after, or its number where folders are\n"
         "named 0, 1, ...; an error in doubt), alphabetical (torchvision's ImageFolder), numeric (the i-th number is\n"
         "class i, as timm counts folders named by numbers) or index (the folder's name is the class)")
      ->check(parsed_by([](const std::string& t) { parse_class_order(t); }, "NAME"))
      ->capture_default_str();
}

void ClassFlags::label(ImageFolder& folder, const ModelConfig& config) const {
  for (const std::string& line : map_labels(folder, config.labels, config.num_classes, parse_class_order(order)))
    note("igq: " + line);
}

bool ClassFlags::try_label(ImageFolder& folder, const ModelConfig& config) const {
  try {
    label(folder, config);
    return true;
  } catch (const Error& e) {
    if (parse_class_order(order) != ClassOrder::kAuto) throw;
    note(fmt::format("igq: no accuracy is measured: {}", e.what()));
    return false;
  }
}

nlohmann::json folder_json(const ImageFolder& folder) {
  return {{"formats", folder.formats}, {"left_out", folder.left_out}};
}

std::vector<std::filesystem::path> paths_of(const std::vector<Sample>& samples) {
  std::vector<std::filesystem::path> paths;
  for (const Sample& sample : samples) paths.push_back(sample.path);
  return paths;
}

}  // namespace igq::cli
