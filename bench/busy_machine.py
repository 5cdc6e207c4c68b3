#!/usr/bin/env python3
"""Images per second of `igq predict` where processors are shared: several processes at once, and beside programs that only spin.

    bench/busy_machine.py MODEL.igq FOLDER [--images 600] [--rounds 3]

Each row runs some processes at the same time over the same list of images. Rows take turns, round after round, so that a machine that
is busy for a while slows all of them; a figure is the median over the rounds of images of all processes over the time until the last
of them ends, loading included. What must hold (issue: threads that share a machine):

- four processes give at least 95 % of what two give;
- default threads are never below 95 % of `-j 1`.
"""
import argparse
import datetime
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def rows(processors):
    """name: (processes, flags, spinning programs, processors they all may use or None)"""
    yield "1 process, -j 1", (1, ["-j", "1"], 0, None)
    yield "1 process, default threads", (1, [], 0, None)
    for count in (processors, 2 * processors):
        yield f"{count} processes, -j 1", (count, ["-j", "1"], 0, None)
        yield f"{count} processes, default threads", (count, [], 0, None)
    yield "1 process, -j 1, beside a spinning program on every processor", (1, ["-j", "1"], processors, None)
    yield "1 process, default threads, beside a spinning program on every processor", (1, [], processors, None)
    yield "1 process, -j 1, on one processor", (1, ["-j", "1"], 0, "0")
    yield "1 process, -j 8, on one processor", (1, ["-j", "8"], 0, "0")


def images_per_second(setting, igq, model, listed, count):
    processes, flags, spinning, only = setting
    with tempfile.TemporaryDirectory() as folder:
        spinners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(spinning)]
        try:
            prefix = ["taskset", "-c", only] if only is not None else []
            start = time.perf_counter()
            running = [subprocess.Popen([*prefix, igq, "predict", model, listed, "-o", f"{folder}/{i}.csv", *flags],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(processes)]
            for process in running:
                if process.wait() != 0:
                    raise SystemExit(f"busy_machine.py: igq predict {model} ended with {process.returncode}")
            return processes * count / (time.perf_counter() - start)
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path, help="of images, its folders too")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--igq", default=str(ROOT / "build" / "igq"))
    args = parser.parse_args()
    images = sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not images:
        parser.error(f"{args.folder} holds no images")
    images = (images * (args.images // len(images) + 1))[:args.images]
    processors = len(os.sched_getaffinity(0))
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    version = subprocess.run([args.igq, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{cpu}, {processors} processors, load {os.getloadavg()[0]:.1f}, {datetime.date.today()}, {version}")
    settings = dict(rows(processors))
    measured = {name: [] for name in settings}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(f"{path.resolve()}\n" for path in images))
        listed.flush()
        for _ in range(args.rounds):
            for name, setting in settings.items():
                measured[name].append(images_per_second(setting, args.igq, args.model, listed.name, len(images)))
    print("\n| | images/s, all processes (rounds) |\n|---|---:|")
    middle = {name: statistics.median(values) for name, values in measured.items()}
    for name, values in measured.items():
        print(f"| {name} | {middle[name]:.0f} ({min(values):.0f} to {max(values):.0f}) |")
    few, many = (f"{n} processes, default threads" for n in (processors, 2 * processors))
    print(f"\n{many} give {100 * middle[many] / middle[few]:.0f} % of {few}.")
    for name in settings:
        if "default threads" in name:
            plain = name.replace("default threads", "-j 1")
            print(f"{name}: {100 * middle[name] / middle[plain]:.0f} % of -j 1.")


if __name__ == "__main__":
    main()
