// The one place where kernel files get their intrinsics from.
//
// Normally that is <immintrin.h>. In the test build with IGQ_EMULATE_AVX512 the AVX-512 files are compiled a second
// time against tests/kernels/emulated_intrinsics.h, which computes AVX-512 with AVX2 (SIMDe), so that they are tested
// on machines without AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef IGQ_EMULATE_AVX512
#include "emulated_intrinsics.h"
#else
#include <immintrin.h>
#endif
