// Folders of images with odd names: any tree is listed or is an Error; samples lie in it, labels in range, and a chosen
// subset in the list. Input: up to 12 entries, each a kind and a path ending at a zero byte; class names of a model
// after an entry of kind 7.
#include <algorithm>
#include <fstream>

#include "fuzz/fuzz.h"
#include "io/image_folder.h"

namespace {

namespace fs = std::filesystem;

const fs::path& root() {
  static const fs::path& folder = *[] {
    const char* memory = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    std::string pattern = std::string(memory) + "/igq_fuzz_XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    std::atexit([] {
      std::error_code ignored;
      fs::remove_all(root(), ignored);
    });
    return new fs::path(pattern);  // never destroyed: the handler above runs after destructors of statics
  }();
  return folder;
}

/// A path inside the root: no "..", not absolute.
fs::path inside(std::string_view text) {
  fs::path path = root();
  for (const fs::path& part : fs::path(text.substr(0, 64)).relative_path())
    if (part != "..") path /= part;
  return path;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root())) fs::remove_all(entry.path(), ignored);
  fuzz::Bytes in(data, size);
  std::vector<std::string> labels;
  for (int i = 0; i < 12 && !in.rest().empty(); ++i) {
    const int kind = in.byte() % 8;
    const std::string_view name = in.text();
    const fs::path path = inside(name);
    if (kind == 7) {
      labels.emplace_back(name);
      continue;
    }
    fs::create_directories(path.parent_path(), ignored);
    if (kind == 0)
      fs::create_directories(path, ignored);
    else if (kind == 1)
      fs::create_symlink(root(), path, ignored);
    else if (kind == 2)
      fs::create_symlink("nothing", path, ignored);
    else
      std::ofstream(path).put('x');
  }
  fuzz::expect_error_or_success([&] {
    ImageFolder folder = list_images(root());
    map_labels(folder, labels, 0);
    for (const Sample& sample : folder.samples) {
      if (!fs::is_regular_file(sample.path, ignored) || root() / sample.relative != sample.path) std::abort();
      if (sample.label >= static_cast<int>(folder.classes.size())) std::abort();
    }
    const auto chosen = choose_samples(folder, 3, 1);
    if (chosen.size() != std::min<std::size_t>(3, folder.samples.size())) std::abort();
  });
  return 0;
}
