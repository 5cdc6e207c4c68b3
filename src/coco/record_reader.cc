#include "coco/record_reader.h"

#include <algorithm>
#include <istream>
#include <limits>
#include <streambuf>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/file.h"
#include "io/json_fields.h"

namespace igq::coco {
namespace {

using nlohmann::json;

constexpr std::size_t kChunk = 1 << 18;
constexpr std::size_t kMaxDepth = 64;
constexpr std::int64_t kMaxValues = 20'000'000;

/// A file as a stream, read in chunks.
class FileBuffer : public std::streambuf {
 public:
  FileBuffer(const InputFile& file, const ReadProgress& progress) : file_(file), progress_(progress) {}

  std::uint64_t position() const { return offset_ - static_cast<std::uint64_t>(egptr() - gptr()); }

 protected:
  int_type underflow() override {
    const std::uint64_t left = file_.size() - offset_;
    if (left == 0) return traits_type::eof();
    chunk_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(left, kChunk)));
    file_.read(offset_, std::as_writable_bytes(std::span(chunk_)));
    offset_ += chunk_.size();
    setg(chunk_.data(), chunk_.data(), chunk_.data() + chunk_.size());
    if (progress_) progress_(offset_, file_.size());
    return traits_type::to_int_type(*gptr());
  }

 private:
  const InputFile& file_;
  const ReadProgress& progress_;
  std::vector<char> chunk_;
  std::uint64_t offset_ = 0;
};

/// Takes nlohmann's events apart: values of records are built, everything else is passed over.
class RecordSax : public json::json_sax_t {
 public:
  explicit RecordSax(const RecordHandlers& handlers) : handlers_(handlers) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return value(v); }
  bool number_unsigned(number_unsigned_t v) override { return value(v); }
  bool number_float(number_float_t v, const string_t&) override { return value(v); }
  bool string(string_t& v) override { return value(std::move(v)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    if (depth_ == 0) top_is_object_ = true;
    return open(json::object());
  }
  bool start_array(std::size_t) override {
    // The top-level list, or a list that is a value of the top-level object.
    if (depth_ == 0) return enter("");
    if (depth_ == 1 && top_is_object_) {
      in_list_ = handlers_.wanted(key_);
      if (in_list_) return enter(key_);
    }
    return open(json::array());
  }
  bool key(string_t& name) override {
    if (depth_ == 1 && top_is_object_)
      key_ = name;
    else if (!open_.empty())
      field_ = name;
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& fault) override {
    std::string text = fault.what();  // "[json.exception.parse_error.101] parse error at line 1, column 5: ..."
    const std::size_t begin = text.find("parse error");
    if (begin != std::string::npos) text = text.substr(begin);
    std::replace(text.begin(), text.end(), '\n', ' ');
    fail("is not valid JSON: {} (byte {})", text.substr(0, 300), position);
  }

  bool seen_any() const { return seen_any_; }
  /// Where the reader is, for errors.
  std::string place() const {
    if (!in_record_) return {};
    return list_.empty() ? fmt::format("entry {}: ", position_) : fmt::format("{}[{}]: ", list_, position_);
  }

 private:
  bool enter(const std::string& list) {
    ++depth_;
    in_list_ = true;
    seen_any_ = true;
    list_depth_ = depth_;
    list_ = list;
    position_ = 0;
    if (handlers_.begin) handlers_.begin(list);
    return true;
  }

  /// A list or an object begins.
  bool open(json container) {
    if (++depth_ > kMaxDepth) fail("is nested deeper than {} levels", kMaxDepth);
    if (depth_ == 2 && top_is_object_ && !in_list_ && handlers_.wanted(key_)) fail("'{}' is not a list", key_);
    if (!in_list_) return true;
    if (open_.empty()) {
      begin_record();
      record_ = std::move(container);
      open_.push_back(&record_);
    } else {
      open_.push_back(add(std::move(container)));
    }
    return true;
  }
  bool close() {
    if (in_list_ && depth_ == list_depth_) {
      in_list_ = false;
      list_depth_ = 0;
    } else if (!open_.empty()) {
      open_.pop_back();
      if (open_.empty()) end_record();
    }
    --depth_;
    return true;
  }
  template <typename T>
  bool value(T v) {
    if (depth_ == 0) fail("holds a single value, not a list of records");
    if (!in_list_) {
      if (depth_ == 1 && top_is_object_ && handlers_.wanted(key_)) fail("'{}' is not a list", key_);
      return true;
    }
    if (open_.empty()) {
      begin_record();
      record_ = json(std::move(v));
      end_record();
    } else {
      add(json(std::move(v)));
    }
    return true;
  }
  json* add(json v) {
    if (++values_ > kMaxValues) fail("{}has more than {} values", place(), kMaxValues);
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    json& slot = parent[field_];
    slot = std::move(v);
    return &slot;
  }
  void begin_record() {
    in_record_ = true;
    values_ = 0;
  }
  void end_record() {
    handlers_.record(list_, position_, record_);
    in_record_ = false;
    record_ = nullptr;
    ++position_;
  }

  const RecordHandlers& handlers_;
  std::size_t depth_ = 0, list_depth_ = 0;
  bool top_is_object_ = false, in_list_ = false, in_record_ = false, seen_any_ = false;
  std::string key_, field_, list_;
  std::int64_t position_ = 0, values_ = 0;
  json record_;
  std::vector<json*> open_;  // the containers of the record that are not closed yet
};

}  // namespace

void read_records(const std::filesystem::path& path, const RecordHandlers& handlers, const ReadProgress& progress) {
  const InputFile file(path);
  FileBuffer buffer(file, progress);
  std::istream stream(&buffer);
  stream.exceptions(std::ios::badbit);  // a fault of underflow comes through instead of looking like the file's end
  RecordSax sax(handlers);
  try {
    json::sax_parse(stream, &sax);
  } catch (const Error& fault) {
    fail("{}: {}{}", path.string(), sax.place(), fault.what());
  }
}

std::int64_t record_id(const json& record, const char* key) {
  return json_int(json_at(record, key), key, std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::int64_t>::max());
}

}  // namespace igq::coco
