// The float kernels for AVX2.
#include "kernels/generic/rows.h"
#include "kernels/x86/fill.h"
#include "kernels/generic/vec16.h"
#include "kernels/x86/simd256.h"

namespace igq::kernels {

void fill_float_kernels_avx2(Kernels& table) { fill_float_kernels<Vec16<Simd256>>(table); }

}  // namespace igq::kernels
