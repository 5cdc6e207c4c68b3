// Outputs: rights kept, links followed, nothing of others deleted or replaced, names as long as the file system allows.
#include "base/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "igq/error.h"
#include "tests/child_process.h"
#include "tests/test_util.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string fault_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

const OutputKind kNumbers{"a file of numbers", [](const InputFile& file) {
                            std::string text(file.size(), '\0');
                            file.read(0, std::as_writable_bytes(std::span(text)));
                            return text.find_first_not_of("0123456789") == std::string::npos;
                          }};

class OutputFileTest : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  void spill(const std::string& name, const std::string& text) const { std::ofstream(at(name)) << text; }
  mode_t mode_of(const std::string& name) const {
    struct stat info {};
    return ::stat(at(name).c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(OutputFileTest, ANewFileHasTheModeOfTheUmask) {
  const mode_t before = ::umask(027);
  write_file(at("a"), "1");
  ::umask(before);
  EXPECT_EQ(mode_of("a"), 0640u);
  EXPECT_EQ(files(), std::vector<std::string>{"a"});
}

TEST_F(OutputFileTest, TheModeOfWhatIsReplacedIsKept) {
  for (const mode_t mode : {0600u, 0640u, 0444u, 0666u, 0755u, 0200u, 0000u}) {
    spill("a", "1");
    ASSERT_EQ(::chmod(at("a").c_str(), mode), 0);
    write_file(at("a"), "22");
    EXPECT_EQ(mode_of("a"), mode);
    ::chmod(at("a").c_str(), 0600);
    EXPECT_EQ(text_of(at("a")), "22");
  }
}

/// Nobody else may read a private file's new content at any moment: not under its name, nor beside it.
TEST_F(OutputFileTest, APrivateFileStaysPrivateMeanwhile) {
  spill("a", "1");
  ASSERT_EQ(::chmod(at("a").c_str(), 0600), 0);
  OutputFile file(at("a"));
  file.write("secret");
  for (const std::string& name : files()) EXPECT_EQ(mode_of(name) & 077u, 0u) << name;
  file.commit();
  EXPECT_EQ(mode_of("a"), 0600u);
}

TEST_F(OutputFileTest, OwnerAndGroupAreKept) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  spill("a", "1");
  ASSERT_EQ(::chown(at("a").c_str(), 54321, 54322), 0);
  ASSERT_EQ(::chmod(at("a").c_str(), 04750), 0);
  write_file(at("a"), "2");
  struct stat info {};
  ASSERT_EQ(::stat(at("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 54321u);
  EXPECT_EQ(info.st_gid, 54322u);
  EXPECT_EQ(mode_of("a"), 04750u);
}

TEST_F(OutputFileTest, AnOwnerThatCannotBeKeptIsAnErrorBeforeTheWork) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs a second user";
  spill("a", "1");
  ASSERT_EQ(::chmod(at("").c_str(), 0777), 0);
  EXPECT_EQ(test::in_child([&] {
              if (::setgid(54321) != 0 || ::setuid(54321) != 0) return 3;
              const std::string said = fault_of([&] { OutputFile file(at("a")); });
              return said.find("its owner and group cannot be kept") != std::string::npos ? 0 : 4;
            }),
            0);
  ASSERT_EQ(::chmod(at("").c_str(), 01777), 0);  // as /tmp: only the owner replaces
  EXPECT_EQ(
      test::in_child([&] {
        if (::setgid(54321) != 0 || ::setuid(54321) != 0) return 3;
        return fault_of([&] { OutputFile file(at("a")); }).find("Operation not permitted") != std::string::npos ? 0 : 4;
      }),
      0);
  EXPECT_EQ(text_of(at("a")), "1");
}

/// Without its access list a file's group bits, which bound the list, would give its group what it never had.
TEST_F(OutputFileTest, TheAccessListIsKept) {
#if !defined(__linux__)
  GTEST_SKIP() << "this system's access lists are not kept (base/platform.h)";
#endif
  spill("a", "1");
  // user::rw- user:54321:rw- group::--- mask::rw- other::---, as the kernel stores it.
  const unsigned char list[] = {2, 0,  0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  6,
                                0, 49, 212, 0,   0,   4,   0,  0, 0,   255, 255, 255, 255, 16, 0,
                                6, 0,  255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
  if (::setxattr(at("a").c_str(), "system.posix_acl_access", list, sizeof(list), 0) != 0)
    GTEST_SKIP() << "this file system has no access lists";
  write_file(at("a"), "2");
  std::vector<unsigned char> kept(256);
  const ssize_t size = ::getxattr(at("a").c_str(), "system.posix_acl_access", kept.data(), kept.size());
  ASSERT_EQ(size, static_cast<ssize_t>(sizeof(list)));
  EXPECT_TRUE(std::equal(list, list + sizeof(list), kept.begin()));
}

TEST_F(OutputFileTest, LinksStay) {
  spill("real", "1");
  fs::create_directory(at("sub"));
  fs::create_symlink("real", at("link"));
  fs::create_symlink("../link", at("sub/second"));
  write_file(at("sub/second"), "2");
  EXPECT_TRUE(fs::is_symlink(at("link")) && fs::is_symlink(at("sub/second")));
  EXPECT_EQ(text_of(at("real")), "2");
  fs::create_symlink("new", at("dangling"));
  write_file(at("dangling"), "3", false);  // what it names does not exist yet
  EXPECT_TRUE(fs::is_symlink(at("dangling")));
  EXPECT_EQ(text_of(at("new")), "3");
  fs::create_symlink(at("sub/absolute"), at("far"));
  write_file(at("far"), "4");
  EXPECT_EQ(text_of(at("sub/absolute")), "4");
  fs::create_symlink("nowhere/x", at("broken"));
  EXPECT_NE(fault_of([&] { OutputFile file(at("broken")); }).find("No such file or directory"), std::string::npos);
  fs::create_symlink("round", at("round"));
  EXPECT_NE(fault_of([&] { OutputFile file(at("round")); }).find("Too many levels of symbolic links"),
            std::string::npos);
}

TEST_F(OutputFileTest, WhatIsNoFileIsRefused) {
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
  fs::create_directory(at("folder"));
  fs::create_symlink("pipe", at("link"));
  for (const char* name : {"pipe", "link"})
    EXPECT_NE(fault_of([&] { OutputFile file(at(name)); }).find("it is not a regular file"), std::string::npos);
  for (const char* name : {"folder", "folder/", "folder/.", "nothing/"})
    EXPECT_NE(fault_of([&] { OutputFile file(at(name)); }), "") << name;
  EXPECT_EQ(files(), (std::vector<std::string>{"folder", "link", "pipe"}));
}

TEST_F(OutputFileTest, NamesAsLongAsTheFileSystemAllows) {
  for (const std::size_t length : {250u, 254u, 255u}) {
    const std::string name(length, 'x');
    write_file(at(name), "1");
    write_file(at(name), "2");
    EXPECT_EQ(text_of(at(name)), "2");
  }
  EXPECT_NE(fault_of([&] { OutputFile file(at(std::string(256, 'x'))); }).find("File name too long"), std::string::npos)
      << "before the work";
}

TEST_F(OutputFileTest, FilesOfOthersStay) {
  const std::vector<std::string> others{".igq-0123456789abcdef-0123456789abcdef.tmp",
                                        ".igq-.tmp",
                                        "a.1.tmp",
                                        "a.20240101.tmp",
                                        "a.igq.tmp",
                                        "a.tmp",
                                        "a~"};
  for (const std::string& name : others) spill(name, "precious");
  write_file(at("a"), "1");
  write_file(at("a"), "2");
  fault_of([&] { write_file(at("a"), "3", false); });
  for (const std::string& name : others) EXPECT_EQ(text_of(at(name)), "precious") << name;
  EXPECT_EQ(files().size(), others.size() + 1);
}

TEST_F(OutputFileTest, AFileThatAppearsMeanwhileStays) {
  OutputFile file(at("a"), false);
  file.write("mine");
  spill("a", "theirs");
  EXPECT_NE(fault_of([&] { file.commit(); }).find("exists: give --overwrite"), std::string::npos);
  EXPECT_EQ(text_of(at("a")), "theirs");
}

TEST_F(OutputFileTest, WhatIsOfAnotherKindStays) {
  spill("a", "words");
  EXPECT_NE(fault_of([&] { OutputFile file(at("a"), true, &kNumbers); }).find("exists and is not a file of numbers"),
            std::string::npos);
  spill("b", "123");
  {
    OutputFile file(at("b"), true, &kNumbers);
    file.write("456");
    spill("b", "my thesis");  // since it was looked at
    EXPECT_NE(fault_of([&] { file.commit(); }).find("exists and is not a file of numbers"), std::string::npos);
  }
  EXPECT_EQ(text_of(at("b")), "my thesis");
  spill("c", "");
  write_file(at("c"), "7", true, &kNumbers);
  EXPECT_EQ(text_of(at("c")), "7");
  EXPECT_EQ(files(), (std::vector<std::string>{"a", "b", "c"}));
}

/// Made unreadable while the work goes on: it is that when it is replaced.
TEST_F(OutputFileTest, RightsAreThoseOfTheEnd) {
  spill("a", "1");
  OutputFile file(at("a"));
  file.write("2");
  ASSERT_EQ(::chmod(at("a").c_str(), 0600), 0);
  file.commit();
  EXPECT_EQ(mode_of("a"), 0600u);
}

TEST_F(OutputFileTest, NothingIsLeftByAnErrorOrASignal) {
  spill("a", "1");
  {
    OutputFile file(at("a"));
    file.write("2");
  }
  EXPECT_EQ(test::in_child([&] {
              OutputFile file(at("a"));
              file.write("2");
              ::raise(SIGKILL);
              return 0;
            }),
            1000 + SIGKILL);
  write_file(at("b"), "1");
  EXPECT_EQ(text_of(at("a")), "1");
  write_file(at("a"), "3");  // removes what the killed one left, where the file system has no files without names
  EXPECT_EQ(files(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(OutputFileTest, TemporaryFilesGoWithTheirProcess) {
  ::setenv("TMPDIR", at("").c_str(), 1);
  {
    const TemporaryFile file("igq-test-", ".igq");
    EXPECT_EQ(files().size(), 1u);
    EXPECT_EQ(mode_of(files().front()), 0600u);
  }
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(test::in_child([&] {
              const TemporaryFile file("igq-test-", ".igq");
              ::signal(SIGTERM, [](int) {
                remove_temporaries();
                ::_exit(7);
              });
              ::raise(SIGTERM);
              return 0;
            }),
            7);
  EXPECT_TRUE(files().empty());
  ::setenv("TMPDIR", at("nowhere").c_str(), 1);
  const std::string said = fault_of([] { const TemporaryFile file("igq-test-", ".igq"); });
  EXPECT_NE(said.find(at("nowhere").string()), std::string::npos) << said;
  EXPECT_NE(said.find("set TMPDIR"), std::string::npos) << said;
  ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace igq
