// Annotation and result files of COCO: any bytes are read and scored, or are an Error. The input is the annotation file
// up to the first zero byte, the result file after it.
#include <cmath>

#include "coco/dataset.h"
#include "coco/detections.h"
#include "coco/evaluate.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  static fuzz::MemoryFile annotations, results;
  fuzz::Bytes bytes(data, size);
  const std::string_view first = bytes.text(), second = bytes.rest();
  for (const coco::Needs needs : {coco::Needs{true, false}, coco::Needs{false, true}}) {
    fuzz::expect_error_or_success([&] {
      const coco::Dataset dataset = coco::read_dataset(annotations.with(first), needs);
      const coco::Detections found = coco::read_detections(results.with(second), dataset, needs);
      const auto type = needs.boxes ? coco::IouType::kBox : coco::IouType::kMask;
      const coco::Evaluation result = coco::evaluate(dataset, found.list, type);
      for (const double v : result.stats)
        if (!(v == -1.0 || (v >= 0.0 && v <= 1.0))) std::abort();
    });
  }
  return 0;
}
