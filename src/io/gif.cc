// GIF by giflib: the first picture on the screen it lies on, as in Pillow. What the picture does not cover has its
// transparent colour, or colour 0; transparency itself is dropped; without a palette, indices are gray values.
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "base/fail.h"
#include "io/image.h"

namespace igq {
namespace {

struct Source {
  const std::byte* data;
  std::size_t left;
  bool ended = false;
};

int read_bytes(GifFileType* gif, GifByteType* out, int size) {
  auto* source = static_cast<Source*>(gif->UserData);
  const std::size_t n = std::min(static_cast<std::size_t>(std::max(size, 0)), source->left);
  // Once the data are used up the length of a next block counts as 0, the end of a picture: nothing else is missing
  // then.
  if (size == 1 && n == 0 && !source->ended) {
    source->ended = true;
    *out = 0;
    return 1;
  }
  std::memcpy(out, source->data, n);
  source->data += n;
  source->left -= n;
  return static_cast<int>(n);
}

void close(GifFileType* gif) { DGifCloseFile(gif, nullptr); }

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name)
      : name_(name), source_{bytes.data(), bytes.size()}, gif_(nullptr, &close) {
    int error = 0;
    gif_.reset(DGifOpen(&source_, read_bytes, &error));
    if (gif_ == nullptr) fail_read(error);
  }
  GifFileType& gif() { return *gif_; }
  void check(int result) {
    if (result == GIF_ERROR) fail_read(gif_->Error);
  }
  [[noreturn]] void fail_read(int error) const {
    if (source_.left == 0)
      fail("{}: truncated GIF image: the file ends before the picture does; fetch it again", name_);
    const char* text = GifErrorString(error);
    fail("{}: damaged GIF image: {}", name_, text == nullptr ? "it makes no sense" : text);
  }

  /// Reads up to the first picture's description; its transparent colour if it has one.
  std::optional<std::uint8_t> find_picture() {
    std::optional<std::uint8_t> transparent;
    for (;;) {
      GifRecordType type = UNDEFINED_RECORD_TYPE;
      check(DGifGetRecordType(gif_.get(), &type));
      if (type == IMAGE_DESC_RECORD_TYPE) {
        check(DGifGetImageDesc(gif_.get()));
        return transparent;
      }
      if (type == TERMINATE_RECORD_TYPE) fail("{}: damaged GIF image: it holds no picture", name_);
      if (type != EXTENSION_RECORD_TYPE) fail_read(0);
      int code = 0;
      GifByteType* block = nullptr;  // its first byte is the length
      check(DGifGetExtension(gif_.get(), &code, &block));
      if (code == GRAPHICS_EXT_FUNC_CODE && block != nullptr && block[0] >= 4 && (block[1] & 1) != 0)
        transparent = block[4];
      while (block != nullptr) check(DGifGetExtensionNext(gif_.get(), &block));
    }
  }

 private:
  const std::string& name_;
  Source source_;
  std::unique_ptr<GifFileType, decltype(&close)> gif_;
};

/// Colour i is the gray i, for all there are: Pillow takes such a palette for none.
bool is_ramp(const ColorMapObject& map) {
  for (int i = 0; i < map.ColorCount; ++i)
    if (map.Colors[i].Red != i || map.Colors[i].Green != i || map.Colors[i].Blue != i) return false;
  return true;
}

using Palette = std::array<std::array<std::uint8_t, 3>, 256>;

Palette palette_of(const ColorMapObject* map) {
  Palette palette{};
  if (map == nullptr) {
    for (std::size_t i = 0; i < palette.size(); ++i) palette[i].fill(static_cast<std::uint8_t>(i));
    return palette;
  }
  for (std::size_t i = 0; i < std::min<std::size_t>(static_cast<std::size_t>(std::max(map->ColorCount, 0)), 256); ++i)
    palette[i] = {map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue};
  return palette;
}

}  // namespace

Image detail::decode_gif(std::span<const std::byte> bytes, const std::string& name) {
  Reader reader(bytes, name);
  const std::optional<std::uint8_t> transparent = reader.find_picture();
  GifFileType& gif = reader.gif();
  const GifImageDesc& frame = gif.Image;
  if (frame.Width <= 0 || frame.Height <= 0) fail("{}: damaged GIF image: its first picture is empty", name);
  // Pillow widens the screen to a picture that reaches beyond it.
  const int width = std::max(gif.SWidth, frame.Left + frame.Width);
  const int height = std::max(gif.SHeight, frame.Top + frame.Height);
  check_size(width, height, name);
  // A code of 12 bits stands for 4096 pixels at most: a file far too short for its claimed size is not allocated for.
  if (std::int64_t{frame.Width} * frame.Height / 4096 > static_cast<std::int64_t>(bytes.size()))
    fail("{}: truncated GIF image: the file ends before the picture does; fetch it again", name);
  Image image = allocate_image(width, height, name);
  const bool local = frame.ColorMap != nullptr && (gif.SColorMap == nullptr || !is_ramp(*frame.ColorMap));
  const Palette palette = palette_of(local ? frame.ColorMap : gif.SColorMap);
  for (std::size_t i = 0; i < image.rgb.size(); i += 3)
    std::copy_n(palette[transparent.value_or(0)].data(), 3, image.rgb.data() + i);

  std::vector<std::uint8_t> line = allocate_bytes(static_cast<std::size_t>(frame.Width), name);
  constexpr std::array<std::array<int, 2>, 4> kPasses{{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};  // first row, step
  for (const auto& [first, step] : kPasses) {
    for (int y = frame.Interlace ? first : 0; y < frame.Height; y += frame.Interlace ? step : 1) {
      reader.check(DGifGetLine(&gif, line.data(), frame.Width));
      std::uint8_t* to = image.row(frame.Top + y) + 3 * static_cast<std::size_t>(frame.Left);
      for (const std::uint8_t index : line) to = std::copy_n(palette[index].data(), 3, to);
    }
    if (!frame.Interlace) break;
  }
  return image;
}

}  // namespace igq
