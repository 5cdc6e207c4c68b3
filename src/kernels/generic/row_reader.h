// Rows of weights on their way into a panel.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// Reads a panel's columns of any row as if the matrix had them: absent rows and columns past `cols` are zero. kStaged
/// rows may be in use at a time.
template <int kStaged>
struct RowReaderOf {
  const std::int8_t* w;
  std::int64_t ldw;
  int cols;

  explicit RowReaderOf(const PanelSource& from) : w(from.w), ldw(from.ldw), cols(from.cols) {}

  alignas(32) std::int8_t partial[kStaged][kBytePanel] = {};

  const std::int8_t* row(std::int32_t channel, int staging) {
    alignas(32) static constexpr std::int8_t kZeros[kBytePanel] = {};
    if (channel < 0) return kZeros;
    const std::int8_t* p = w + channel * ldw;
    if (cols >= kBytePanel) return p;
    for (int c = 0; c < cols; ++c) partial[staging][c] = p[c];
    return partial[staging];
  }
};
using RowReader = RowReaderOf<4>;

}  // namespace
}  // namespace igq::kernels
