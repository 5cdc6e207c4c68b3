#!/usr/bin/env python3
"""Makes tests/fixtures/allocation/instances.json: 1,000 multiple-choice knapsacks with the optimum HiGHS finds.

    python tools/make_allocation_fixture.py [--out tests/fixtures/allocation/instances.json]

The problem of group size allocation (method section 6): one candidate per layer, minimise the sum of values (perturbations)
while the sum of costs (BOPs) stays within a budget. An instance is
    {"kind": ..., "budget": b, "cost": [[per candidate] per layer], "value": [[...] ...], "objective": optimum or null}
where null means infeasible. Costs and values are decimal numbers short enough to be exact here in integer arithmetic;
every solution is checked that way, and the optimum of instances with few combinations by trying all.

Needs: pip install numpy highspy
"""
import argparse
import itertools
import json
from pathlib import Path

import highspy
import numpy as np

INSTANCES = 1000
BRUTE_FORCE_LIMIT = 20000
COST_UNITS = 1000   # costs are multiples of 1/1000
VALUE_UNITS = 10000  # values are multiples of 1/10000
KINDS = ["random", "decreasing", "ties", "bops", "float", "tight", "loose", "infeasible", "large", "single"]


def make_instance(kind, rng):
    """One instance as integers: costs in 1/COST_UNITS, values in 1/VALUE_UNITS, and the budget in the unit of costs."""
    layers = int(rng.integers(40, 61)) if kind == "large" else 5 + int(min(55, rng.exponential(9)))
    costs, values = [], []
    for _ in range(layers):
        count = 1 if kind == "single" and rng.random() < 0.5 else int(rng.integers(2, 7 if kind == "large" else 11))
        cost = rng.integers(1, 200, count) * COST_UNITS
        value = rng.integers(0, 9999, count)
        if kind == "float":
            cost = rng.integers(1, 99999, count)
        elif kind == "ties":
            cost = rng.integers(1, 4, count) * COST_UNITS
            value = rng.integers(0, 4, count) * (VALUE_UNITS // 4)
        elif kind in ("decreasing", "bops", "large"):  # more groups cost more and perturb less
            value = np.sort(value)[::-1]
            cost = np.sort(cost)
        if kind == "bops":
            cost = (int(rng.integers(10**6, 10**8)) + np.arange(count) * int(rng.integers(10**4, 10**6))) * COST_UNITS
        costs.append([int(c) for c in cost])
        values.append([int(v) for v in value])
    lowest, highest = sum(map(min, costs)), sum(map(max, costs))
    share = {"tight": 0.02, "loose": 1.1, "infeasible": -0.01}.get(kind, rng.uniform(0.05, 0.9))
    budget = lowest + int(share * (highest - lowest))
    if kind == "tight" and rng.random() < 0.5:
        budget = lowest
    if kind == "infeasible":
        budget = lowest - 1 - int(rng.integers(0, lowest // 2))
    if kind != "float":
        budget = budget // COST_UNITS * COST_UNITS
    return costs, values, budget


def solve(costs, values, budget):
    """The optimal value by HiGHS, as an integer; None when infeasible."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("mip_rel_gap", 0.0)
    highs.setOptionValue("mip_abs_gap", 0.0)
    highs.setOptionValue("threads", 1)
    unit = max(map(max, costs)) / 100  # scaled so that half a unit of the budget is far above the tolerances
    picks, chosen = [], []
    for cost, value in zip(costs, values):
        row = [highs.addBinary(obj=float(v)) for v in value]
        highs.addConstr(sum(row[1:], 1 * row[0]) == 1)
        picks.append(row)
    terms = [(c / unit) * x for row, cost in zip(picks, costs) for x, c in zip(row, cost)]
    highs.addConstr(highs.qsum(terms) <= (budget + 0.5) / unit)
    highs.minimize()
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return None
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    for row in picks:
        chosen.append(int(np.argmax([highs.val(x) for x in row])))
    assert sum(c[i] for c, i in zip(costs, chosen)) <= budget
    return sum(v[i] for v, i in zip(values, chosen))


def brute_force(costs, values, budget):
    """The optimal value by trying every combination; None when infeasible."""
    best = None
    for combination in itertools.product(*[range(len(c)) for c in costs]):
        if sum(c[i] for c, i in zip(costs, combination)) <= budget:
            value = sum(v[i] for v, i in zip(values, combination))
            best = value if best is None else min(best, value)
    return best


def decimal(number, units):
    """An integer count of 1/units as the shortest JSON number."""
    return number // units if number % units == 0 else number / units


def main():
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/allocation/instances.json"))
    args = parser.parse_args()
    rng = np.random.default_rng(20240401)
    lines, checked, infeasible = [], 0, 0
    for i in range(INSTANCES):
        kind = KINDS[i % len(KINDS)]
        costs, values, budget = make_instance(kind, rng)
        objective = solve(costs, values, budget)
        assert (objective is None) == (sum(map(min, costs)) > budget)
        if np.prod([len(c) for c in costs], dtype=float) <= BRUTE_FORCE_LIMIT:
            assert objective == brute_force(costs, values, budget)
            checked += 1
        infeasible += objective is None
        lines.append(json.dumps({
            "kind": kind, "budget": decimal(budget, COST_UNITS),
            "cost": [[decimal(c, COST_UNITS) for c in row] for row in costs],
            "value": [[decimal(v, VALUE_UNITS) for v in row] for row in values],
            "objective": None if objective is None else decimal(objective, VALUE_UNITS)}, separators=(",", ":")))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{INSTANCES} instances ({infeasible} infeasible, {checked} also solved by brute force), "
          f"{args.out.stat().st_size:,} bytes, HiGHS {highspy.Highs().version()}")


if __name__ == "__main__":
    main()
