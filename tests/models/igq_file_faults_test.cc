// .igq files: sizes, loading time, and what a full disk, a read-only folder or a kill leaves behind.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "igq/error.h"
#include "models/igq_file.h"
#include "tests/io/forge.h"
#include "tests/models/tiny_igq.h"

namespace igq {
namespace {

using test::read_text;
using test::TemporaryFolder;
using test::write_text;

/// A DeiT of 224 x 224 with random codes: blocks at `bits`, patch embedding and head at 8, the rest in float.
QuantizedModel deit(int width, int heads, int bits) {
  Random random(7);
  QuantizedModel model;
  ModelConfig& config = model.config;
  config.architecture = "deit_test";
  config.vit.embed_dim = width;
  config.vit.num_heads = heads;
  config.vit.mlp_hidden = 4 * width;
  for (int c = 0; c < 1000; ++c) config.labels.push_back(fmt::format("a class name of usual length {}", c));
  const auto tensors = std::make_shared<MemoryTensors>("memory");
  const auto linear = [&](const std::string& site, int in, int out, int weight_bits, int groups) {
    LinearPlan& plan = model.plan.linears[site];
    plan.input.grouping = groups == 1 ? Grouping::kLayer : Grouping::kIgq;
    for (int g = 0; g < groups; ++g) plan.input.groups.push_back(test::random_bounds(random));
    plan.weight = test::random_weight(in, out, weight_bits, random);
    test::add_random(*tensors, site + ".bias", {out}, random);
  };
  const auto norm = [&](const std::string& name) {
    test::add_random(*tensors, name + ".weight", {width}, random);
    test::add_random(*tensors, name + ".bias", {width}, random);
  };
  linear("patch_embed.proj", 3 * 16 * 16, width, 8, 1);
  test::add_random(*tensors, "cls_token", {1, 1, width}, random);
  test::add_random(*tensors, "pos_embed", {1, 197, width}, random);
  for (int b = 0; b < 12; ++b) {
    const std::string block = fmt::format("blocks.{}.", b);
    norm(block + "norm1");
    norm(block + "norm2");
    linear(block + "attn.qkv", width, 3 * width, bits, 32);
    linear(block + "attn.proj", width, width, bits, 32);
    linear(block + "mlp.fc1", width, 4 * width, bits, 32);
    linear(block + "mlp.fc2", 4 * width, width, bits, 32);
    AttentionPlan& attention = model.plan.attentions[block + "attn"];
    attention.qkv.grouping = QkvGrouping::kHead;
    for (auto* bounds : {&attention.qkv.q, &attention.qkv.k, &attention.qkv.v}) {
      for (int h = 0; h < heads; ++h) bounds->push_back(test::random_bounds(random));
    }
    attention.softmax.grouping = Grouping::kUpperBound;
  }
  norm("norm");
  linear("head", width, 1000, 8, 1);
  model.tensors = tensors;
  return model;
}

TEST(IgqSize, DeitSmall) {
  const TemporaryFolder folder;
  for (const auto& [bits, megabytes] : {std::pair{4, 12.6}, {6, 18.0}, {8, 24.0}}) {
    save_igq(folder / "a.igq", deit(384, 6, bits), true);
    const double size = static_cast<double>(std::filesystem::file_size(folder / "a.igq")) / 1e6;
    EXPECT_LE(size, megabytes) << bits << " bits";
    RecordProperty(fmt::format("megabytes_{}_bit", bits), fmt::format("{:.2f}", size));
    fmt::print("DeiT-S at {} bits: {:.2f} MB\n", bits, size);
  }
}

TEST(IgqLoad, DeitBaseHasTheCodesThatWereSaved) {
  const TemporaryFolder folder;
  for (const int bits : {8, 4}) {
    const QuantizedModel saved = deit(768, 12, bits);
    save_igq(folder / "a.igq", saved, true);
    const QuantizedModel model = load_igq(folder / "a.igq");
    ASSERT_EQ(model.plan.linears.size(), saved.plan.linears.size());
    for (const auto& [site, linear] : saved.plan.linears) {
      const auto &want = linear.weight.codes, &got = model.plan.linears.at(site).weight.codes;
      ASSERT_EQ(got.size(), want.size()) << site;
      ASSERT_TRUE(std::equal(want.begin(), want.end(), got.begin())) << site << " at " << bits << " bits";
    }
  }
}

/// Runs `body` in a child process and returns how it ended.
template <typename Body>
int in_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(9);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(IgqFaults, FullDiskLeavesTheOldFileAndNothingElse) {
  const TemporaryFolder folder;
  write_text(folder / "old.igq", "precious");
  const QuantizedModel model = test::tiny_igq();
  save_igq(folder / "whole.igq", model, false);
  const auto whole = static_cast<rlim_t>(std::filesystem::file_size(folder / "whole.igq"));
  std::filesystem::remove(folder / "whole.igq");
  // A limit on the file size fails writes in their middle just as a full disk does.
  for (const rlim_t limit : {rlim_t{0}, rlim_t{63}, rlim_t{64}, rlim_t{1000}, whole / 2, whole - 1}) {
    for (const char* name : {"new.igq", "old.igq"}) {
      const int status = in_child([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit small{limit, limit};
        ::setrlimit(RLIMIT_FSIZE, &small);
        try {
          save_igq(folder / name, model, true);
        } catch (const Error& e) {
          ::_exit(std::string(e.what()).find(name) != std::string::npos ? 1 : 2);
        }
      });
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << name << " at " << limit << ": " << status;
    }
    EXPECT_EQ(read_text(folder / "old.igq"), "precious");
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      EXPECT_EQ(entry.path().filename(), "old.igq");
    }
  }
}

TEST(IgqFaults, ReadOnlyOrMissingFolder) {
  const TemporaryFolder folder;
  EXPECT_THROW(save_igq(folder / "missing/a.igq", test::tiny_igq(), false), Error);
  std::filesystem::create_directory(folder / "a.igq");
  EXPECT_THROW(save_igq(folder / "a.igq", test::tiny_igq(), true), Error);
  if (::geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_THROW(save_igq(folder / "b.igq", test::tiny_igq(), false), Error);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
}

TEST(IgqFaults, KilledWhileWriting) {
  const TemporaryFolder folder;
  const QuantizedModel model = deit(192, 3, 4);
  // At the end of a half-written temporary file: the limit's signal kills the process inside write().
  save_igq(folder / "whole.igq", model, false);
  const auto whole = static_cast<rlim_t>(std::filesystem::file_size(folder / "whole.igq"));
  for (const rlim_t limit : {rlim_t{0}, rlim_t{100}, whole / 3, whole - 1}) {
    const int status = in_child([&] {
      std::signal(SIGXFSZ, SIG_DFL);
      const rlimit core{0, 0}, small{limit, limit};
      ::setrlimit(RLIMIT_CORE, &core);
      ::setrlimit(RLIMIT_FSIZE, &small);
      save_igq(folder / "killed.igq", model, true);
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) << status;
    EXPECT_FALSE(std::filesystem::exists(folder / "killed.igq"));
  }
  // At any moment of saving over and over: what lies under the name is always a whole file.
  const std::string expected = read_text(folder / "whole.igq");
  Random random(11);
  for (int run = 0; run < 12; ++run) {
    const pid_t child = ::fork();
    if (child == 0) {
      while (true) save_igq(folder / "again.igq", model, true);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + random.below(30000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    if (std::filesystem::exists(folder / "again.igq")) {
      ASSERT_EQ(read_text(folder / "again.igq"), expected);
    }
  }
  // Leftovers of the killed do not disturb the next.
  save_igq(folder / "again.igq", model, true);
  EXPECT_EQ(read_text(folder / "again.igq"), expected);
}

}  // namespace
}  // namespace igq
