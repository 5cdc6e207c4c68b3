#!/usr/bin/env python3
"""Times igq and its peers in turn on one machine: OpenVINO, ONNX Runtime and PyTorch on the same network and weights.

    bench/peers.py deit_small_patch16_224                          # batch 1, 1 thread
    bench/peers.py deit_small_patch16_224 swin_tiny_patch4_window7_224 --threads 1 2 --batch 1 8 --json peers.json
    bench/peers.py --readme                                        # the table of README.md

Needs the packages of bench/requirements.txt, build/igq, and for the share of the limit build/bench_peak
(cmake --preset release -DIGQ_BUILD_BENCHMARKS=ON && ninja -C build igq bench_peak).

A network with random weights is made by timm, given to every engine, and quantized by each one's own tool: 8 bits everywhere.
Engines live in processes of their own, so that no thread pool disturbs another; one of them works at a time. A round times each
engine once, in an order that moves on by one each round; a time is the median over the rounds of each round's median. What is printed:

- milliseconds per image, with the least and the largest round in brackets;
- "peer / igq": how many times faster igq is than the engine;
- "of the limit": the least time that the network's multiply-adds take at the machine's measured rate of byte products, over the
  time of the engine. 100 % would be a network that does nothing but multiply.

OpenVINO runs with its latency hint; with --throughput also with its throughput hint, several images in flight, beside igq with a
whole image on every thread. Outputs are compared with PyTorch's, so that nobody is timed doing something else.
"""
import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALIBRATION = ROOT / "assets" / "fashion_mnist" / "calibration"
README_LINES = (("deit_small_patch16_224", 1, 1), ("deit_small_patch16_224", 1, 2), ("swin_tiny_patch4_window7_224", 1, 1))
PACKAGES = ("nncf", "openvino", "onnxruntime", "torch", "torchao", "timm")
os.environ["TIMM_FUSED_ATTN"] = "0"  # exporters want the plain attention; timm reads it when it is imported
SAMPLES = 4  # images that the peers' quantizers see


def picture(size, batch, seed):
    import numpy as np
    return np.random.default_rng(seed).standard_normal((batch, 3, size, size), dtype=np.float32)


def versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


# ---- networks, made once and kept in --work --------------------------------------------------------------------------

def network(arch):
    import timm
    import torch
    torch.manual_seed(0)
    return timm.create_model(arch, pretrained=False).eval()


def prepare(arch, work, igq, bits):
    """Files of every engine below work/arch-VERSIONS; returns (folder, image size)."""
    key = "-".join(f"{k}{v}" for k, v in versions().items())
    folder = pathlib.Path(work) / f"{arch}-{key}"
    done = folder / "size"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # In a process of its own: exporters and quantizers leave threads and memory behind.
        job = multiprocessing.get_context("spawn").Process(target=make_files, args=(arch, folder))
        job.start()
        job.join()
        if job.exitcode != 0 or not done.exists():
            sys.exit(f"peers.py: {arch} could not be prepared in {folder}")
    ours = folder / f"{bits}.igq"
    if not ours.exists():
        run([igq, "quantize", folder / "timm", "--calib", CALIBRATION, "--samples", "8", "--bits", bits, "--groups", "8",
             "--weights", "rtn", "-o", ours])
    return folder, int(done.read_text())


def make_files(arch, folder):
    import nncf
    import onnxruntime.quantization as ort_quantization
    import openvino
    import timm
    import torch
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = network(arch)
    size = model.pretrained_cfg["input_size"][-1]
    timm.models.save_for_hf(model, folder / "timm", safe_serialization=True)
    plain = str(folder / "model.onnx")
    torch.onnx.export(model, torch.zeros(1, 3, size, size), plain, opset_version=17, input_names=["image"],
                      output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}}, dynamo=False)
    images = [picture(size, 1, 1 + i) for i in range(SAMPLES)]

    class Images(ort_quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(images)

        def get_next(self):
            image = next(self.left, None)
            return None if image is None else {"image": image}

    prepared = str(folder / "prepared.onnx")
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    signed = ort_quantization.QuantType.QInt8
    ort_quantization.quantize_static(prepared, str(folder / "static.onnx"), Images(), per_channel=True, weight_type=signed,
                                     quant_format=ort_quantization.QuantFormat.QDQ,
                                     activation_type=ort_quantization.QuantType.QUInt8)
    ort_quantization.quantize_dynamic(prepared, str(folder / "dynamic.onnx"), per_channel=True, weight_type=signed)
    quantized = nncf.quantize(openvino.Core().read_model(plain), nncf.Dataset(images), subset_size=SAMPLES,
                              model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, str(folder / "nncf.xml"))
    with torch.inference_mode():
        logits = model(torch.from_numpy(picture(size, 1, 0))).numpy()
    logits.tofile(folder / "logits.f32")
    (folder / "size").write_text(str(size))


# ---- engines: name -> a function that makes a function of one call, in the worker's own process --------------------------

def openvino_engine(file, precision):
    def make(folder, size, batch, threads, throughput):
        import openvino
        core = openvino.Core()
        model = core.read_model(str(folder / file))
        images_each = 1 if throughput else batch
        model.reshape([images_each, 3, size, size])
        config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision,
                  "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY"}
        compiled = core.compile_model(model, "CPU", config)
        image = picture(size, images_each, 0)
        if not throughput:
            request = compiled.create_infer_request()
            return lambda: request.infer({0: image})[compiled.output(0)]
        queue = openvino.AsyncInferQueue(compiled)

        def call():
            for _ in range(batch):
                queue.start_async({0: image})
            queue.wait_all()
        return call
    return make


