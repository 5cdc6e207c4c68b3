// Slots of a packed panel once more: where scales are multiples of one unit, a channel whose multiple does not fit
// a byte beside its codes is counted several times (docs/method.md, section 8.2, linear_codes.h).
#pragma once

#include "kernels/x86/simd256.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// For layouts whose `Pack::line` has 16 columns of kStep slots in 64 bytes, a column's slots in one lane of 32 bits.
template <class Pack>
struct Repeat {
  static constexpr int kStep = Pack::kStep, kBytes = 4 / kStep, kColumns = 16;

  static void slots(const void* panel, int slots, const std::int32_t* order, int count, void* out) {
    char* from = static_cast<char*>(const_cast<void*>(panel));
    for (int i = 0; i < count; i += kStep) {
      const Quad quad(order + i);
      const int used = order[i] < 0 ? 0 : kStep;  // padding comes last, mostly whole steps of it
      for (int j = 0; j < kBytePanel / kColumns; ++j) {
        __m256i x = Simd256::zero(), y = Simd256::zero();
#pragma GCC unroll 4
        for (int s = 0; s < used; ++s) {
          const char* line = Pack::line(from, slots, quad.slot[s], j);
          x = _mm256_or_si256(x, _mm256_shuffle_epi8(Simd256::load(line), quad.control[s]));
          y = _mm256_or_si256(y, _mm256_shuffle_epi8(Simd256::load(line + 32), quad.control[s]));
        }
        char* to = out_line(static_cast<char*>(out), count, i, j);
        Simd256::store(to, x);
        Simd256::store(to + 32, y);
      }
    }
  }

 private:
  /// What makes a step of new slots: from which slots, and within every lane of 32 bits which bytes go where.
  struct Quad {
    int slot[kStep];
    __m256i control[kStep];

    explicit Quad(const std::int32_t* order) {
      for (int s = 0; s < kStep; ++s) {
        slot[s] = order[s] < 0 ? 0 : order[s];
        std::uint32_t lane = 0x80808080U;  // nothing
        for (int b = 0; order[s] >= 0 && b < kBytes; ++b) {
          const int to = 8 * (s * kBytes + b), which = order[s] % kStep * kBytes + b;
          lane = (lane & ~(255U << to)) | static_cast<std::uint32_t>(which) << to;
        }
        const __m128i four = _mm_add_epi32(_mm_set1_epi32(static_cast<int>(lane)),
                                           _mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C));
        control[s] = _mm256_broadcastsi128_si256(four);
      }
    }
  };

  /// Steps of a repeated panel are whole, so they lie one after the other.
  static char* out_line(char* out, int count, int slot, int j) {
    if constexpr (requires { Pack::whole_line(out, count, slot, j); })
      return Pack::whole_line(out, count, slot, j);
    else
      return Pack::line(out, count, slot, j);
  }
};

}  // namespace
}  // namespace igq::kernels
