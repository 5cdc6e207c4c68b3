// The JSON library (nlohmann::json) with a destructor that cannot fail. The library's own moves the children of a value
// to a vector first, lest deep nesting exhausts the stack; where memory has run out that vector cannot be had, and what
// a destructor throws ends the process. Everything read here is at most 64 levels deep (io/json_fields.h), so plain
// recursion is safe. Include this header, never <nlohmann/json.hpp>: one program must not have both destructors.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

namespace nlohmann {

template <>
inline void basic_json<>::json_value::destroy(detail::value_t type) {
  const auto release = []<typename T>(T* value) {
    std::destroy_at(value);
    std::allocator<T>().deallocate(value, 1);
  };
  switch (type) {
    case detail::value_t::object:
      return release(object);
    case detail::value_t::array:
      return release(array);
    case detail::value_t::string:
      return release(string);
    case detail::value_t::binary:
      return release(binary);
    default:
      return;
  }
}

}  // namespace nlohmann
