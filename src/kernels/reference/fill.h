// The parts of the reference's table.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {

void fill_float_kernels_reference(Kernels& table);  ///< rows.cc: fp32 products, quantization of floats, rows of floats
void fill_byte_kernels_reference(Kernels& table);   ///< bytes.cc: packing, the byte product, permutation of codes

}  // namespace igq::kernels
