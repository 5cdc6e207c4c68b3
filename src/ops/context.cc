#include "ops/context.h"

#include <time.h>

#include <utility>

#include "base/fail.h"

namespace igq {

std::string_view execution_name(Execution execution) {
  switch (execution) {
    case Execution::kFloat:
      return "float";
    case Execution::kSimulate:
      return "simulate";
    case Execution::kInteger:
      return "integer";
  }
  return "";
}

Execution parse_execution(std::string_view name) {
  for (Execution e : {Execution::kFloat, Execution::kSimulate, Execution::kInteger})
    if (execution_name(e) == name) return e;
  fail("unknown execution '{}': use one of float, simulate, integer", name);
}

std::string_view work_name(Work work) {
  switch (work) {
    case Work::kFloatGemm:
      return "float gemm";
    case Work::kByteGemm:
      return "byte gemm";
    case Work::kPackPanel:
      return "panel gathering";
    case Work::kQuantize:
      return "quantize";
    case Work::kPermute:
      return "permute codes";
    case Work::kAttention:
      return "attention products";
    case Work::kLayerNorm:
      return "layer norm";
    case Work::kActivation:
      return "activation (gelu)";
    case Work::kSoftmax:
      return "softmax";
    case Work::kWaiting:
      return "waiting for threads";
    case Work::kOther:
    case Work::kCount:
      break;
  }
  return "other";
}

Work Profile::enter(Work work) {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  const double now = static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  if (current_ != Work::kCount) seconds[static_cast<std::size_t>(current_)] += now - since_;
  since_ = now;
  return std::exchange(current_, work);
}

}  // namespace igq
