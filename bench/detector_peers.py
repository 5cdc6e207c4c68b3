#!/usr/bin/env python3
"""Times igq and its peers in turn on Mask R-CNN with Swin-T at 800x1333: OpenVINO, ONNX Runtime and PyTorch.

    bench/detector_peers.py                            # 1 thread
    bench/detector_peers.py --threads 1 2 --json detectors.json

Needs the packages of bench/requirements.txt and build/igq. The network has random weights under mmdetection's names
(tools/small_mask_rcnn.py at full size), its class scores stretched so that it finds its 100 objects.

igq runs the whole detector: a photograph is resized, regions are proposed, pooled, suppressed, masks are pasted. The
peers run the fixed work alone, cut at the steps that depend on data, on the same weights: backbone, pyramid and RPN; the
box head on 1,000 regions; the mask head on 100. What lies between, which igq's time includes, is left out of theirs; PyTorch
also runs whole. Each engine is quantized by its own tool (NNCF, ONNX Runtime's static quantizer). Rounds time every engine
once; a time is the median over the rounds.
"""
import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEIGHT, WIDTH, REGIONS, OBJECTS, CLASSES = 800, 1344, 1000, 100, 80
ARCH = "mask_rcnn_swin_t_fpn"


def network():
    """The full-size network of tools/small_mask_rcnn.py."""
    import torch
    sys.path.insert(0, str(ROOT / "tools"))
    import small_mask_rcnn as net
    net.EMBED, net.DEPTHS, net.HEADS, net.WINDOW = 96, [2, 2, 6, 2], [3, 6, 12, 24], 7
    net.FPN, net.FC, net.MASK_CONVS = 256, 1024, 4
    torch.manual_seed(0)
    model = net.MaskRcnn(CLASSES).eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=0.3)
        torch.nn.init.normal_(model.rpn_head.rpn_cls.weight, std=0.05)
    return net, model


def parts_of(model):
    """The fixed work as modules with one input each: {name: (module, shape of the input)}."""
    from torch import nn

    class Trunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            maps = self.model.features(x)
            logits, deltas = self.model.rpn_head(maps)
            return (*maps, *logits, *deltas)

    return {"trunk": (Trunk(), (1, 3, HEIGHT, WIDTH)),
            "box head": (model.roi_head.bbox_head, (REGIONS, model.roi_head.bbox_head.shared_fcs[0].in_features // 49, 7, 7)),
            "mask head": (model.roi_head.mask_head, (OBJECTS, model.roi_head.mask_head.upsample.in_channels, 14, 14))}


def peers_of(part, module, shape, threads, work):
    """Engines of a part: {name: function that runs it once}."""
    import numpy as np
    import nncf
    import onnxruntime
    import openvino
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = x.numpy()
    exported = f"{work}/{part.split()[0]}.onnx"
    with torch.no_grad():
        torch.onnx.export(module, (x,), exported, opset_version=17, input_names=["x"], dynamo=False)
    engines = {}

    def onnx_engine(path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": values})

    engines["ONNX Runtime fp32"] = onnx_engine(exported)

    class Reader(CalibrationDataReader):
        left = [{"x": values}]

        def get_next(self):
            return self.left.pop() if self.left else None

    prepared, quantized = exported[:-5] + "_p.onnx", exported[:-5] + "_q.onnx"
    try:
        Reader.left = [{"x": values}]
        quant_pre_process(exported, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, quantized, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
        engines["ONNX Runtime int8"] = onnx_engine(quantized)
    except Exception as e:  # a quantizer that does not take the network is said so, not left out in silence
        print(f"ONNX Runtime int8 of the {part}: {type(e).__name__}: {e}", file=sys.stderr)

    core = openvino.Core()
    model = core.read_model(exported)

    def openvino_engine(model, precision):
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        return lambda: request.infer({0: values})

    kind = nncf.ModelType.TRANSFORMER if part == "trunk" else None
    codes = nncf.quantize(model, nncf.Dataset([values]), subset_size=1, model_type=kind)
    for tag, precision in (("", "f32"), (" bf16", "bf16")):
        engines["OpenVINO" + (tag or " fp32")] = openvino_engine(core.read_model(exported), precision)
        engines["OpenVINO int8" + tag] = openvino_engine(codes, precision)

    def eager():
        with torch.inference_mode():
            module(x)
    engines["PyTorch fp32"] = eager
    return engines


def milliseconds(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def igq_times(igq, weights, threads):
    """One median of float and of integers, timed in turn by igq bench; the processor's name; peak memory."""
    command = [igq, "bench", weights, "--arch", ARCH, "-j", str(threads), "--seconds", "4", "--warmup", "1", "--json"]
    document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    times = {f"igq {name}": e["latency_ms"]["median"] for name, e in document["executions"].items()}
    return times, document


def measure(args, threads, work, weights, model):
    import torch
    torch.set_num_threads(threads)
    times, cpu = {}, ""
    parts = {name: peers_of(name, module, shape, threads, work) for name, (module, shape) in parts_of(model).items()}
    complete = set.intersection(*(set(engines) for engines in parts.values()))
    for engines in parts.values():
        for name in complete:
            engines[name]()  # warm
    for _ in range(args.rounds):
        for name in sorted(complete):
            times.setdefault(name, []).append([milliseconds(engines[name]) for engines in parts.values()])
        found, document = igq_times(args.igq, weights, threads)
        for name, ms in found.items():
            times.setdefault(name, []).append([ms])
        cpu = f"{document['cpu']}, {document['isa']}"
    return times, cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--igq", default=str(ROOT / "build" / "igq"))
    parser.add_argument("--json", metavar="FILE", help="write every round's times")
    args = parser.parse_args()
    from safetensors.torch import save_file
    all_times = {}
    with tempfile.TemporaryDirectory() as work:
        _, model = network()
        weights = os.path.join(work, "mask_rcnn.safetensors")
        save_file({name: t.contiguous() for name, t in model.state_dict().items()
                   if not name.endswith("relative_position_index")}, weights)
        for threads in args.threads:
            times, cpu = measure(args, threads, work, weights, model)
            all_times[threads] = times
            medians = {name: statistics.median(sum(r) for r in rounds) for name, rounds in times.items()}
            found = {p: importlib.metadata.version(p) for p in ("openvino", "nncf", "onnxruntime", "torch")}
            print(f"{ARCH}, {HEIGHT}x{WIDTH}, {threads} thread{'s' * (threads > 1)}, {cpu}; "
                  + ", ".join(f"{p} {v}" for p, v in found.items()))
            print("| engine | ms | least - most | engine / igq in integers |\n|---|---:|---:|---:|")
            for name, ms in sorted(medians.items(), key=lambda item: item[1]):
                sums = [sum(r) for r in times[name]]
                print(f"| {name} | {ms:.0f} | {min(sums):.0f} - {max(sums):.0f} | {ms / medians['igq integer']:.2f} |")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(all_times, f, indent=1)


if __name__ == "__main__":
    main()
