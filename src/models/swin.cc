#include "models/swin.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/fail.h"
#include "models/vit.h"

namespace igq {
namespace {

int stage_dim(const SwinConfig& s, int stage) { return s.embed_dim << stage; }

std::string block_name(int stage, int index, const char* tail) {
  return fmt::format("layers.{}.blocks.{}.{}", stage, index, tail);
}

}  // namespace

Swin::Swin(const ModelConfig& config, const ModelBuilder& builder) : Model(config) {
  const SwinConfig& s = config.swin;
  if (!s.fixed_window && (config.image_height % s.patch_size != 0 || config.image_width % s.patch_size != 0))
    fail("{}: the image size {}x{} is not a multiple of the patch size {}", config.architecture, config.image_height,
         config.image_width, s.patch_size);
  if (s.depths.empty() || s.depths.size() != s.num_heads.size())
    fail("{}: depths and num_heads must have the same length", config.architecture);
  grid_height_ = (config.image_height + s.patch_size - 1) / s.patch_size;
  grid_width_ = (config.image_width + s.patch_size - 1) / s.patch_size;
  patch_embed_ =
      builder.linear("patch_embed.proj", config.in_channels * s.patch_size * s.patch_size, s.embed_dim, true);
  patch_norm_ = builder.norm("patch_embed.norm", s.embed_dim, s.norm_eps);
  add_site(patch_embed_, 0, grid_height_ * grid_width_, true);

  int h = grid_height_, w = grid_width_;
  const int stages = static_cast<int>(s.depths.size());
  for (int stage = 0; stage < stages; ++stage) {
    const int dim = stage_dim(s, stage);
    if (stage > 0) {
      auto merge = std::make_unique<Merge>();
      const std::string name = fmt::format("layers.{}.downsample", stage);
      merge->norm = builder.norm(name + ".norm", 2 * dim, s.norm_eps);
      merge->reduction = builder.linear(name + ".reduction", 2 * dim, dim, false);
      h = (h + 1) / 2;
      w = (w + 1) / 2;
      steps_.push_back({nullptr, std::move(merge), -1});
      add_site(steps_.back().merge->reduction, static_cast<int>(steps_.size()), h * w);
    }
    const Windows& plain = make_windows(stage, false, h, w);
    const Windows& shifted = make_windows(stage, true, h, w);
    for (int i = 0; i < s.depths[static_cast<std::size_t>(stage)]; ++i) {
      steps_.push_back({make_block(builder, stage, i, i % 2 == 1 ? shifted : plain), nullptr, -1});
      Block& b = *steps_.back().block;
      const int step = static_cast<int>(steps_.size()), area = b.windows->shape.area();
      const int windows = b.windows->configured.windows;
      add_site(b.qkv, step, windows * area);
      add_site(b.attention, step, area, windows);
      add_site(b.proj, step, windows * area);
      add_site(b.mlp.fc1, step, h * w);
      add_site(b.mlp.fc2, step, h * w);
    }
    if (s.feature_maps) {
      steps_.back().output = stage;
      output_norms_.push_back(builder.norm(fmt::format("norm{}", stage), dim, s.norm_eps));
    }
  }
  if (s.feature_maps) return;
  const int features = stage_dim(s, stages - 1);
  norm_ = builder.norm("norm", features, s.norm_eps);
  if (config.num_classes == 0) return;
  head_ = builder.linear("head.fc", features, config.num_classes, true);
  add_site(head_, static_cast<int>(steps_.size()) + 1, 1, true);
}

const Swin::Windows& Swin::make_windows(int stage, bool shifted, int grid_h, int grid_w) {
  const SwinConfig& s = config().swin;
  auto windows = std::make_unique<Windows>();
  windows->shape.window = swin_windows(config())[static_cast<std::size_t>(stage)];
  windows->shape.pad_before_shift = s.pad_before_shift;
  const std::array<int, 2> grid = {grid_h, grid_w};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    // A window that covers the map whole is not shifted, unless windows are fixed.
    const bool can_shift = s.fixed_window || grid[axis] > windows->shape.window[axis];
    windows->shape.shift[axis] = shifted && can_shift ? s.window_size[axis] / 2 : 0;
  }
  windows->configured = lay_out_windows(windows->shape, grid_h, grid_w);
  windows_.push_back(std::move(windows));
  return *windows_.back();
}

