// Models of the Hugging Face hub that are on this machine already: "hf:org/name" or "hf:org/name@revision" names the
// folder that `hf download` and transformers keep them in. Nothing is fetched. The layout (huggingface_hub's "cache"
// guide): CACHE/models--org--name/{refs/main -> a commit, snapshots/COMMIT/file -> ../../blobs/hash}.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace igq {

struct HubModel {
  std::filesystem::path folder;  ///< the snapshot: config.json, model.safetensors
  std::string name;              ///< "hf:org/name@COMMIT"
};

/// Whether `text` begins with "hf:".
bool names_hub_model(std::string_view text);

/// HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub: the
/// first that is set.
std::filesystem::path hub_cache();

/// The snapshot of "hf:org/name[@revision]" (a branch, a tag, or a commit, of which 7 digits or more are enough; main
/// where none is given). Error: no such name, or not in the cache, with the line that fetches it.
HubModel find_hub_model(std::string_view text);

/// Where the model that `text` names lies, and what provenance calls it: its file or folder without the path (that of
/// "models/vit/" and "." too), or "hf:org/name@COMMIT".
HubModel locate_model(const std::filesystem::path& text);

/// `text` itself, or the folder of a hub model.
std::filesystem::path model_path(const std::filesystem::path& text);

}  // namespace igq
