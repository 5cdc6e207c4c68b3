// The byte kernels under test: every instruction set this machine runs, and the emulated files of those it does not.
#pragma once

#include <string>
#include <vector>

#include "kernels/table.h"

namespace igq::test {
using namespace kernels;

struct ByteTable {
  std::string name;
  Kernels kernels;
};

/// The first one is the reference.
const std::vector<ByteTable>& byte_tables();

}  // namespace igq::test
