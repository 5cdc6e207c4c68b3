// Writing files so that nothing partial ever lies under a final name, nothing of others is lost, and nothing private is
// shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"

namespace igq {

/// What is written under a name, and how such a file is told from anything else that may lie there.
struct OutputKind {
  const char* name;                       ///< "an .igq file"
  bool (*is_one)(const InputFile& file);  ///< may throw Error: then it is none
};

/// Writes beside the target and puts the file there with commit(), at once: the old file, the new one or none lies
/// under `path` at any moment. Where the file system can, the new file has no name until then, so that a process killed
/// leaves nothing; elsewhere it is called ".igq-<number>-<checksum>.tmp" beside the target, and the next write of the
/// same target removes it (by its checksum, owner and lock: nobody else's file).
/// What is replaced keeps its mode, owner, group and access list; a link stays one, what it names is written.
class OutputFile {
 public:
  /// Error (path, reason) before anything is written: `path` exists and not `overwrite`; what lies there is no regular
  /// file, or neither empty nor of `kind` (null: any); the folder cannot be written, its owner cannot be kept ...
  explicit OutputFile(std::filesystem::path path, bool overwrite = true, const OutputKind* kind = nullptr);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  std::uint64_t written() const { return written_; }
  /// Syncs and puts the file in its place. What lies there by now is looked at again, as in the constructor.
  void commit();

 private:
  /// What must go when the object does, however far its construction came.
  struct Temporary {
    int folder = -1, file = -1;
    bool named = false;  ///< lies in the folder as `name`
    std::string name;
    int registered = -1;
    ~Temporary();
  };

  [[noreturn]] void fail_to_write(int error) const;
  void follow_links();
  bool look_at_target();
  void keep_rights();
  void remove_leftovers() const;
  void open_temporary(unsigned mode);
  void name_temporary();

  std::filesystem::path path_;             ///< as given, for messages
  std::filesystem::path folder_, target_;  ///< links followed
  bool overwrite_ = true;
  const OutputKind* kind_ = nullptr;
  Temporary own_;
  std::uint64_t written_ = 0;
};

/// OutputFile in one call.
void write_file(const std::filesystem::path& path, std::string_view text, bool overwrite = true,
                const OutputKind* kind = nullptr);

/// An empty file of a new name in the system's temporary folder (TMPDIR), readable by its owner alone, that is gone
/// when this is. Error naming the folder when none can be made there.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view begins, std::string_view ends);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int registered_ = -1;
};

/// Removes the temporary files that this process has at the moment. May be called in a signal handler, before the
/// process ends.
void remove_temporaries() noexcept;

}  // namespace igq
