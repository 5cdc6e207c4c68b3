#include "images.h"

#include <fmt/format.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/hash.h"
#include "common.h"
#include "folders.h"
#include "models/config_json.h"

namespace igq::cli {

namespace fs = std::filesystem;

ImageList list_inputs(const std::string& path) {
  ImageList list;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    for (Sample& sample : open_folder(path).samples) {
      list.files.push_back(std::move(sample.path));
      list.names.push_back(std::move(sample.relative));
    }
    return list;
  }
  if (fs::path(path).extension() != ".txt") {
    list.files.emplace_back(path);
    list.names.push_back(path);
    list.single = true;
    return list;
  }
  const std::string text = read_file(path, std::uint64_t{1} << 34);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) {
      list.files.emplace_back(line);
      list.names.push_back(std::move(line));
    }
    begin = end + 1;
  }
  if (list.files.empty()) fail("{} names no images: a list has one path a line", path);
  return list;
}

ImageList list_inputs(const std::vector<std::string>& paths) {
  if (paths.size() == 1) return list_inputs(paths.front());
  ImageList list;
  for (const std::string& path : paths) {
    list.files.emplace_back(path);
    list.names.push_back(path);
  }
  return list;
}

fs::path rows_path(const std::string& output) { return output + ".rows"; }

bool begin_rows(const std::string& output, bool resume, bool overwrite) {
  std::error_code ignored;
  const fs::path rows = rows_path(output);
  const bool started = fs::exists(fs::symlink_status(rows, ignored));
  if (resume && !started && fs::exists(output, ignored) && !overwrite) {
    note(fmt::format("igq: {} is there and no run of it was interrupted: nothing is left to do", output));
    return false;
  }
  if (started && !resume && !overwrite)
    fail("{} holds rows of a run that was interrupted: go on with --resume, or start anew with --overwrite",
         rows.string());
  if (started && !resume) {
    if (fs::is_regular_file(rows, ignored) && fs::file_size(rows) >= 8 && !InputFile(rows).begins_with("igq rows"))
      fail("{} is no file of rows that igq wrote: remove it", rows.string());
    fs::remove(rows, ignored);
  }
  return true;
}

std::string run_key(const LoadedModel& model, const ModelFlags& flags, const ImageList& images,
                    const std::string& settings) {
  Hasher hasher;
  const auto add = [&](const std::string& text) {
    hasher.update(std::as_bytes(std::span(text.c_str(), text.size() + 1)));
  };
  add(config_to_json(model.model->config()).dump());
  if (model.quantized) {
    const InputFile file(flags.path);
    std::vector<std::byte> piece(std::size_t{1} << 20);
    for (std::uint64_t at = 0; at < file.size(); at += piece.size()) {
      const std::span part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), file.size() - at));
      file.read(at, part);
      hasher.update(part);
    }
  } else {
    add(checkpoint_checksum(*model.tensors));
  }
  for (std::size_t i = 0; i < images.files.size(); ++i) {
    add(images.names[i]);
    add(images.files[i].string());
  }
  return fmt::format("{} of {} images, {}", hash_text(hasher.digest()), images.files.size(), settings);
}

}  // namespace igq::cli
