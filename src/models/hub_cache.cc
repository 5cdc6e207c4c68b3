#include "models/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "base/fail.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "hf:";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_letter_or_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// A part of a repository's name, as the hub allows it.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 96 && text.front() != '.' && text.find("..") == std::string_view::npos &&
         text.find("--") == std::string_view::npos && std::all_of(text.begin(), text.end(), [](char c) {
           return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}

/// A revision may hold slashes (refs/pr/1), each part a file name.
bool is_revision(std::string_view text) {
  return !text.empty() && text.size() <= 200 && text.front() != '/' && text.back() != '/' &&
         text.find("..") == std::string_view::npos && text.find("//") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '/' || c == '+';
         });
}

bool is_commit(std::string_view text) {
  return text.size() >= 7 && text.size() <= 40 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// The commit that refs/REVISION names; empty without such a file.
std::string commit_of(const fs::path& repository, const std::string& revision) {
  std::ifstream in(repository / "refs" / revision);
  std::string commit;
  in >> commit;
  return is_commit(commit) ? commit : "";
}

std::vector<std::string> snapshots(const fs::path& repository) {
  std::vector<std::string> found;
  std::error_code fault;
  for (fs::directory_iterator at(repository / "snapshots", fault), end; !fault && at != end; at.increment(fault))
    found.push_back(at->path().filename().string());
  std::sort(found.begin(), found.end());
  return found;
}

/// A snapshot whose links lead nowhere was fetched in part.
void check_complete(const fs::path& snapshot, std::string_view asked, const std::string& fetch) {
  std::error_code fault;
  for (fs::directory_iterator at(snapshot, fault), end; !fault && at != end; at.increment(fault)) {
    std::error_code missing;
    if (!fs::exists(at->path(), missing))
      fail("{}: {} of {} leads nowhere, the download was not finished: fetch it again with `{}`", asked,
           at->path().filename().string(), snapshot.string(), fetch);
  }
}

}  // namespace

bool names_hub_model(std::string_view text) { return text.starts_with(kPrefix); }

fs::path hub_cache() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string cache = variable("HUGGINGFACE_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "huggingface/hub";
  const std::string home = variable("HOME");
  if (home.empty()) fail("hf: names need HF_HUB_CACHE, HF_HOME or HOME in the environment, which say where models are");
  return fs::path(home) / ".cache/huggingface/hub";
}

HubModel find_hub_model(std::string_view text) {
  const std::string_view rest = text.substr(kPrefix.size());
  const std::size_t at = rest.find('@');
  const std::string repository(rest.substr(0, at));
  const bool revision_given = at != std::string_view::npos;
  const std::string revision(revision_given ? rest.substr(at + 1) : "main");
  const std::size_t slash = repository.find('/');
  const bool named = slash == std::string::npos
                         ? is_name(repository)
                         : is_name(repository.substr(0, slash)) && is_name(repository.substr(slash + 1));
  if (!named || !is_revision(revision))
    fail("'{}' names no model of the hub: write hf:org/name or hf:org/name@revision", text);

  const fs::path cache = hub_cache();
  std::string folder = "models--" + repository;
  if (slash != std::string::npos) folder.replace(folder.find('/'), 1, "--");
  const fs::path root = cache / folder;
  const std::string fetch = "hf download " + repository + (revision_given ? " --revision " + revision : "");

  std::vector<std::string> fitting;
  if (const std::string commit = commit_of(root, revision); !commit.empty()) {
    fitting.push_back(commit);
  } else if (is_commit(revision)) {
    for (const std::string& name : snapshots(root))
      if (name.starts_with(revision)) fitting.push_back(name);
  }
  if (fitting.size() > 1)
    fail("{}: several snapshots in {} begin with {}: write more of the commit", text, root.string(), revision);
  std::error_code ignored;
  if (fitting.empty() || !fs::is_directory(root / "snapshots" / fitting.front(), ignored)) {
    const auto others = snapshots(root);
    fail("{} is not in the cache {}{}: fetch it with `{}`", text, cache.string(),
         others.empty() ? "" : fmt::format(", which has other revisions ({}, ...)", others.front()), fetch);
  }
  const fs::path snapshot = root / "snapshots" / fitting.front();
  check_complete(snapshot, text, fetch);
  return {snapshot, fmt::format("hf:{}@{}", repository, fitting.front())};
}

HubModel locate_model(const fs::path& text) {
  if (names_hub_model(text.native())) return find_hub_model(text.native());
  std::error_code fault;
  const fs::path whole = fs::weakly_canonical(text, fault);
  return {text, (fault ? text : whole).filename().string()};
}

fs::path model_path(const fs::path& text) {
  return names_hub_model(text.native()) ? find_hub_model(text.native()).folder : text;
}

}  // namespace igq
