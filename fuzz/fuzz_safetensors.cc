// safetensors: any bytes either open, with every listed tensor readable in its full size, or are an Error.
#include "fuzz/fuzz.h"
#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  static fuzz::MemoryFile file;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    const auto tensors = open_safetensors(file.with(bytes));
    for (const auto& [name, shape] : tensors->shapes()) {
      std::uint64_t count = 1;
      for (const std::int64_t d : shape) count *= static_cast<std::uint64_t>(d);
      if (count > size) std::abort();  // every value takes at least a byte of the file
      if (tensors->read(name).size() != count) std::abort();
    }
  });
  return 0;
}
