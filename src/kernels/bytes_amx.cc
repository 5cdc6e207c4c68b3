// The byte family on AMX (tile products of bytes, tdpbusd), with AVX-512 VNNI for everything around them.
#include "kernels/bytes_codes256.h"
#include "kernels/bytes_gemm_amx.h"
#include "kernels/bytes_repeat.h"
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

void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange, void* out) noexcept {
  Repeat<Pack>::slots(panel, slots, order, count, out);
}

/// 64 codes of the order at a time: each block of 64 channels that they come from gives those of its codes that are
/// wanted.
void repeat_codes(const std::uint8_t* codes, std::int64_t ldc, int rows, const std::int32_t* order, int count,
                  std::uint8_t* out, std::int64_t ldo) noexcept {
  constexpr int kBlock = 64, kBlocks = 8;
  const auto first_lanes = [](std::int64_t n) { return n >= kBlock ? ~__mmask64{0} : (__mmask64{1} << n) - 1; };
  for (int i = 0; i < count; i += kBlock) {
    const int n = count - i < kBlock ? count - i : kBlock;
    alignas(64) std::uint8_t within[kBlock] = {};
    int valid = 0;
    for (; valid < n && order[i + valid] >= 0; ++valid)
      within[valid] = static_cast<std::uint8_t>(order[i + valid] % kBlock);
    const __m512i index = _mm512_load_si512(within);
    const __mmask64 stored = first_lanes(n);
    const int last = valid == 0 ? 0 : order[i + valid - 1] / kBlock;
    for (int begin = valid == 0 ? 0 : order[i] / kBlock, done = 0; begin <= last; begin += kBlocks) {
      const int blocks = last + 1 - begin < kBlocks ? last + 1 - begin : kBlocks;
      __mmask64 wanted[kBlocks] = {};
      for (int v = done; v < valid && order[i + v] / kBlock < begin + blocks; ++v, ++done)
        wanted[order[i + v] / kBlock - begin] |= __mmask64{1} << v;
      const bool whole = std::int64_t{begin + blocks} * kBlock <= ldc;
      const __mmask64 readable =
          whole ? ~__mmask64{0} : first_lanes(ldc - std::int64_t{begin + blocks - 1} * kBlock);  // of the last block
      const bool again = valid > 0 && begin > order[i] / kBlock;  // codes of blocks before are there
      for (int t = 0; t < rows; ++t) {
        const std::uint8_t* row = codes + t * ldc + std::int64_t{begin} * kBlock;
        __m512i x = again ? _mm512_maskz_loadu_epi8(stored, out + t * ldo + i) : _mm512_setzero_si512();
        for (int b = 0; b < blocks; ++b) {
          const __m512i block = _mm512_maskz_loadu_epi8(b + 1 < blocks ? ~__mmask64{0} : readable, row + b * kBlock);
          x = _mm512_or_si512(x, _mm512_maskz_permutexvar_epi8(wanted[b], index, block));
        }
        _mm512_mask_storeu_epi8(out + t * ldo + i, stored, x);
      }
    }
  }
}

void byte_gemm(const ByteGemm& g) noexcept { GemmAmx<Simd512Vnni>::run(g); }

}  // namespace

void fill_byte_kernels_amx(Kernels& table) {
  table.row_block = 64;
  table.group_align = kTileBytes;
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  table.repeat_slots = repeat_slots;
  Codes256::fill(table);
  table.repeat_codes = repeat_codes;
}

}  // namespace igq::kernels
