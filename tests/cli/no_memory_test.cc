// Memory that runs out anywhere, before main and in destructors too, ends the program in one line; never in an abort or
// a hang.
#include <algorithm>
#include <set>

#include "tests/cli/program.h"
#include "tests/sanitized.h"

namespace igq::test {
namespace {

constexpr const char* kPreload = "LD_PRELOAD='" IGQ_FAILING_MALLOC "' ";

/// The first hundred allocations (before main and in the parser) and some of all others, failing once or for good.
std::set<long> places(long calls) {
  std::set<long> places;
  for (long call = 0; call < 100; call += 7) places.insert(call);
  for (long step = 1; step < 30; ++step) places.insert(calls * step / 30 + step);
  for (long back = 1; back < 40; back += 3) places.insert(std::max(0L, calls - back));
  return places;
}

TEST_F(CliTest, MemoryThatRunsOutAnywhereIsOneLine) {
  if (kSanitized || kThreadSanitized) GTEST_SKIP() << "sanitizers have a malloc of their own";
#ifndef __GLIBC__
  GTEST_SKIP() << "the failing malloc is made for glibc";
#endif
  quantize();
  const std::filesystem::path image =
      std::filesystem::directory_iterator(std::filesystem::directory_iterator(path() / "images")->path())->path();
  for (const std::string& arguments : std::vector<std::string>{
           "predict q.igq '" + image.string() + "' --json -j 2", "inspect model",
           std::string("quantize model --calib images --samples 2 --bits w4a4 -o r.igq --overwrite -j 2")}) {
    const Output counted = igq_with(std::string(kPreload) + "IGQ_COUNT_CALLS=1 ", arguments, path());
    ASSERT_EQ(counted.exit_code, 0) << counted.err;
    const long calls = std::stol(counted.err.substr(counted.err.rfind('\n', counted.err.size() - 2) + 1));
    ASSERT_GT(calls, 1000);
    int failed = 0;
    for (const long at : places(calls)) {
      for (const std::string how : {"", "IGQ_FAIL_FOR_GOOD=1 "}) {
        const Output result = igq_with(
            std::string(kPreload) + how + "IGQ_FAIL_AT=" + std::to_string(at) + " timeout 60 ", arguments, path());
        if (result.exit_code == 0) continue;  // of one allocation that could be done without
        ++failed;
        EXPECT_EQ(result.exit_code, 1) << how << at << ": " << result.err;
        const std::size_t last = result.err.rfind('\n', result.err.size() - 2);
        EXPECT_EQ(result.err.compare(last == std::string::npos ? 0 : last + 1, 12, "igq: error: "), 0) << result.err;
      }
    }
    EXPECT_GT(failed, 20) << arguments;
  }
}

}  // namespace
}  // namespace igq::test
