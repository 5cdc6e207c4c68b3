#include "models/vit.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/fail.h"
#include "base/normalize_rows.h"

namespace igq {
namespace {

int prefix_count(const VitConfig& v) { return (v.class_token ? 1 : 0) + (v.distilled ? 1 : 0) + v.reg_tokens; }

std::string block_name(int i, const char* tail) { return fmt::format("blocks.{}.{}", i, tail); }

}  // namespace

void Vit::read_positions(const ModelBuilder& builder) {
  if (!config().vit.positions) return;
  const int dim = config().vit.embed_dim;
  const Shape shape = builder.has("pos_embed") ? builder.shape("pos_embed") : Shape();
  if (shape.size() != 3 || shape[2] != dim)
    fail("{}: tensor 'pos_embed' is missing or not of shape [1, tokens, {}]", builder.origin(), dim);
  const std::int64_t rows = shape[1];
  stored_ = builder.tensor("pos_embed", rows * dim);
  stored_prefix_ = config().vit.no_embed_class ? 0 : prefix_tokens_;
  const std::int64_t patches = rows - stored_prefix_ - suffix_tokens();
  if (patches == static_cast<std::int64_t>(grid_height_) * grid_width_) {
    stored_height_ = grid_height_;
    stored_width_ = grid_width_;
  } else {
    const int side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(std::max<std::int64_t>(patches, 0)))));
    if (patches <= 0 || static_cast<std::int64_t>(side) * side != patches)
      fail(
          "{}: 'pos_embed' has {} tokens, which is neither the {}x{} grid of this image size nor a square to resize "
          "from",
          builder.origin(), rows, grid_height_, grid_width_);
    stored_height_ = stored_width_ = side;
  }
  if (config().vit.mid_positions && config().vit.depth > 1)
    stored_mid_ = builder.tensor("mid_pos_embed", (config().vit.depth - 1) * rows * dim);
}

Vit::Positions Vit::resize_positions(int grid_h, int grid_w) const {
  const int dim = config().vit.embed_dim;
  const auto d = static_cast<std::size_t>(dim);
  const auto grid_rows = static_cast<std::size_t>(stored_height_) * static_cast<std::size_t>(stored_width_);
  const auto resized = [&](const float* grid) {
    const std::span<const float> stored(grid, grid_rows * d);
    if (grid_h != stored_height_ || grid_w != stored_width_)
      return resample_positions(stored, dim, stored_height_, stored_width_, grid_h, grid_w,
                                config().vit.antialias_positions);
    AlignedBuffer<float> copy(stored.size());
    std::copy(stored.begin(), stored.end(), copy.begin());
    return copy;
  };
  Positions result;
  add_rotation(grid_h, grid_w, result);
  if (stored_.empty()) return result;
  const auto prefix = static_cast<std::size_t>(stored_prefix_), suffix = static_cast<std::size_t>(suffix_tokens());
  result.patches = resized(stored_.data() + prefix * d);
  if (stored_mid_.empty()) return result;
  const std::size_t layers = static_cast<std::size_t>(config().vit.depth - 1), rows = prefix + grid_rows + suffix;
  const std::size_t patches = result.patches.size() / d,
                    all = static_cast<std::size_t>(prefix_tokens_) + patches + suffix;
  result.mid.resize_zero(layers * all * d);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const float* from = stored_mid_.data() + layer * rows * d;
    float* to = result.mid.data() + layer * all * d;
    std::copy_n(from, prefix * d, to);
    const AlignedBuffer<float> grid = resized(from + prefix * d);
    std::copy(grid.begin(), grid.end(), to + static_cast<std::size_t>(prefix_tokens_) * d);
    std::copy_n(from + (prefix + grid_rows) * d, suffix * d,
                to + (static_cast<std::size_t>(prefix_tokens_) + patches) * d);
  }
  return result;
}

