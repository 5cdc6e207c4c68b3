// The float kernels for AVX-512.
#include "kernels/x86/codes_avx512.h"
#include "kernels/x86/fill.h"
#include "kernels/x86/softmax_avx512.h"

namespace igq::kernels {

void fill_float_kernels_avx512(Kernels& table) {
  fill_float_kernels<VecAvx512>(table);
  table.quantize_channels = quantize_channels_avx512;
  table.quantize_rows = quantize_rows_avx512;
  table.quantize_multiples = quantize_multiples_avx512;
  table.row_range = row_range_avx512;
  table.softmax_codes = softmax_codes_avx512;
  table.softmax_row_codes = softmax_row_codes_avx512;
}

}  // namespace igq::kernels
