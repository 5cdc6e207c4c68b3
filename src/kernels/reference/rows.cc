// The float kernels for every machine: plain loops over arrays, the readable definition of every bit.
#include "kernels/generic/rows.h"
#include "kernels/reference/fill.h"
#include "kernels/reference/vec_reference.h"

namespace igq::kernels {

void fill_float_kernels_reference(Kernels& table) { fill_float_kernels<VecReference>(table); }

}  // namespace igq::kernels