/// Angles of a patch: first those by its row, then those by its column.
void Vit::add_rotation(int grid_h, int grid_w, Positions& positions) const {
  const VitConfig& v = config().vit;
  if (v.rope == Rope::kNone) return;
  const int quarter = v.embed_dim / v.num_heads / 4;
  const auto coordinate = [&](int i, int n) {
    if (v.rope == Rope::kDinov3) return 2.0 * std::numbers::pi * (2.0 * (i + 0.5) / n - 1.0);
    return static_cast<double>(i) / n * v.rope_grid;
  };
  const auto half = static_cast<std::size_t>(2 * quarter);
  positions.cos.resize(static_cast<std::size_t>(grid_h) * static_cast<std::size_t>(grid_w) * half);
  positions.sin.resize(positions.cos.size());
  std::size_t at = 0;
  for (int y = 0; y < grid_h; ++y)
    for (int x = 0; x < grid_w; ++x)
      for (const double place : {coordinate(y, grid_h), coordinate(x, grid_w)})
        for (int j = 0; j < quarter; ++j, ++at) {
          const double angle = place * std::pow(static_cast<double>(v.rope_theta), -static_cast<double>(j) / quarter);
          positions.cos[at] = static_cast<float>(std::cos(angle));
          positions.sin[at] = static_cast<float>(std::sin(angle));
        }
}

std::shared_ptr<const Vit::Positions> Vit::positions(int grid_h, int grid_w) const {
  if (grid_h == grid_height_ && grid_w == grid_width_) return configured_;
  return others_->get(grid_h, grid_w, [&] { return resize_positions(grid_h, grid_w); });
}

Vit::Vit(const ModelConfig& config, const ModelBuilder& builder) : Model(config) {
  const VitConfig& v = config.vit;
  const int dim = v.embed_dim;
  grid_height_ = config.image_height / v.patch_height;
  grid_width_ = config.image_width / v.patch_width;
  prefix_tokens_ = prefix_count(v);
  const int patches = grid_height_ * grid_width_, tokens = patches + prefix_tokens_ + suffix_tokens();
  if (patches <= 0)
    fail("{}: the image size {}x{} is smaller than one patch", config.architecture, config.image_height,
         config.image_width);
  if (v.num_heads <= 0 || dim % v.num_heads != 0)
    fail("{}: width {} is not a multiple of {} heads", config.architecture, dim, v.num_heads);

  patch_embed_ = builder.linear("patch_embed.proj", config.in_channels * v.patch_height * v.patch_width, dim,
                                !v.pre_norm || builder.has("patch_embed.proj.bias"));
  read_positions(builder);
  configured_ = std::make_shared<const Positions>(resize_positions(grid_height_, grid_width_));
  others_ = std::make_unique<SizeCache<Positions>>(v.mid_positions ? 2 : 8);  // those of every block are large
  const auto d = static_cast<std::size_t>(dim);
  prefix_.resize_zero(static_cast<std::size_t>(prefix_tokens_) * d);
  float* next = prefix_.data();
  auto append = [&](const char* name, int count) {
    const AlignedBuffer<float> token = builder.tensor(name, static_cast<std::int64_t>(count) * dim);
    next = std::copy(token.begin(), token.end(), next);
  };
  if (v.class_token) append("cls_token", 1);
  if (v.distilled) append("dist_token", 1);
  if (v.reg_tokens > 0) append("reg_token", v.reg_tokens);
  for (std::size_t i = 0; i < static_cast<std::size_t>(stored_prefix_) * d; ++i) prefix_[i] += stored_[i];
  if (v.detection_tokens > 0) {
    suffix_ = builder.tensor("det_tokens", static_cast<std::int64_t>(v.detection_tokens) * dim);
    const float* stored = stored_.data() + stored_.size() - suffix_.size();
    for (std::size_t i = 0; i < suffix_.size(); ++i) suffix_[i] += stored[i];
  }

  if (v.pre_norm) norm_pre_ = builder.norm("norm_pre", dim, v.norm_eps);
  if (v.final_norm) norm_ = builder.norm("norm", dim, v.norm_eps);
  if (v.fc_norm) fc_norm_ = builder.norm("fc_norm", dim, v.norm_eps);
  const int head_in = embedding_width(config);
  if (v.projection > 0) projection_ = builder.linear("projection", pooled_width(v), v.projection, false);
  const bool headed = !v.feature_maps && config.num_classes > 0;
  if (headed) head_ = builder.linear("head", head_in, config.num_classes, true);
  if (v.distilled && headed) head_dist_ = builder.linear("head_dist", head_in, config.num_classes, true);

  blocks_.resize(static_cast<std::size_t>(v.depth));
  add_site(patch_embed_, 0, patches, true);
  for (int i = 0; i < v.depth; ++i) {
    Block& b = blocks_[static_cast<std::size_t>(i)];
    b.norm1 = builder.norm(block_name(i, "norm1"), dim, v.norm_eps);
    b.qkv = builder.linear(block_name(i, "attn.qkv"), dim, 3 * dim, v.qkv_bias);
    b.attention = builder.attention(block_name(i, "attn"), v.num_heads, dim / v.num_heads);
    b.proj = builder.linear(block_name(i, "attn.proj"), dim, dim, true);
    b.mlp.norm = builder.norm(block_name(i, "norm2"), dim, v.norm_eps);
    b.mlp.fc1 = builder.linear(block_name(i, "mlp.fc1"), dim, v.swiglu ? 2 * v.mlp_hidden : v.mlp_hidden, true);
    b.mlp.fc2 = builder.linear(block_name(i, "mlp.fc2"), v.mlp_hidden, dim, true);
    if (v.mlp_norm) b.mlp.inner = builder.norm(block_name(i, "mlp.norm"), v.mlp_hidden, v.norm_eps);
    b.mlp.activation = v.activation;
    b.mlp.swiglu = v.swiglu;
    if (v.layer_scale) {
      b.gamma1 = builder.tensor(block_name(i, "ls1.gamma"), dim);
      b.mlp.gamma = builder.tensor(block_name(i, "ls2.gamma"), dim);
    }
    add_site(b.qkv, i + 1, tokens);
    add_site(b.attention, i + 1, tokens, 1);
    add_site(b.proj, i + 1, tokens);
    add_site(b.mlp.fc1, i + 1, tokens);
    add_site(b.mlp.fc2, i + 1, tokens);
  }
  if (pools_by_attention()) {
    pool_ = AttentionPool(v, builder);
    add_site(pool_.kv(), v.depth + 1, patches);
    add_site(pool_.attention(), v.depth + 1, 1, 1);
    for (Linear* linear : pool_.behind()) add_site(*linear, v.depth + 1, 1);
  }
  if (v.projection > 0) add_site(projection_, v.depth + 1, 1, true);
  if (!headed) return;
  add_site(head_, v.depth + 1, 1, true);
  if (v.distilled) add_site(head_dist_, v.depth + 1, 1, true);
}

