"""Heuristic inner solvers against the proof: `python tests/benchmarks/bench_solvers.py [--seed S]`.

Twenty random inner programs per n. The seed is not one that was used while the solvers were
tuned (0, 1, 5, 100); ``interior`` counts the optima that lie inside the curve. On the linear
scale they nearly always lie at its end, where a heuristic has an easy life, so small error
probabilities beside a rare class (``rare``) and the Taylor program of the probit scale
(against a dense scan: the proof is about the probit margin itself) are shown as well.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

from rsbounds.bounds.margin._inner import plug_in_region
from rsbounds.solvers import SOLVERS, Region, Window
from rsbounds.solvers._base import curve_range, on_curve

PACKAGES = {"signomial": "cvxpy", "bayes-opt": "skopt"}
SEED = 20_260


def programs(n: int, count: int, kind: str, seed: int) -> Iterator[tuple[Region, float, Window]]:
    """Random tails, each with a level below the observed margin."""
    rng = np.random.default_rng([n, seed])
    order = 31 if kind == "taylor" else 0
    while count > 0:
        weights = [8.0, 0.2, 2.0] if kind == "rare" else [3.0, 1.0, 0.7]
        x = rng.multinomial(n, rng.dirichlet(weights))
        # With x1 <= x2 the supremum is one, and there is nothing to find.
        if x[0] <= x[1] + 1 or (order and x[0] <= 0.6 * n):
            continue
        region = plug_in_region(int(x[0]), int(x[1]), n, "probit" if order else "linear", order)
        window = Window(0.5, 0.5) if order else Window()
        level = float((x[0] - x[1]) / n) - rng.uniform(0.1, 0.4)
        if order:
            level = max(0.1, rng.uniform(0.3, 0.9) * 2.5 * (x[0] - x[1]) / n)
        count -= 1
        yield region, float(level), window


def scanned(region: Region, level: float, window: Window) -> float:
    """Best of a dense scan, logarithmic near both ends."""
    start, end = curve_range(region, level, window)
    share = np.concatenate([np.geomspace(1e-9, 0.5, 1500), 1.0 - np.geomspace(1e-9, 0.5, 1500)])
    points = (on_curve(region, level, start + (end - start) * s) for s in share)
    return max(region.probability(q1, q2) for q1, q2, _ in points)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    seed = parser.parse_args().seed
    proof = SOLVERS["branch-and-bound"]()
    print("solver     program  n     reached  interior  worst gap  median s  max s")
    for name, package in PACKAGES.items():
        try:
            __import__(package)
        except ImportError:
            print(f"{name}: {package} is not installed; nothing measured")
            continue
        solver = SOLVERS[name]()
        # Imports and compilation of the programs are not a solve.
        for kind in ("linear", "taylor"):
            for case in programs(10, 2, kind, seed + 1):
                solver(*case, 1.0)
        solver(plug_in_region(9, 1, 10, "linear"), -0.2, Window(), 1.0)
        for kind in ("linear", "rare", "taylor"):
            for n in (10, 20, 50, 1000):
                gaps, times, interior = [], [], 0
                for region, level, window in programs(n, 20, kind, seed):
                    began = time.perf_counter()
                    found = solver(region, level, window, 1.0)
                    times.append(time.perf_counter() - began)
                    if kind == "taylor":
                        best = max(scanned(region, level, window), found.value)
                    else:
                        best = proof(region, level, window, 1.0).upper
                    gaps.append(1.0 - found.value / best)
                    start, end = curve_range(region, level, window)
                    share = (found.point[1] - start) / max(end - start, 1e-300)
                    interior += 1e-3 < share < 1.0 - 1e-3
                reached = sum(gap <= 1e-4 for gap in gaps)
                print(
                    f"{name:10} {kind:8} {n:<5} {reached:2}/20    {interior:2}/20     "
                    f"{max(gaps):9.1e}  {np.median(times):7.3f}  {max(times):6.3f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
