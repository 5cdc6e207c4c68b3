// Detections painted on a picture: masks blended over it and outlined, boxes, and a plate with name and score beside
// each.
#pragma once

#include <span>
#include <string>

#include "detection/box.h"
#include "detection/rle.h"
#include "io/image.h"

namespace igq::draw {

struct Drawn {
  detection::Box box;   ///< in pixels of the picture; what lies outside is cut
  detection::Rle mask;  ///< of the picture's size, or without runs for none
  int category = 0;     ///< position in the labels; also chooses the colour
  float score = 0.0f;
};

/// Paints the detections, the best on top. A category without a label is called "class N". Letters are as large as the
/// picture asks for: 14 pixels at 640 x 480. Error for a box that is not finite and a mask of another size.
void draw_detections(Image& image, std::span<const Drawn> detections, std::span<const std::string> labels);

}  // namespace igq::draw