void Vit::run_step(ExecContext& context, int step, StepState& state) const {
  if (step == 0)
    embed(context, state);
  else if (step <= static_cast<int>(blocks_.size()))
    run_block(context, step - 1, wanted_tokens(context, step, state), state);
  else if (config().vit.feature_maps)
    take_output(context, state);
  else
    head(context, state);
}

std::optional<BlockParts> Vit::block_parts(int step) {
  // Those who tune blocks know nothing of rotation.
  if (step < 1 || step > static_cast<int>(blocks_.size()) || config().vit.rope != Rope::kNone) return std::nullopt;
  Block& b = blocks_[static_cast<std::size_t>(step - 1)];
  return BlockParts{&b.norm1, &b.qkv, &b.proj, &b.attention, b.gamma1.empty() ? nullptr : b.gamma1.data(),
                    &b.mlp,   1,      {}};
}

void Vit::embed(ExecContext& context, StepState& state) const {
  const ArenaScope scope(context.arena);
  const VitConfig& v = config().vit;
  const std::array<int, 2> image = image_size(state);
  const int dim = v.embed_dim;
  state.height = image[0] / v.patch_height;
  state.width = image[1] / v.patch_width;
  if (state.height == 0 || state.width == 0)
    fail("{}: the image size {}x{} is smaller than one patch", config().architecture, image[0], image[1]);
  const int patches = state.height * state.width;
  state.tokens = patches + prefix_tokens_ + suffix_tokens();
  state.channels = dim;
  state.x.resize(static_cast<std::size_t>(state.tokens) * static_cast<std::size_t>(dim));
  float* rows = context.arena.take<float>(static_cast<std::size_t>(patches) *
                                          static_cast<std::size_t>(patch_embed_.in_features()));
  unfold_patches(context, state.image, config().in_channels, image[0], image[1], v.patch_height, v.patch_width, rows);
  float* x = state.x.data() + prefix_.size();
  patch_embed_.forward(context, rows, patches, x);
  if (v.positions)
    add_residual(context, x, positions(state.height, state.width)->patches.data(), patches, dim, nullptr);
  std::copy(prefix_.begin(), prefix_.end(), state.x.begin());
  std::copy(suffix_.begin(), suffix_.end(), state.x.end() - suffix_.size());
  if (v.pre_norm) layer_norm(context, norm_pre_, state.x.data(), state.tokens, state.x.data());
}

