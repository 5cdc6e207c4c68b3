// The byte family on AMX (tile products of bytes, tdpbusd), with AVX-512 VNNI for everything around them.
#include "kernels/bytes_codes256.h"
#include "kernels/bytes_gemm_amx.h"
#include "kernels/bytes_simd512_vnni.h"
#include "kernels/kernels_internal.h"

namespace igq::kernels {
namespace {

using Pack = PackAmx<Simd512Vnni>;

std::size_t panel_bytes(int slots, int groups, CodeRange) noexcept { return Pack::panel_bytes(slots, groups); }

void pack_bytes(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots, const std::int16_t* zero,
                const std::int32_t* group_end, int groups, int cols, CodeRange, void* panel,
                std::int32_t* corrections) noexcept {
  Pack::straight(w, ldw, order, slots, zero, group_end, groups, cols, static_cast<char*>(panel), corrections);
}

void pack_bytes_transposed(const std::int8_t* w, std::int64_t ldw, int slots_valid, int slots, const std::int16_t* zero,
                           int cols, CodeRange, void* panel, std::int32_t* corrections) noexcept {
  Pack::transposed(w, ldw, slots_valid, slots, zero, cols, static_cast<char*>(panel), corrections);
}

void byte_gemm(const ByteGemm& g) noexcept { GemmAmx<Simd512Vnni>::run(g); }

}  // namespace

void fill_byte_kernels_amx(Kernels& table) {
  table.row_block = 64;
  table.two_bytes = true;
  table.group_align = kTileBytes;
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  Codes256::fill(table);
}

}  // namespace igq::kernels
