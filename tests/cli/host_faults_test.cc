// What a hostile or unlucky host does to the program: threads that cannot be started, files that change or appear while
// it works, names like its own, signals, folders for temporary files that are not there, names that command a terminal.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/cli/program.h"
#include "tests/sanitized.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;

/// Well, or one line that says what is wrong (after the note on class folders); never a hang (the shell's `timeout`:
/// 124) or an abort.
void expect_result_or_one_line(const Output& result, const std::string& what) {
  if (result.exit_code == 0) return;
  EXPECT_EQ(result.exit_code, 1) << what << ": " << result.err;
  const std::string said = without_class_note(result.err);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << what << ": " << result.err;
  EXPECT_EQ(said.rfind("igq: error: ", 0), 0u) << what << ": " << result.err;
}

constexpr const char* kEval = "eval model --data-dir images --results-file ";

TEST_F(CliTest, ThreadsThatCannotBeStartedForLackOfMemory) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need the whole address space";
  quantize();
  for (const int kilobytes : {60000, 80000, 100000, 150000, 200000, 300000, 400000, 700000})
    for (const std::string arguments : {"predict q.igq images/*/*.png -j 64", "eval q.igq --data-dir images -j 64"})
      expect_result_or_one_line(igq_with("ulimit -v " + std::to_string(kilobytes) + "; timeout 60 ", arguments, path()),
                                arguments);
}

TEST_F(CliTest, ThreadsThatCannotBeStartedForLackOfProcesses) {
  if (::geteuid() != 0 || std::system("command -v setpriv prlimit >/dev/null") != 0)
    GTEST_SKIP() << "needs root, setpriv and prlimit";
  quantize();
  fs::permissions(path(), fs::perms::all);
  const std::string image = fs::directory_iterator(fs::directory_iterator(path() / "images")->path())->path().string();
  const std::string expected = run("predict q.igq '" + image + "' -j 1").out;
  for (const int most : {1, 2, 3, 5}) {
    const Output result = igq_with(
        "ASAN_OPTIONS=detect_leaks=0 "  // the search for leaks is itself a thread that cannot be started here
        "timeout 60 setpriv --reuid 54321 --regid 54321 --clear-groups prlimit --nproc=" +
            std::to_string(most) + " ",
        "predict q.igq '" + image + "' -j 8", path());
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, expected);
    EXPECT_NE(result.err.find("of 8 threads could be started"), std::string::npos) << result.err;
  }
}

