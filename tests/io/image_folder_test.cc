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

std::string folder_error(const fs::path& root) {
  return test::error_text([&] { list_images(root); });
}

std::string mapping_error(ImageFolder folder, const std::vector<std::string>& labels, int classes) {
  try {
    map_labels(folder, labels, classes);
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
  EXPECT_NE(folder_error(folder.path() / "missing").find("no such folder"), std::string::npos);
  EXPECT_NE(folder_error(folder.path() / "file.png").find("not a folder"), std::string::npos);
  EXPECT_NE(folder_error(folder.path() / "text").find("no image in this folder"), std::string::npos);
  EXPECT_NE(folder_error(folder.path() / "text").find("only 1 .txt"), std::string::npos);
}

TEST(ImageFolder, CountsWhatItLeavesOutAndWhatTimmWould) {
  test::TemporaryFolder folder;
  for (const char* name : {"a/1.png", "a/2.TIFF", "a/3.webp", "a/x.txt", "a/y.TXT", "a/README", "a/.hidden.png",
                           ".git/c", "a/4.gif", "a/5.bmp", "a/Thumbs.db"})
    touch(folder.path() / name);
  fs::create_symlink("nowhere.png", folder.path() / "a/dangling.png");
  const ImageFolder listed = list_images(folder.path());
  EXPECT_EQ(listed.samples.size(), 5U);
  EXPECT_EQ(listed.formats,
            (std::map<std::string, std::int64_t>{{".bmp", 1}, {".gif", 1}, {".png", 1}, {".tiff", 1}, {".webp", 1}}));
  EXPECT_EQ(listed.left_out, (std::map<std::string, std::int64_t>{{".db", 1},
                                                                  {".txt", 2},
                                                                  {"files without extension", 1},
                                                                  {"hidden files", 1},
                                                                  {"hidden folders", 1},
                                                                  {"links to nothing", 1}}));
  const std::vector<std::string> notes = listing_notes(listed);
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_NE(notes[0].find("2 .txt"), std::string::npos) << notes[0];
  EXPECT_NE(notes[1].find("1 .webp"), std::string::npos) << notes[1];
  ImageFolder plain;
  plain.formats = {{".jpg", 7}};
  EXPECT_TRUE(listing_notes(plain).empty());
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

  // A folder that bears no label's name: both sides are listed, nothing is guessed; by order only when told.
  ImageFolder placed = folder;
  EXPECT_NE(mapping_error(placed, {"dog", "horse", "bird"}, 0).find("folders 'cat'; classes 'dog', 'horse', 'bird'"),
            std::string::npos);
  const auto notes = map_labels(placed, {"dog", "horse", "bird"}, 0, ClassOrder::kAlphabetical);
  EXPECT_EQ(labels(placed), labels(folder));
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("alphabetical"), std::string::npos);
  // Without names: as many folders as classes in their order, else an error.
  placed = folder;
  EXPECT_EQ(map_labels(placed, {}, 3).size(), 1U);  // and says so
  EXPECT_EQ(labels(placed), labels(folder));
  EXPECT_EQ(map_labels(placed, {"LABEL_0", "LABEL_1", "LABEL_2"}).size(), 1U);
  EXPECT_NE(mapping_error(folder, {}, 5).find("has 5, the image folder has 3 class folders"), std::string::npos);
  EXPECT_NE(mapping_error(folder, {"one", "two"}, 0).find("only 2 classes"), std::string::npos);
  EXPECT_NE(mapping_error(folder, {}, 2).find("only 2 classes"), std::string::npos);
  EXPECT_NE(mapping_error(folder, {"bird", "cat", "dog", "cat"}, 0).find("bear one name"), std::string::npos);
  // A stray folder without images does no harm, with a word.
  ImageFolder stray = folder;
  stray.classes.push_back("zzz");
  EXPECT_EQ(map_labels(stray, {"dog", "horse", "bird", "cat"}).size(), 1U);
  EXPECT_EQ(labels(stray), (std::vector<int>{-1, 2, 3, 0, 0}));
}

TEST(MapLabels, FoldersNamedByNumbers) {
  ImageFolder folder;
  folder.classes = {"0", "1", "10", "2"};
  for (int label : {0, 1, 2, 3}) folder.samples.push_back({"p", "p", label});
  const auto labels = [](const ImageFolder& f) {
    std::vector<int> all;
    for (const Sample& sample : f.samples) all.push_back(sample.label);
    return all;
  };
  ImageFolder by_index = folder;
  EXPECT_EQ(map_labels(by_index, {}, 12).size(), 1U);
  EXPECT_EQ(labels(by_index), (std::vector<int>{0, 1, 10, 2}));
  ImageFolder alphabetical = folder;
  map_labels(alphabetical, {}, 12, ClassOrder::kAlphabetical);
  EXPECT_EQ(labels(alphabetical), (std::vector<int>{0, 1, 2, 3}));
  ImageFolder numeric = folder;
  map_labels(numeric, {}, 12, ClassOrder::kNumeric);
  EXPECT_EQ(labels(numeric), (std::vector<int>{0, 1, 3, 2}));
  EXPECT_NE(mapping_error(folder, {}, 10).find("'10' is beyond the model's 10 classes"), std::string::npos);
  folder.classes = {"1", "2", "3", "4"};  // counted from 1, or four of several classes?
  EXPECT_NE(mapping_error(folder, {}, 4).find("none is 0"), std::string::npos);
  EXPECT_NE(mapping_error(folder, {}, 4).find("--class-order"), std::string::npos);
  map_labels(folder, {"4", "3", "2", "1"});  // names are names first
  EXPECT_EQ(labels(folder), (std::vector<int>{3, 2, 1, 0}));
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
