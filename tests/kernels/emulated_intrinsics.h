// AVX-512 intrinsics computed with AVX2 and FMA by SIMDe, and the few that SIMDe 0.7.4 does not have or gets wrong.
// Included by src/kernels/x86/intrinsics.h instead of <immintrin.h> when IGQ_EMULATE_AVX512 is defined.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <cstring>

namespace igq::emulated {

/// For masked loads and stores of elements of type T: touches only the elements whose mask bit is set.
template <typename T>
inline void copy_masked(void* to, const void* from, std::uint64_t mask, int count) {
  for (int i = 0; i < count; ++i)
    if (((mask >> i) & 1) != 0)
      std::memcpy(static_cast<char*>(to) + sizeof(T) * i, static_cast<const char*>(from) + sizeof(T) * i, sizeof(T));
}

inline simde__m512 mask_loadu_ps(simde__m512 source, simde__mmask16 mask, const void* p) {
  copy_masked<float>(&source, p, mask, 16);
  return source;
}
inline void mask_storeu_ps(void* p, simde__mmask16 mask, simde__m512 v) { copy_masked<float>(p, &v, mask, 16); }
inline void mask_storeu_epi8(void* p, simde__mmask16 mask, __m128i v) { copy_masked<char>(p, &v, mask, 16); }

inline simde__m512i maskz_loadu_epi8(simde__mmask64 mask, const void* p) {
  simde__m512i r = simde_mm512_setzero_si512();
  copy_masked<char>(&r, p, mask, 64);
  return r;
}
inline void mask_storeu_epi8(void* p, simde__mmask64 mask, simde__m512i v) { copy_masked<char>(p, &v, mask, 64); }

inline simde__m512i cvtps_epi32(simde__m512 v) {
  __m256 parts[2];
  std::memcpy(parts, &v, sizeof parts);
  const __m256i rounded[2] = {_mm256_cvtps_epi32(parts[0]), _mm256_cvtps_epi32(parts[1])};
  simde__m512i r;
  std::memcpy(&r, rounded, sizeof r);
  return r;
}
inline __m128i cvtepi32_epi8(simde__m512i v) {
  std::int32_t lanes[16];
  std::memcpy(lanes, &v, sizeof lanes);
  std::int8_t bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<std::int8_t>(lanes[i]);
  __m128i r;
  std::memcpy(&r, bytes, sizeof r);
  return r;
}
/// SIMDe's keeps the sign of -0.
inline simde__m512 abs_ps(simde__m512 v) {
  std::uint32_t lanes[16];
  std::memcpy(lanes, &v, sizeof lanes);
  for (auto& lane : lanes) lane &= 0x7FFFFFFFU;
  std::memcpy(&v, lanes, sizeof lanes);
  return v;
}
inline __m256 extractf32x8_ps(simde__m512 v, int part) {
  __m256 r;
  std::memcpy(&r, reinterpret_cast<const char*>(&v) + 32 * part, sizeof r);
  return r;
}

/// Two quarters of x, then two of y, which two bits of `which` name each.
inline simde__m512 shuffle_f32x4(simde__m512 x, simde__m512 y, int which) {
  simde__m512 r;
  for (int i = 0; i < 4; ++i)
    std::memcpy(reinterpret_cast<char*>(&r) + 16 * i,
                reinterpret_cast<const char*>(i < 2 ? &x : &y) + 16 * ((which >> 2 * i) & 3), 16);
  return r;
}

inline simde__m512 cvtepi32_ps(simde__m512i v) {
  __m256i parts[2];
  std::memcpy(parts, &v, sizeof parts);
  const __m256 converted[2] = {_mm256_cvtepi32_ps(parts[0]), _mm256_cvtepi32_ps(parts[1])};
  simde__m512 r;
  std::memcpy(&r, converted, sizeof r);
  return r;
}
inline simde__m512i cvtepu8_epi16(__m256i v) {
  const __m256i widened[2] = {_mm256_cvtepu8_epi16(_mm256_castsi256_si128(v)),
                              _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v, 1))};
  simde__m512i r;
  std::memcpy(&r, widened, sizeof r);
  return r;
}

