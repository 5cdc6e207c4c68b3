// The byte family on AVX2 with the 256-bit dot instruction (vpdpbusd in VEX encoding).
#include "kernels/bytes_codes256.h"
#include "kernels/bytes_pack256.h"
#include "kernels/bytes_repeat.h"
#include "kernels/bytes_simd256.h"
#include "kernels/bytes_tile.h"
#include "kernels/kernels_internal.h"

namespace igq::kernels {
namespace {

struct Simd : Simd256 {
  static Int dot(Int s, Int a, Int w) {
#ifdef IGQ_EMULATE_AVX512
    return _mm256_dpbusd_avx_epi32(s, a, w);
#else
    // As _mm256_dpbusd_avx_epi32, for which g++ 12 copies every sum to another register and back in each step.
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s) : "x"(a), "x"(w));
    return s;
#endif
  }
};
using Policy = Dot<TileShape<Simd, 6>>;
using Pack = Pack256<Policy::kPartColumns, false>;

std::size_t panel_bytes(int slots, int, CodeRange) noexcept { return static_cast<std::size_t>(slots) * kBytePanel; }

void pack_bytes(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots, const std::int16_t* zero,
                const std::int32_t* group_end, int groups, int cols, CodeRange, void* panel,
                std::int32_t* corrections) noexcept {
  Pack::straight(w, ldw, order, slots, cols, static_cast<char*>(panel));
  Pack::correct(static_cast<char*>(panel), slots, zero, group_end, groups, corrections);
}

void pack_bytes_transposed(const std::int8_t* w, std::int64_t ldw, int slots_valid, int slots, const std::int16_t* zero,
                           int cols, CodeRange, void* panel, std::int32_t* corrections) noexcept {
  const std::int32_t end = slots;
  Pack::transposed(w, ldw, slots_valid, slots, cols, static_cast<char*>(panel));
  Pack::correct(static_cast<char*>(panel), slots, zero, &end, 1, corrections);
}

void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange, void* out) noexcept {
  Repeat<Pack>::slots(panel, slots, order, count, out);
}

void byte_gemm(const ByteGemm& g) noexcept { Gemm<Policy>::run(g, 0); }

}  // namespace

void fill_byte_kernels_avx_vnni(Kernels& table) {
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  table.repeat_slots = repeat_slots;
  Codes256::fill(table);
}

}  // namespace igq::kernels
