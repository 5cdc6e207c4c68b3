// The igq program; everything is in program.cc, which the Python package runs as well.
#include <unistd.h>

#include <exception>
#include <new>
#include <string_view>

#include "base/output_file.h"
#include "program.h"

namespace {

/// What no caller can catch (an allocation that fails before main, or in a destructor) ends in one line as well.
[[noreturn]] void end_in_one_line() {
  igq::remove_temporaries();
  std::string_view line = "igq: error: an exception that nobody caught\n";
  try {
    if (const auto fault = std::current_exception()) std::rethrow_exception(fault);
  } catch (const std::bad_alloc&) {
    line = "igq: error: out of memory\n";
  } catch (...) {
  }
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(1);
}

/// Set before the constructors of CLI11's validators run, which allocate, where the linker knows priorities (ELF). 101
/// is the first that is not reserved.
struct TerminateHandler {
  TerminateHandler() noexcept { std::set_terminate(end_in_one_line); }
};
#if defined(__ELF__)
[[gnu::init_priority(101)]]
#endif
TerminateHandler handler;

}  // namespace

int main(int argc, char** argv) { return igq::cli::run_program(argc, argv); }
