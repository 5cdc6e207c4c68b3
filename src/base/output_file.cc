#include "base/output_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/fail.h"
#include "base/hash.h"
#include "base/platform.h"
#include "base/temporary_names.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBegins = ".igq-", kEnds = ".tmp";

/// ".igq-<number>-<checksum of it and the target's name>.tmp": its length does not depend on the target's, and nobody
/// else's file is called so.
std::string temporary_name(std::string_view target, std::uint64_t number) {
  const std::string hashed = fmt::format("temporary file of igq for {} {:016x}", target, number);
  const std::uint64_t checksum = hash_bytes(std::as_bytes(std::span(hashed)));
  return fmt::format("{}{:016x}-{:016x}{}", kBegins, number, checksum, kEnds);
}

/// rename() that never replaces; ENOSYS where neither the system nor the file system has such a thing.
int rename_to_new(int folder, const char* from, const char* to) {
  const int error = platform::rename_to_free(folder, from, to);
  if (error != ENOSYS && error != EINVAL) return error;
  if (::linkat(folder, from, folder, to, 0) == 0) return ::unlinkat(folder, from, 0) == 0 ? 0 : errno;
  if (errno == EEXIST) return EEXIST;
  struct stat there {};
  if (::fstatat(folder, to, &there, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
  return ::renameat(folder, from, folder, to) == 0 ? 0 : errno;
}

}  // namespace

bool is_temporary_of(std::string_view target, std::string_view name) {
  constexpr std::size_t kDigits = 16;
  if (name.size() != kBegins.size() + 2 * kDigits + 1 + kEnds.size() || !name.starts_with(kBegins)) return false;
  const std::string digits(name.substr(kBegins.size(), kDigits));
  char* end = nullptr;
  const std::uint64_t number = std::strtoull(digits.c_str(), &end, 16);
  return end == digits.c_str() + kDigits && name == temporary_name(target, number);
}

void OutputFile::fail_to_write(int error) const { fail("cannot write {}: {}", path_.string(), std::strerror(error)); }

/// Where `path_` leads: the folder and the name in it of what will be written, which need not exist.
void OutputFile::follow_links() {
  fs::path at = path_;
  for (int links = 0;; ++links) {
    if (links > 40) fail_to_write(ELOOP);
    std::array<char, 4097> to{};
    const ssize_t size = ::readlink(at.c_str(), to.data(), to.size() - 1);
    if (size < 0 && errno != EINVAL && errno != ENOENT) fail_to_write(errno);  // EINVAL: no link
    if (size <= 0) break;
    at = at.parent_path() / std::string(to.data(), static_cast<std::size_t>(size));
  }
  if (!at.has_filename()) fail("cannot write {}: it is a directory", path_.string());  // "folder/"
  folder_ = at.has_parent_path() ? at.parent_path() : fs::path(".");
  target_ = at.filename();
}

/// Whether a file lies there that will be replaced. Error when it must not be.
bool OutputFile::look_at_target() {
  struct stat there {};
  if (::fstatat(own_.folder, target_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    fail_to_write(errno);
  }
  if (S_ISDIR(there.st_mode)) fail("cannot write {}: it is a directory", path_.string());
  // A rename would replace the device itself, /dev/null for everyone.
  if (!S_ISREG(there.st_mode)) fail("cannot write {}: it is not a regular file", path_.string());
  if (!overwrite_) fail("{} exists: give --overwrite to replace it", path_.string());
  struct stat folder {};
  const uid_t self = ::geteuid();
  if (::fstat(own_.folder, &folder) == 0 && (folder.st_mode & S_ISVTX) != 0 && self != 0 && there.st_uid != self &&
      folder.st_uid != self)
    fail_to_write(EPERM);  // in /tmp and the like nobody replaces another's file
  if (kind_ != nullptr && there.st_size > 0) {
    bool is_one = false;
    try {
      is_one = kind_->is_one(InputFile(folder_ / target_));
    } catch (const Error&) {
    }
    if (!is_one)
      fail(
          "{} exists and is not {}: igq replaces only files of the kind it writes; remove it, or write to another file",
          path_.string(), kind_->name);
  }
  return true;
}

/// Mode, owner, group and access list of the file that will be replaced. The owner first: changing it clears bits.
void OutputFile::keep_rights() {
  struct stat there {
  }, own{};
  if (::fstatat(own_.folder, target_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 || ::fstat(own_.file, &own) != 0)
    fail_to_write(errno);
  const bool other = there.st_uid != own.st_uid || there.st_gid != own.st_gid;
  if (other && ::fchown(own_.file, there.st_uid, there.st_gid) != 0)
    fail("cannot write {}: its owner and group cannot be kept ({}): remove it, or write to another file",
         path_.string(), std::strerror(errno));
  mode_t mode = there.st_mode & 07777;
  if (!platform::copy_access_list(folder_ / target_, own_.file)) mode &= ~mode_t{S_IRWXG};  // rather less than more
  if ((own.st_mode & 07777) != mode && ::fchmod(own_.file, mode) != 0) fail_to_write(errno);
  if (!other) return;
  struct stat now {};
  if (::fstat(own_.file, &now) == 0 && (now.st_mode & 07777) != mode && ::fchmod(own_.file, mode) != 0)
    fail_to_write(errno);
}

OutputFile::Temporary::~Temporary() {
  if (named) ::unlinkat(folder, name.c_str(), 0);
  forget_temporary(registered);
  if (file >= 0) ::close(file);
  if (folder >= 0) ::close(folder);
}

OutputFile::OutputFile(fs::path path, bool overwrite, const OutputKind* kind)
    : path_(std::move(path)), overwrite_(overwrite), kind_(kind) {
  if (path_.empty()) fail("cannot write a file without a name");
  follow_links();
  own_.folder = ::open(folder_.c_str(), platform::kOpenFolder);
  if (own_.folder < 0) fail_to_write(errno);
  const bool replaces = look_at_target();
  remove_leftovers();
  open_temporary(replaces ? 0600 : 0666);
  if (replaces) keep_rights();
}

/// Removes what killed processes left of earlier writes of this target: their names have the right checksum, nobody has
/// them locked, and they are this user's.
void OutputFile::remove_leftovers() const {
  const int listed = ::openat(own_.folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = listed < 0 ? nullptr : ::fdopendir(listed);
  if (entries == nullptr) {  // a folder that may be written and not be read
    if (listed >= 0) ::close(listed);
    return;
  }
  const struct Closer {
    DIR* entries;
    ~Closer() { ::closedir(entries); }
  } closer{entries};
  while (const dirent* entry = ::readdir(entries)) {
    if (!is_temporary_of(target_.native(), entry->d_name)) continue;
    const int fd = ::openat(own_.folder, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    struct stat found {};
    if (::fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && found.st_uid == ::geteuid() && found.st_nlink == 1 &&
        ::flock(fd, LOCK_EX | LOCK_NB) == 0)
      ::unlinkat(own_.folder, entry->d_name, 0);
    ::close(fd);
  }
}

/// A file without a name where the file system has such, otherwise one with a name; locked until it is closed.
void OutputFile::open_temporary(unsigned mode) {
  own_.file = platform::open_unnamed(own_.folder, mode);
  if (own_.file < 0 && (errno == EROFS || errno == EACCES || errno == ENOSPC || errno == EDQUOT)) fail_to_write(errno);
  for (int attempt = 0; own_.file < 0; ++attempt) {
    name_temporary();
    own_.file = ::openat(own_.folder, own_.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (own_.file < 0) {
      forget_temporary(std::exchange(own_.registered, -1));
      if (errno != EEXIST || attempt == 16) fail_to_write(errno);
      continue;
    }
    ::flock(own_.file, LOCK_EX);  // where it fails, nobody else can lock and remove it either
    struct stat info {};
    own_.named = true;
    if (::fstat(own_.file, &info) == 0 && info.st_nlink == 0 && attempt < 16) {  // taken for a leftover before the lock
      own_.named = false;
      ::close(std::exchange(own_.file, -1));
    }
  }
  if (!own_.named) ::flock(own_.file, LOCK_EX);
}

void OutputFile::name_temporary() {
  own_.name = temporary_name(target_.native(), platform::random_number());
  forget_temporary(own_.registered);
  own_.registered = register_temporary(own_.folder, own_.name);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(own_.file, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to_write(errno);
    done += static_cast<std::size_t>(n);
  }
  written_ += bytes.size();
}

void OutputFile::commit() {
  if (::fsync(own_.file) != 0 && errno != EINVAL) fail_to_write(errno);
  for (int attempt = 0;; ++attempt) {
    const bool replaces = look_at_target();  // which may be another file than when the work began
    if (replaces) keep_rights();
    int error = 0;
    if (replaces) {
      if (!own_.named) {
        name_temporary();
        error = platform::link_unnamed(own_.file, own_.folder, own_.name.c_str());
        if (error != 0) fail_to_write(error);
        own_.named = true;
      }
      // Renamed while it is open: closing gives up the lock that keeps others from taking it for a leftover.
      error = ::renameat(own_.folder, own_.name.c_str(), own_.folder, target_.c_str()) == 0 ? 0 : errno;
    } else {
      error = own_.named ? rename_to_new(own_.folder, own_.name.c_str(), target_.c_str())
                         : platform::link_unnamed(own_.file, own_.folder, target_.c_str());
      if (error == EEXIST && attempt < 16) continue;  // one has appeared meanwhile
    }
    if (error != 0) fail_to_write(error);
    break;
  }
  own_.named = false;
  ::close(std::exchange(own_.file, -1));
}

void write_file(const fs::path& path, std::string_view text, bool overwrite, const OutputKind* kind) {
  OutputFile file(path, overwrite, kind);
  file.write(text);
  file.commit();
}

TemporaryFile::TemporaryFile(std::string_view begins, std::string_view ends) {
  std::error_code fault;
  const fs::path folder = fs::temp_directory_path(fault);
  const char* named = std::getenv("TMPDIR");
  if (fault)
    fail("the folder for temporary files, {}, cannot be used: {}: set TMPDIR to a folder that can be written",
         named == nullptr ? "/tmp" : named, fault.message());
  for (int attempt = 0;; ++attempt) {
    path_ = folder / fmt::format("{}{:016x}{}", begins, platform::random_number(), ends);
    registered_ = register_temporary(AT_FDCWD, path_.native());
    const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) {
      ::close(fd);
      return;
    }
    const int error = errno;
    forget_temporary(registered_);
    if (error != EEXIST || attempt == 16)
      fail("the folder for temporary files, {}, cannot be used: {}: set TMPDIR to a folder that can be written",
           folder.string(), std::strerror(error));
  }
}

TemporaryFile::~TemporaryFile() {
  ::unlink(path_.c_str());
  forget_temporary(registered_);
}

}  // namespace igq
