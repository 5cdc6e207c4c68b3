// Finished rows of a long run, kept in order while it goes on, so that a run that is killed at any moment goes on where
// it was: the same rows, none twice. A file of records: [row bytes][length of the fault][fault][checksum]; what was cut
// off at the end or is damaged is dropped when the file is opened again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace igq {

class RowLog {
 public:
  /// `key`: one line that says what the rows are of (model, settings, list of images); rows have `row_bytes` each.
  /// Error (path, reason): a file of another key lies there; it cannot be read or written; another run writes it.
  RowLog(std::filesystem::path path, const std::string& key, std::size_t row_bytes);
  ~RowLog();
  RowLog(const RowLog&) = delete;
  RowLog& operator=(const RowLog&) = delete;

  std::int64_t rows() const { return rows_; }
  /// Rows with a fault, and the first of these faults.
  std::int64_t faults() const { return faults_; }
  const std::string& first_fault() const { return first_fault_; }
  /// Adds a row, zeros of any meaning where `fault` is not empty. It is kept from flush() on.
  void append(std::span<const std::byte> row, std::string_view fault);
  void flush();
  /// All rows in order, after a flush; memory does not grow with their number.
  void for_each(const std::function<void(std::span<const std::byte> row, const std::string& fault)>& body) const;
  /// Removes the file.
  void remove();

 private:
  void count(std::string_view fault);
  /// Calls body for whole records; the offset behind the last of them.
  std::uint64_t scan(const std::function<void(std::span<const std::byte>, const std::string&)>& body) const;

  std::filesystem::path path_;
  std::string head_, pending_;
  std::size_t row_bytes_;
  std::int64_t rows_ = 0, faults_ = 0;
  std::string first_fault_;
  int fd_ = -1;
};

}  // namespace igq
