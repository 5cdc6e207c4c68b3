// The byte family on AMX (tile products of bytes, tdpbusd), with AVX-512 VNNI for everything around them.
#include "kernels/x86/byte_family.h"
#include "kernels/x86/bytes_gemm_amx.h"
#include "kernels/x86/fill.h"
#include "kernels/x86/simd512_vnni.h"

namespace igq::kernels {
namespace {

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

}  // namespace

void fill_byte_kernels_amx(Kernels& table) {
  fill_byte_kernels<ByteFamily<PackAmx<Simd512Vnni>, GemmAmx<Simd512Vnni>>>(
      table, {.row_block = 64, .group_align = kTileBytes});
  table.repeat_codes = repeat_codes;
}

}  // namespace igq::kernels