def onnxruntime_engine(file):
    def make(folder, size, batch, threads, _throughput):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])
        image = picture(size, batch, 0)
        return lambda: session.run(None, {"image": image})[0]
    return make


def torch_engine(compiled=False, int8=False):
    def make(folder, size, batch, threads, _throughput):
        import torch
        torch.set_num_threads(threads)
        model = network(folder.name.split("-nncf")[0])
        if int8:  # torchao's dynamic int8: activations per token, weights per output channel
            from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
            quantize_(model, Int8DynamicActivationInt8WeightConfig())
        if compiled:
            import torch._inductor.config
            torch._inductor.config.freezing = True  # weights packed once
            model = torch.compile(model)
        image = torch.from_numpy(picture(size, batch, 0))

        def call():
            with torch.inference_mode():
                return model(image).numpy()
        return call
    return make


ENGINES = {
    "OpenVINO int8 + bf16": openvino_engine("nncf.xml", "bf16"),
    "OpenVINO int8": openvino_engine("nncf.xml", "f32"),
    "OpenVINO bf16": openvino_engine("model.onnx", "bf16"),
    "OpenVINO fp32": openvino_engine("model.onnx", "f32"),
    "ONNX Runtime int8 dynamic": onnxruntime_engine("dynamic.onnx"),
    "ONNX Runtime int8 static": onnxruntime_engine("static.onnx"),
    "ONNX Runtime fp32": onnxruntime_engine("model.onnx"),
    "PyTorch fp32": torch_engine(),
    "PyTorch inductor fp32": torch_engine(compiled=True),
    "PyTorch inductor int8 (torchao)": torch_engine(compiled=True, int8=True),
}


def serve(pipe, name, folder, size, batch, threads, throughput):
    """A worker: after ("time", seconds) it sends the times of its calls in ms."""
    try:
        import numpy as np
        call = ENGINES[name](folder, size, batch, threads, throughput)
        logits = call()
        agrees = None
        if logits is not None:
            want, got = np.fromfile(folder / "logits.f32", dtype=np.float32), np.asarray(logits).reshape(batch, -1)[0]
            agrees = float(np.corrcoef(want, got)[0, 1])
        pipe.send(("ready", agrees))
        while True:
            seconds = pipe.recv()
            if seconds is None:
                return
            call()  # wakes threads and fills caches
            times = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(times) < 3:
                start = time.perf_counter()
                call()
                times.append(1e3 * (time.perf_counter() - start))
            pipe.send(("times", times))
    except Exception as error:  # reported as an engine that could not run, with its reason
        pipe.send(("failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))


# ---- measuring ----------------------------------------------------------------------------------------------------------

def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"peers.py: {' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def measure(arch, batch, threads, args):
    """{"ms": {engine: per-round medians per image}, "agrees": ..., "failed": ...} of one line."""
    folder, size = prepare(arch, args.work, args.igq, args.bits)
    context = multiprocessing.get_context("spawn")
    workers, agrees, failed = {}, {}, {}
    for name in ENGINES:
        if args.engines and not any(part in name for part in args.engines):
            continue
        for throughput in (False, True) if args.throughput and name.startswith("OpenVINO") else (False,):
            shown = name + (", throughput hint" if throughput else "")
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, name, folder, size, batch, threads, throughput))
            process.start()
            there.close()
            try:
                kind, value = here.recv()
            except EOFError:
                kind, value = "failed", "its process ended"
            if kind == "failed":
                failed[shown] = value
                process.join()
            else:
                agrees[shown] = value
                workers[shown] = (process, here)
    model = folder / f"{args.bits}.igq"
    ours = {f"igq {args.bits}": (model, "integer", ["--batch", batch])}
    if args.throughput:
        ours[f"igq {args.bits}, an image per thread"] = (model, "integer", ["--throughput"])
    if args.igq_float:
        ours["igq float"] = (folder / "timm", "float", ["--batch", batch])

    def time_once(name):
        if name in ours:
            what, execution, flags = ours[name]
            out = json.loads(run([args.igq, "bench", what, "--execution", execution, *flags, "--threads", threads,
                                  "--seconds", args.seconds, "--json"]))
            return out["latency_ms"]["median"] / out["batch"] * batch
        pipe = workers[name][1]
        pipe.send(args.seconds)
        kind, value = pipe.recv()
        if kind == "failed":
            raise RuntimeError(f"{name}: {value}")
        return statistics.median(value)

    names = list(ours) + list(workers)
    times = {name: [] for name in names}
    for round_number in range(args.rounds):
        for i in range(len(names)):
            name = names[(i + round_number) % len(names)]
            time.sleep(args.pause)
            times[name].append(time_once(name) / batch)
    for process, pipe in workers.values():
        pipe.send(None)
        process.join()
    return {"arch": arch, "batch": batch, "threads": threads, "ms": times, "agrees": agrees, "failed": failed}