/// Of the tokens that leave the block, so many from the first on are read again: after the last block, those that are
/// pooled.
int Vit::wanted_tokens(const ExecContext& context, int step, const StepState& state) const {
  const bool last = step == static_cast<int>(blocks_.size());
  return last && !pools_patches() && !pools_by_attention() && !config().vit.feature_maps && context.logits_only &&
                 context.observer == nullptr
             ? prefix_tokens_
             : state.tokens;
}

void Vit::run_block(ExecContext& context, int index, int wanted, StepState& state) const {
  const Block& block = blocks_[static_cast<std::size_t>(index)];
  const int tokens = state.tokens, dim = state.channels;
  {
    AttentionBias bias;
    std::shared_ptr<const Positions> places;
    Rotation rotation;
    if (config().vit.rope != Rope::kNone) {
      places = positions(state.height, state.width);
      rotation = {places->cos.data(), places->sin.data(), prefix_tokens_};
      bias.rotation = &rotation;
    }
    const ArenaScope scope(context.arena);
    const auto n = static_cast<std::size_t>(tokens) * static_cast<std::size_t>(dim);
    float* normed = context.arena.take<float>(n);
    const ChannelRange range = take_channel_range(context, dim);
    layer_norm(context, block.norm1, state.x.data(), tokens, normed, range);
    block.attention.forward(context, block.qkv, block.proj, normed, range, 1, tokens, bias,
                            {state.x.data(), true, block.gamma1.empty() ? nullptr : block.gamma1.data()});
  }
  block.mlp.add_to(context, state.x.data(), tokens, wanted);
  if (stored_mid_.empty() || index + 1 == static_cast<int>(blocks_.size())) return;
  const std::shared_ptr<const Positions> all = positions(state.height, state.width);
  add_residual(context, state.x.data(), all->mid.data() + std::int64_t{index} * tokens * dim, tokens, dim, nullptr);
}

void Vit::take_output(ExecContext& context, StepState& state) const {
  state.features.resize(1);
  FeatureMap& map = state.features.front();
  if (map.name.empty()) map.name = "tokens";
  map.take(1, state.tokens, state.channels);
  if (config().vit.final_norm)
    layer_norm(context, norm_, state.x.data(), state.tokens, map.values.data());
  else
    std::copy_n(state.x.data(), map.values.size(), map.values.data());
}

