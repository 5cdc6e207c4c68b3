#include "models/attention_pool.h"

namespace igq {

AttentionPool::AttentionPool(const VitConfig& config, const ModelBuilder& builder) {
  const int dim = config.embed_dim;
  const auto d = static_cast<std::size_t>(dim);
  const AlignedBuffer<float> latent = builder.tensor("attn_pool.latent", dim),
                             weight = builder.tensor("attn_pool.q.weight", std::int64_t{dim} * dim);
  query_ = builder.tensor("attn_pool.q.bias", dim);
  for (std::size_t o = 0; o < d; ++o) {
    double sum = static_cast<double>(query_[o]);
    for (std::size_t i = 0; i < d; ++i) sum += static_cast<double>(weight[o * d + i]) * static_cast<double>(latent[i]);
    query_[o] = static_cast<float>(sum);
  }
  kv_ = builder.linear("attn_pool.kv", dim, 2 * dim, true);
  attention_ = builder.attention("attn_pool.attn", config.num_heads, dim / config.num_heads);
  proj_ = builder.linear("attn_pool.proj", dim, dim, true);
  mlp_.norm = builder.norm("attn_pool.norm", dim, config.norm_eps);
  mlp_.fc1 = builder.linear("attn_pool.mlp.fc1", dim, config.mlp_hidden, true);
  mlp_.fc2 = builder.linear("attn_pool.mlp.fc2", config.mlp_hidden, dim, true);
  mlp_.activation = config.activation;
}

void AttentionPool::forward(ExecContext& context, const float* x, int patches, float* pooled) const {
  const ArenaScope scope(context.arena);
  const std::int64_t dim = proj_.out_features();
  float* kv = context.arena.take<float>(static_cast<std::size_t>(2 * patches * dim));
  float* mixed = context.arena.take<float>(static_cast<std::size_t>(dim));
  kv_.forward(context, x, patches, kv);
  attention_.forward(context, query_.data(), 1, {kv, kv + dim, 2 * dim, patches}, mixed);
  proj_.forward(context, mixed, 1, pooled);
  mlp_.add_to(context, pooled, 1, 1);
}

void add_pool_tensors(const VitConfig& config, std::map<std::string, Shape>& tensors) {
  const std::int64_t dim = config.embed_dim, hidden = config.mlp_hidden;
  const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    tensors[name + ".weight"] = {out, in};
    tensors[name + ".bias"] = {out};
  };
  tensors["attn_pool.latent"] = {1, 1, dim};
  linear("attn_pool.q", dim, dim);
  linear("attn_pool.kv", dim, 2 * dim);
  linear("attn_pool.proj", dim, dim);
  tensors["attn_pool.norm.weight"] = tensors["attn_pool.norm.bias"] = {dim};
  linear("attn_pool.mlp.fc1", dim, hidden);
  linear("attn_pool.mlp.fc2", hidden, dim);
}

}  // namespace igq
