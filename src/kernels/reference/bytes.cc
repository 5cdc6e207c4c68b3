// The byte family of kernels as table.h defines them, written to be read. Every faster version is compared with this
// one bit by bit, so it stays free of any cleverness. Panel layout here: [slots][kBytePanel] signed codes.
#include "kernels/generic/byte_zero_rows.h"
#include "kernels/generic/codes.h"
#include "kernels/reference/fill.h"

namespace igq::kernels {
namespace {

// Sums stay below 2^31 for every documented input (see zero_point_limits), yet the partial sums
// of codes and corrections are added as unsigned so that a wider input wraps the same way on every instruction set.
std::int32_t add_product(std::int32_t sum, std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum) +
                                   static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
}

std::size_t panel_bytes(int slots, int, CodeRange) noexcept { return static_cast<std::size_t>(slots) * kBytePanel; }

void correct(const std::int8_t* panel, const std::int16_t* zero, const std::int32_t* group_end, int groups,
             std::int32_t* corrections) {
  int k = 0;
  for (int g = 0; g < groups; ++g, corrections += kBytePanel) {
    for (int c = 0; c < kBytePanel; ++c) corrections[c] = 0;
    for (; k < group_end[g]; ++k) {
      if (zero == nullptr) continue;
      for (int c = 0; c < kBytePanel; ++c)
        corrections[c] = add_product(corrections[c], -zero[k], panel[static_cast<std::int64_t>(k) * kBytePanel + c]);
    }
  }
}

void pack_bytes(const PanelSource& from, const SlotGroups& slots, void* panel, std::int32_t* corrections) noexcept {
  auto* out = static_cast<std::int8_t*>(panel);
  for (std::int64_t k = 0; k < slots.slots; ++k)
    for (int c = 0; c < kBytePanel; ++c)
      out[k * kBytePanel + c] =
          slots.order[k] >= 0 && c < from.cols ? from.w[slots.order[k] * from.ldw + c] : std::int8_t{0};
  correct(out, slots.zero, slots.group_end, slots.groups, corrections);
}

void pack_bytes_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero, void* panel,
                           std::int32_t* corrections) noexcept {
  auto* out = static_cast<std::int8_t*>(panel);
  for (std::int64_t k = 0; k < slots; ++k)
    for (int c = 0; c < kBytePanel; ++c)
      out[k * kBytePanel + c] = k < slots_valid && c < from.cols ? from.w[c * from.ldw + k] : std::int8_t{0};
  const std::int32_t end = slots;
  correct(out, zero, &end, 1, corrections);
}

void byte_gemm(const ByteGemm& g) noexcept {
  if (g.zero_rows) return multiply_after_zero_rows(g, byte_gemm);
  const auto* panel = static_cast<const std::int8_t*>(g.panel);
  const auto* extra_panel = static_cast<const std::int8_t*>(g.extra_panel);
  for (std::int64_t t = 0; t < g.rows; ++t) {
    const std::uint8_t* a = g.a + t * g.lda;
    float v[kBytePanel] = {};
    std::int32_t total[kBytePanel] = {};
    int k = 0;
    for (int group = 0; group < g.groups; ++group) {
      std::int32_t s[kBytePanel];
      for (int n = 0; n < kBytePanel; ++n) s[n] = g.corrections[group * kBytePanel + n];
      for (; k < g.group_end[group]; ++k)
        for (int n = 0; n < kBytePanel; ++n)
          s[n] = add_product(s[n], a[k], panel[static_cast<std::int64_t>(k) * kBytePanel + n]);
      for (int e = 0; e < g.extra_slots; ++e)
        for (int n = 0; n < kBytePanel; ++n)
          s[n] = add_product(s[n], g.extra[t * g.extra_lda + e],
                             extra_panel[static_cast<std::int64_t>(e) * kBytePanel + n]);
      for (int n = 0; n < kBytePanel; ++n) {
        if (g.multiples != nullptr)
          total[n] = add_product(total[n], g.multiples[group], s[n]);
        else
          v[n] = __builtin_fmaf(static_cast<float>(s[n]), g.group_scale[group], v[n]);
        if (g.sums != nullptr) g.sums[(static_cast<std::int64_t>(group) * g.rows + t) * kBytePanel + n] = s[n];
      }
    }
    for (int n = 0; n < g.cols && g.y != nullptr; ++n) {
      if (g.multiples != nullptr) v[n] = static_cast<float>(total[n]) * g.group_scale[0];
      if (g.row_sum != nullptr) v[n] = __builtin_fmaf(-g.col_zero[n], g.row_sum[t], v[n]);
      if (g.row_scale != nullptr) v[n] = v[n] * g.row_scale[t];
      const float out = __builtin_fmaf(v[n], g.col_scale[n], g.bias != nullptr ? g.bias[n] : 0.0F);
      float& y = g.y[t * g.ldy + n];
      y = g.add ? __builtin_fmaf(g.gamma != nullptr ? g.gamma[n] : 1.0F, out, y) : out;
    }
  }
}

void repeat_slots(const void* panel, int, const std::int32_t* order, int count, CodeRange, void* out) noexcept {
  const auto* from = static_cast<const std::int8_t*>(panel);
  auto* to = static_cast<std::int8_t*>(out);
  for (std::int64_t i = 0; i < count; ++i)
    for (int c = 0; c < kBytePanel; ++c)
      to[i * kBytePanel + c] = order[i] < 0 ? std::int8_t{0} : from[order[i] * kBytePanel + c];
}

void permute_codes(const std::uint8_t* codes, std::int64_t ldc, int rows, const SlotGroups& slots, std::uint8_t* out,
                   std::int64_t ldo, float* row_sum) noexcept {
  permute_one_by_one(codes, ldc, rows, slots, out, ldo, row_sum);
}

void repeat_codes(const std::uint8_t* codes, std::int64_t ldc, int rows, const std::int32_t* order, int count,
                  std::uint8_t* out, std::int64_t ldo) noexcept {
  permute_codes(codes, ldc, rows, {order, count, nullptr, nullptr, 0}, out, ldo, nullptr);
}

void code_sums(const std::uint8_t* codes, std::int64_t ldc, int rows, int cols, int zero, float* sums) noexcept {
  for (std::int64_t t = 0; t < rows; ++t) {
    std::int32_t sum = -cols * zero;
    for (int c = 0; c < cols; ++c) sum += codes[t * ldc + c];
    sums[t] = static_cast<float>(sum);
  }
}

void offset_codes(std::uint8_t* codes, std::int64_t count, int offset) noexcept {
  for (std::int64_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] - offset);
}

void unpack_codes(const std::uint8_t* packed, std::int64_t count, int bits, std::int8_t* codes) noexcept {
  unpack_one_by_one(packed, 0, count, bits, codes);
}

}  // namespace

void fill_byte_kernels_reference(Kernels& table) {
  table.row_block = 56;
  table.group_align = kGroupAlign;
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  table.repeat_slots = repeat_slots;
  table.repeat_codes = repeat_codes;
  table.permute_codes = permute_codes;
  table.code_sums = code_sums;
  table.offset_codes = offset_codes;
  table.unpack_codes = unpack_codes;
}

}  // namespace igq::kernels
