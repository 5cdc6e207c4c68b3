#!/usr/bin/env python3
"""How far the vectors of a quantized encoder turn from float's: igq beside the 8 bits of ONNX Runtime and OpenVINO.

    bench/encoder_quality.py ../shared/data/dinov2_s14_textile --calib ../shared/data/textile/calibration \\
        --test ../shared/data/textile/test --limit 120

MODEL is a folder of transformers with a DINOv2 (a classifier's head is left out). Needs the packages of bench/requirements.txt,
transformers, and build/igq. Every engine gets the same calibration images (--samples); pictures are prepared by
transformers, for igq by igq. Reference: Dinov2Model.pooler_output in PyTorch. Printed: the mean and the 1st percentile of the
cosine to it over the test images, and recall@1: how often the nearest other test image is the same.
"""
import argparse
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def images(folder, limit):
    """As many pictures from every class folder, by name."""
    groups = [sorted(p for p in g.iterdir() if p.is_file()) for g in sorted(pathlib.Path(folder).iterdir()) if g.is_dir()]
    groups = groups or [sorted(p for p in pathlib.Path(folder).iterdir() if p.is_file())]
    chosen = [g[i] for i in range(max(map(len, groups))) for g in groups if i < len(g)]
    return chosen[:limit]


def headless(folder, work):
    """A copy of the model's folder without the head's tensors."""
    from safetensors.torch import load_file, save_file
    copy = pathlib.Path(work) / "headless"
    copy.mkdir()
    for file in pathlib.Path(folder).glob("*.json"):
        shutil.copy(file, copy)
    tensors = load_file(str(pathlib.Path(folder) / "model.safetensors"))
    save_file({name: t for name, t in tensors.items() if not name.startswith("classifier")}, copy / "model.safetensors")
    return copy


def igq_vectors(igq, model, files, work):
    import numpy as np
    listed, out = pathlib.Path(work) / "list.txt", pathlib.Path(work) / "vectors.npy"
    listed.write_text("".join(f"{f.resolve()}\n" for f in files))
    subprocess.run([igq, "embed", model, listed, "-o", out, "--overwrite"], check=True, capture_output=True)
    return np.load(out)


def score(reference, vectors):
    import numpy as np
    a = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    b = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.sort((a * b).sum(1))

    def nearest(v):
        likeness = v @ v.T
        np.fill_diagonal(likeness, -2)
        return likeness.argmax(1)
    return cosines.mean(), cosines[max(0, int(np.ceil(0.01 * len(cosines))) - 1)], (nearest(a) == nearest(b)).mean()


def peers(model, calibration, tests, work):
    """Vectors of the peers' quantized networks: {name: array}."""
    import nncf
    import numpy as np
    import onnxruntime
    import openvino
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    exported, prepared = f"{work}/m.onnx", f"{work}/p.onnx"

    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x).pooler_output
    with torch.no_grad():
        torch.onnx.export(Pooled(), (torch.from_numpy(tests[0]),), exported, opset_version=17, input_names=["x"], dynamo=False)
    quant_pre_process(exported, prepared, skip_symbolic_shape=True)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": x} for x in calibration]

        def get_next(self):
            return self.left.pop() if self.left else None

    def run_onnx(path):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"x": x})[0] for x in tests])

    found = {}
    # Matrix products alone, as its documentation advises for transformers.
    quantize_dynamic(prepared, f"{work}/d.onnx", weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    found["ONNX Runtime, dynamic int8, per tensor"] = run_onnx(f"{work}/d.onnx")
    for per_channel in (False, True):
        quantize_static(prepared, f"{work}/s.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=per_channel)
        kind = "weights per channel" if per_channel else "per tensor"
        found[f"ONNX Runtime, static int8, {kind}"] = run_onnx(f"{work}/s.onnx")
    codes = nncf.quantize(openvino.Core().read_model(exported), nncf.Dataset(calibration), subset_size=len(calibration),
                          model_type=nncf.ModelType.TRANSFORMER)
    compiled = openvino.Core().compile_model(codes, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found["OpenVINO, NNCF int8 for transformers"] = np.concatenate([compiled({0: x})[0] for x in tests])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--calib", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--bits", nargs="+", default=["w8a8", "w4a8", "w4a4"])
    parser.add_argument("--igq", default=str(ROOT / "build" / "igq"))
    args = parser.parse_args()
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, Dinov2Model
    model = Dinov2Model.from_pretrained(args.model, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(args.model)

    def prepare(files):
        return [processor(Image.open(f).convert("RGB"), return_tensors="np")["pixel_values"] for f in files]
    calibration, files = images(args.calib, args.samples), images(args.test, args.limit)
    tests = prepare(files)
    with torch.no_grad():
        reference = torch.cat([model(torch.from_numpy(x)).pooler_output for x in tests]).numpy()
    rows = {}
    with tempfile.TemporaryDirectory() as work:
        float_model = headless(args.model, work)
        rows["igq, float"] = score(reference, igq_vectors(args.igq, float_model, files, work))
        folder = pathlib.Path(work) / "calibration"
        folder.mkdir()
        for i, file in enumerate(calibration):
            shutil.copy(file, folder / f"{i:04d}{file.suffix}")
        for bits in args.bits:
            out = pathlib.Path(work) / f"{bits}.igq"
            subprocess.run([args.igq, "quantize", float_model, "--calib", folder, "--samples", str(args.samples), "--held-back",
                            "0", "--noise-images", "0", "--bits", bits, "-o", out], check=True, capture_output=True)
            rows[f"igq, {bits}"] = score(reference, igq_vectors(args.igq, out, files, work))
        for name, vectors in peers(model, prepare(calibration), tests, work).items():
            rows[name] = score(reference, vectors)
    print(f"{pathlib.Path(args.model).name} without its head, {len(calibration)} calibration images, {len(files)} test images")
    print("| | cosine, mean | 1st percentile | recall@1 |\n|---|---:|---:|---:|")
    for name, (mean, low, recall) in rows.items():
        print(f"| {name} | {mean:.5f} | {low:.5f} | {100 * recall:.1f} % |")


if __name__ == "__main__":
    main()