// ---- AMX: eight tile registers of this thread, 16 rows of 64 bytes
// -----------------------------------------------------
struct Tiles {
  std::uint8_t row_bytes[8] = {}, rows[8] = {};
  std::uint8_t data[8][16][64] = {};
};
inline Tiles& tiles() {
  static thread_local Tiles state;
  return state;
}
/// The layout of the processor: row bytes as 16-bit numbers from byte 16 on, rows from byte 48 on.
inline void tile_loadconfig(const void* config) {
  const auto* bytes = static_cast<const std::uint8_t*>(config);
  tiles() = Tiles{};
  for (int i = 0; i < 8; ++i) {
    tiles().row_bytes[i] = bytes[16 + 2 * i];
    tiles().rows[i] = bytes[48 + i];
  }
}
inline void tile_release() { tiles() = Tiles{}; }
inline void tile_zero(int tile) { std::memset(tiles().data[tile], 0, sizeof tiles().data[tile]); }
inline void tile_loadd(int tile, const void* p, std::int64_t stride) {
  tile_zero(tile);
  for (int r = 0; r < tiles().rows[tile]; ++r)
    std::memcpy(tiles().data[tile][r], static_cast<const char*>(p) + r * stride, tiles().row_bytes[tile]);
}
inline void tile_stored(int tile, void* p, std::int64_t stride) {
  for (int r = 0; r < tiles().rows[tile]; ++r)
    std::memcpy(static_cast<char*>(p) + r * stride, tiles().data[tile][r], tiles().row_bytes[tile]);
}
inline void tile_dpbusd(int sums, int codes, int weights) {
  Tiles& t = tiles();
  for (int r = 0; r < t.rows[sums]; ++r)
    for (int c = 0; c < t.row_bytes[sums] / 4; ++c) {
      std::int32_t s;
      std::memcpy(&s, &t.data[sums][r][4 * c], 4);
      for (int k = 0; k < t.row_bytes[codes]; ++k)
        s += t.data[codes][r][k] * static_cast<std::int8_t>(t.data[weights][k / 4][4 * c + k % 4]);
      std::memcpy(&t.data[sums][r][4 * c], &s, 4);
    }
}

}  // namespace igq::emulated

#undef _mm512_abs_ps
#define _mm512_abs_ps(v) igq::emulated::abs_ps(v)
#define _mm512_mask_loadu_ps(source, mask, p) igq::emulated::mask_loadu_ps(source, mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) igq::emulated::mask_storeu_ps(p, mask, v)
#define _mm_mask_storeu_epi8(p, mask, v) igq::emulated::mask_storeu_epi8(p, mask, v)
#undef _mm512_maskz_loadu_epi8
#define _mm512_maskz_loadu_epi8(mask, p) igq::emulated::maskz_loadu_epi8(mask, p)
#undef _mm512_mask_storeu_epi8
#define _mm512_mask_storeu_epi8(p, mask, v) igq::emulated::mask_storeu_epi8(p, mask, v)
#define _mm512_cvtps_epi32(v) igq::emulated::cvtps_epi32(v)
#define _mm512_cvtepi32_epi8(v) igq::emulated::cvtepi32_epi8(v)
#define _mm512_shuffle_f32x4(x, y, which) igq::emulated::shuffle_f32x4(x, y, which)
#define _mm512_extractf32x8_ps(v, part) igq::emulated::extractf32x8_ps(v, part)
#define _mm256_dpbusd_avx_epi32(s, a, w) simde_mm256_dpbusd_epi32(s, a, w)
#undef _mm512_madd_epi16  // SIMDe 0.7.4 gives this name the arguments of the masked one
#define _mm512_madd_epi16(a, w) simde_mm512_madd_epi16(a, w)
#define _mm512_cvtepi32_ps(v) igq::emulated::cvtepi32_ps(v)
#define _mm512_cvtepu8_epi16(v) igq::emulated::cvtepu8_epi16(v)
