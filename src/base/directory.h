// Listing a folder. Not std::filesystem's iterator: in libstdc++ it allocates where it must not throw, and ends the
// process when memory runs out.
#pragma once

#include <dirent.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

namespace igq {

/// use(path) for every entry of `folder` but "." and "..", in no particular order; what went wrong.
template <typename Use>
std::error_code for_each_entry(const std::filesystem::path& folder, const Use& use) {
  struct Close {
    void operator()(DIR* entries) const { ::closedir(entries); }
  };
  const std::unique_ptr<DIR, Close> entries(::opendir(folder.c_str()));
  if (entries == nullptr) return {errno, std::generic_category()};
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) return {errno, std::generic_category()};
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") use(folder / name);
  }
}

}  // namespace igq
