#include "models/foreign_weights.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/directory.h"
#include "base/fail.h"
#include "base/file.h"
#include "io/json_fields.h"
#include "io/safetensors.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxAdapterConfig = std::uint64_t{1} << 20;

/// The first or last `size` bytes; empty when the file cannot be read.
std::string piece(const fs::path& path, std::uint64_t size, bool last) {
  if (!is_file(path)) return {};
  try {
    const InputFile file(path);
    std::string bytes(std::min(size, file.size()), '\0');
    file.read(last ? file.size() - bytes.size() : 0, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  } catch (const Error&) {
    return {};
  }
}

/// A Python string literal within double quotes of a shell.
std::string quoted(const std::string& text) {
  const auto escaped = [](const std::string& from, std::string_view special) {
    std::string to;
    for (const char c : from) {
      if (special.find(c) != std::string_view::npos) to += '\\';
      to += c;
    }
    return to;
  };
  return escaped("'" + escaped(text, "'\\") + "'", "\\\"$`");
}

/// A pickle runs whatever code its author put into it, so igq does not read one. The line reads tensors and nothing
/// else: every other object (arguments of the training, optimizers, whole modules) becomes an empty dictionary, whose
/// class is never looked up. Averaged weights come first, as in timm.models.load_checkpoint.
constexpr std::string_view kConvert =
    "import torch, pickle, types; from safetensors.torch import save_file; "
    "X = type('X', (dict,), {{'__init__': lambda s, *a, **k: None, '__hash__': lambda s: id(s), 'append': lambda s, v: "
    "None, 'extend': lambda s, v: None, 'add': lambda s, *v: None, '__call__': lambda s, *a, **k: s, "
    "'__setstate__': lambda s, v: s.update(v) if isinstance(v, dict) else None}}); "
    "ok = lambda m, n: '.' not in n and (m == 'torch._utils' and n.startswith('_rebuild_') or m in ('torch', "
    "'torch.storage') and (n.endswith('Storage') or n in ('Size', 'device') or isinstance(getattr(torch, n, 0), "
    "torch.dtype)) or m == 'torch.serialization' and n == '_get_layout' or (m, n) in (('collections', 'OrderedDict'), "
    "('collections', 'defaultdict'), ('torch.nn.parameter', 'Parameter'))); "
    "U = type('U', (pickle.Unpickler,), {{'find_class': lambda s, m, n: pickle.Unpickler.find_class(s, m, n) if ok(m, "
    "n) "
    "else X}}); "
    "P = types.SimpleNamespace(__name__='p', Unpickler=U, load=lambda f, **k: U(f, **k).load()); "
    "s = torch.load({}, map_location='cpu', pickle_module=P, weights_only=False); "
    "s = next((s[k] for k in ('state_dict_ema', 'model_ema', 'state_dict', 'model', 'module', 'teacher') if "
    "isinstance(s, "
    "dict) and isinstance(s.get(k), dict) and s[k]), s); "
    "w = lambda m, p='': {{**{{p + k: v for q in ('_parameters', '_buffers') for k, v in m.get(q, {{}}).items()}}, "
    "**{{k: v for "
    "n, c in m['_modules'].items() if c for k, v in w(c, p + n + '.').items()}}}} if '_modules' in m else m; "
    "save_file({{k: v.detach().clone().contiguous() for k, v in w(s).items() if torch.is_tensor(v)}}, {})";

[[noreturn]] void refuse_pickle(const fs::path& path) {
  const std::string from = quoted(path.string()), target = (path.parent_path() / "model.safetensors").string();
  // The table of contents at the end of TorchScript's archive names constants.pkl; a checkpoint has none.
  if (piece(path, 1 << 16, true).find("constants.pkl") != std::string::npos)
    fail(
        "{} is a TorchScript program; igq reads safetensors. Convert its weights once with: python3 -c \"import torch; "
        "from safetensors.torch import save_file; save_file({{k: v.clone().contiguous() for k, v in torch.jit.load({}, "
        "map_location='cpu').state_dict().items()}}, {})\", and give {}",
        path.string(), from, quoted(target), target);
  const std::string line = fmt::format(fmt::runtime(kConvert), from, quoted(target));
  fail(
      "{} is a PyTorch pickle, which can run code when it is opened; igq reads safetensors. Convert it once with: "
      "python3 -c \"{}\", and give {}",
      path.string(), line, target);
}

/// The base model that an adapter's configuration names.
std::string base_model(const fs::path& folder) {
  try {
    const auto config = parse_json(read_file(folder / "adapter_config.json", kMaxAdapterConfig));
    if (const auto* name = json_find(config, "base_model_name_or_path"); name != nullptr && name->is_string())
      return name->get<std::string>();
  } catch (const Error&) {
  }
  return "the base model";
}

/// Classes of the head that an adapter brings along, 0 when it has none.
std::int64_t adapter_classes(const fs::path& file) {
  try {
    const auto tensors = open_safetensors(file);
    for (const auto& [name, shape] : tensors->shapes())
      if (shape.size() == 2 && name.find("lora_") == std::string::npos &&
          (name.ends_with("classifier.weight") || name.ends_with("head.weight")))
        return shape[0];
  } catch (const Error&) {
  }
  return 0;
}

[[noreturn]] void refuse_adapter(const fs::path& folder) {
  const std::string base = base_model(folder);
  const std::int64_t classes = adapter_classes(folder / "adapter_model.safetensors");
  const std::string merged = folder.string() + "-merged";
  fail(
      "{} is an adapter (LoRA), which is no model without its base model {}: merge the two once with: "
      "python3 -c \"from transformers import AutoModelForImageClassification as M, AutoImageProcessor as I; from peft "
      "import PeftModel; m = M.from_pretrained({}{}); PeftModel.from_pretrained(m, "
      "{}).merge_and_unload().save_pretrained({}); I.from_pretrained({}).save_pretrained({})\", and give {}",
      folder.string(), base, quoted(base),
      classes > 0 ? fmt::format(", num_labels={}, ignore_mismatched_sizes=True", classes) : std::string(),
      quoted(folder.string()), quoted(merged), quoted(base), quoted(merged), merged);
}

struct Foreign {
  std::string_view extension, text;
};
constexpr std::string_view kOriginal =
    "give the PyTorch checkpoint that it was made from (a folder with config.json and model.safetensors)";
constexpr std::array<Foreign, 15> kForeign{{{".onnx", "an ONNX graph"},
                                            {".gguf", "a GGUF file"},
                                            {".ggml", "a GGML file"},
                                            {".tflite", "a TensorFlow Lite program"},
                                            {".pb", "a TensorFlow graph"},
                                            {".mlmodel", "a Core ML model"},
                                            {".mlpackage", "a Core ML model"},
                                            {".engine", "a TensorRT engine"},
                                            {".trt", "a TensorRT engine"},
                                            {".xml", "an OpenVINO graph"},
                                            {".pt2", "an exported PyTorch program"},
                                            {".npz", "a NumPy archive"},
                                            {".npy", "a NumPy array"},
                                            {".ckpt.index", "a TensorFlow checkpoint"},
                                            {".hdf5", "an HDF5 file"}}};

[[noreturn]] void refuse_framework(const fs::path& path, std::string_view what, std::string_view flag,
                                   std::string_view packages) {
  const std::string folder = quoted(path.parent_path().empty() ? "." : path.parent_path().string());
  fail(
      "{} holds the weights of {}; igq reads safetensors. Convert them once, with `pip install {}`, by: python3 -c "
      "\"from transformers import AutoModelForImageClassification as M; M.from_pretrained({}, "
      "{}=True).save_pretrained({}, safe_serialization=True)\"",
      path.string(), what, packages, folder, flag, folder);
}

bool is_pickle_name(const fs::path& path) {
  constexpr std::array<std::string_view, 7> kPickles = {".bin", ".pth", ".pt", ".ckpt", ".pkl", ".tar", ".pickle"};
  return std::find(kPickles.begin(), kPickles.end(), path.extension().string()) != kPickles.end();
}

}  // namespace

