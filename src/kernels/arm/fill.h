// The parts of ARM's tables: each family of kernels fills its part for each instruction set, in a file compiled with
// that set's flags. Only instruction_sets.cc and the family files include this.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {

void fill_float_kernels_neon(Kernels& table);  ///< rows_neon.cc: every set's

// bytes_<isa>.cc: packing, the byte product, permutation and unpacking of codes.
void fill_byte_kernels_neon(Kernels& table);
void fill_byte_kernels_neon_dotprod(Kernels& table);
void fill_byte_kernels_neon_i8mm(Kernels& table);

}  // namespace igq::kernels
