// The float kernels for AVX2.
#include "kernels/rows_kernels.h"
#include "kernels/kernels_internal.h"
#include "kernels/vec16_avx2.h"

namespace igq::kernels {

void fill_float_kernels_avx2(Kernels& table) { fill_float_kernels<VecAvx2>(table); }

}  // namespace igq::kernels