void refuse_lfs_pointer(const fs::path& file) {
  if (!piece(file, 64, false).starts_with("version https://git-lfs")) return;
  fail(
      "{} is a pointer of git-lfs, not the file itself: install git-lfs and run `git lfs pull` in its repository "
      "(downloading it again without git-lfs gives the same pointer)",
      file.string());
}

void refuse_foreign(const fs::path& file) {
  refuse_lfs_pointer(file);
  const std::string head = piece(file, 512, false), name = file.filename().string();
  if (name.starts_with("adapter_model.")) refuse_adapter(file.parent_path());
  if (head.starts_with("GGUF")) fail("{} is a GGUF file; igq reads safetensors: {}", file.string(), kOriginal);
  if (head.starts_with("\x89HDF") || file.extension() == ".h5")
    refuse_framework(file, "TensorFlow", "from_tf", "'transformers<5' tensorflow");
  if (file.extension() == ".msgpack") refuse_framework(file, "Flax", "from_flax", "'transformers<5' flax");
  for (const Foreign& known : kForeign)
    if (name.ends_with(known.extension))
      fail("{} is {}; igq reads safetensors: {}", file.string(), known.text, kOriginal);
  if (is_pickle_name(file) || head.starts_with("PK\x03\x04") || head.starts_with("\x80\x02")) refuse_pickle(file);
  if (head.starts_with("<"))
    fail("{} is a web page, not the file that was meant: download it again (a login or a licence to accept?)",
         file.string());
}

void refuse_foreign_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  const std::error_code fault = for_each_entry(folder, [&](const fs::path& file) { files.push_back(file); });
  if (fault) fail("cannot list {}: {}", folder.string(), fault.message());
  std::sort(files.begin(), files.end());
  if (is_file(folder / "adapter_config.json")) refuse_adapter(folder);
  std::string others;
  for (const fs::path& file : files)
    if (file.extension() == ".safetensors" && is_file(file))
      others += fmt::format("{}{}", others.empty() ? "" : ", ", file.filename().string());
  if (!others.empty())
    fail("{} has no model.safetensors, but {}: rename the weights, or give that file itself", folder.string(), others);
  // What a trainer writes beside the weights is no model.
  const auto beside = [](const std::string& name) {
    for (const char* known : {"training_args", "optimizer", "scheduler", "rng_state", "scaler", "trainer_state"})
      if (name.starts_with(known)) return true;
    return false;
  };
  for (const fs::path& file : files)
    if (is_file(file) && is_pickle_name(file) && !beside(file.filename().string())) refuse_foreign(file);
  // One array (features, an example's input) is nobody's checkpoint: only an .npz is.
  for (const fs::path& file : files)
    if (is_file(file) && file.extension() != ".json" && file.extension() != ".npy" &&
        !beside(file.filename().string()) && !is_pickle_name(file))
      refuse_foreign(file);
  for (const fs::path& file : files)
    if (is_file(file / "config.json") && is_file(file / "model.safetensors"))
      fail("{} holds no model itself, but {} does: give that folder", folder.string(), file.string());
}

}  // namespace igq
