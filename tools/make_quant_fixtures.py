#!/usr/bin/env python3
"""Makes tests/fixtures/quant: what the simulated quantizers must give, from a numpy implementation of its own.

    python tools/make_quant_fixtures.py [--out tests/fixtures/quant]

Definitions: docs/method.md, sections 2 to 5 and 8 and the comments of src/quant/*.h. All arithmetic is float32, one rounding per
operation, round half to even. Files, each a list of cases:
    quantizer.json  bounds, bits -> scale, zero_point; x -> codes
    channels.json   FC inputs: grouping, bits, groups (bounds), x [tokens][channels] -> group, scale, zero_point per channel, codes
    softmax.json    grouping, bits, groups, p [rows][columns] -> scale per row, codes
    qkv.json        one head, grouping `row`: q, k, v [tokens][channels] -> scale, zero_point (q, k per token; v per channel), codes
    weights.json    w [out][in], bits, eps -> scale, zero_point per output, codes [out][in] from 0
    widths.json     widths, groups -> least sum of squared group widths, every width rounded up to a group's
Numbers that JSON lacks are the strings "nan", "inf", "-inf".

Needs: pip install numpy
"""
import argparse
import itertools
import json
from pathlib import Path

import numpy as np

F = np.float32
np.seterr(all="ignore")


def quantizer(lower, upper, bits):
    """(scale, inv_scale, zero_point) of bounds, widened to contain zero; bounds too narrow give (1, 1, 0)."""
    top = F(2**bits - 1)
    lower, upper = min(F(lower), F(0)), max(F(upper), F(0))
    scale = (upper - lower) / top
    inverse = F(1) / scale if scale > 0 else F(np.inf)
    if not (np.isfinite(scale) and np.isfinite(inverse)):
        return F(1), F(1), 0
    return scale, inverse, int(np.clip(np.rint(-lower * inverse), 0, top))


def centred(lower, upper, scale, inverse, bits):
    """Zero-point, free to leave the codes, that puts the middle of the bounds in the middle of the codes."""
    middle = (F(lower) + F(upper)) * F(0.5)
    return int(np.clip(np.rint(F(2**bits - 1) * F(0.5) - middle * inverse), -768, 1023))


def encode(x, inverse, zero, bits):
    """Codes of x; inverse and zero broadcast against it. NaN becomes 0."""
    shifted = np.rint(x * inverse) + np.asarray(zero, dtype=F)
    return np.clip(np.where(np.isnan(shifted), F(0), shifted), 0, 2**bits - 1).astype(int)


def nearest(groups, lower, upper):
    """The group whose bounds are nearest, the first of equals."""
    distances = [(F(upper) - F(u)) * (F(upper) - F(u)) + (F(lower) - F(l)) * (F(lower) - F(l)) for l, u in groups]
    return int(np.argmin(distances))


def first_that_holds(groups, width):
    """The first group whose scale holds the width, else the last."""
    return next((i for i, (_, u) in enumerate(groups) if F(u) >= width), len(groups) - 1)


def channel_case(name, grouping, bits, groups, x):
    """One FC input: quantizers of every channel and the codes."""
    x = np.asarray(x, dtype=F)
    group, scale, inverse, zero = [], [], [], []
    for c in range(x.shape[1]):
        low, high = x[:, c].min(), x[:, c].max()
        if grouping == "upper-bound":
            g, q = c, quantizer(low, high, bits)
        else:
            g = {"layer": lambda: 0, "static-group": lambda: c * len(groups) // x.shape[1],
                 "igq": lambda: nearest(groups, low, high),
                 "scale": lambda: first_that_holds(groups, high - low)}[grouping]()
            q = quantizer(*groups[g], bits)
            if grouping == "scale":
                q = (q[0], q[1], centred(low, high, q[0], q[1], bits))
        for values, value in zip((group, scale, inverse, zero), (g, *q)):
            values.append(value)
    return {"name": name, "grouping": grouping, "bits": bits, "groups": groups, "x": x, "group": group,
            "scale": scale, "zero_point": zero, "codes": encode(x, np.array(inverse, dtype=F), zero, bits)}


