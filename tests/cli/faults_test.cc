// Faults of the machine, provoked: killed at any moment, disk full, read-only target, files that change while they are
// read, memory that runs out. What must hold: no partial file under a final name, one clear line, exit code 1, and the
// next run is undisturbed.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "igq/error.h"
#include "io/igq_container.h"
#include "io/safetensors.h"
#include "tests/cli/program.h"
#include "tests/sanitized.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kQuantizeBits = "quantize model --calib images --samples 4 --bits w4a4 ";
const std::string& kQuantize = kQuantizeBits;
const std::string kTable = "table model --calib images --samples 4 --data-dir images --bits w4a4 --groups 2 -o t.json ";

/// A small file system of its own, mounted for the test; not there when this user may not mount.
class SmallDisk {
 public:
  SmallDisk(fs::path at, const std::string& options) : at_(std::move(at)) {
    fs::create_directory(at_);
    mounted_ = ::mount("igq_test", at_.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  bool make_read_only() const {
    return ::mount("igq_test", at_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  fs::path at_;
  bool mounted_ = false;
};
constexpr const char* kNoMount = "this user may not mount file systems";

std::string killed_after(int milliseconds) {
  return "timeout -s KILL 0." + std::to_string(1000 + milliseconds).substr(1) + " ";
}

/// Runs `arguments`, killing it after 1, 2, ... ms, until it ends by itself; `file` must be `old` or `whole` each time.
void kill_all_along(const std::string& arguments, const fs::path& folder, const std::string& file,
                    const std::string& old, const std::string& whole) {
  int killed = 0;
  for (int ms = 1; ms < 990; ms += 1 + ms / 16) {
    const Output result = igq_with(killed_after(ms), arguments, folder);
    const std::string now = fs::exists(folder / file) ? read_text(folder / file) : "";
    ASSERT_TRUE(now == old || now == whole)
        << "a part of " << file << ", killed after " << ms << " ms: " << now.size() << " bytes";
    if (result.exit_code == 0) break;
    ASSERT_EQ(result.exit_code, 137) << result.err;
    ++killed;
  }
  EXPECT_GT(killed, 0);
  std::ofstream(folder / (file + ".2147483646.tmp")) << "another program's";
  const Output last = igq(arguments, folder);
  EXPECT_EQ(last.exit_code, 0) << "after so many killed: " << last.err;
  EXPECT_EQ(read_text(folder / file), whole);
  const auto left = files_in(folder);
  const auto count =
      std::count_if(left.begin(), left.end(), [](const std::string& name) { return name.ends_with(".tmp"); });
  EXPECT_EQ(count, 1) << "what killed processes left is not removed, or another's file is";
}

TEST_F(CliTest, KilledWhileQuantizing) {
  ASSERT_EQ(run(kQuantize + "-o whole.igq").exit_code, 0);
  const std::string old = read_text(fixtures() / "igq/v1.igq");
  std::ofstream(path() / "q.igq", std::ios::binary) << old;
  kill_all_along(kQuantize + "-o q.igq --overwrite", path(), "q.igq", old, read_text(path() / "whole.igq"));
}

TEST_F(CliTest, KilledWhileWritingResults) {
  ASSERT_EQ(run("eval model --data-dir images --results-file whole.csv").exit_code, 0);
  kill_all_along("eval model --data-dir images --overwrite --results-file r.csv", path(), "r.csv", "",
                 read_text(path() / "whole.csv"));
}

/// The rows of a table's state by key; empty when there is no state yet.
json state_rows(const fs::path& path) {
  const std::string text = fs::exists(path) ? read_text(path) : "";
  return text.empty() ? json::object() : json::parse(text).at("rows");  // throws for a partial file
}

TEST_F(CliTest, KilledTableGoesOnWhereItWas) {
  const json whole =
      igq(kTable + "--settings float,layer,static-group,igq,upper-bound --json", path()).json().at("rows");
  fs::remove(path() / "t.json");
  json kept = json::object();
  int killed = 0;
  // Killed again and again as soon as another row is finished, until nothing is left to do.
  for (int round = 0; round < 20 && kept.size() < 5; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c",
              ("cd '" + path().string() + "' && exec '" IGQ_PROGRAM "' " + kTable +
               "--settings float,layer,static-group,igq,upper-bound >log 2>&1")
                  .c_str(),
              nullptr);
      ::_exit(127);
    }
    int status = 0;
    bool ended = false;
    while (!ended && state_rows(path() / "t.json").size() <= kept.size()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ended = ::waitpid(child, &status, WNOHANG) == child;
    }
    if (!ended) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
    }
    killed += WIFSIGNALED(status);
    const json now = state_rows(path() / "t.json");
    for (const auto& [key, row] : kept.items()) EXPECT_EQ(now.at(key), row) << "measured again: " << key;
    kept = now;
  }
  EXPECT_EQ(kept.size(), 5u);
  EXPECT_GT(killed, 0);
  json resumed = igq(kTable + "--settings float,layer,static-group,igq,upper-bound --json", path()).json().at("rows");
  ASSERT_EQ(resumed.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    resumed[i]["quantize_seconds"] = whole[i]["quantize_seconds"];  // the one column that is a time
    EXPECT_EQ(resumed[i], whole[i]);
  }
}

/// The finished layers of a perturbation cache: its whole lines.
std::vector<std::string> cache_lines(const fs::path& path) {
  std::vector<std::string> lines;
  const std::string text = fs::exists(path) ? read_text(path) : "";
  std::istringstream in(text.substr(0, text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n')));
  for (std::string line; std::getline(in, line);)
    if (json::accept(line)) lines.push_back(line);
  return lines;
}

TEST_F(CliTest, KilledAllocationGoesOnWhereItWas) {
  const std::string command =
      kQuantizeBits + "--preset paper --groups auto --average-groups 4 --noise-images 0 --overwrite ";
  ASSERT_EQ(run(command + "-o whole.igq --perturbation-cache whole.cache").exit_code, 0);
  const auto whole = cache_lines(path() / "whole.cache");
  ASSERT_GT(whole.size(), 3u);
  std::vector<std::string> kept;
  bool ended = false;
  for (int ms = 10; ms < 990 && !ended; ms += 10 + ms / 8) {
    ended = igq_with(killed_after(ms), command + "-o q.igq --perturbation-cache cache", path()).exit_code == 0;
    const auto now = cache_lines(path() / "cache");
    ASSERT_GE(now.size(), kept.size());
    EXPECT_TRUE(std::equal(kept.begin(), kept.end(), now.begin())) << "a finished layer was lost";
    kept = now;
  }
  ASSERT_EQ(run(command + "-o q.igq --perturbation-cache cache").exit_code, 0);
  EXPECT_EQ(cache_lines(path() / "cache"), whole) << "measured twice, or otherwise";
  EXPECT_EQ(read_text(path() / "q.igq"), read_text(path() / "whole.igq"));
}

/// Finished layers, whole and at least one, and nothing else, or no such folder: what a run that failed may leave.
void expect_finished_layers_or_nothing(const fs::path& state) {
  if (!fs::exists(fs::symlink_status(state))) return;
  EXPECT_FALSE(files_in(state).empty()) << state << " is of no use";
  for (const std::string& name : files_in(state)) {
    EXPECT_TRUE(name.ends_with(".igq")) << name;
    EXPECT_NO_THROW(ContainerReader(state / name)) << name;
  }
}

TEST_F(CliTest, FileSizeLimit) {
  ASSERT_EQ(run(kQuantize + "-o whole.igq").exit_code, 0);
  quantize();
  const std::string precious = read_text(path() / "q.igq");
  const auto before = files_in(path());
  auto with_layers = before;
  with_layers.push_back("q.igq.calibration");
  std::sort(with_layers.begin(), with_layers.end());
  for (const std::string blocks : {"0", "1", "8", "40"}) {
    const Output result = igq_with("ulimit -f " + blocks + " && ", kQuantize + "-o q.igq --overwrite", path());
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(files_in(path()), fs::exists(path() / "q.igq.calibration") ? with_layers : before) << blocks;
    expect_finished_layers_or_nothing(path() / "q.igq.calibration");
    EXPECT_EQ(read_text(path() / "q.igq"), precious);
    if (blocks == "0") {
      EXPECT_EQ(files_in(path()), before) << "not one layer could be kept";
    }
  }
  const Output said = igq_with("ulimit -f 8 && ", kQuantize + "-o q.igq --overwrite", path());
  EXPECT_EQ(said.exit_code, 1);
  EXPECT_NE(said.err.find("igq: error: cannot write q.igq: File too large"), std::string::npos) << said.err;
  // The limit that lets layers through has left them; the next run goes on from there, to the same bytes.
  ASSERT_TRUE(fs::exists(path() / "q.igq.calibration"));
  const Output resumed = run(kQuantize + "-o q.igq --overwrite");
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("went on from an interrupted run"), std::string::npos) << resumed.err;
  EXPECT_EQ(files_in(path()), before);
  EXPECT_TRUE(read_text(path() / "q.igq") == read_text(path() / "whole.igq"));
}

TEST_F(CliTest, FullDisk) {
  const SmallDisk disk(path() / "disk", "size=16k");
  if (!disk.mounted()) GTEST_SKIP() << kNoMount;
  for (const std::string& arguments :
       {kQuantize + "-o disk/q.igq", std::string("eval model --data-dir images --topk 5000 --results-file disk/r.csv"),
        kTable + "--settings float,igq --markdown disk/t.md"}) {
    std::ofstream(path() / "disk/filler") << std::string(1 << 20, 'x');  // as far as it goes
    const Output result = run(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments << result.out;
    EXPECT_NE(result.err.find("igq: error: cannot write disk/"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("No space left on device"), std::string::npos) << result.err;
    EXPECT_EQ(files_in(path() / "disk"), std::vector<std::string>{"filler"});
  }
}

TEST_F(CliTest, ReadOnlyTarget) {
  const SmallDisk disk(path() / "disk", "size=1m");
  if (disk.mounted()) {
    ASSERT_TRUE(disk.make_read_only());
  } else {
    if (::geteuid() == 0) GTEST_SKIP() << kNoMount;
    fs::permissions(path() / "disk", fs::perms::owner_read | fs::perms::owner_exec);
  }
  for (const std::string& arguments :
       {kQuantize + "-o disk/q.igq", std::string("eval model --data-dir images --results-file disk/r.csv"),
        kTable + "--settings float --markdown disk/t.md"}) {
    const Output result = run(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_NE(result.err.find("igq: error: cannot write disk/"), std::string::npos) << result.err;
    EXPECT_TRUE(files_in(path() / "disk").empty());
  }
}

TEST_F(CliTest, WeightsTruncatedOrReplacedWhileTheyAreRead) {
  const fs::path file = path() / "model/model.safetensors";
  const auto opened = open_safetensors(file);
  const AlignedBuffer<float> before = opened->read("norm.bias");
  fs::rename(file, path() / "old");
  std::ofstream(file) << "another file under the same name";
  const AlignedBuffer<float> after = opened->read("norm.bias");
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin(), after.end()))
      << "the file that was opened is the one that is read";
  fs::resize_file(path() / "old", 100);
  try {
    opened->read("norm.bias");
    FAIL() << "read beyond the end";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("is truncated"), std::string::npos) << e.what();
  }
}

TEST_F(CliTest, AnIgqFileTruncatedOrOverwrittenWhileItIsRead) {
  quantize();
  const ContainerReader reader(path() / "q.igq");
  const auto& tensors = reader.tensors();
  const auto codes =
      std::find_if(tensors.begin(), tensors.end(), [](const StoredTensor& t) { return t.type == StoredType::kCodes; });
  ASSERT_NE(codes, tensors.end());
  reader.read_codes(*codes);
  std::string bytes = read_text(path() / "q.igq");
  std::fill(bytes.begin() + 64, bytes.end(), 'x');
  std::ofstream(path() / "q.igq", std::ios::binary | std::ios::in) << bytes;  // in place: the same inode
  EXPECT_THROW(reader.read_codes(*codes), Error) << "the checksum must fail";
  fs::resize_file(path() / "q.igq", 64);
  EXPECT_THROW(reader.read_codes(*codes), Error);
}

/// Weights of the tiny model made 512 times as wide, all holes: a file of 20 GB that takes no space.
void make_giant(const fs::path& model) {
  const std::string raw = read_text(model / "model.safetensors");
  std::uint64_t size = 0, at = 0;
  std::memcpy(&size, raw.data(), 8);
  json header = json::parse(raw.substr(8, size));
  header.erase("__metadata__");
  for (auto& [name, entry] : header.items()) {
    std::uint64_t count = 1;
    for (json& d : entry["shape"]) {
      if (d.get<int>() % 32 == 0) d = d.get<std::int64_t>() * 512;
      count *= d.get<std::uint64_t>();
    }
    entry["data_offsets"] = {at, at + 4 * count};
    at += 4 * count;
  }
  const std::string text = header.dump();
  size = text.size();
  std::ofstream(model / "model.safetensors", std::ios::binary)
      << std::string(reinterpret_cast<const char*>(&size), 8) << text;
  fs::resize_file(model / "model.safetensors", 8 + size + at);
  json config = json::parse(read_text(model / "config.json"));
  config["model_args"]["embed_dim"] = 32 * 512;
  config["num_features"] = 32 * 512;
  std::ofstream(model / "config.json") << config.dump();
}

TEST_F(CliTest, OutOfMemoryIsOneLine) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need the whole address space";
  make_giant(path() / "model");
  const Output result = igq_with("ulimit -v 1500000 && ", kQuantize + "-o q.igq", path());
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_NE(result.err.find("out of memory"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(path() / "q.igq"));
}

}  // namespace
}  // namespace igq::test
