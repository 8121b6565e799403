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
THREE = math.sqrt(0.15 * 0.25 + 0.8 - 0.875**2)
DIRICHLET = math.sqrt(11 / (12**2 * 13))
#: name, sampler, standard deviation
CASES: list[tuple[str, Any, float]] = [
    ("Beta(20,2)", lambda r, n: r.beta(20, 2, n), math.sqrt(40 / (22**2 * 23))),
    ("Bernoulli(.95)", lambda r, n: (r.random(n) < 0.95) * 1.0, math.sqrt(0.95 * 0.05)),
    ("Beta(50,.5)", lambda r, n: r.beta(50, 0.5, n), math.sqrt(25 / (50.5**2 * 51.5))),
    # Few samples carry the variance, or hardly any is there.
    ("Bernoulli(.999)", lambda r, n: (r.random(n) < 0.999) * 1.0, math.sqrt(0.999 * 0.001)),
    ("Bernoulli(.99)", lambda r, n: (r.random(n) < 0.99) * 1.0, math.sqrt(0.99 * 0.01)),
    ("Bernoulli(.9)", lambda r, n: (r.random(n) < 0.9) * 1.0, 0.3),
    ("three points", lambda r, n: r.choice([0.0, 0.5, 1.0], n, p=[0.05, 0.15, 0.8]), THREE),
    ("Beta(5,1)", lambda r, n: r.beta(5, 1, n), math.sqrt(5 / (6**2 * 7))),
    ("top of Dirichlet", lambda r, n: r.dirichlet([11, 0.5, 0.5], n)[:, 0], DIRICHLET),
    ("sd .006 at .5", lambda r, n: r.normal(0.5, 0.006, n), 0.006),
]
TARGETS = {
    100: (3.6, 1.8, 16.2),
    1000: (1.45, 1.30, 5.4),
    10000: (1.07, 1.09, 1.90),
    100000: (1.03, 1.04, 1.09),
}
#: Places in `CASES` from the fourth on, n, and the width to reach.
SPARSE = [
    (3, 10_000, 1.60), (4, 1000, 1.55), (5, 100, 1.45), (6, 100, 1.40), (7, 100, 1.48),
    (8, 100, 2.70), (9, 10_000, 2.25),
]  # fmt: skip


def samples(case: int, n: int, repeats: int, seed: int = 0) -> NDArray[np.float64]:
    """One row per repeat, each from its own seed."""
    draw = CASES[case][1]
    return np.array([draw(np.random.default_rng([seed, r]), n) for r in range(repeats)])


def ratios(case: int, n: int, repeats: int, seed: int = 0, **how: Any) -> NDArray[np.float64]:
    x = samples(case, n, repeats, seed)
    bound = rsbounds.mean_bound(x, alpha=ALPHA, axis=1, **how)
    return np.asarray((x.mean(axis=1) - bound.lower) / (Z * CASES[case][2] / math.sqrt(n)))


def worst_over_votes(n: int, alpha: float, **how: Any) -> float:
    """Largest error over alpha that n votes can have, over all means, from all 2^n paths.

    The paths in error at a mean p are those with a bound above p: as p rises to the next bound
    they stay the same, and what they weigh is a polynomial, looked at in four places.
    """
    paths = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    lower = rsbounds.mean_bound(paths, alpha=alpha, axis=1, **how).lower
    levels, place = np.unique(lower, return_inverse=True)
    tally = np.zeros((levels.size, n + 1))
    np.add.at(tally, (place, paths.sum(axis=1).astype(int)), 1.0)
    above = tally[::-1].cumsum(axis=0)[::-1][1:]
    ones = np.arange(n + 1)
    worst = 0.0
    for share in (0.0, 0.4, 0.8, 1.0):
        p = (levels[:-1] + share * np.diff(levels))[:, None]
        error = (above * p**ones * (1.0 - p) ** (n - ones)).sum(axis=1)
        worst = max(worst, float(error.max(initial=0.0)) / alpha)
    return worst


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

    print("\nfew samples carry the variance: goal, betting, to reach (goal)")
    for case, n, target in SPARSE:
        few = repeats if n < 10_000 else max(repeats // 2, 10)
        wide, other = (
            float(np.median(ratios(case, n, few, arguments.seed, method=method)))
            for method in ("goal", "betting")
        )
        mark = "*" if wide > target else ""
        print(f"  {CASES[case][0]:18s}{n:>8d}{wide:8.3f}{mark:1s}{other:8.3f}{target:8.2f}")

    print("\ngoal: worst error over alpha, over every mean and all paths of so many votes")
    for votes in (5, 9, 13) if arguments.quick else (5, 9, 13, 17):
        worst = [worst_over_votes(votes, a, method="goal") for a in (0.3, 0.05, 0.01, ALPHA)]
        print(f"  {votes:2d}: " + "/".join(f"{w:.3f}" for w in worst), flush=True)

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
