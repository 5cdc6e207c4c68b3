// Finished layers of measure_perturbations() in a file: one line of JSON per layer, appended and synced as each is
// done. A line that was cut off by a crash is ignored and measured again. Lines hold what was measured, the fit is not
// stored.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "allocation/perturbation.h"

namespace igq {

class PerturbationCache {
 public:
  /// Reads the file if there is one; an empty path remembers nothing. Error when it cannot be read.
  explicit PerturbationCache(std::filesystem::path path);
  /// Null when the layer was not measured under this key.
  const SitePerturbation* find(const std::string& key, const std::string& site) const;
  /// Error (path, reason) when the line cannot be written.
  void add(const std::string& key, const SitePerturbation& perturbation);

 private:
  std::filesystem::path path_;
  bool torn_ = false;  // the last line has no end
  std::map<std::pair<std::string, std::string>, SitePerturbation> known_;
};

}  // namespace igq
