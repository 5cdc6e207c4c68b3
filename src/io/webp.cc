// WebP by libwebp through its animation decoder, as in Pillow: the first frame on its canvas, alpha dropped.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>
#include <span>

#include "base/fail.h"
#include "io/image.h"

namespace igq {

Image detail::decode_webp(std::span<const std::byte> bytes, const std::string& name) {
  const WebPData data = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(data.bytes, data.size, &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA)
    fail("{}: truncated WebP image: the file ends before the picture does; fetch it again", name);
  if (status != VP8_STATUS_OK) fail("{}: damaged WebP image: its header cannot be read", name);
  check_size(features.width, features.height, name);
  WebPAnimDecoderOptions options;
  if (WebPAnimDecoderOptionsInit(&options) == 0) fail("{}: libwebp is of another version than igq was built for", name);
  options.color_mode = MODE_RGBA;
  options.use_threads = 0;
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(WebPAnimDecoderNew(&data, &options),
                                                                                   &WebPAnimDecoderDelete);
  WebPAnimInfo info;
  std::uint8_t* canvas = nullptr;
  int timestamp = 0;
  if (decoder == nullptr || WebPAnimDecoderGetInfo(decoder.get(), &info) == 0)
    fail("{}: damaged or truncated WebP image, or no memory for it", name);
  Image image = allocate_image(info.canvas_width, info.canvas_height, name);
  if (WebPAnimDecoderGetNext(decoder.get(), &canvas, &timestamp) == 0)
    fail("{}: damaged or truncated WebP image: its first frame cannot be decoded", name);
  const std::size_t count = image.rgb.size() / 3;
  for (std::size_t i = 0; i < count; ++i) std::copy_n(canvas + 4 * i, 3, image.rgb.data() + 3 * i);
  return image;
}

}  // namespace igq
