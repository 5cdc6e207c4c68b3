// IMAGE, DIR or LIST: which images a bulk run is over, and what it keeps while it goes on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common.h"

namespace igq::cli {

struct ImageList {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> names;  ///< of the rows: below the folder, or as the list or the caller gives them
  bool single = false;             ///< one image was named
};

/// The images of a folder (list_images, with its notes), the lines of a .txt file (paths, relative ones to the current
/// folder; empty lines are left out), or one image. Error: neither, or no image at all.
ImageList list_inputs(const std::string& path);
/// Paths given one by one; a single one may be a folder or a list.
ImageList list_inputs(const std::vector<std::string>& paths);

/// Where the rows of an output are kept until it is whole.
std::filesystem::path rows_path(const std::string& output);
/// Looks at what lies at `output` and its rows before a run. False: nothing is left to do (--resume of a finished run).
/// Error: the output exists without --overwrite or --resume, or rows of an interrupted run lie there without either.
bool begin_rows(const std::string& output, bool resume, bool overwrite);

/// What tells a run from others: configuration, weights or quantized file, images in their order, `settings`.
std::string run_key(const LoadedModel& model, const ModelFlags& flags, const ImageList& images,
                    const std::string& settings);

}  // namespace igq::cli
