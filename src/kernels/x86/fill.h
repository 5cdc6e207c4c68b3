// The parts of x86's tables: each family of kernels fills its part for each instruction set, in a file compiled with
// that set's flags. Only instruction_sets.cc, the family files and their tests include this.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {

// rows_<isa>.cc: fp32 products, quantization of floats, rows of floats.
void fill_float_kernels_avx2(Kernels& table);
void fill_float_kernels_avx512(Kernels& table);

// bytes_<isa>.cc: packing, the byte product, permutation and unpacking of codes.
void fill_byte_kernels_avx2(Kernels& table);
void fill_byte_kernels_avx_vnni(Kernels& table);
void fill_byte_kernels_avx512(Kernels& table);
void fill_byte_kernels_avx512_vnni(Kernels& table);
void fill_byte_kernels_amx(Kernels& table);

}  // namespace igq::kernels
