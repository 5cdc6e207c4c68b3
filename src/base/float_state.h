// The processor's floating-point state, which a host process may have changed: rounding, flush-to-zero, denormals as
// zero, exceptions that trap. Results must not depend on it.
#pragma once

#include <cstdint>

namespace igq {

/// Round to nearest, denormals kept, no traps while it lives; then what was there before.
class FloatState {
 public:
  FloatState() {
#if defined(__x86_64__)
    mxcsr_ = __builtin_ia32_stmxcsr();
    __asm__ volatile("fnstcw %0" : "=m"(x87_));
    if (mxcsr_ != kMxcsr) __builtin_ia32_ldmxcsr(kMxcsr);
    const std::uint16_t plain = kX87;
    if (x87_ != kX87) __asm__ volatile("fldcw %0" : : "m"(plain));
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr_));
    if (fpcr_ != 0) __asm__ volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}));
#endif
  }
  ~FloatState() {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(mxcsr_);
    if (x87_ != kX87) __asm__ volatile("fldcw %0" : : "m"(x87_));
#elif defined(__aarch64__)
    if (fpcr_ != 0) __asm__ volatile("msr fpcr, %0" : : "r"(fpcr_));
#endif
  }
  FloatState(const FloatState&) = delete;
  FloatState& operator=(const FloatState&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr std::uint32_t kMxcsr = 0x1F80;  // as a process starts
  static constexpr std::uint16_t kX87 = 0x037F;
  std::uint32_t mxcsr_ = kMxcsr;
  std::uint16_t x87_ = kX87;
#elif defined(__aarch64__)
  std::uint64_t fpcr_ = 0;
#endif
};

}  // namespace igq
