"""Samples used by `Decide` and `Adaptive`: python tests/benchmarks/bench_sequential.py.

Part 1: exact stopping times by dynamic programming, p_A against p0, a look after every draw.
Part 2 and 3: replay of published counts (draws without replacement) against the fixed-n
answer from all 100,000 draws; needs the data folder (RSBOUNDS_DATA or ../shared/data).
Part 4 (``--widths`` runs it alone): widths of confidence sequences over the normal width, the
mixture with and without its tail of small bets, the beta-binomial on one side and on both.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

import rsbounds
from rsbounds.bounds.mean._one_sided import log_capital
from rsbounds.bounds.mean.mixture import CAPS, WEIGHTS
from rsbounds.testing import stopping_distribution

ALPHA = 0.001
SIGMA = 0.25


def rule(p0: float, alpha: float) -> Any:
    """Codes of `Decide` at (t, s): 1 for yes, -1 for no."""
    level = -math.log(alpha)

    def stop(t: int, s: NDArray[np.int64]) -> NDArray[np.int8]:
        p, q = np.full(t + 1, p0), np.full(t + 1, 1 - p0)
        yes = log_capital(s, t - s, p, q, (0.5, 0.5)) >= level
        no = log_capital(t - s, s, q, p, (0.5, 0.5)) >= level
        return np.where(yes, 1, np.where(no, -1, 0)).astype(np.int8)

    return stop


def kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def median_time(law: dict[int, NDArray[np.float64]]) -> float:
    total = np.cumsum(sum(law.values()))
    return float(np.argmax(total >= 0.5)) if total[-1] >= 0.5 else math.inf


def counts_file() -> Path | None:
    root = Path(os.environ.get("RSBOUNDS_DATA", Path(__file__).parents[2].parent / "shared/data"))
    path = root / "cifar10_resnet110_sigma0.25_counts.tsv"
    return path if path.is_file() else None


def draw(rng: np.random.Generator, left: NDArray[np.int64], sizes: Any) -> NDArray[np.int64]:
    """Draws without replacement from what is left of each row."""
    part = np.zeros_like(left)
    for i, size in enumerate(sizes):
        if size > 0:
            part[i] = rng.multivariate_hypergeometric(left[i], int(size), method="marginals")
    return part


def replay_decide(votes: NDArray[np.int64], seed: int, step: int = 100) -> None:
    rng = np.random.default_rng(seed)
    noise = rsbounds.Gaussian(sigma=SIGMA)
    n = int(votes[0].sum())
    top = votes.argmax(axis=1)
    fixed = rsbounds.certify(votes, top, noise=noise, alpha=ALPHA, method="complement")
    for radius in (0.25, 0.5, 0.75):
        left = votes.copy()
        test = rsbounds.Decide(radius, top, noise=noise, alpha=ALPHA, limit=n)
        size = step
        while test.active.any():
            # Chunks grow with the draws so far: the answer comes at most a twentieth late.
            size = max(step, int(test.n.max()) // 20)
            wanted = np.where(test.active, np.minimum(size, n - test.n), 0)
            part = draw(rng, left, wanted)
            left -= part
            test.update(part)
        yes = fixed.radius >= radius
        said = test.status == "yes"
        print(
            f"  r = {radius}: mean {test.n.mean():8.0f} of {n}, median {np.median(test.n):6.0f}, "
            f"agrees with fixed n on {np.mean(said == yes):.3f} "
            f"(undecided {np.mean(test.status == 'undecided'):.3f}, "
            f"yes {said.mean():.3f} against {yes.mean():.3f})",
            flush=True,
        )


def replay_adaptive(votes: NDArray[np.int64], seed: int, method: str, gain: float) -> None:
    rng = np.random.default_rng(seed)
    noise = rsbounds.Gaussian(sigma=SIGMA)
    n = int(votes[0].sum())
    top = votes.argmax(axis=1)
    fixed = rsbounds.certify(votes, top, noise=noise, alpha=ALPHA, method=method)
    start = time.perf_counter()
    run = rsbounds.Adaptive(
        top,
        noise=noise,
        alpha=ALPHA,
        looks=rsbounds.geometric_looks(1000, n, 3.0),
        gain=gain,
        method=method,
    )
    left = votes.copy()
    while run.active.any():
        part = draw(rng, left, run.wanted)
        left -= part
        run.update(part)
    seconds = time.perf_counter() - start
    got = run.certificates()
    print(
        f"  {method}, gain {gain}: ACR {got.radius.mean():.4f} of {fixed.radius.mean():.4f} "
        f"({got.radius.mean() / fixed.radius.mean():.4f}), samples {run.n.mean() / n:.3f} of "
        f"{n}, {seconds:.1f} s",
        flush=True,
    )


def _streams() -> list[tuple[str, Any, float, Any]]:
    """Name, sampler, standard deviation and side."""
    votes = [
        (f"Bernoulli({p}) {side}", lambda r, n, p=p: (r.random(n) < p) * 1.0, sqrt(p - p * p), side)
        for p in (0.98, 0.8, 0.5)
        for side in ("lower", "upper")
    ]
    scores = [
        (f"Beta({a},{b}) lower", lambda r, n, a=a, b=b: r.beta(a, b, n), sd, "lower")
        for a, b, sd in ((20, 2, sqrt(40 / (22**2 * 23))), (50, 0.5, sqrt(25 / (50.5**2 * 51.5))))
    ]
    return votes + scores


def widths(seed: int) -> None:
    eight = {"caps": CAPS[:8], "weights": tuple(w / sum(WEIGHTS[:8]) for w in WEIGHTS[:8])}
    ways: list[tuple[str, str, dict[str, Any], bool]] = [
        ("mixture, eight bets", "mixture", eight, False),
        ("mixture", "mixture", {}, False),
        ("beta-binomial, both", "beta-binomial", {}, True),
        ("beta-binomial", "beta-binomial", {}, False),
    ]
    sizes = (100, 1000, 10_000, 100_000, 1_000_000)
    print(f"{'':44s}" + "".join(f"{n:>10d}" for n in sizes))
    for name, sampler, sigma, side in _streams():
        for label, method, options, both in ways:
            if method == "beta-binomial" and not name.startswith("Bernoulli"):
                continue
            cells = []
            for n in sizes:
                repeats = max(1, min(20, 200_000 // n))
                x = np.array([sampler(np.random.default_rng([seed, r]), n) for r in range(repeats)])
                seq = rsbounds.confidence_sequence(
                    method, alpha=ALPHA, side="both" if both else side, **options
                )
                seq.update(x)
                bound = seq.lower if side == "lower" else seq.upper
                width = np.abs(x.mean(axis=1) - bound) / (-ndtri(ALPHA) * sigma / math.sqrt(n))
                cells.append(float(np.median(width)))
            print(f"  {name:20s} {label:21s}" + "".join(f"{c:10.3f}" for c in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--widths", action="store_true", help="part 4 alone")
    arguments = parser.parse_args()
    if arguments.widths:
        widths(arguments.seed)
        return
    print(f"1. decide: median draws by exact dynamic programming, alpha {ALPHA}")
    cases = [(0.8, p) for p in (0.5, 0.7, 0.9, 0.95, 0.99)]
    cases += [(0.99, p) for p in (0.5, 0.7, 0.9, 0.95, 0.999, 0.9999)]
    for p0, p in cases:
        limit = -math.log(ALPHA) / kl(p, p0)
        law = stopping_distribution(p, int(4 * limit) + 50, rule(p0, ALPHA))
        wrong = law.get(-1 if p > p0 else 1, np.zeros(1)).sum()
        median = median_time(law)
        print(
            f"  p0 {p0} p {p}: median {median:.0f}, limit {limit:.0f}, "
            f"ratio {median / limit:.2f}, wrong answer {wrong:.1e}",
            flush=True,
        )
    for p0 in (0.8, 0.99):
        law = stopping_distribution(p0, 2000, rule(p0, ALPHA))
        print(
            f"  at p = p0 = {p0}, by n = 2000: P(yes) {law[1].sum():.2e}, "
            f"P(no) {law.get(-1, np.zeros(1)).sum():.2e}, alpha {ALPHA:.0e}"
        )
    print("4. widths of confidence sequences over the normal width, medians")
    widths(arguments.seed)
    path = counts_file()
    if path is None:
        print("2 and 3 left out: no data folder (set RSBOUNDS_DATA)")
        return
    votes = np.loadtxt(path, delimiter="\t", skiprows=1, dtype=np.int64)[:, :-1]
    print(f"2. decide on {path.name}, sigma {SIGMA}")
    replay_decide(votes, arguments.seed)
    print(f"3. adaptive on {path.name}")
    for method in ("runner-up", "complement"):
        for gain in (0.02, 0.03, 0.04):
            replay_adaptive(votes, arguments.seed, method, gain)
    print(f"largest radius at n = 100000: {SIGMA * ndtri(ALPHA**1e-5):.4f}")


if __name__ == "__main__":
    main()
