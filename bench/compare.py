#!/usr/bin/env python3
"""Compares two JSON results of the same benchmark: prints every number of both and their ratio.

Usage: compare.py BEFORE.json AFTER.json [--worse PERCENT]
Reads what `igq bench --json`, Google Benchmark (--benchmark_format=json) and bench/peers.py --json write. With --worse,
exit code 1 when a latency grew by more than PERCENT.
"""
import argparse
import json
import sys


def numbers(value, path=""):
    """(path, number) of every leaf; list elements with a name are found by it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            name = inner.get("name") or inner.get("execution") or i if isinstance(inner, dict) else i
            yield from numbers(inner, f"{path}[{name}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def is_latency(path):
    return path.endswith("real_time") or ".ms." in f".{path}" or "latency_ms" in path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--worse", type=float, metavar="PERCENT")
    args = parser.parse_args()
    before, after = (dict(numbers(json.load(open(path)))) for path in (args.before, args.after))
    worst = 0.0
    for path in [p for p in before if p in after and before[p]]:
        ratio = after[path] / before[path]
        print(f"{path:60s} {before[path]:12.4g} {after[path]:12.4g}  {ratio:6.3f}x")
        if is_latency(path):
            worst = max(worst, 100 * (ratio - 1))
    for path in sorted(before.keys() ^ after.keys()):
        print(f"{path:60s} only in the {'first' if path in before else 'second'}")
    return 1 if args.worse is not None and worst > args.worse else 0


if __name__ == "__main__":
    sys.exit(main())
