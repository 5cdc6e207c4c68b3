// The float kernels under test, and helpers: memory that ends at an unmapped page, comparison of bits.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/table.h"

namespace igq::test {
using namespace kernels;

struct FloatTable {
  std::string name;
  Kernels kernels;
};

/// Every instruction set this machine runs, and AVX-512 emulated where the machine has AVX2. The first is the
/// reference.
const std::vector<FloatTable>& float_tables();
inline const Kernels& reference() { return float_tables().front().kernels; }

/// `count` values followed directly by a page that faults when it is read or written. Starts at an address that is a
/// multiple of sizeof(T) and, mostly, of nothing more. Filled with `fill`.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::size_t count, T fill = T{});
  explicit Guarded(const std::vector<T>& values) : Guarded(values.size()) {
    for (std::size_t i = 0; i < size_; ++i) data_[i] = values[i];
  }
  Guarded(const Guarded& other) : Guarded(other.vector()) {}
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded();
  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  std::vector<T> vector() const { return {data_, data_ + size_}; }

 private:
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

using Floats = Guarded<float>;

/// Normal values with standard deviation `sigma`.
Floats random_floats(std::size_t count, std::uint64_t seed, double sigma = 1);
/// Fails the test when a value differs in any bit; NaN equals NaN.
void expect_same_bits(const Floats& expected, const Floats& actual, const std::string& what);

}  // namespace igq::test
