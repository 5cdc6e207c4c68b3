// Python objects as images of the library.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

#include "igq/image.h"

namespace igq::python {

namespace nb = nanobind;

/// Views of Python objects, kept alive (with the GIL held) as long as this lives: str is a path, bytes an image file,
/// an uint8 array [h, w, 3] pixels, a float32 array [3, h, w] normalised values. TypeError for anything else.
class Images {
 public:
  explicit Images(const nb::list& items);

  const std::vector<ImageSource>& views() const { return views_; }

 private:
  std::vector<nb::object> owners_;
  std::vector<nb::ndarray<nb::ro>> arrays_;
  std::vector<ImageSource> views_;
};

}  // namespace igq::python
