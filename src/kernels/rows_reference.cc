// The float kernels for every machine: plain loops over arrays, the readable definition of every bit.
#include "kernels/rows_kernels.h"
#include "kernels/kernels_internal.h"
#include "kernels/vec16.h"

namespace igq::kernels {

void fill_float_kernels_reference(Kernels& table) { fill_float_kernels<VecReference>(table); }

}  // namespace igq::kernels
