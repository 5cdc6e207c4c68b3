// Layers that checkpoints store in parts and the network has as one: query, key and value; gate and value of a gated
// MLP.
#pragma once

#include <map>
#include <string>

#include "models/weight_names.h"

namespace igq {

/// timm's name -> the stored one.
using TensorNames = std::map<std::string, std::string>;

/// Query, key and value ("attn.q.", "attn.k.", "attn.v.") become "attn.qkv.": one matrix, and one bias with zeros for
/// those that have none. A bias of query and value alone beside a matrix that is one already (timm's "attn.q_bias",
/// "attn.v_bias") becomes "attn.qkv.bias". Names that are used go; parts that do not fit stay for check_tensors().
void join_qkv(RenamedTensors& out, const TensorSource& stored, TensorNames& names);

/// Gate and value of a gated MLP ("mlp.fc1_g.", "mlp.fc1_x.") become "mlp.fc1.", the gate first.
void join_gates(RenamedTensors& out, const TensorSource& stored, TensorNames& names);

/// EVA-02 turns neighbouring channels (2j, 2j + 1) of a head; igq those half a head apart (ops/rotary.h). The rows of q
/// and k, and their biases, are put in that order, which leaves every score as it is.
void part_pairs(RenamedTensors& out, const ModelConfig& config);

}  // namespace igq
