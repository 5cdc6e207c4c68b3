#!/usr/bin/env python3
"""Images per second of `igq predict` where processors are shared: several processes at once, and beside programs that only spin.

    bench/busy_machine.py MODEL.igq FOLDER [--images 600] [--rounds 3]

Each row runs some processes at the same time over the same list of images. Rows take turns, round after round, so that a machine that
is busy for a while slows all of them; a figure is the median over the rounds of images of all processes over the time until the last
of them ends, loading included. What must hold (issue: threads that share a machine):

- four processes give at least 95 % of what two give;
- default threads are never below 95 % of `-j 1`;
- a quota of some processors gives at least 95 % of as many processors by affinity (where a control group can be made: root).
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


QUOTA = "quota"  # in the place of processors
GROUPS = (pathlib.Path("/sys/fs/cgroup/cpu/igq-busy"), pathlib.Path("/sys/fs/cgroup/igq-busy"))  # of versions 1 and 2


def make_quota(processors):
    """A control group with a quota of so many processors, GROUPS[0] or [1]; False where that is not allowed."""
    quota = 100000 * processors  # microseconds of each 100,000
    for group, (file, text) in zip(GROUPS, (("cpu.cfs_quota_us", f"{quota}"), ("cpu.max", f"{quota} 100000"))):
        try:
            group.mkdir(exist_ok=True)
            (group / file).write_text(text)
            return True
        except OSError:
            if group.is_dir():
                group.rmdir()
    return False


def only_on(processors):
    """What stands before a command that may use these processors alone."""
    if processors is None:
        return []
    if processors != QUOTA:
        return ["taskset", "-c", processors]
    group = next(group for group in GROUPS if group.is_dir())
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]


def rows(processors):
    """name: (processes, flags, spinning programs, processors they all may use, QUOTA or None)"""
    yield "1 process, -j 1", (1, ["-j", "1"], 0, None)
    yield "1 process, default threads", (1, [], 0, None)
    for count in (processors, 2 * processors):
        yield f"{count} processes, -j 1", (count, ["-j", "1"], 0, None)
        yield f"{count} processes, default threads", (count, [], 0, None)
    yield "1 process, -j 1, beside a spinning program on every processor", (1, ["-j", "1"], processors, None)
    yield "1 process, default threads, beside a spinning program on every processor", (1, [], processors, None)
    yield "1 process, -j 1, on one processor", (1, ["-j", "1"], 0, "0")
    yield "1 process, -j 8, on one processor", (1, ["-j", "8"], 0, "0")
    half = max(1, processors // 2)
    few = f"{half} processor{'s' if half > 1 else ''}"
    yield f"1 process, default threads, {few} by affinity", (1, [], 0, f"0-{half - 1}")
    if make_quota(half):
        yield f"1 process, default threads, {few} by quota, all to run on", (1, [], 0, QUOTA)


def images_per_second(setting, igq, model, listed, count):
    processes, flags, spinning, only = setting
    with tempfile.TemporaryDirectory() as folder:
        spinners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(spinning)]
        try:
            start = time.perf_counter()
            command = [*only_on(only), igq, "predict", model, listed, *flags, "-o"]
            running = [subprocess.Popen([*command, f"{folder}/{i}.csv"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                       for i in range(processes)]
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
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    version = subprocess.run([args.igq, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{names[0] if names else 'unknown CPU'}, {processors} processors, load {os.getloadavg()[0]:.1f}, {datetime.date.today()}, {version}")
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
    for group in GROUPS:
        if group.is_dir():
            group.rmdir()
    print(f"\n{many} give {100 * middle[many] / middle[few]:.0f} % of {few}.")
    by_quota = next((name for name in settings if "by quota" in name), None)
    if by_quota is None:
        print("No control group with a quota could be made here.")
    else:
        by_affinity = next(name for name in settings if "by affinity" in name)
        print(f"A quota gives {100 * middle[by_quota] / middle[by_affinity]:.0f} % of as many processors by affinity.")
    for name in settings:
        plain = name.replace("default threads", "-j 1")
        if plain != name and plain in settings:
            print(f"{name}: {100 * middle[name] / middle[plain]:.0f} % of -j 1.")


if __name__ == "__main__":
    main()
