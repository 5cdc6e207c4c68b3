// The state of a table: any file is read, its rows found, and one more kept and read back; or it is an Error.
#include "fuzz/fuzz.h"
#include "pipeline/table.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  static fuzz::MemoryFile file;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    const TableState state(file.with(bytes), table_kind());
    const nlohmann::json* row = state.find("k");
    if (row == nullptr) return;
    const TableRow read = row_from_json(*row);
    const nlohmann::json written = row_to_json(read);
    if (row_to_json(row_from_json(written)) != written) std::abort();
  });
  return 0;
}
