#include "allocation/perturbation_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <string_view>

#include "base/fail.h"
#include "base/file.h"
#include "io/json_fields.h"

namespace igq {
namespace {

using nlohmann::json;

json to_json(const std::string& key, const SitePerturbation& perturbation) {
  json line = {{"key", key}, {"site", perturbation.site}, {"candidates", json::array()}};
  for (const GroupCandidate& c : perturbation.candidates) {
    line["candidates"].push_back({{"groups", c.groups}, {"error", c.error}, {"measured", c.measured}});
    if (c.bits != 0) line["candidates"].back()["bits"] = c.bits;
  }
  return line;
}

double finite_number(const json& value, std::string_view what) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) fail("'{}' is not a number", what);
  return value.get<double>();
}

SitePerturbation from_json(const json& line) {
  SitePerturbation perturbation;
  perturbation.site = json_string(json_at(line, "site"), "site");
  for (const json& c : json_array(json_at(line, "candidates"), "candidates", 1024)) {
    GroupCandidate candidate;
    candidate.groups = static_cast<int>(json_int(json_at(c, "groups"), "groups", 1, 1 << 20));
    candidate.error = finite_number(json_at(c, "error"), "error");
    candidate.measured = finite_number(json_at(c, "measured"), "measured");
    if (const json* bits = json_find(c, "bits")) candidate.bits = static_cast<int>(json_int(*bits, "bits", 2, 8));
    candidate.divergence = std::max(candidate.measured, 0.0);
    perturbation.candidates.push_back(candidate);
  }
  if (perturbation.candidates.empty()) fail("'candidates' is empty");
  return perturbation;
}

}  // namespace

PerturbationCache::PerturbationCache(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code ignored;
  if (path_.empty() || !std::filesystem::exists(path_, ignored)) return;
  const std::string text = read_file(path_);
  constexpr std::string_view kBegins = "{\"candidates\":[";  // keys are sorted
  if (!kBegins.starts_with(text.substr(0, kBegins.size())))
    fail("{} is not a perturbation cache of igq: name another file or remove it", path_.string());
  bool any = false;
  torn_ = !text.empty() && text.back() != '\n';
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    try {
      const json line = parse_json(std::string_view(text).substr(begin, end - begin));
      SitePerturbation perturbation = from_json(line);
      const std::string& key = json_string(json_at(line, "key"), "key");
      std::string site = perturbation.site;
      known_[{key, std::move(site)}] = std::move(perturbation);
      any = true;
    } catch (const Error&) {
      // Cut off or damaged: the layer is measured again.
    }
    begin = end + 1;
  }
  if (!any && text.find('\n') != std::string::npos)
    fail("{} is not a perturbation cache of igq: name another file or remove it", path_.string());
}

const SitePerturbation* PerturbationCache::find(const std::string& key, const std::string& site) const {
  const auto found = known_.find({key, site});
  return found == known_.end() ? nullptr : &found->second;
}

void PerturbationCache::add(const std::string& key, const SitePerturbation& perturbation) {
  known_[{key, perturbation.site}] = perturbation;
  if (path_.empty()) return;
  const std::string line = (torn_ ? "\n" : "") + to_json(key, perturbation).dump() + "\n";
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  // One write per line: a second process that appends to the same file does not tear it.
  const auto size = static_cast<ssize_t>(line.size());
  const bool written = fd >= 0 && ::write(fd, line.data(), line.size()) == size && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!written) fail("cannot write {}: {}", path_.string(), std::strerror(error));
  torn_ = false;
}

}  // namespace igq
