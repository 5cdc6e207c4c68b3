// Folder listing in torchvision's order, labels by name or place, and the choice of calibration images.
#include "io/image_folder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "base/fail.h"
#include "tests/test_util.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "x";
}

std::vector<std::string> relatives(const ImageFolder& folder) {
  std::vector<std::string> all;
  for (const Sample& sample : folder.samples) all.push_back(sample.relative);
  return all;
}

std::string error_of(const fs::path& root) {
  try {
    list_images(root);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ImageFolder, ListsClassesInByteOrder) {
  test::TemporaryFolder folder;
  for (const char* name :
       {"b/2.JPG", "b/10.png", "b/x/y/deep.jpeg", "b/x-1/flat.png", "B/1.Png", "a b/c\nd.jpg", "ä/日本.jpeg",
        "b/notes.txt", "b/noextension", "b/.hidden.png", ".git/1.png", "loose.png", "empty/readme.md"})
    touch(folder.path() / name);
  fs::create_directory(folder.path() / "b" / "looks.jpg");  // a folder, not an image
  const ImageFolder listed = list_images(folder.path());
  EXPECT_EQ(listed.classes, (std::vector<std::string>{"B", "a b", "b", "empty", "ä"}));
  // Nested folders in the order of their paths as strings: "b/x-1" before "b/x/y".
  EXPECT_EQ(relatives(listed), (std::vector<std::string>{"loose.png", "B/1.Png", "a b/c\nd.jpg", "b/10.png", "b/2.JPG",
                                                         "b/x-1/flat.png", "b/x/y/deep.jpeg", "ä/日本.jpeg"}));
  std::vector<int> labels;
  for (const Sample& sample : listed.samples) labels.push_back(sample.label);
  EXPECT_EQ(labels, (std::vector<int>{-1, 0, 1, 2, 2, 2, 2, 4}));
  EXPECT_TRUE(fs::exists(listed.samples[2].path));
  EXPECT_EQ(relatives(list_images(folder.path() / "")), relatives(listed));  // a slash at the end changes nothing
}

TEST(ImageFolder, FollowsLinksButNotRoundInCircles) {
  test::TemporaryFolder folder;
  touch(folder.path() / "data/cat/1.png");
  fs::create_directory_symlink("../cat", folder.path() / "data/cat/again");
  fs::create_directory_symlink("../data/cat", folder.path() / "data/dog");
  fs::create_symlink("nowhere.png", folder.path() / "data/cat/dangling.png");
  fs::remove(folder.path() / "data/dog");
  fs::create_directory_symlink("cat", folder.path() / "data/dog");
  EXPECT_EQ(relatives(list_images(folder.path() / "data")), (std::vector<std::string>{"cat/1.png", "dog/1.png"}));
}

TEST(ImageFolder, ErrorsSayWhatIsWrong) {
  test::TemporaryFolder folder;
  touch(folder.path() / "text/only.txt");
  touch(folder.path() / "file.png");
  EXPECT_NE(error_of(folder.path() / "missing").find("no such folder"), std::string::npos);
  EXPECT_NE(error_of(folder.path() / "file.png").find("not a folder"), std::string::npos);
  EXPECT_NE(error_of(folder.path() / "text").find("no .jpg"), std::string::npos);
}

TEST(MapLabels, ByNameOrByPlace) {
  ImageFolder folder;
  folder.classes = {"bird", "cat", "dog"};
  for (int label : {-1, 0, 1, 2, 2}) folder.samples.push_back({"p", "p", label});
  const auto labels = [](const ImageFolder& f) {
    std::vector<int> all;
    for (const Sample& sample : f.samples) all.push_back(sample.label);
    return all;
  };
  ImageFolder named = folder;
  map_labels(named, {"dog", "horse", "bird", "cat"});
  EXPECT_EQ(labels(named), (std::vector<int>{-1, 2, 3, 0, 0}));
  EXPECT_EQ(named.classes.size(), 4U);

  ImageFolder placed = folder;  // one folder is no label: all by place
  map_labels(placed, {"dog", "horse", "bird"});
  EXPECT_EQ(labels(placed), labels(folder));
  map_labels(placed, {}, 3);
  EXPECT_EQ(labels(placed), labels(folder));
  EXPECT_THROW(map_labels(placed, {"one", "two"}), Error);
  EXPECT_THROW(map_labels(placed, {}, 2), Error);
  EXPECT_THROW(map_labels(placed, {"bird", "cat", "dog", "cat"}), Error);  // two labels of one name
}

TEST(ChooseSamples, SpreadsOverTheClassesAndRepeats) {
  ImageFolder folder;
  const std::map<int, int> sizes = {{0, 10}, {1, 3}, {2, 50}, {3, 1}};
  for (const auto& [label, size] : sizes)
    for (int i = 0; i < size; ++i) {
      const std::string name = std::to_string(label) + "/" + std::to_string(i);
      folder.samples.push_back({name, name, label});
    }
  const auto names = [](const std::vector<Sample>& samples) {
    std::vector<std::string> all;
    for (const Sample& sample : samples) all.push_back(sample.relative);
    return all;
  };
  const auto chosen = names(choose_samples(folder, 13, 42));
  EXPECT_EQ(std::set<std::string>(chosen.begin(), chosen.end()).size(), 13U);
  std::map<char, int> counts;
  for (const std::string& name : chosen) ++counts[name[0]];
  EXPECT_EQ(counts['3'], 1);
  EXPECT_EQ(counts['1'], 3);
  EXPECT_LE(std::abs(counts['0'] - counts['2']), 1);
  EXPECT_EQ(chosen, names(choose_samples(folder, 13, 42)));
  EXPECT_NE(chosen, names(choose_samples(folder, 13, 43)));
  const auto fewer = names(choose_samples(folder, 5, 42));
  EXPECT_EQ(fewer, std::vector<std::string>(chosen.begin(), chosen.begin() + 5));
  EXPECT_EQ(choose_samples(folder, 1000, 1).size(), 64U);
  EXPECT_THROW(choose_samples(folder, 0, 1), Error);
}

}  // namespace
}  // namespace igq