def limit_ms(arch, threads, args):
    """The least time of the network's multiply-adds in byte products, or None without bench_peak."""
    if not os.path.exists(args.peak):
        return None
    macs = {entry["architecture"]: entry["macs"] for entry in json.loads(run([args.igq, "inspect", "--list", "--json"]))}
    rate = json.loads(run([args.peak, str(threads)]))["products_per_second"]
    return 1e3 * macs[arch] / rate if arch in macs else None


def summary(line):
    return {name: statistics.median(times) for name, times in line["ms"].items() if times}


def print_line(line, limit, args):
    ms = summary(line)
    ours = ms[f"igq {args.bits}"]
    print(f"\n{line['arch']}, batch {line['batch']}, {line['threads']} thread{'s' if line['threads'] > 1 else ''}\n")
    print("| engine | ms per image (rounds) | peer / igq | of the limit | agrees with PyTorch |\n|---|---:|---:|---:|---:|")
    for name, value in sorted(ms.items(), key=lambda item: item[1]):
        rounds = line["ms"][name]
        share = "" if limit is None else f"{100 * limit / value:.0f} %"
        agreement = line["agrees"].get(name)
        print(f"| {name} | {value:.2f} ({min(rounds):.2f} to {max(rounds):.2f}) | {value / ours:.2f} | {share} | "
              f"{'' if agreement is None else f'{agreement:.4f}'} |")
    peers = {name: value for name, value in ms.items() if not name.startswith("igq")}
    if peers:
        fastest = min(peers, key=peers.get)
        print(f"\nFastest peer: {fastest}, {peers[fastest] / ours:.2f} times igq's time.")
    for name, reason in line["failed"].items():
        print(f"{name} could not run: {reason}")


def print_readme(lines):
    columns = [summary(line) for line in lines]
    print("| engine | " + " | ".join(f"{line['arch'].split('_patch')[0]}, {line['threads']} thread"
                                     f"{'s' if line['threads'] > 1 else ''}" for line in lines) + " |")
    print("|---|" + "---:|" * len(lines))
    for name in sorted(columns[0], key=columns[0].get):
        print(f"| {name} | " + " | ".join(f"{column[name]:.1f}" if name in column else "" for column in columns) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", nargs="*", help="timm names")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--readme", action="store_true", help="measure and print the table of README.md")
    parser.add_argument("--bits", default="w8a8", help="of igq (default: w8a8)")
    parser.add_argument("--igq-float", action="store_true", help="igq's float engine too")
    parser.add_argument("--throughput", action="store_true", help="OpenVINO with its throughput hint too")
    parser.add_argument("--engines", nargs="+", metavar="PART", help="only peers whose names contain one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="each engine is timed so long in a round (default: 1)")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before each engine, in which others fall asleep")
    parser.add_argument("--igq", default=str(ROOT / "build" / "igq"))
    parser.add_argument("--peak", default=str(ROOT / "build" / "bench_peak"))
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "igq-peers"), help="where networks are kept")
    parser.add_argument("--json", metavar="FILE", help="write every round's times")
    args = parser.parse_args()
    if not args.readme and not args.arch:
        parser.error("name an architecture, or --readme")
    wanted = README_LINES if args.readme else [(a, b, t) for a in args.arch for b in args.batch for t in args.threads]

    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    print(f"{cpu}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {datetime.date.today()}")
    print(", ".join(f"{name} {version}" for name, version in versions().items()) + ", " + run([args.igq, "--version"]).strip())
    lines = []
    for arch, batch, threads in wanted:
        line = measure(arch, batch, threads, args)
        line["limit_ms"] = limit_ms(arch, threads, args)
        lines.append(line)
        print_line(line, line["limit_ms"], args)
        if args.json:
            with open(args.json, "w") as out:
                json.dump({"cpu": cpu, "versions": versions(), "ms": {f"{l['arch']} b{l['batch']} t{l['threads']}": summary(l)
                                                                      for l in lines}, "lines": lines}, out, indent=1)
    if args.readme:
        print()
        print_readme(lines)


if __name__ == "__main__":
    main()