std::unique_ptr<Swin::Block> Swin::make_block(const ModelBuilder& builder, int stage, int index,
                                              const Windows& windows) const {
  const SwinConfig& s = config().swin;
  const int dim = stage_dim(s, stage), heads = s.num_heads[static_cast<std::size_t>(stage)];
  if (heads <= 0 || dim % heads != 0)
    fail("{}: width {} of stage {} is not a multiple of {} heads", config().architecture, dim, stage, heads);
  auto block = std::make_unique<Block>();
  Block& b = *block;
  b.norm1 = builder.norm(block_name(stage, index, "norm1"), dim, s.norm_eps);
  b.qkv = builder.linear(block_name(stage, index, "attn.qkv"), dim, 3 * dim, s.qkv_bias);
  b.attention = builder.attention(block_name(stage, index, "attn"), heads, dim / heads);
  b.proj = builder.linear(block_name(stage, index, "attn.proj"), dim, dim, true);
  b.mlp.norm = builder.norm(block_name(stage, index, "norm2"), dim, s.norm_eps);
  b.mlp.fc1 = builder.linear(block_name(stage, index, "mlp.fc1"), dim, swin_mlp_hidden(s, dim), true);
  b.mlp.fc2 = builder.linear(block_name(stage, index, "mlp.fc2"), swin_mlp_hidden(s, dim), dim, true);
  b.windows = &windows;
  const std::array<int, 2> window = windows.shape.window;
  const std::int64_t table_rows = static_cast<std::int64_t>(2 * window[0] - 1) * (2 * window[1] - 1);
  const AlignedBuffer<float> table =
      builder.tensor(block_name(stage, index, "attn.relative_position_bias_table"), table_rows * heads);
  b.bias = window_bias(windows.shape, {table.data(), table.size()}, heads);
  return block;
}

int Swin::output_tokens() const {
  int h = grid_height_, w = grid_width_;
  for (std::size_t stage = 1; stage < config().swin.depths.size(); ++stage) h = (h + 1) / 2, w = (w + 1) / 2;
  return h * w;
}

void Swin::run_step(ExecContext& context, int step, StepState& state) const {
  if (step == 0) return embed(context, state);
  if (step > static_cast<int>(steps_.size())) return head(context, state);
  const Step& s = steps_[static_cast<std::size_t>(step - 1)];
  if (s.block != nullptr)
    run_block(context, *s.block, state);
  else
    run_merge(context, *s.merge, state);
  if (s.output >= 0) take_output(context, s.output, state);
}

std::optional<BlockParts> Swin::block_parts(int step) {
  if (step < 1 || step > static_cast<int>(steps_.size()) || steps_[static_cast<std::size_t>(step - 1)].block == nullptr)
    return std::nullopt;
  Block& b = *steps_[static_cast<std::size_t>(step - 1)].block;
  return BlockParts{&b.norm1,
                    &b.qkv,
                    &b.proj,
                    &b.attention,
                    nullptr,
                    &b.mlp,
                    b.windows->configured.windows,
                    b.windows->configured.token_of_row};
}

/// Zeros at the right and the bottom up to whole patches; the image itself where it has them.
static const float* pad_image(ExecContext& context, const float* image, std::array<int, 2> size, int channels,
                              int patch) {
  const int height = (size[0] + patch - 1) / patch * patch, width = (size[1] + patch - 1) / patch * patch;
  if (height == size[0] && width == size[1]) return image;
  const auto floats =
      static_cast<std::size_t>(channels) * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  float* padded = context.arena.take<float>(floats);
  std::fill_n(padded, floats, 0.0f);
  for (int c = 0; c < channels; ++c)
    for (int y = 0; y < size[0]; ++y)
      std::copy_n(image + (std::int64_t{c} * size[0] + y) * size[1], size[1],
                  padded + (std::int64_t{c} * height + y) * width);
  return padded;
}

void Swin::embed(ExecContext& context, StepState& state) const {
  const ArenaScope scope(context.arena);
  const SwinConfig& s = config().swin;
  const std::array<int, 2> image = image_size(state);
  state.height = (image[0] + s.patch_size - 1) / s.patch_size;
  state.width = (image[1] + s.patch_size - 1) / s.patch_size;
  state.tokens = state.height * state.width;
  state.channels = s.embed_dim;
  const auto n = static_cast<std::size_t>(state.tokens);
  state.x.resize(n * static_cast<std::size_t>(s.embed_dim));
  float* rows = context.arena.take<float>(n * static_cast<std::size_t>(patch_embed_.in_features()));
  const float* pixels = pad_image(context, state.image, image, config().in_channels, s.patch_size);
  unfold_patches(context, pixels, config().in_channels, state.height * s.patch_size, state.width * s.patch_size,
                 s.patch_size, s.patch_size, rows);
  patch_embed_.forward(context, rows, state.tokens, state.x.data());
  layer_norm(context, patch_norm_, state.x.data(), state.tokens, state.x.data());
}