void Vit::head(ExecContext& context, StepState& state) const {
  const ArenaScope scope(context.arena);
  const VitConfig& v = config().vit;
  const int dim = v.embed_dim, patches = state.tokens - prefix_tokens_;
  const auto d = static_cast<std::size_t>(dim);
  const bool average = pools_patches(), attends = pools_by_attention();
  // Rows are normalised one by one, so only those that are pooled need to be where nobody asks for the tokens.
  const int rows = average || attends || !context.logits_only ? state.tokens : prefix_tokens_;
  float* x = state.x.data();
  check_numbers(state.x, config());
  if (v.final_norm) layer_norm(context, norm_, x, rows, x);
  state.embedding.resize(static_cast<std::size_t>(embedding_width(config())));
  float* pooled = v.projection > 0 ? context.arena.take<float>(2 * d) : state.embedding.data();
  float* mean = v.concat_pool ? pooled + d : pooled;
  if (attends)
    pool_.forward(context, x + std::int64_t{prefix_tokens_} * dim, patches, pooled);
  else if (v.concat_pool || !average)
    std::copy_n(x, d, pooled);
  if (average) {
    for (int c = 0; c < dim; ++c) {
      float sum = 0.0f;
      for (int t = prefix_tokens_; t < state.tokens; ++t) sum += x[static_cast<std::int64_t>(t) * dim + c];
      mean[c] = sum / static_cast<float>(patches);
    }
  }
  if (v.fc_norm) layer_norm(context, fc_norm_, pooled, 1, pooled);
  if (v.projection > 0) {
    projection_.forward(context, pooled, 1, state.embedding.data());
    pooled = state.embedding.data();
  }
  if (v.unit_head) {  // the embedding stays as it is
    pooled = context.arena.take<float>(state.embedding.size());
    std::copy(state.embedding.begin(), state.embedding.end(), pooled);
    normalize_rows({pooled, state.embedding.size()}, state.embedding.size());
  }
  const auto classes = static_cast<std::size_t>(config().num_classes);
  state.logits.resize(classes);
  if (classes > 0) head_.forward(context, pooled, 1, state.logits.data());
  if (v.distilled && classes > 0) {
    float* second = context.arena.take<float>(classes);
    head_dist_.forward(context, x + dim, 1, second);
    for (std::size_t i = 0; i < classes; ++i) state.logits[i] = (state.logits[i] + second[i]) / 2.0f;
  }
  if (v.distilled)  // timm's features are the mean of the two tokens
    for (std::size_t i = 0; i < d; ++i) pooled[i] = (pooled[i] + x[d + i]) / 2.0f;
  check_numbers(state.output(), config());
}

std::map<std::string, Shape> vit_tensors(const ModelConfig& config) {
  const VitConfig& v = config.vit;
  const std::int64_t dim = v.embed_dim, hidden = v.mlp_hidden, classes = config.num_classes;
  const std::int64_t patches =
      static_cast<std::int64_t>(config.image_height / v.patch_height) * (config.image_width / v.patch_width);
  std::map<std::string, Shape> t;
  auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out, bool bias) {
    t[name + ".weight"] = {out, in};
    if (bias) t[name + ".bias"] = {out};
  };
  auto norm = [&](const std::string& name) { t[name + ".weight"] = t[name + ".bias"] = {dim}; };
  t["patch_embed.proj.weight"] = {dim, config.in_channels, v.patch_height, v.patch_width};
  if (!v.pre_norm) t["patch_embed.proj.bias"] = {dim};
  const std::int64_t positions = patches + (v.no_embed_class ? 0 : prefix_count(v)) + v.detection_tokens;
  if (v.positions) t["pos_embed"] = {1, positions, dim};
  if (v.detection_tokens > 0) t["det_tokens"] = {1, v.detection_tokens, dim};
  if (v.mid_positions && v.depth > 1) t["mid_pos_embed"] = {v.depth - 1, 1, positions, dim};
  if (v.class_token) t["cls_token"] = {1, 1, dim};
  if (v.distilled) t["dist_token"] = {1, 1, dim};
  if (v.reg_tokens > 0) t["reg_token"] = {1, v.reg_tokens, dim};
  if (v.pre_norm) norm("norm_pre");
  if (v.final_norm) norm("norm");
  if (v.fc_norm) norm("fc_norm");
  for (int i = 0; i < v.depth; ++i) {
    norm(block_name(i, "norm1"));
    norm(block_name(i, "norm2"));
    linear(block_name(i, "attn.qkv"), dim, 3 * dim, v.qkv_bias);
    linear(block_name(i, "attn.proj"), dim, dim, true);
    linear(block_name(i, "mlp.fc1"), dim, v.swiglu ? 2 * hidden : hidden, true);
    linear(block_name(i, "mlp.fc2"), hidden, dim, true);
    if (v.mlp_norm) t[block_name(i, "mlp.norm.weight")] = t[block_name(i, "mlp.norm.bias")] = {hidden};
    if (v.layer_scale) t[block_name(i, "ls1.gamma")] = t[block_name(i, "ls2.gamma")] = {dim};
  }
  if (v.pooling == Pooling::kAttention) add_pool_tensors(v, t);
  if (v.projection > 0) linear("projection", pooled_width(v), v.projection, false);
  if (v.feature_maps || config.num_classes == 0) return t;
  linear("head", embedding_width(config), classes, true);
  if (v.distilled) linear("head_dist", dim, classes, true);
  return t;
}