def softmax_case(name, grouping, bits, groups, p):
    """Softmax rows: lower bound and zero-point are 0."""
    p = np.asarray(p, dtype=F)
    scale, inverse = [], []
    for r, row in enumerate(p):
        top = row.max()
        upper = {"layer": lambda: groups[0][1], "static-group": lambda: groups[r * len(groups) // len(p)][1],
                 "igq": lambda: groups[nearest([(0, u) for _, u in groups], 0, top)][1],
                 "scale": lambda: groups[first_that_holds(groups, top)][1], "upper-bound": lambda: top}[grouping]()
        s, i, _ = quantizer(0, upper, bits)
        scale.append(s)
        inverse.append(i)
    return {"name": name, "grouping": grouping, "bits": bits, "groups": groups, "p": p, "scale": scale,
            "codes": encode(p, np.array(inverse, dtype=F)[:, None], 0, bits)}


def qkv_case(name, bits, q, k, v):
    """Quantizers from the image itself: q symmetric and k asymmetric per token, v asymmetric per channel."""
    case = {"name": name, "bits": bits}
    middle = 2 ** (bits - 1)
    symmetric = []
    for row in q:
        scale = max(-row.min(), row.max()) / F(middle - 1)
        inverse = F(1) / scale if scale > 0 else F(np.inf)
        symmetric.append((scale, inverse, middle) if np.isfinite(inverse) else (F(1), F(1), middle))
    operands = {"q": (q, symmetric, True), "k": (k, [quantizer(r.min(), r.max(), bits) for r in k], True),
                "v": (v, [quantizer(c.min(), c.max(), bits) for c in v.T], False)}
    for letter, (x, quantizers, by_row) in operands.items():
        scale, inverse, zero = (np.array(part) for part in zip(*quantizers))
        shape = (-1, 1) if by_row else (1, -1)
        case[letter] = {"x": x, "scale": scale, "zero_point": zero,
                        "codes": encode(x, inverse.astype(F).reshape(shape), zero.reshape(shape), bits)}
    return case


def weight_case(name, bits, eps, w):
    """Weights per output channel, bounds at the eps and 1 - eps quantiles (linear interpolation)."""
    w = np.asarray(w, dtype=F)
    low, high = (np.quantile(w.astype(np.float64), p, axis=1).astype(F) for p in (eps, 1 - eps))
    quantizers = [quantizer(a, b, bits) for a, b in zip(low, high)]
    scale, inverse, zero = (list(part) for part in zip(*quantizers))
    return {"name": name, "bits": bits, "eps": eps, "w": w, "scale": scale, "zero_point": zero,
            "codes": encode(w, np.array(inverse, dtype=F)[:, None], np.array(zero)[:, None], bits)}


def width_case(name, widths, groups):
    """The least sum of squared group widths, by trying every choice of group widths among the widths."""
    widths = np.sort(np.asarray(widths, dtype=F)).astype(np.float64)
    distinct, best = sorted(set(widths)), np.inf
    for count in range(min(groups, len(distinct))):
        for below in itertools.combinations(distinct[:-1], count):
            tops = np.array([*below, distinct[-1]])
            best = min(best, float((tops[np.searchsorted(tops, widths)] ** 2).sum()))
    return {"name": name, "widths": widths, "groups": groups, "cost": best}


def wide_channels(rng, tokens, channels):
    """Activations whose channels differ in range and offset, as a transformer's do."""
    spread = np.exp(rng.normal(-1, 1.2, channels))
    return (rng.normal(0, 1, (tokens, channels)) * spread + rng.normal(0, 1, channels) * spread).astype(F)


def fixed_groups(grouping, x, count, rng):
    """Plausible calibrated bounds for a grouping."""
    low, high = x.min(0), x.max(0)
    if grouping == "layer":
        return [(low.min(), high.max())]
    if grouping == "static-group":
        index = np.arange(x.shape[1]) * count // x.shape[1]
        return [(low[index == g].min(initial=0), high[index == g].max(initial=0)) for g in range(count)]
    if grouping == "igq":
        chosen = rng.choice(x.shape[1], count)
        return [(low[c], high[c]) for c in sorted(chosen, key=lambda c: high[c] - low[c])]
    if grouping == "scale":
        return [(0, u) for u in np.sort(rng.choice(high - low, count))]
    return []


def special_channels():
    """Degenerate columns: zeros, constants, one sign, denormal, huge, an outlier, a tie at half codes."""
    columns = [[0] * 6, [2.5] * 6, [-2.5] * 6, [1, 2, 3, 4, 5, 6], [-1, -2, -3, -4, -5, -6], [1e-42] * 6, [1e-30, -1e-30] * 3,
               [1e30, -1e30, 0, 1, -1, 3e30], [0, 0, 0, 0, 0, 1000], [-0.0, 0.0, -0.0, 0.0, 0.5, -0.5],
               [-7.5, -0.5, 0.5, 1.5, 2.5, 7.5], [100, 100.001, 100.002, 100.003, 100.004, 100.005]]
    return np.array(columns, dtype=F).T


def make_cases(rng):
    """{file name: cases}."""
    values = np.array([0, -0.0, 0.5, -0.5, 1, -1, 1.5, 2.5, 3.5, 7.5, -7.5, 1e-8, 1e8, -1e8, np.nan, np.inf, -np.inf], dtype=F)
    quantizers = []
    for (low, high), bits in itertools.product(
            [(-1, 1), (0, 15), (-7.5, 7.5), (-0.25, 3), (2, 5), (-5, -2), (0, 0), (1e-42, 1e-42), (-1e-44, 1e-44), (-3e38, 3e38),
             (0, 1e38), (-1e-3, 1e5), (0.1, 0.1), (-0.1, -0.1)], range(2, 9)):
        scale, inverse, zero = quantizer(low, high, bits)
        quantizers.append({"name": f"[{low}, {high}] {bits} bits", "lower": F(low), "upper": F(high), "bits": bits,
                           "scale": scale, "zero_point": zero, "x": values, "codes": encode(values, inverse, zero, bits)})

    groupings = ["layer", "static-group", "igq", "scale", "upper-bound"]
    channels, softmax = [], []
    shapes = [(1, 1, 1), (1, 7, 2), (5, 1, 3), (3, 13, 4), (17, 33, 8), (9, 31, 12)]
    for i, ((tokens, width, count), grouping) in enumerate(itertools.product(shapes, groupings)):
        bits = [4, 2, 8, 3, 6, 5, 7][i % 7]
        x = wide_channels(rng, tokens, width)
        channels.append(channel_case(f"{grouping} {tokens}x{width}", grouping, bits, fixed_groups(grouping, x, count, rng),
                                     x * F(1.25)))  # the image is a little outside the calibrated bounds
        p = np.exp(rng.normal(0, 2, (tokens, width)))
        p = (p / p.sum(1, keepdims=True)).astype(F)
        fixed = [(0, u) for _, u in fixed_groups(grouping if grouping != "igq" else "scale", np.abs(p.T), min(count, tokens), rng)]
        softmax.append(softmax_case(f"{grouping} {tokens}x{width}", grouping, bits, fixed, p))
    special = special_channels()
    for grouping, bits in itertools.product(groupings, (4, 8)):
        groups = {"igq": [(0, 0), (-2.5, 0), (-1, 1), (-7.5, 7.5), (0, 1000), (-1e30, 1e30)],
                  "scale": [(0, 0), (0, 1), (0, 5), (0, 15), (0, 1000), (0, 2e30)]}.get(
                      grouping, fixed_groups(grouping, special, 5, rng))
        channels.append(channel_case(f"{grouping} degenerate", grouping, bits, groups, special))
    bad = special.copy()
    bad[0, 3], bad[1, 4], bad[2, 9] = np.nan, np.inf, -np.inf
    channels.append(channel_case("layer with NaN and infinity", "layer", 4, [(-6, 6)], bad))
    channels.append(channel_case("equal distances", "igq", 4, [(-1, 1), (-1, 3), (-1, 3), (-3, 1)], [[-1, -2, 0], [2, 2, 0]]))
    rows = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0.25] * 4, [1e-42, 0, 0, 0], [0.5, 0.5, 0, 0], [1 / 30, 3 / 30, 1, 0.1]], dtype=F)
    for grouping in groupings:
        groups = {"layer": [(0, 1)], "upper-bound": []}.get(grouping, [(0, 0), (0, 0.3), (0, 1)])
        softmax.append(softmax_case(f"{grouping} degenerate", grouping, 4, groups, rows))

    qkv = [qkv_case(f"{n}x{d}", bits, *(wide_channels(rng, n, d) for _ in range(3)))
           for n, d, bits in [(1, 1, 4), (5, 8, 4), (17, 12, 8), (7, 3, 2), (9, 16, 6), (4, 5, 3)]]
    qkv.append(qkv_case("degenerate", 4, special, special, special))

    weights = [weight_case(f"{n}x{k}", bits, eps, rng.standard_t(4, (n, k)) * 0.1 + 0.02)
               for n, k, bits, eps in [(1, 1, 4, 1e-3), (3, 7, 2, 0.0), (8, 33, 4, 1e-3), (5, 128, 4, 1e-4), (4, 50, 8, 0.01), (6, 20, 3, 1e-3)]]
    weights.append(weight_case("degenerate", 4, 0.0, special.T))

    widths = [width_case(f"{n} widths, {g} groups", np.round(rng.exponential(1, n), 2), g)
              for n, g in [(1, 1), (1, 4), (2, 2), (5, 2), (9, 3), (12, 4), (14, 5), (3, 8)]]
    widths.append(width_case("equal widths", [2.0] * 6, 3))
    widths.append(width_case("zeros among them", [0, 0, 0, 1, 5, 5], 2))
    return {"quantizer": quantizers, "channels": channels, "softmax": softmax, "qkv": qkv, "weights": weights, "widths": widths}


def plain(value):
    """Arrays and numpy numbers as JSON values; a float32 becomes the shortest decimal that reads back as itself."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating) and not np.isfinite(value):
        return str(float(value))
    if isinstance(value, np.float32):
        short = float(str(value))
        assert np.float32(short) == value
        return short
    return float(value) if isinstance(value, np.floating) else value


def main():
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/quant"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, cases in make_cases(np.random.default_rng(20240928)).items():
        path = args.out / f"{name}.json"
        path.write_text("[\n" + ",\n".join(json.dumps(plain(case), separators=(",", ":")) for case in cases) + "\n]\n")
        print(f"{path}: {len(cases)} cases, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
