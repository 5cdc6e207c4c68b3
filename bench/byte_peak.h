// The machine's rate of byte products, measured beside each benchmark like the fp32 rate of fma_peak.h.
#pragma once

#include <cstdint>

#include "igq/isa.h"

namespace igq::bench {

/// Runs at least `products` u8 x s8 multiply-adds as independent register-only instructions, the ones an 8 x 8 bit
/// product is made of on `isa`: vpdpbusd with 512 or 256 bits, vpmaddwd + vpaddd without it. Seconds per product.
double byte_seconds_per_product(Isa isa, std::int64_t products);

}  // namespace igq::bench
