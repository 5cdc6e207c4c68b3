// The float kernels for AVX-512.
#include "kernels/rows_kernels.h"
#include "kernels/kernels_internal.h"
#include "kernels/vec16_avx512.h"

namespace igq::kernels {

void fill_float_kernels_avx512(Kernels& table) { fill_float_kernels<VecAvx512>(table); }

}  // namespace igq::kernels
