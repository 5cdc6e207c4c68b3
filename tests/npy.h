// A reader of numpy's .npy files for oracle fixtures: C order, little-endian, versions 1 and 2.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace igq::test {

/// An array as stored; `bytes` holds the values row by row.
struct Npy {
  std::string type;  ///< numpy's descr: "<f4", "<f8", "<i4", "<i8", "|u1", "|i1", "|b1"
  std::vector<std::int64_t> shape;
  std::vector<char> bytes;

  std::int64_t count() const {
    std::int64_t n = 1;
    for (const std::int64_t d : shape) n *= d;
    return n;
  }
  /// The values as T, converted from whatever type they were stored as.
  template <typename T>
  std::vector<T> as() const {
    if (type == "<f4") return convert<float, T>();
    if (type == "<f8") return convert<double, T>();
    if (type == "<i2") return convert<std::int16_t, T>();
    if (type == "<i4") return convert<std::int32_t, T>();
    if (type == "<i8") return convert<std::int64_t, T>();
    if (type == "|i1") return convert<std::int8_t, T>();
    if (type == "|u1" || type == "|b1") return convert<std::uint8_t, T>();
    throw std::runtime_error("npy: type " + type + " is not supported");
  }

 private:
  template <typename From, typename To>
  std::vector<To> convert() const {
    if (bytes.size() != static_cast<std::size_t>(count()) * sizeof(From)) throw std::runtime_error("npy: wrong size");
    std::vector<To> values(static_cast<std::size_t>(count()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      From value;
      std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));
      values[i] = static_cast<To>(value);
    }
    return values;
  }
};

/// The array of a .npy file held in memory. Throws std::runtime_error, which names `name`, when it is of another kind.
inline Npy parse_npy(const std::vector<char>& file, const std::string& name) {
  const auto need = [&](bool good) {
    if (!good) throw std::runtime_error("npy: cannot read " + name);
  };
  need(file.size() > 12 && std::memcmp(file.data(), "\x93NUMPY", 6) == 0);
  const bool first = file[6] == 1;
  std::uint32_t length = 0;
  std::memcpy(&length, file.data() + 8, first ? 2 : 4);
  const std::size_t start = first ? 10 : 12;
  need(start + length <= file.size());
  const std::string header(file.data() + start, length);  // {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
  need(header.find("'fortran_order': False") != std::string::npos);
  const auto descr = header.find("'descr': '"), shape = header.find("'shape': (");
  need(descr != std::string::npos && shape != std::string::npos);
  Npy array;
  array.type = header.substr(descr + 10, header.find('\'', descr + 10) - descr - 10);
  for (const char* p = header.c_str() + shape + 10; *p != ')';) {
    char* end = nullptr;
    array.shape.push_back(std::strtoll(p, &end, 10));
    if (end == p) {  // "()" or the blank after a trailing comma
      array.shape.pop_back();
      break;
    }
    p = end;
    while (*p == ',' || *p == ' ') ++p;
  }
  array.bytes.assign(file.begin() + static_cast<std::ptrdiff_t>(start + length), file.end());
  return array;
}

/// Throws std::runtime_error when the file is missing or of another kind.
inline Npy read_npy(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return parse_npy({std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()}, path.string());
}

}  // namespace igq::test
