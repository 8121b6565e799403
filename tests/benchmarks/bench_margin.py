"""Draws of the any-time tests of the margin: python tests/benchmarks/bench_margin.py.

Votes of published counts are taken as true probabilities (needs the data folder: RSBOUNDS_DATA or
../shared/data). 250 inputs, Gaussian noise of sigma 0.25, at most 100,000 draws, alpha 0.001.

Part 1: draws to an answer for r = 0.25, 0.5 and 0.75, side by side: fixed n, Clopper-Pearson at
growing looks (a union bound as in Voracek 2024), the binary `Decide`, and `Decide` against every
class, all on the same draws. Part 2: draws over ln(1/alpha)/KL. Part 3: `MarginSequence`
against `exact` at one n. Part 4: microseconds for each look and row. Part 5: errors over alpha,
by simulation to 10,000 draws (the exact ones are in tests/sequential).
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np
from bench_sequential import ALPHA, SIGMA, counts_file
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

import rsbounds

LAW = rsbounds.Gaussian(sigma=SIGMA)
CAP = 100_000
RULES: dict[str, dict[str, Any]] = {
    "binary": {"competitors": "complement", "prior_no": (0.5, 0.5)},
    "binary, own prior for no": {"competitors": "complement"},
    "all, proven no": {},
    "all, futile": {"no": "futile"},
}


class Looks:
    """Clopper-Pearson bounds on p_A at every look, alpha shared over the looks."""

    def __init__(self, radius: float, top: NDArray[np.int64]) -> None:
        self._p0, self._top, self._look = float(ndtr(radius / SIGMA)), top, 0
        self._a = np.zeros(len(top), dtype=np.int64)
        self.n, self.status = self._a.copy(), np.full(len(top), "continue", dtype="<U9")

    @property
    def active(self) -> NDArray[np.bool_]:
        return np.asarray(self.status == "continue")

    def update(self, votes: NDArray[np.int64]) -> None:
        self._look += 1
        alpha = ALPHA * 5.0 / ((self._look + 4) * (self._look + 5))
        rows = np.flatnonzero(self.active)
        self._a[rows] += votes[rows, self._top[rows]]
        self.n[rows] += votes[rows].sum(axis=1)
        low = rsbounds.clopper_pearson_lower(self._a[rows], self.n[rows], alpha=alpha)
        high = rsbounds.clopper_pearson_upper(self._a[rows], self.n[rows], alpha=alpha)
        self.status[rows[low > self._p0]] = "yes"
        self.status[rows[high < self._p0]] = "no"
        self.status[self.active & (self.n >= CAP)] = "undecided"


def run(p: NDArray[np.float64], radius: float, seed: int) -> tuple[dict[str, Any], Any]:
    """All rules on the same draws, and the fixed-n answers from all of them."""
    rng = np.random.default_rng(seed)
    top = rsbounds.select_top(rng.multinomial(100, p), independent=True)
    rules: dict[str, Any] = {"Clopper-Pearson looks": Looks(radius, top.top)}
    for name, options in RULES.items():
        rules[name] = rsbounds.Decide(radius, top, noise=LAW, alpha=ALPHA, limit=CAP, **options)
    votes, n = np.zeros(p.shape, dtype=np.int64), 0
    while any(rule.active.any() for rule in rules.values()):
        more = min(64 + n // 8, CAP - n)
        fresh = rng.multinomial(more, p)
        for rule in rules.values():
            if rule.active.any():
                rule.update(fresh)
        votes, n = votes + fresh, n + more
    votes = votes + rng.multinomial(CAP - n, p) if n < CAP else votes
    fixed = {
        method: rsbounds.certify(votes, top, noise=LAW, alpha=ALPHA, method=method).radius >= radius
        for method in ("complement", "exact")
    }
    return rules, fixed


def side_by_side(p: NDArray[np.float64], radius: float, seeds: int) -> None:
    runs = [run(p, radius, seed) for seed in range(seeds)]
    exact = np.concatenate([fixed["exact"] for _, fixed in runs])
    cohen = np.concatenate([fixed["complement"] for _, fixed in runs])
    told = {
        name: (
            np.concatenate([rules[name].status for rules, _ in runs]),
            np.concatenate([rules[name].n for rules, _ in runs]),
        )
        for name in runs[0][0]
    }
    base = told["binary"]
    print(f"  r = {radius}: yes of fixed n = {CAP}: exact {exact.sum() / seeds:.1f}, "
          f"Cohen {cohen.sum() / seeds:.1f} rows of {len(p)}")  # fmt: skip
    for name, (status, n) in told.items():
        both = (status == "yes") & (base[0] == "yes")
        yes, whole = status == "yes", told["all, proven no"][0] == "yes"
        print(
            f"    {name:26s} both yes {n[both].mean():7.0f} "
            f"({n[both].mean() / base[1][both].mean():.3f}), all rows {n.mean():7.0f} "
            f"({n.mean() / base[1].mean():.3f}), yes {yes.sum() / seeds:.1f}, of exact's lost "
            f"{(exact & ~yes).sum() / exact.sum():.2%}, "
            f"of the test's own {(whole & ~yes).sum() / whole.sum():.2%}",
            flush=True,
        )


def divergence(a: float, c: float, t: float) -> float:
    """KL of (a, c, rest) to the null of one competitor."""
    b = ndtr(-t / 2) * np.exp(-np.linspace(0, 25, 4001))
    h = ndtr(ndtri(b) + t)
    rest, left = max(1 - a - c, 0.0), np.maximum(1 - h - b, 1e-300)
    with np.errstate(divide="ignore"):
        whole = a * np.log(a / h) + (c * np.log(c / b) if c > 0 else 0.0)
        whole = whole + (rest * np.log(rest / left) if rest > 0 else 0.0)
    return float(whole.min())


def over_the_limit(p: NDArray[np.float64], radius: float, seeds: int) -> None:
    top = p.argmax(axis=1)
    limits = np.array([
        -math.log(ALPHA) / divergence(q[i], float(np.sort(q)[-2]), 2 * radius / SIGMA)
        if q[i] > ndtr(ndtri(np.sort(q)[-2]) + 2 * radius / SIGMA) else np.inf
        for i, q in zip(top, p, strict=True)
    ])  # fmt: skip
    rows = np.flatnonzero((limits > 100) & (limits < CAP / 3))
    ratios = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        sample = rng.multinomial(100, p[rows])
        chosen = rsbounds.select_top(sample, independent=True)
        test = rsbounds.Decide(radius, chosen, noise=LAW, alpha=ALPHA, no="futile", limit=CAP)
        while test.active.any():
            # Looks after 1 %: the limit knows no looks.
            more = 1 + int(test.n.max()) // 100
            test.update(rng.multinomial(more, p[rows]))
        yes = test.status == "yes"
        ratios.append((test.n / limits[rows])[yes])
    found = np.concatenate(ratios)
    print(f"  r = {radius}: {len(rows)} rows, median {np.median(found):.3f}", flush=True)


def sequence(p: NDArray[np.float64], n: int, seed: int, prior: bool) -> None:
    rng = np.random.default_rng(seed)
    sample = rng.multinomial(100, p)
    top = sample.argmax(axis=1)
    given: Any = rsbounds.select_top(sample, independent=True) if prior else top
    run = rsbounds.MarginSequence(given, noise=LAW, alpha=ALPHA, n_target=n)
    votes = 0 * sample
    while votes[0].sum() < n:
        fresh = rng.multinomial(min(64 + int(votes[0].sum()) // 8, n - int(votes[0].sum())), p)
        run.update(fresh)
        votes = votes + fresh
    fixed = rsbounds.margin_lower_bound(votes, top, alpha=ALPHA, scale="probit").lower
    rows = np.arange(len(p))
    own, others = p[rows, top], p.copy()
    others[rows, top] = -1
    truth = ndtri(own) - ndtri(others.max(axis=1))
    seen = (run.lower > 0) & (fixed > 0) & np.isfinite(truth)
    print(
        f"  n_target {n}, {'with' if prior else 'without'} a selection sample: shortfall over "
        f"exact {(truth - run.lower)[seen].mean() / (truth - fixed)[seen].mean():.3f}, "
        f"above the truth {int((run.lower > truth).sum())} of {len(p)}",
        flush=True,
    )


def seconds(p: NDArray[np.float64]) -> None:
    rng = np.random.default_rng(0)
    many = np.tile(p, (8, 1))
    top = rsbounds.select_top(rng.multinomial(100, many), independent=True)
    for name, rule in [
        ("MarginTest", rsbounds.MarginTest(np.full(len(many), 0.5), top, noise=LAW)),
        ("Decide, futile",
         rsbounds.Decide(0.5, top, noise=LAW, alpha=1e-300, no="futile", futility=1e-300,
                         limit=10**9)),
        ("Decide, proven no", rsbounds.Decide(0.5, top, noise=LAW, alpha=1e-300)),
        ("MarginSequence", rsbounds.MarginSequence(top, noise=LAW)),
    ]:  # fmt: skip
        taken = []
        for _ in range(6):
            fresh = rng.multinomial(200, many)
            start = time.process_time()
            rule.update(fresh)
            if isinstance(rule, rsbounds.MarginTest):
                rule.log_capital  # noqa: B018
            taken.append(time.process_time() - start)
        print(f"  {name:18s} {1e6 * min(taken) / len(many):6.1f} us", flush=True)


def errors(seed: int, paths: int) -> None:
    rng, alpha, worst = np.random.default_rng(seed), 0.05, 0.0
    for t in (0.5, 2.0, 4.0):
        for share in (1.0, 1 - 1e-6, 0.7, 0.2, 0.02, 1e-4):
            b = float(ndtr(-t / 2)) * share
            a = float(ndtr(ndtri(b) + t))
            q = np.array([a, b, *[max(1 - a - b, 0.0) / 60] * 60])
            test = rsbounds.MarginTest(
                np.full(paths, t * SIGMA / 2), np.zeros(paths, dtype=np.int64), noise=LAW
            )
            ever, n = np.zeros(paths, dtype=bool), 0
            while n < 10_000:
                more = 1 + n // 20
                test.update(rng.multinomial(more, q / q.sum(), size=paths))
                n += more
                ever |= test.proven(alpha=alpha)
            worst = max(worst, ever.mean() / alpha)
    noise = math.sqrt((1 - alpha) / (alpha * paths))
    print(f"  worst of 18 null points, {paths} paths each, alpha {alpha}: {worst:.3f}, "
          f"standard error up to {noise:.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--paths", type=int, default=5000)
    arguments = parser.parse_args()
    print("5. errors over alpha by simulation, many classes")
    errors(1, arguments.paths)
    path = counts_file()
    if path is None:
        print("the rest left out: no data folder (set RSBOUNDS_DATA)")
        return
    votes = np.loadtxt(path, delimiter="\t", skiprows=1, dtype=np.int64)[:, :-1]
    p = votes / votes.sum(axis=1, keepdims=True)
    print("4. microseconds for each look and row, all rows open")
    seconds(p)
    print("3. MarginSequence, mean shortfall over that of exact at n_target")
    for n in (1000, 10_000, 100_000):
        for prior in (True, False):
            sequence(p, n, 1, prior)
    print("2. draws over ln(1/alpha)/KL, rows where that exceeds 100")
    for radius in (0.25, 0.5, 0.75):
        over_the_limit(p, radius, min(3, arguments.seeds))
    print(f"1. draws to an answer, {arguments.seeds} seeds")
    for radius in (0.25, 0.5, 0.75):
        side_by_side(p, radius, arguments.seeds)


if __name__ == "__main__":
    main()
