// The byte kernels under test: every instruction set this machine runs, and the emulated files of those it does not.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace igq::kernels::testing {

struct ByteTable {
  std::string name;
  Kernels kernels;
};

/// The first one is the reference.
const std::vector<ByteTable>& byte_tables();

}  // namespace igq::kernels::testing
