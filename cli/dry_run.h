// igq quantize --dry-run: what would be made, without calibrating anything.
#pragma once

#include "models/model.h"
#include "pipeline/quantize_model.h"

namespace igq::cli {

/// Prints sites, bits and the size that the file will have, give or take the header's text; `json`: as one document.
/// Error when bits are to be chosen by measurement.
void print_dry_run(const Model& model, const QuantizeJob& job, std::int64_t images, bool json);

}  // namespace igq::cli
