// The byte kernels of an instruction set from its product.
#pragma once

#include "kernels/arm/codes_neon.h"
#include "kernels/arm/gemm_neon.h"

namespace igq::kernels {
namespace {

template <class Product>
void fill_byte_kernels(Kernels& table, TileSizes sizes) {
  using Panel = typename Product::Panel;
  static_cast<TileSizes&>(table) = sizes;
  table.panel_bytes = Panel::panel_bytes;
  table.pack_bytes = Panel::pack;
  table.pack_bytes_transposed = Panel::pack_transposed;
  table.byte_gemm = GemmNeon<Product>::run;
  table.repeat_slots = Panel::repeat_slots;
  CodesNeon::fill(table);
}

}  // namespace
}  // namespace igq::kernels
