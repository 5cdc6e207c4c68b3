#include "base/cpu.h"

#include <gtest/gtest.h>

namespace igq {
namespace {

TEST(CpuName, IsWhatTheSystemSays) {
  EXPECT_EQ(cpu_name_in("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC 9354\nmodel name\t: other\n"),
            "AMD EPYC 9354");
  EXPECT_EQ(cpu_name_in("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"), "Arm Neoverse N1");
  EXPECT_EQ(cpu_name_in("CPU implementer\t: 0x61\nCPU part\t: 0x022"), "ARM processor of maker 0x61, part 0x022");
  EXPECT_EQ(cpu_name_in(""), "unknown CPU");
  EXPECT_EQ(cpu_name_in("model name"), "unknown CPU");
}

}  // namespace
}  // namespace igq