/// x[token_of_row[r]] += windowed[r] for all rows but padding (-1), those whose tokens follow each other at once; every
/// token is in one row.
static void add_windows(const ExecContext& context, std::span<const std::int32_t> token_of_row, const float* windowed,
                        int dim, float* x) {
  context.parallel_for(static_cast<std::int64_t>(token_of_row.size()), 16,
                       [&](std::int64_t begin, std::int64_t end, int) {
                         for (std::int64_t r = begin; r < end;) {
                           const std::int32_t token = token_of_row[static_cast<std::size_t>(r)];
                           if (token < 0) {
                             ++r;
                             continue;
                           }
                           std::int64_t count = 1;
                           while (r + count < end && token_of_row[static_cast<std::size_t>(r + count)] == token + count)
                             ++count;
                           context.kernels->add_residual(x + std::int64_t{token} * dim, dim, windowed + r * dim, dim,
                                                         static_cast<int>(count), dim, nullptr);
                           r += count;
                         }
                       });
}

void Swin::run_block(ExecContext& context, const Block& block, StepState& state) const {
  const Windows& windows = *block.windows;
  std::shared_ptr<const WindowLayout> other;  // held while it is used
  const WindowLayout* layout = &windows.configured;
  if (layout->height != state.height || layout->width != state.width) {
    other = windows.others.get(state.height, state.width,
                               [&] { return lay_out_windows(windows.shape, state.height, state.width); });
    layout = other.get();
  }
  const int tokens = state.tokens, dim = state.channels, rows = static_cast<int>(layout->token_of_row.size());
  {
    const ArenaScope scope(context.arena);
    const auto d = static_cast<std::size_t>(dim), padded = static_cast<std::size_t>(rows);
    float* windowed = context.arena.take<float>(padded * d);
    const ChannelRange range = take_channel_range(context, dim);
    layer_norm(context, block.norm1, state.x.data(), tokens, windowed, range, layout->row_of_token.data());
    if (rows > tokens) {  // padding rows are zeros of every channel
      for (int r = 0; r < rows; ++r)
        if (layout->token_of_row[static_cast<std::size_t>(r)] < 0)
          std::fill_n(windowed + std::int64_t{r} * dim, dim, 0.0f);
      for (int c = 0; c < dim; ++c) {
        range.mn[c] = std::min(range.mn[c], 0.0f);
        range.mx[c] = std::max(range.mx[c], 0.0f);
      }
    }
    block.attention.forward(context, block.qkv, block.proj, windowed, range, layout->windows, windows.shape.area(),
                            {block.bias.data(), layout->pattern.data()}, {windowed});
    add_windows(context, layout->token_of_row, windowed, dim, state.x.data());
  }
  block.mlp.add_to(context, state.x.data(), tokens);
}

void Swin::run_merge(ExecContext& context, const Merge& merge, StepState& state) const {
  const ArenaScope scope(context.arena);
  const int h = state.height, w = state.width, dim = state.channels;
  const int out_h = (h + 1) / 2, out_w = (w + 1) / 2, rows = out_h * out_w;
  check_numbers(state.x, config());
  float* merged = context.arena.take<float>(static_cast<std::size_t>(rows) * 4 * static_cast<std::size_t>(dim));
  context.parallel_for(out_h, 1, [&](std::int64_t begin, std::int64_t end, int) {
    float* to = merged + begin * out_w * 4 * dim;
    for (auto y = static_cast<int>(begin); y < end; ++y)
      for (int x = 0; x < out_w; ++x)
        for (int part = 0; part < 4; ++part) {  // timm's order: the row offset runs fastest
          const int sy = 2 * y + part % 2, sx = 2 * x + part / 2;
          if (sy < h && sx < w)
            std::copy_n(state.x.data() + (static_cast<std::int64_t>(sy) * w + sx) * dim, dim, to);
          else
            std::fill_n(to, dim, 0.0f);
          to += dim;
        }
  });
  const ChannelRange range = take_channel_range(context, 4 * dim);
  layer_norm(context, merge.norm, merged, rows, merged, range);
  state.height = out_h;
  state.width = out_w;
  state.tokens = rows;
  state.channels = merge.reduction.out_features();
  state.x.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(state.channels));
  merge.reduction.forward(context, merged, rows, state.x.data(), range);
}

void Swin::take_output(ExecContext& context, int output, StepState& state) const {
  const auto i = static_cast<std::size_t>(output);
  if (state.features.size() < output_norms_.size()) state.features.resize(output_norms_.size());
  FeatureMap& map = state.features[i];
  if (map.name.empty()) map.name = fmt::format("norm{}", output);
  map.take(state.height, state.width, state.channels);
  layer_norm(context, output_norms_[i], state.x.data(), state.tokens, map.values.data());
}

