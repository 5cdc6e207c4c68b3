// The reference as an instruction set: what every other one is compared with, and all that runs on processors without a
// folder of their own.
#include "kernels/instruction_sets.h"
#include "kernels/reference/fill.h"

namespace igq::kernels {

InstructionSet reference_set() {
  return {"reference", "plain C++", []() noexcept { return true; },
          [](Kernels& table) {
            fill_float_kernels_reference(table);
            fill_byte_kernels_reference(table);
          }};
}

}  // namespace igq::kernels
