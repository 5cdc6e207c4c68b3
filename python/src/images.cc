#include "images.h"

#include <nanobind/stl/string.h>

#include <string>

namespace igq::python {
namespace {

ImageSource view_of(const nb::ndarray<nb::ro>& array) {
  if (array.device_type() != nb::device::cpu::value) throw nb::type_error("an array must be in the CPU's memory");
  if (array.dtype() == nb::dtype<std::uint8_t>() && array.ndim() == 3 && array.shape(2) == 3) {
    if (array.size() != 0 && (array.stride(2) != 1 || array.stride(1) != 3))
      throw nb::type_error("an array of pixels must be contiguous");
    // strides of an array without elements mean nothing; its size is refused further down
    return ImageSource::from_pixels(static_cast<const std::uint8_t*>(array.data()), static_cast<int>(array.shape(0)),
                                    static_cast<int>(array.shape(1)), array.size() != 0 ? array.stride(0) : 0);
  }
  if (array.dtype() == nb::dtype<float>() && array.ndim() == 3 && array.shape(0) == 3) {
    const auto width = static_cast<std::int64_t>(array.shape(2)), rows = static_cast<std::int64_t>(array.shape(1));
    if (array.stride(2) != 1 || array.stride(1) != width || array.stride(0) != width * rows)
      throw nb::type_error("a normalised array must be contiguous");
    return ImageSource::from_values({static_cast<const float*>(array.data()), array.size()});
  }
  throw nb::type_error("an array must be uint8 [height, width, 3] or float32 [3, height, width]");
}

}  // namespace

Images::Images(const nb::list& items) {
  views_.reserve(nb::len(items));
  for (const nb::handle item : items) {
    if (nb::isinstance<nb::str>(item)) {
      views_.push_back(ImageSource::file(nb::cast<std::string>(item)));
    } else if (nb::isinstance<nb::bytes>(item)) {
      const auto bytes = nb::borrow<nb::bytes>(item);
      views_.push_back(ImageSource::from_bytes({static_cast<const std::byte*>(bytes.data()), bytes.size()}));
      owners_.push_back(bytes);
    } else {
      nb::ndarray<nb::ro> array;
      if (!nb::try_cast(item, array)) throw nb::type_error("an image must be a path, bytes or an array");
      views_.push_back(view_of(array));
      arrays_.push_back(std::move(array));
    }
  }
}

}  // namespace igq::python
