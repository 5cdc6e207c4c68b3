// Small pictures of what a model saw.
#pragma once

#include <string>

#include "io/image_folder.h"
#include "models/config.h"

namespace igq::report {

/// A PNG file of the image as the model's preprocessing cuts it. Error when the image cannot be read.
std::string thumbnail(const Sample& sample, const ModelConfig& config);

}  // namespace igq::report
