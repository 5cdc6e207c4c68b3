// The float kernels for 64-bit ARM.
#include "kernels/arm/fill.h"
#include "kernels/arm/simd_neon.h"
#include "kernels/generic/rows.h"
#include "kernels/generic/vec16.h"

namespace igq::kernels {

void fill_float_kernels_neon(Kernels& table) { fill_float_kernels<Vec16<SimdNeon>>(table); }

}  // namespace igq::kernels
