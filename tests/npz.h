// A reader of numpy's .npz files (zip archives of .npy files, stored or deflated) for oracle fixtures.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/npy.h"

namespace igq::test {

/// The arrays of a .npz file by name (without ".npy"). Throws std::runtime_error when the file is missing or of another
/// kind, or when at() asks for an array it lacks.
class Npz {
 public:
  explicit Npz(const std::filesystem::path& path) : path_(path) {
    std::ifstream in(path, std::ios::binary);
    file_.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    need(file_.size() >= 22);
    const std::size_t end = file_.rfind("PK\5\6");
    need(end != std::string::npos && end + 22 <= file_.size());
    std::size_t entry = number(end + 16, 4);
    for (std::uint64_t n = number(end + 10, 2); n > 0; --n) {
      const std::size_t name_length = number(entry + 28, 2);
      std::string name = file_.substr(entry + 46, name_length);
      need(name.size() > 4 && name.ends_with(".npy"));
      entries_[name.substr(0, name.size() - 4)] = entry;
      entry += 46 + name_length + number(entry + 30, 2) + number(entry + 32, 2);
    }
  }

  bool has(const std::string& name) const { return entries_.count(name) != 0; }
  Npy at(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw std::runtime_error("npz: no array " + name + " in " + path_.string());
    const std::size_t entry = found->second, packed = number(entry + 20, 4), local = number(entry + 42, 4);
    const std::size_t begin = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    need(begin + packed <= file_.size());
    std::string bytes(number(entry + 24, 4), '\0');
    if (number(entry + 10, 2) == 0) {
      bytes = file_.substr(begin, packed);
    } else {
      z_stream stream{};
      need(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file_.data() + begin));
      stream.avail_in = static_cast<uInt>(packed);
      stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
      stream.avail_out = static_cast<uInt>(bytes.size());
      const int status = inflate(&stream, Z_FINISH);
      inflateEnd(&stream);
      need(status == Z_STREAM_END);
    }
    return parse_npy({bytes.begin(), bytes.end()}, path_.string() + ": " + name);
  }

 private:
  void need(bool good) const {
    if (!good) throw std::runtime_error("npz: cannot read " + path_.string());
  }
  std::uint64_t number(std::size_t at, std::size_t bytes) const {
    need(at + bytes <= file_.size());
    std::uint64_t value = 0;
    std::memcpy(&value, file_.data() + at, bytes);
    return value;
  }

  std::filesystem::path path_;
  std::string file_;
  std::map<std::string, std::size_t> entries_;  // offset of the entry in the archive's directory
};

}  // namespace igq::test
