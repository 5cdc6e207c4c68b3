// The six tables, filled once.
#include "kernels/kernels.h"

#include <array>
#include <cassert>

#include "kernels/kernels_internal.h"

namespace igq::kernels {
namespace {

std::array<Kernels, 6> make_tables() {
  std::array<Kernels, 6> tables{};
  for (std::size_t i = 0; i < tables.size(); ++i) tables[i].isa = static_cast<Isa>(i);
  fill_float_kernels_reference(tables[0]);
  fill_byte_kernels_reference(tables[0]);
  fill_float_kernels_avx2(tables[1]);
  fill_byte_kernels_avx2(tables[1]);
  fill_float_kernels_avx2(tables[2]);
  fill_byte_kernels_avx_vnni(tables[2]);
  fill_float_kernels_avx512(tables[3]);
  fill_byte_kernels_avx512(tables[3]);
  fill_float_kernels_avx512(tables[4]);
  fill_byte_kernels_avx512_vnni(tables[4]);
  fill_float_kernels_avx512(tables[5]);
  fill_byte_kernels_amx(tables[5]);
  return tables;
}

}  // namespace

const Kernels& kernels_for(Isa isa) {
  static const std::array<Kernels, 6> tables = make_tables();
  const auto index = static_cast<std::size_t>(isa);
  assert(index < tables.size());
  return tables[index];
}

}  // namespace igq::kernels
