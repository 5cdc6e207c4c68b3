// Rewrites the qkv layers so that queries and keys lose less when they are quantized per token, without changing the
// float model. The scores q k^T stay the same under q -> A q, k -> A^-T k for any invertible A, and softmax ignores
// what all keys of a query share, so the keys' mean can leave through their bias. Per head, A = H U^T M^(1/2):
//   M makes the second moments S of q and k equal, M Sq M = Sk (the geometric mean of Sq^-1 and Sk): the product of
//   both operands' energies, which bounds the error of the scores, is then least; U^T, H (eigenvectors, Hadamard)
//   spread the energy evenly over the channels that share a token's scale.
// Where q and k are turned by a rotary embedding (ops/rotary.h), A must let every turn pass: of the pair of channels
// that turns together both are multiplied by (E|k|^2 / E|q|^2)^(1/4) in q and divided by it in k, and the mean stays,
// since it turns too.
#pragma once

#include <functional>

#include "calibration/calibrate.h"
#include "calibration/refine.h"

namespace igq {

/// Works on every attention whose q, k, v and whose qkv weights the options quantize; to be called before statistics
/// are collected. load(i, image) gives calibration image i of `images`. Returns the qkv biases that changed.
BiasMap balance_queries_and_keys(Model& model, const QuantizeOptions& options, std::int64_t images,
                                 const std::function<void(std::int64_t, float*)>& load, Isa isa, ThreadPool& pool);

}  // namespace igq
