// Runs the igq program and catches what it prints, and makes the small image folders its tests work on.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/test_util.h"

namespace igq::test {

struct Output {
  int exit_code = -1;
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

/// Runs `igq arguments` by the shell, in `folder`; `before` stands before the program ("ulimit -f 4; ", "setpriv ...
/// "). `out`: where standard output goes instead of Output::out.
inline Output igq_with(const std::string& before, const std::string& arguments, const std::filesystem::path& folder,
                       const std::string& out = "") {
  const TemporaryFolder streams;
  const std::string to = out.empty() ? (streams.path() / "out").string() : out, err = streams.path() / "err";
  const std::string command =
      "cd '" + folder.string() + "' && " + before + "'" IGQ_PROGRAM "' " + arguments + " >'" + to + "' 2>'" + err + "'";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out.empty() ? read_text(to) : "",
          read_text(err)};
}

inline Output igq(const std::string& arguments, const std::filesystem::path& folder) {
  return igq_with("", arguments, folder);
}

/// Standard error without the line, at most one and the first, that says how class folders are counted.
inline std::string without_class_note(const std::string& err) {
  constexpr const char* kNote = "igq: class folders are counted in alphabetical order: ";
  return err.rfind(kNote, 0) == 0 ? err.substr(err.find('\n') + 1) : err;
}

inline std::filesystem::path asset(const std::string& path) {
  return std::filesystem::path(IGQ_SOURCE_DIR) / "assets" / path;
}
inline std::filesystem::path tiny_model(const std::string& name = "vit_token") { return fixtures() / "models" / name; }

/// Names in a folder, sorted.
inline std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

/// `folder`/CLASS/*.png: `per_class` real images of each of the first `classes` classes of the embedded test set.
inline void make_images(const std::filesystem::path& folder, int classes, int per_class) {
  namespace fs = std::filesystem;
  std::vector<fs::path> names;
  for (const auto& entry : fs::directory_iterator(asset("fashion_mnist/test"))) names.push_back(entry.path());
  std::sort(names.begin(), names.end());
  for (int c = 0; c < classes; ++c) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(names.at(static_cast<std::size_t>(c))))
      files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    const fs::path to = folder / names[static_cast<std::size_t>(c)].filename();
    fs::create_directories(to);
    for (int i = 0; i < per_class; ++i)
      fs::copy_file(files.at(static_cast<std::size_t>(i)), to / files[static_cast<std::size_t>(i)].filename());
  }
}

/// A working folder with images/ (5 classes, 4 images each), the tests' tiny float model at model/ and, quantized from
/// it, q.igq.
class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make_images(path() / "images", 5, 4);
    std::filesystem::copy(tiny_model(), path() / "model");
  }
  void quantize(const std::string& flags = "--bits w4a4") {
    const Output made = run("quantize model --calib images --samples 8 " + flags + " -o q.igq");
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  Output run(const std::string& arguments) const { return igq(arguments, path()); }
  std::filesystem::path path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

}  // namespace igq::test
