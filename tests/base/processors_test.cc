// The default number of threads: affinity, quotas of control groups of both versions in files made up here, variables.
#include "base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <fstream>

#include "igq/error.h"
#include "tests/test_util.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

/// /proc/self and mounted control groups of a process that exists only here.
class CpuQuota : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    fs::create_directories((root() / path).parent_path());
    std::ofstream(root() / path) << text << '\n';
  }
  void version2(const std::string& group, const std::string& mount_root = "/") const {
    write("proc/self/mountinfo",
          "22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n"
          "30 22 0:26 " +
              mount_root + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate");
    write("proc/self/cgroup", "0::" + group);
  }
  void version1(const std::string& group, const std::string& mount_root = "/") const {
    write("proc/self/mountinfo", "31 24 0:27 " + mount_root +
                                     " /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
                                     "32 24 0:28 / /sys/fs/cgroup/cpuset rw shared:11 - cgroup cgroup rw,cpuset");
    write("proc/self/cgroup", "4:cpuset:/elsewhere\n3:cpu,cpuacct:" + group);
  }
  fs::path root() const { return folder_.path(); }
  std::optional<double> quota() const { return cpu_quota(root()); }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(CpuQuota, NoneWithoutControlGroups) {
  EXPECT_FALSE(quota());
  EXPECT_EQ(usable_processors(root()), allowed_processors());
}

TEST_F(CpuQuota, Version2) {
  version2("/user.slice/job");
  write("sys/fs/cgroup/user.slice/job/cpu.max", "250000 100000");
  EXPECT_EQ(quota(), 2.5);
  write("sys/fs/cgroup/user.slice/job/cpu.max", "max 100000");
  EXPECT_FALSE(quota());
}

TEST_F(CpuQuota, TheSmallestOnTheWayToTheRootCounts) {
  version2("/a/b/c");
  fs::create_directories(root() / "sys/fs/cgroup/a/b/c");
  write("sys/fs/cgroup/a/b/c/cpu.max", "max 100000");
  write("sys/fs/cgroup/a/b/cpu.max", "150000 50000");
  write("sys/fs/cgroup/a/cpu.max", "800000 100000");
  EXPECT_EQ(quota(), 3.0);
  write("sys/fs/cgroup/cpu.max", "120000 100000");
  EXPECT_EQ(quota(), 1.2);
}

TEST_F(CpuQuota, Version1) {
  version1("/docker/1234");
  write("sys/fs/cgroup/cpu,cpuacct/docker/1234/cpu.cfs_quota_us", "-1");
  write("sys/fs/cgroup/cpu,cpuacct/docker/1234/cpu.cfs_period_us", "100000");
  EXPECT_FALSE(quota());
  write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "175000");
  write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "50000");
  EXPECT_EQ(quota(), 3.5);
}

TEST_F(CpuQuota, InAContainerThatSeesOnlyItsOwnGroup) {
  version1("/docker/1234", "/docker/1234");  // the mount's root is the container's group
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  EXPECT_EQ(quota(), 2.0);
  version1("/docker/1234/inner", "/docker/1234");
  write("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us", "100000");
  write("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us", "100000");
  EXPECT_EQ(quota(), 1.0);
  version1("/kubepods/pod/5678");  // the path of the machine outside
  EXPECT_EQ(quota(), 2.0);
  version2("/../../outside");
  write("sys/fs/cgroup/cpu.max", "50000 100000");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(CpuQuota, RoundedDownButOneAtLeast) {
  version2("/");
  write("sys/fs/cgroup/cpu.max", "50000 100000");
  EXPECT_EQ(usable_processors(root()), 1);
  write("sys/fs/cgroup/cpu.max", "199000 100000");
  EXPECT_EQ(usable_processors(root()), 1);
  write("sys/fs/cgroup/cpu.max", "99900000 100000");
  EXPECT_EQ(usable_processors(root()), allowed_processors());
}

TEST_F(CpuQuota, FilesThatSayNothingAreNoQuota) {
  version2("/a");
  for (const std::string text : {"", "abc def", "0 100000", "-5 100000", "nan 100000", "100000x 1"}) {
    write("sys/fs/cgroup/a/cpu.max", text);
    EXPECT_FALSE(quota()) << text;
  }
  write("proc/self/mountinfo", "30 22 0:26 / /sys/fs/cgroup\n- cgroup2\n\n - \nx");
  write("proc/self/cgroup", "\n::\n0\n0:");
  EXPECT_FALSE(quota());
}

TEST(AllowedProcessors, FollowTheAffinity) {
#if !defined(__linux__)
  GTEST_SKIP() << "this system does not say on which processors a thread may run (base/platform.h)";
#endif
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
    if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(allowed_processors(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(allowed_processors(), CPU_COUNT(&before));
}

/// Environment variables put back at the end.
class DefaultThreadsTest : public ::testing::Test {
 protected:
  void TearDown() override {
    ::unsetenv("IGQ_NUM_THREADS");
    ::unsetenv("OMP_NUM_THREADS");
    set_default_threads(0);
  }
};

TEST_F(DefaultThreadsTest, WhoComesFirst) {
  ::unsetenv("IGQ_NUM_THREADS");
  ::unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(default_threads(), usable_processors());
  ::setenv("OMP_NUM_THREADS", "5", 1);
  EXPECT_EQ(default_threads(), 5);
  ::setenv("IGQ_NUM_THREADS", "3", 1);
  EXPECT_EQ(default_threads(), 3);
  set_default_threads(7);
  EXPECT_EQ(default_threads(), 7);
  {
    const DefaultThreads here(2), nothing(0);
    EXPECT_EQ(default_threads(), 2);
  }
  EXPECT_EQ(default_threads(), 7);
}

TEST_F(DefaultThreadsTest, OpenMpListsGiveTheirFirst) {
  for (const std::string list : {"4,2", " 4 , 2", "4", "4,"}) {
    ::setenv("OMP_NUM_THREADS", list.c_str(), 1);
    EXPECT_EQ(default_threads(), 4) << list;
  }
  ::setenv("OMP_NUM_THREADS", "", 1);
  EXPECT_EQ(default_threads(), usable_processors());
}

TEST_F(DefaultThreadsTest, WhatIsNoNumberOfThreadsIsAnError) {
  for (const std::string variable : {"IGQ_NUM_THREADS", "OMP_NUM_THREADS"}) {
    for (const std::string text : {"0", "-1", "many", "2x", "1.5", " ", "1025", "99999999999999999999"}) {
      ::setenv(variable.c_str(), text.c_str(), 1);
      try {
        default_threads();
        FAIL() << variable << "=" << text;
      } catch (const Error& e) {
        EXPECT_EQ(std::string(e.what()),
                  variable + " in the environment is '" + text + "', not a number of threads from 1 to 1024");
      }
    }
    ::unsetenv(variable.c_str());
  }
  EXPECT_THROW(set_default_threads(-1), Error);
  EXPECT_THROW(set_default_threads(1025), Error);
}

}  // namespace
}  // namespace igq
