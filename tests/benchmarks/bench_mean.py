"""Widths over the normal limit and times of the mean bounds: python tests/benchmarks/bench_mean.py.

Width is the sample mean minus the lower bound at alpha = 0.001, divided by
z_{1-alpha} sigma / sqrt(n); medians over seeded repeats. ``--quick`` takes fewer repeats.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rsbounds

ALPHA = 0.001
Z = 3.090232306167813
#: name, sampler, standard deviation
CASES: list[tuple[str, Any, float]] = [
    ("Beta(20,2)", lambda r, n: r.beta(20, 2, n), math.sqrt(40 / (22**2 * 23))),
    ("Bernoulli(.95)", lambda r, n: (r.random(n) < 0.95) * 1.0, math.sqrt(0.95 * 0.05)),
    ("Beta(50,.5)", lambda r, n: r.beta(50, 0.5, n), math.sqrt(25 / (50.5**2 * 51.5))),
]
TARGETS = {
    100: (3.6, 1.8, 16.2),
    1000: (1.45, 1.30, 5.4),
    10000: (1.07, 1.09, 1.90),
    100000: (1.03, 1.04, 1.09),
}


def samples(case: int, n: int, repeats: int, seed: int = 0) -> NDArray[np.float64]:
    """One row per repeat, each from its own seed."""
    draw = CASES[case][1]
    return np.array([draw(np.random.default_rng([seed, r]), n) for r in range(repeats)])


def ratios(case: int, n: int, repeats: int, seed: int = 0, **how: Any) -> NDArray[np.float64]:
    x = samples(case, n, repeats, seed)
    bound = rsbounds.mean_bound(x, alpha=ALPHA, axis=1, **how)
    return np.asarray((x.mean(axis=1) - bound.lower) / (Z * CASES[case][2] / math.sqrt(n)))


def best_time(x: NDArray[np.float64], **how: Any) -> float:
    rsbounds.mean_bound(x, alpha=ALPHA, axis=1, **how)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        rsbounds.mean_bound(x, alpha=ALPHA, axis=1, **how)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    repeats = 10 if arguments.quick else 50
    methods = ["hoeffding", "empirical-bernstein", "prpl-eb", "betting", "mixture", "goal"]
    print(f"median width / normal width over {repeats} repeats, alpha {ALPHA}")
    print(f"{'method':22s}" + "".join(f"{n:>27d}" for n in TARGETS))
    for method in methods:
        cells = []
        for n, target in TARGETS.items():
            row = [
                float(np.median(ratios(c, n, repeats, arguments.seed, method=method)))
                for c in range(3)
            ]
            mark = (
                "*"
                if method == "goal" and any(a > b for a, b in zip(row, target, strict=True))
                else " "
            )
            cells.append("/".join(f"{v:.3f}" for v in row) + mark)
        print(f"{method:22s}" + "".join(f"{c:>27s}" for c in cells), flush=True)
    print(f"{'to reach (goal)':22s}" + "".join(f"{t!s:>27s}" for t in TARGETS.values()))

    print("\nmixture against the best cap of the time-uniform plug-in bets (width ratio)")
    from rsbounds.sequential import confidence_sequence

    for n in TARGETS:
        few = repeats if n < 100_000 else 10
        line = []
        for c, (name, _, _) in enumerate(CASES):
            x = samples(c, n, few)
            widths = {}
            for cap in (0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
                stream = confidence_sequence("betting", alpha=ALPHA, side="lower", cap=cap)
                stream.update(x)
                widths[cap] = float(np.median(x.mean(axis=1) - stream.lower))
            stream = confidence_sequence("mixture", alpha=ALPHA, side="lower")
            stream.update(x)
            mixed = float(np.median(x.mean(axis=1) - stream.lower))
            cap = min(widths, key=lambda k: widths[k])
            line.append(f"{name} {mixed / widths[cap]:.3f} (cap {cap})")
        print(f"  n = {n}: " + ", ".join(line), flush=True)

    print("\nms per row at n = 100,000, best of 5")
    for method in ["prpl-eb", "betting", "mixture", "goal"]:
        each = [best_time(samples(c, 100_000, 1), method=method) for c in range(3)]
        print(f"  {method:10s}" + "".join(f"{e:9.2f}" for e in each))
    x = np.random.default_rng(0).beta(20, 2, size=(1000, 10_000))
    print(f"  prpl-eb on (1000, 10000), all cores: {best_time(x, method='prpl-eb'):.0f} ms")


if __name__ == "__main__":
    main()