TEST_F(CliTest, NumbersOfThreadsInTheEnvironment) {
  for (const std::string variable : {"IGQ_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const Output wrong = igq_with(variable + "=many ", "eval model --data-dir images", path());
    EXPECT_EQ(wrong.exit_code, 1);
    EXPECT_EQ(without_class_note(wrong.err),
              "igq: error: " + variable + " in the environment is 'many', not a number of threads from 1 to 1024\n");
    const Output right = igq_with(variable + "=3 ", "eval model --data-dir images --json", path());
    EXPECT_EQ(right.exit_code, 0) << right.err;
    EXPECT_EQ(right.json().at("threads"), 3);
  }
  EXPECT_EQ(igq_with("IGQ_NUM_THREADS=many ", "eval model --data-dir images --json -j 2", path()).json().at("threads"),
            2);
}

TEST_F(CliTest, AReplacedFileKeepsItsMode) {
  ASSERT_EQ(run(std::string(kEval) + "r.csv").exit_code, 0);
  ASSERT_EQ(::chmod((path() / "r.csv").c_str(), 0600), 0);
  ASSERT_EQ(run(std::string(kEval) + "r.csv --overwrite").exit_code, 0);
  struct stat info {};
  ASSERT_EQ(::stat((path() / "r.csv").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(CliTest, AnOutputThatIsALinkToNothingStaysOne) {
  fs::create_symlink("target.csv", path() / "link.csv");
  ASSERT_EQ(run(std::string(kEval) + "link.csv").exit_code, 0);
  EXPECT_TRUE(fs::is_symlink(path() / "link.csv"));
  EXPECT_TRUE(fs::is_regular_file(path() / "target.csv"));
}

TEST_F(CliTest, FilesOfOthersStayWhateverTheirNames) {
  for (const std::string name : {"r.csv.20240101.tmp", "r.csv.7.tmp", ".igq-1.tmp", "r.csv.tmp", "r.csv~"})
    std::ofstream(path() / name) << "precious";
  ASSERT_EQ(run(std::string(kEval) + "r.csv").exit_code, 0);
  ASSERT_EQ(run(std::string(kEval) + "r.csv --overwrite").exit_code, 0);
  EXPECT_EQ(run("eval nothing --data-dir images --overwrite --results-file r.csv").exit_code, 1);
  for (const std::string name : {"r.csv.20240101.tmp", "r.csv.7.tmp", ".igq-1.tmp", "r.csv.tmp", "r.csv~"})
    EXPECT_EQ(read_text(path() / name), "precious") << name;
}

/// What only begins as igq's own outputs do is somebody else's.
TEST_F(CliTest, FilesThatBeginAlikeStay) {
  quantize();
  std::ofstream(path() / "page.html") << "<!DOCTYPE html><p>my thesis</p>";
  std::ofstream(path() / "other.html")
      << "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<p>mine";
  std::ofstream(path() / "notes.csv") << "file,label,notes\na.png,3,look again\n";
  std::ofstream(path() / "few.csv") << "file,label,class_1\na.png,3,1\n";
  std::ofstream(path() / "table.md") << "| setting | my own table |\n|---|---|\n";
  std::ofstream(path() / "odd.igq", std::ios::binary)
      << "\x89IGQ\r\n\x1a\n and then something else entirely, of 64 bytes or more ......";
  std::ofstream(path() / "lines.cache") << "{\"candidates\":[ of another program\n{\"candidates\":[ too\n";
  std::map<std::string, std::string> before;
  for (const std::string name :
       {"page.html", "other.html", "notes.csv", "few.csv", "table.md", "odd.igq", "lines.cache"})
    before[name] = read_text(path() / name);
  const std::string quantizing = "quantize model --calib images --samples 4 --bits w4a4 --overwrite ";
  const std::string table =
      "table model --calib images --samples 4 --data-dir images --bits w4a4 --groups 2 --settings float --markdown ";
  for (const std::string& arguments :
       {std::string("report q.igq --no-speed --overwrite -o page.html"),
        std::string("report q.igq --no-speed --overwrite -o other.html"), kEval + std::string("notes.csv --overwrite"),
        kEval + std::string("few.csv --overwrite"), table + "table.md", quantizing + "-o odd.igq",
        quantizing + "--preset paper --groups auto --average-groups 4 -o new.igq --perturbation-cache lines.cache"}) {
    const Output result = run(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_NE(result.err.find("not a"), std::string::npos) << result.err;
  }
  for (const auto& [name, text] : before) EXPECT_TRUE(read_text(path() / name) == text) << name << " was replaced";
}

TEST_F(CliTest, ItsOwnOutputsAreReplaced) {
  quantize();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(run("report q.igq --no-speed --overwrite -o r.html").exit_code, 0);
    EXPECT_EQ(run(std::string(kEval) + "r.csv --overwrite").exit_code, 0);
    EXPECT_EQ(run("table model --calib images --samples 4 --data-dir images --bits w4a4 --groups 2 --settings float "
                  "--markdown t.md -o t.json")
                  .exit_code,
              0);
    EXPECT_EQ(run("quantize model --calib images --samples 4 --bits w4a4 --overwrite -o q.igq").exit_code, 0);
  }
  fs::resize_file(path() / "q.igq", 1000);  // damaged, and still one
  EXPECT_EQ(run("quantize model --calib images --samples 4 --bits w4a4 --overwrite -o q.igq").exit_code, 0);
}

/// The program in the background; ended at the latest when this is.
class Background {
 public:
  Background(const std::string& arguments, const fs::path& folder) {
    child_ = ::fork();
    if (child_ != 0) return;
    ::execl("/bin/sh", "sh", "-c",
            ("cd '" + folder.string() + "' && exec '" IGQ_PROGRAM "' " + arguments + " >out 2>err").c_str(), nullptr);
    ::_exit(127);
  }
  ~Background() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    wait();
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  void send(int signal) const { ::kill(child_, signal); }
  /// The status of waitpid().
  int wait() {
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = 0;
    return status;
  }

 private:
  pid_t child_ = 0;
};

TEST_F(CliTest, AFileThatChangesWhileTheProgramWorksStays) {
  std::ofstream(path() / "late.csv").close();
  Background work(std::string(kEval) + "late.csv --overwrite", path());
  std::this_thread::sleep_for(std::chrono::milliseconds(15));  // before, while or after it works
  const std::string theirs = "my thesis, no results file\n";
  const bool ended = read_text(path() / "late.csv").size() > 0;
  std::ofstream(path() / "late.csv") << theirs;
  work.wait();
  if (ended) GTEST_SKIP() << "too fast";
  EXPECT_EQ(read_text(path() / "late.csv"), "my thesis, no results file\n");
}

TEST_F(CliTest, AnInterruptLeavesNothingBehind) {
  ASSERT_EQ(run(std::string(kEval) + "r.csv").exit_code, 0);
  const std::string whole = read_text(path() / "r.csv");
  const auto left = [&] {
    auto names = files_in(path());
    std::erase_if(names, [](const std::string& name) { return name == "out" || name == "err"; });
    return names;
  };
  const auto before = left();
  int interrupted = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    for (int milliseconds = 1; milliseconds < 120; milliseconds += 1 + milliseconds / 4) {
      Background work(std::string(kEval) + "r.csv --overwrite", path());
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      work.send(signal);
      const int status = work.wait();
      interrupted += WIFSIGNALED(status) && WTERMSIG(status) == signal;
      EXPECT_EQ(left(), before);
      EXPECT_EQ(read_text(path() / "r.csv"), whole);
    }
  EXPECT_GT(interrupted, 0);
}

TEST_F(CliTest, NohupIsRespected) {
  const Output result =
      igq_with("trap '' HUP; (sleep 0.05; kill -HUP $$) & exec ", std::string(kEval) + "r.csv", path());
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_F(CliTest, TheFolderForTemporaryFilesIsMissing) {
  const std::string table =
      "table model --calib images --samples 4 --data-dir images --bits w8a8 --settings float,layer -o t.json";
  const Output result = igq_with("TMPDIR=/nowhere ", table, path());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err.rfind("igq: error: the folder for temporary files, /nowhere, cannot be used", 0), 0u)
      << result.err;
  EXPECT_FALSE(fs::exists(path() / "t.json")) << "before the work";
}

TEST_F(CliTest, NamesOfOutputsMayBeLong) {
  for (const std::size_t length : {246u, 251u}) {  // and ".igq"
    const std::string name = std::string(length, 'x') + ".igq";
    const auto before = files_in(path()).size();
    const Output made = run("quantize model --calib images --samples 4 --bits w4a4 -o " + name);
    EXPECT_EQ(made.exit_code, 0) << length << made.err;
    EXPECT_EQ(made.err.find("finished layers were not kept"), std::string::npos) << made.err;
    EXPECT_TRUE(fs::is_regular_file(path() / name));
    EXPECT_EQ(files_in(path()).size(), before + 1) << "the folder of finished layers stays";
  }
  const Output longer = run("eval model --data-dir images --results-file " + std::string(256, 'x'));
  EXPECT_EQ(longer.exit_code, 1);
  EXPECT_NE(longer.err.find("File name too long"), std::string::npos) << longer.err;
}

TEST_F(CliTest, NamesDoNotCommandTheTerminal) {
  const Output missing = run("predict model \"$(printf 'no\\nsuch\\033[31m.png')\"");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.err, "igq: error: cannot open no\\nsuch\\x1b[31m.png: No such file or directory\n");
  const fs::path image = fs::directory_iterator(fs::directory_iterator(path() / "images")->path())->path();
  fs::copy_file(image, path() / "a\n\x1b[31m\xc2\x9b.png");
  nlohmann::json config = nlohmann::json::parse(read_text(path() / "model/config.json"));
  config["label_names"] = {"cat\n\x1b]0;title\x07", "b", "c", "d", "e"};
  std::ofstream(path() / "model/config.json") << config.dump();
  for (const std::string arguments : {"predict model *.png", "predict model *.png --json", "inspect model",
                                      "eval model --data-dir images", "frobnicate \"$(printf '\\033[31m\\nx')\""}) {
    const Output result = run(arguments);
    for (const std::string& text : {result.out, result.err}) {
      for (const char c : text)
        EXPECT_TRUE(c == '\n' || (c >= 0x20 && c != 0x7f) || (c & 0x80) != 0) << arguments << text;
      EXPECT_EQ(text.find("\xc2\x9b"), std::string::npos) << arguments;
    }
  }
  const Output predicted = run("predict model *.png --topk 5");
  ASSERT_EQ(predicted.exit_code, 0) << predicted.err;
  EXPECT_EQ(std::count(predicted.out.begin(), predicted.out.end(), '\n'), 6) << "a line per name: " << predicted.out;
  EXPECT_EQ(run("predict model *.png --json").json().at("images")[0].at("file"), "a\n\x1b[31m\xc2\x9b.png");
}

TEST_F(CliTest, TheSameFoldersUnderOtherNamesGiveTheSameBytes) {
  fs::create_directory(path() / "z.other name");
  fs::copy(path() / "images", path() / "z.other name/calib", fs::copy_options::recursive);
  fs::create_directory_symlink("images", path() / "linked");
  const std::string flags = " --samples 7 --bits w4a4 -o ";
  int number = 0;
  for (const std::string folder : {"images", "./images/", "linked", "'z.other name/calib'"}) {
    const std::string name = std::to_string(number++);
    ASSERT_EQ(run("quantize model --calib " + folder + flags + name + ".igq").exit_code, 0);
    ASSERT_EQ(run("eval model --data-dir " + folder + " --results-file " + name + ".csv").exit_code, 0);
    EXPECT_EQ(read_text(path() / (name + ".igq")), read_text(path() / "0.igq")) << folder;
    EXPECT_EQ(read_text(path() / (name + ".csv")), read_text(path() / "0.csv")) << folder;
  }
}

}  // namespace
}  // namespace igq::test