void Swin::head(ExecContext& context, StepState& state) const {
  const ArenaScope scope(context.arena);
  const int dim = state.channels, tokens = state.tokens;
  float* x = state.x.data();
  check_numbers(state.x, config());
  layer_norm(context, norm_, x, tokens, x);
  state.embedding.resize(static_cast<std::size_t>(dim));
  float* pooled = state.embedding.data();
  for (int c = 0; c < dim; ++c) {
    float sum = 0.0f;
    for (int t = 0; t < tokens; ++t) sum += x[static_cast<std::int64_t>(t) * dim + c];
    pooled[c] = sum / static_cast<float>(tokens);
  }
  state.logits.resize(static_cast<std::size_t>(config().num_classes));
  if (config().num_classes > 0) head_.forward(context, pooled, 1, state.logits.data());
  check_numbers(state.output(), config());
}

int swin_mlp_hidden(const SwinConfig& config, int dim) {
  // Python truncates dim * ratio of doubles; the allowance covers that the ratio is stored as float (10 * 2.6f < 26).
  return static_cast<int>(static_cast<double>(dim) * static_cast<double>(config.mlp_ratio) * (1.0 + 1e-6));
}

std::vector<std::array<int, 2>> swin_windows(const ModelConfig& config) {
  const SwinConfig& s = config.swin;
  std::vector<std::array<int, 2>> windows;
  int h = (config.image_height + s.patch_size - 1) / s.patch_size;
  int w = (config.image_width + s.patch_size - 1) / s.patch_size;
  for (std::size_t stage = 0; stage < s.depths.size(); ++stage) {
    windows.push_back(s.fixed_window
                          ? s.window_size
                          : std::array<int, 2>{std::min(h, s.window_size[0]), std::min(w, s.window_size[1])});
    h = (h + 1) / 2;
    w = (w + 1) / 2;
  }
  return windows;
}

std::map<std::string, Shape> swin_tensors(const ModelConfig& config) {
  const SwinConfig& s = config.swin;
  const std::vector<std::array<int, 2>> windows = swin_windows(config);
  std::map<std::string, Shape> t;
  auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out, bool bias) {
    t[name + ".weight"] = {out, in};
    if (bias) t[name + ".bias"] = {out};
  };
  auto norm = [&](const std::string& name, std::int64_t dim) { t[name + ".weight"] = t[name + ".bias"] = {dim}; };
  t["patch_embed.proj.weight"] = {s.embed_dim, config.in_channels, s.patch_size, s.patch_size};
  t["patch_embed.proj.bias"] = {s.embed_dim};
  norm("patch_embed.norm", s.embed_dim);
  for (int stage = 0; stage < static_cast<int>(s.depths.size()); ++stage) {
    const std::int64_t dim = stage_dim(s, stage);
    if (stage > 0) {
      norm(fmt::format("layers.{}.downsample.norm", stage), 2 * dim);
      linear(fmt::format("layers.{}.downsample.reduction", stage), 2 * dim, dim, false);
    }
    const auto [window_h, window_w] = windows[static_cast<std::size_t>(stage)];
    const std::int64_t table = static_cast<std::int64_t>(2 * window_h - 1) * (2 * window_w - 1);
    for (int i = 0; i < s.depths[static_cast<std::size_t>(stage)]; ++i) {
      norm(block_name(stage, i, "norm1"), dim);
      norm(block_name(stage, i, "norm2"), dim);
      linear(block_name(stage, i, "attn.qkv"), dim, 3 * dim, s.qkv_bias);
      linear(block_name(stage, i, "attn.proj"), dim, dim, true);
      t[block_name(stage, i, "attn.relative_position_bias_table")] = {table,
                                                                      s.num_heads[static_cast<std::size_t>(stage)]};
      linear(block_name(stage, i, "mlp.fc1"), dim, swin_mlp_hidden(s, static_cast<int>(dim)), true);
      linear(block_name(stage, i, "mlp.fc2"), swin_mlp_hidden(s, static_cast<int>(dim)), dim, true);
    }
  }
  if (s.feature_maps) {
    for (std::size_t stage = 0; stage < s.depths.size(); ++stage)
      norm(fmt::format("norm{}", stage), stage_dim(s, static_cast<int>(stage)));
    return t;
  }
  const std::int64_t features = stage_dim(s, static_cast<int>(s.depths.size()) - 1);
  norm("norm", features);
  if (config.num_classes > 0) linear("head.fc", features, config.num_classes, true);
  return t;
}

}  // namespace igq
