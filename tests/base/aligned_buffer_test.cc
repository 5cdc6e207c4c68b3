#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "igq/error.h"

namespace igq {
namespace {

TEST(AlignedBuffer, AlignedAndWritableToItsEndAtEverySize) {
  constexpr std::size_t kMega = std::size_t{1} << 20;
  // Around the sizes at which huge pages begin to be used.
  for (const std::size_t size : {std::size_t{1}, std::size_t{64}, std::size_t{65}, 3 * kMega / 2 - 1, 3 * kMega / 2,
                                 2 * kMega, 2 * kMega + 1, 7 * kMega / 2 - 64, 7 * kMega / 2, 9 * kMega + 12345}) {
    AlignedBuffer<std::uint8_t> buffer(size);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
    for (std::size_t i = 0; i < size; ++i) buffer[i] = static_cast<std::uint8_t>(i * 7);
    const AlignedBuffer<std::uint8_t> copy = buffer;
    buffer.resize(size / 2);
    buffer = AlignedBuffer<std::uint8_t>(3);
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(copy[i], static_cast<std::uint8_t>(i * 7));
  }
}

TEST(AlignedBuffer, AbsurdSizesAreErrors) {
  EXPECT_THROW(AlignedBuffer<float>(~std::size_t{0}), Error);
  EXPECT_THROW(AlignedBuffer<float>(~std::size_t{0} / 16), Error);
  EXPECT_THROW(AlignedBuffer<std::uint8_t>(std::size_t{1} << 60), Error);
}

}  // namespace
}  // namespace igq
