// Inputs of fully connected layers as codes: what linear_codes.cc makes and linear_integer.cc multiplies.
#pragma once

#include "ops/linear.h"

namespace igq {

/// Where a panel's outputs go, or what they are added to (see ByteGemm).
struct Linear::Outputs {
  float* y;
  std::int64_t ldy;
  bool add = false;
  const float* gamma = nullptr;
};

/// A quantized input: its channels' quantizers and its codes, laid out in one of two ways.
///
/// In group order: codes [rows][slots], each group's channels together, because the sums of a group are scaled by
/// themselves. In natural order, where scales are multiples of a unit (fits_slots): codes times multiples are bytes,
/// all in the same unit. A channel whose multiple is too large for that is counted several times: its codes appear
/// again among the extra slots, which every image has for other channels, and so do its weights (multiply).
struct Linear::CodedInput {
  ChannelQuantizers q;
  kernels::CodeForm form = kernels::CodeForm::kCodes;  // other forms: natural order
  kernels::CodeRange range{};                          // of what the product reads
  int parts = 1;                                       // of the outputs (see Linear::multiply)
  int segment_rows = 0;             // rows that one thread multiplies with all weights; all: threads share the weights
  std::uint8_t* natural = nullptr;  // [rows][stride], in natural order kZeroRows before each segment
  std::int64_t stride = 0;
  int rows = 0;
  std::uint8_t* codes = nullptr;  // what the product reads, [rows][lda]
  std::int64_t lda = 0;
  std::uint8_t* extra = nullptr;  // [rows][extra_lda] beside natural order, likewise with rows of zero-points
  std::int64_t extra_lda = 0;
  int extra_slots = 0;
  std::int32_t* extra_order = nullptr;  // [extra_slots], their channels
  bool zero_rows = false;               // whether rows of zero-points lie before each segment (table.h, kZeroRows)
  std::int32_t* sums = nullptr;         // [threads][rows], sums of multiples times codes
  float* row_sum = nullptr;             // [rows], null when no weight zero-point needs it
  bool fits_int32 = true;               // multiples: whether int32 holds every sum of this image

  bool in_natural_order() const { return form != kernels::CodeForm::kCodes; }
  int segments() const { return (rows + segment_rows - 1) / segment_rows; }
  /// At which row of memory row t lies.
  std::int64_t place(int t) const {
    return t + (in_natural_order() ? std::int64_t{kernels::kZeroRows} * (t / segment_rows) : 0);
  }
  std::int64_t offset(int t) const { return place(t) * stride; }
};

/// The sum over channels of m z.
std::int64_t sum_of_zero_points(const ChannelQuantizers& q);

/// corrections [kBytePanel] = what the rows of zero-points before row 0 of `g` add to the sums, from one product with
/// these rows alone; modulo 2^32, for images whose sums fit.
void zero_row_corrections(const kernels::Kernels& kernels, const kernels::ByteGemm& g, std::int32_t* corrections);

/// byte_gemm where int32 does not hold the sums of multiples: they are put together in 64 bits from the sums of each
/// group's codes, or from those of all slots and of the rows of zero-points, for which `sums` has room,
/// [groups][kZeroRows + rows][kBytePanel]. Rounded once, so where both are possible they are the same.
void multiply_wide(const kernels::Kernels& kernels, const kernels::ByteGemm& g, std::int32_t* sums);

}  // namespace igq
