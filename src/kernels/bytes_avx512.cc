// The byte family on this instruction set: the reference for now.
#include "kernels/kernels_internal.h"

namespace igq::kernels {

void fill_byte_kernels_avx512(Kernels& table) { fill_byte_kernels_reference(table); }

}  // namespace igq::kernels
