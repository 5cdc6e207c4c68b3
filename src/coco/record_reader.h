// Large JSON files one record at a time: COCO's annotation and result files are lists of small objects, so that only
// one of them needs to be in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/json.h"

namespace igq::coco {

/// Told how much of a file was read: bytes so far, bytes in all.
using ReadProgress = std::function<void(std::uint64_t, std::uint64_t)>;

/// What a file of records consists of.
struct RecordHandlers {
  /// Whether the list under this key of the file's top-level object is wanted; others are passed over unread. The key
  /// is empty for a file that is a list itself.
  std::function<bool(const std::string& list)> wanted;
  /// Called once for every wanted list, before its records.
  std::function<void(const std::string& list)> begin;
  /// A record: an element of a wanted list, and its position in it from 0.
  std::function<void(const std::string& list, std::int64_t position, const nlohmann::json& record)> record;
};

/// Streams the file through the handlers. Error, naming the file, when it cannot be read or is no JSON, when a wanted
/// value is no list, for nesting deeper than 64 and for a record of more than 20 million values. Errors of handlers get
/// the file's name and the record's position in front.
void read_records(const std::filesystem::path& path, const RecordHandlers& handlers, const ReadProgress& progress = {});

/// The integer under `key`, any of 64 bits; Error naming the key when it is missing or none.
std::int64_t record_id(const nlohmann::json& record, const char* key);

}  // namespace igq::coco
