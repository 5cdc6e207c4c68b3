// After the first images a forward pass allocates nothing: every operator new of the process (AlignedBuffer and the
// standard containers use no other source) is counted, in a test program of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "models/runner.h"
#include "tests/models/tiny_igq.h"

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) noexcept {
  ++allocations;
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* counted_or_throw(std::size_t bytes, std::size_t alignment) {
  void* p = counted(bytes == 0 ? 1 : bytes, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// The forms that the others call by default.
void* operator new(std::size_t bytes) { return counted_or_throw(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace igq::test {
namespace {

TEST(NoAllocation, AfterTheFirstImages) {
  for (const Execution execution : {Execution::kFloat, Execution::kSimulate, Execution::kInteger})
    for (const int threads : {1, 2}) {
      QuantizedModel quantized = tiny_igq();
      const auto model = build_model(quantized.config, *quantized.tensors,
                                     std::make_shared<QuantizationPlan>(std::move(quantized.plan)));
      Runner runner(*model, execution, best_isa(), threads);
      std::vector<AlignedBuffer<float>> images(3,
                                               AlignedBuffer<float>(static_cast<std::size_t>(model->image_floats())));
      Random random(3);
      for (auto& image : images)
        for (float& x : image) x = static_cast<float>(random.normal());
      for (const auto& image : images) runner.run(image.data());
      const std::size_t scratch = runner.scratch_bytes();
      const long before = allocations;
      ASSERT_GT(before, 0) << "nothing is counted";
      for (int i = 0; i < 6; ++i) runner.run(images[static_cast<std::size_t>(i) % 3].data());
      EXPECT_EQ(allocations, before) << execution_name(execution) << ", " << threads << " threads";
      EXPECT_EQ(runner.scratch_bytes(), scratch);
    }
}

}  // namespace
}  // namespace igq::test
