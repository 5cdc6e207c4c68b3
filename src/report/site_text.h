// How the pages of classifiers and of detectors say the same things: bits, groups and errors of sites, where a model
// comes from, and the page around it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/report_data.h"

namespace igq::report {

/// "12.3", "exact", "-" where it is not known.
std::string decibels(const std::optional<double>& value);
/// "w4a8", of an attention "a8", "float".
std::string bits_text(const SiteRow& site);
/// "8", "each" for a quantizer per channel or row, "-" for float.
std::string groups_text(const SiteRow& site);

/// A signal-to-noise ratio in dB as noise in percent of the signal's energy.
double noise_percent(double decibels);
/// A name (HTML) with a bar of percent / most and an amount beside it, a line of a "list".
std::string noise_bar(const std::string& name, double percent, double most, const std::string& amount);
/// Bars of the sites with the lowest signal-to-noise ratio alone, `count` at most; empty where none is known.
std::string worst_sites_list(const std::vector<SiteRow>& sites, std::size_t count);

/// A term and what is said of it (HTML).
using Facts = std::vector<std::pair<std::string, std::string>>;
/// The float model, the calibration images (called `one` and `many`), settings and version; `more` after them.
std::string provenance_section(const Provenance& provenance, const char* one, const char* many, const Facts& more);

/// The page of `file`, a line under its name, and the sections (HTML).
std::string report_page(const std::string& file, const std::string& lead, const std::string& sections);

}  // namespace igq::report