void unfold_patches(const ExecContext& context, const float* image, int channels, int height, int width, int patch_h,
                    int patch_w, float* rows) {
  // Along the image's own rows: it comes from afar, and the processor fetches ahead what is read in order.
  const std::int64_t across = width / patch_w, patch = std::int64_t{channels} * patch_h * patch_w;
  context.parallel_for(height / patch_h, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t py = begin; py < end; ++py)
      for (int c = 0; c < channels; ++c)
        for (int y = 0; y < patch_h; ++y) {
          const float* from = image + (std::int64_t{c} * height + py * patch_h + y) * width;
          float* to = rows + py * across * patch + (std::int64_t{c} * patch_h + y) * patch_w;
          for (std::int64_t px = 0; px < across; ++px, from += patch_w, to += patch) std::copy_n(from, patch_w, to);
        }
  });
}

AlignedBuffer<float> resample_positions(std::span<const float> positions, int dim, int old_h, int old_w, int new_h,
                                        int new_w, bool antialias) {
  struct Tap {
    int first = 0;
    std::vector<double> weights;
  };
  auto cubic = [a = antialias ? -0.5 : -0.75](double x) {
    x = std::abs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
  };
  auto taps_of = [&](int from, int to) {
    const double scale = static_cast<double>(from) / to, stretch = std::max(scale, 1.0), support = 2.0 * stretch;
    std::vector<Tap> taps(static_cast<std::size_t>(to));
    for (int i = 0; i < to; ++i) {
      Tap& tap = taps[static_cast<std::size_t>(i)];
      const double centre = scale * (i + 0.5);
      if (!antialias) {
        const int near = static_cast<int>(std::floor(centre - 0.5));
        tap.first = std::clamp(near - 1, 0, from - 1);
        tap.weights.resize(static_cast<std::size_t>(std::clamp(near + 2, 0, from - 1) - tap.first + 1));
        for (int j = near - 1; j <= near + 2; ++j) {
          tap.weights[static_cast<std::size_t>(std::clamp(j, 0, from - 1) - tap.first)] += cubic(j - centre + 0.5);
        }
        continue;
      }
      tap.first = std::max(static_cast<int>(centre - support + 0.5), 0);
      const int last = std::min(static_cast<int>(centre + support + 0.5), from);
      double total = 0.0;
      for (int j = tap.first; j < last; ++j) {
        tap.weights.push_back(cubic((j - centre + 0.5) / stretch));
        total += tap.weights.back();
      }
      for (double& w : tap.weights) w /= total;
    }
    return taps;
  };
  const std::vector<Tap> rows = taps_of(old_h, new_h), cols = taps_of(old_w, new_w);
  const auto d = static_cast<std::size_t>(dim);
  AlignedBuffer<float> result(static_cast<std::size_t>(new_h) * static_cast<std::size_t>(new_w) * d);
  std::vector<double> sum(d);
  for (std::size_t y = 0; y < rows.size(); ++y)
    for (std::size_t x = 0; x < cols.size(); ++x) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (std::size_t i = 0; i < rows[y].weights.size(); ++i)
        for (std::size_t j = 0; j < cols[x].weights.size(); ++j) {
          const double w = rows[y].weights[i] * cols[x].weights[j];
          const std::size_t at = (static_cast<std::size_t>(rows[y].first) + i) * static_cast<std::size_t>(old_w) +
                                 static_cast<std::size_t>(cols[x].first) + j;
          for (std::size_t c = 0; c < d; ++c) sum[c] += w * static_cast<double>(positions[at * d + c]);
        }
      for (std::size_t c = 0; c < d; ++c) result[(y * cols.size() + x) * d + c] = static_cast<float>(sum[c]);
    }
  return result;
}

}  // namespace igq
