// The byte and the fp32 product: every instruction set this machine runs gives the reference's bits, and the
// reference's integers are those of the definition in 64 bits, for any shape, grouping, code width and optional
// operands.
#include "base/random.h"
#include "fuzz/fuzz.h"
#include "tests/kernels/byte_case.h"

namespace {

using namespace igq;
using namespace igq::kernels;

void check_bytes(fuzz::Bytes& in) {
  test::Shape shape;
  shape.rows = in.below(10);
  shape.cols = 1 + in.below(kBytePanel);
  shape.a_bits = 2 + in.below(7);
  shape.w_bits = 2 + in.below(7);
  shape.fill = static_cast<test::Fill>(in.below(4));
  const std::uint8_t options = in.byte();
  shape.zero = (options & 1) != 0;
  shape.row_scale = (options & 2) != 0;
  shape.row_sum = (options & 4) != 0;
  shape.bias = (options & 8) != 0;
  shape.zero_low = -768 + in.below(1792);
  shape.zero_high = shape.zero_low + in.below(1024 - shape.zero_low);
  shape.add = (options & 16) != 0;
  shape.gamma = (options & 32) != 0;
  const bool extra = (options & 64) != 0;
  shape.zero_rows = shape.zero && (options & 128) != 0;
  const bool one_group = extra || shape.zero_rows;
  const int groups = one_group ? 1 : 1 + in.below(4);
  shape.multiples = !one_group && (in.byte() & 1) != 0;
  for (int g = 0; g < groups; ++g) shape.group_channels.push_back(in.byte() % 14);
  if (extra) {
    shape.group_channels[0] = 1 + shape.group_channels[0] * (1 + in.below(12));
    shape.extra = 1 + in.below(150);
  }
  const test::Case problem(shape, in.byte());
  const test::Result reference = test::run(kernels_for(Isa::kReference), problem);
  const auto sums = test::oracle_sums(problem);
  if (reference.sums.size() != sums.size()) std::abort();
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (reference.sums[i] != sums[i]) std::abort();
  for (const Isa isa : supported_isas())
    if (!(test::run(kernels_for(isa), problem) == reference)) std::abort();
}

void check_floats(fuzz::Bytes& in) {
  const int rows = in.below(10), k = in.below(24), n = 1 + in.below(40);
  const bool transposed = (in.byte() & 1) != 0, biased = (in.byte() & 1) != 0, accumulate = (in.byte() & 1) != 0;
  Random random(in.byte());
  const auto values = [&](std::size_t count) {
    std::vector<float> v(count);
    for (float& f : v) f = static_cast<float>(random.normal());
    return v;
  };
  const auto at = [](int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); };
  const auto x = values(at(rows, k)), w = values(at(k, n)), bias = values(static_cast<std::size_t>(n)),
             start = values(at(rows, n));
  const int panels = (n + kFloatPanel - 1) / kFloatPanel;
  std::vector<float> expected;
  for (const Isa isa : supported_isas()) {
    const Kernels& kernels = kernels_for(isa);
    std::vector<float> packed(at(panels * kFloatPanel, k)), y = start;
    kernels.pack_f32(w.data(), transposed ? k : n, transposed, k, n, packed.data());
    kernels.gemm_f32({.x = x.data(),
                      .ldx = k,
                      .rows = rows,
                      .k = k,
                      .packed = packed.data(),
                      .panel_begin = 0,
                      .panel_end = panels,
                      .n = n,
                      .bias = biased ? bias.data() : nullptr,
                      .accumulate = accumulate,
                      .y = y.data(),
                      .ldy = n});
    if (expected.empty())
      expected = y;
    else if (!y.empty() && std::memcmp(expected.data(), y.data(), y.size() * sizeof(float)) != 0)
      std::abort();
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes in(data, size);
  if (in.byte() % 4 == 0)
    check_floats(in);
  else
    check_bytes(in);
  return 0;
}
