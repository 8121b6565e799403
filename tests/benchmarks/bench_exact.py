"""Every figure asked of the exact bound: `python tests/benchmarks/bench_exact.py [--quick]`.

Reads cifar10_resnet110_sigma0.25_counts.tsv from ``$RSBOUNDS_DATA`` or ``../shared/data``
beside the repository root; draws n of its 100,000 votes hypergeometrically, seed fixed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.random import default_rng
from scipy.special import ndtri

import rsbounds
from rsbounds.report.limit import likelihood_limit

ALPHA = 0.001
SIGMA = 0.25


def data_file() -> Path | None:
    folder = os.environ.get("RSBOUNDS_DATA", "")
    root = Path(folder) if folder else Path(__file__).resolve().parents[3] / "shared" / "data"
    path = root / "cifar10_resnet110_sigma0.25_counts.tsv"
    return path if path.exists() else None


def thinned(counts: np.ndarray, n: int, seed: int) -> np.ndarray:
    if n == counts[0].sum():
        return counts
    return np.stack(
        [default_rng([seed, i]).multivariate_hypergeometric(row, n) for i, row in enumerate(counts)]
    )


def second_order(p1: np.ndarray, p2: np.ndarray, n: int) -> float:
    """Half-width ratio that skewness alone asks for on the linear scale (Hall 1988).

    The 1 - alpha lower limit of a mean is mean - z s/sqrt(n) + skewness s (2 z^2 + 1)/(6 n) up to
    smaller terms: `limit` stops at the first two.
    """
    z = -ndtri(ALPHA)
    d = p1 - p2
    spread = np.sqrt(p1 + p2 - d**2)
    third = p1 * (1 - d) ** 3 - p2 * (1 + d) ** 3 - (1 - p1 - p2) * d**3
    extra = -third / spread**2 * (2 * z**2 + 1) / (6 * n)
    return float(1 + extra.mean() / (z * spread / np.sqrt(n)).mean())


def limit(p1: np.ndarray, p2: np.ndarray, n: int, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Plug-in margin and the delta-method limit."""
    if scale == "linear":
        margin, w1, w2 = p1 - p2, np.ones_like(p1), np.ones_like(p2)
    else:
        margin = ndtri(p1) - ndtri(p2)
        w1 = np.sqrt(2 * np.pi) * np.exp(ndtri(p1) ** 2 / 2)
        w2 = np.sqrt(2 * np.pi) * np.exp(ndtri(p2) ** 2 / 2)
    mean = w1 * p1 - w2 * p2
    spread = np.sqrt((w1**2 * p1 + w2**2 * p2 - mean**2) / n)
    return margin, margin + ndtri(ALPHA) * spread


def bounds(
    counts: np.ndarray, top: np.ndarray, scale: str, method: str, **options: object
) -> rsbounds.MarginBound:
    return rsbounds.margin_lower_bound(
        counts, top, alpha=ALPHA, scale=scale, method=method, **options
    )


def ratios(counts: np.ndarray, labels: np.ndarray, seeds: int) -> None:
    print("half-width ratio over rows with three or more classes seen; ms per row, one core")
    print("(top: the class of the most votes, or the label, which is fixed before the counts; on")
    print("the probit scale a row without votes for its label has no margin to compare;")
    print("signed root: exact against the likelihood limit in place of the delta method's)")
    print(
        "scale   top    n       seed  rows  exact   signed root  2nd-order  runner-up  complement"
        "  median ms"
    )
    for scale, name in (("probit", "votes"), ("linear", "votes"), ("linear", "label")):
        for n in (100, 1000, 10_000, 100_000):
            for seed in range(1 if n == 100_000 else seeds):
                table = thinned(counts, n, seed)
                keep = (table > 0).sum(axis=1) >= 3
                table = table[keep]
                top = labels[keep] if name == "label" else table.argmax(axis=1)
                index = np.arange(len(table))
                p1 = table[index, top] / n
                others = table.copy()
                others[index, top] = -1
                p2 = others.max(axis=1) / n
                margin, best = limit(p1, p2, n, scale)
                width = (margin - best).mean()
                cells = [
                    (margin - bounds(table, top, scale, m).lower).mean() / width
                    for m in ("exact", "runner-up", "complement")
                ]
                root = likelihood_limit(table, top, alpha=ALPHA, scale=scale).level
                rooted = cells[0] * width / (margin - root).mean()
                skewed = second_order(p1, p2, n) if scale == "linear" else float("nan")
                times = []
                for i in range(len(table)):
                    start = time.perf_counter()
                    bounds(table[i : i + 1], top[i : i + 1], scale, "exact")
                    times.append(1e3 * (time.perf_counter() - start))
                print(
                    f"{scale:7} {name:6} {n:<7} {seed:<5} {len(table):<5} {cells[0]:.4f}  "
                    f"{rooted:.4f}       {skewed:<6.4f}     {cells[1]:.4f}     "
                    f"{cells[2]:<7.4f}     {np.median(times):.3f}"
                )


def statistics(counts: np.ndarray) -> None:
    print("half-width ratio by ordering, thinning seed 0, top: the class of the most votes")
    names = ("likelihood", "score", "wald", "runner-up")
    print("scale   n       " + "  ".join(f"{name:10}" for name in names))
    for scale in ("probit", "linear"):
        for n in (100, 1000, 10_000, 100_000):
            table = thinned(counts, n, 0)
            table = table[(table > 0).sum(axis=1) >= 3]
            top = table.argmax(axis=1)
            ordered = np.sort(table, axis=1)[:, ::-1] / n
            margin, best = limit(ordered[:, 0], ordered[:, 1], n, scale)
            cells = [
                (margin - bounds(table, top, scale, "exact", statistic=name).lower).mean()
                for name in names
            ]
            width = (margin - best).mean()
            print(f"{scale:7} {n:<7} " + "  ".join(f"{cell / width:<10.4f}" for cell in cells))


def radii(counts: np.ndarray, labels: np.ndarray) -> None:
    top = counts.argmax(axis=1)
    exact = bounds(counts, top, "probit", "exact")
    floor = bounds(counts, top, "probit", "runner-up")
    radius = SIGMA / 2 * np.maximum(exact.lower, 0.0)
    correct = top == labels
    gap = exact.lower - floor.lower
    print(f"mean radius {np.floor(radius.mean() * 1e6) / 1e6:.6f} (asked: 0.46922)")
    print(f"ACR {np.floor((radius * correct).mean() * 1e6) / 1e6:.6f} (asked: 0.41676)")
    print(
        f"rows below runner-up by more than 1e-9: {(gap < -1e-9).sum()}, least gap {gap.min():.2e}"
    )
    print(
        f"solved {int(exact.solved.sum())} of {len(counts)}, "
        f"p-value bound at most {exact.details['p_value'].max():.6f}, "
        f"exhausted {int(exact.details['exhausted'].sum())}"
    )


def draws(counts: np.ndarray) -> None:
    print("mean Gaussian radius by draws, thinning seed 0, all images and those with three or more")
    print("classes seen at n = 100,000; top: the class of the most votes there")
    print("n       exact    complement  exact, 3+  complement, 3+")
    top = counts.argmax(axis=1)
    many = (counts > 0).sum(axis=1) >= 3
    for n in (1000, 2000, 5000, 7000, 10_000, 20_000, 40_000, 50_000, 100_000):
        table = thinned(counts, n, 0)
        ours, cohen = (
            SIGMA / 2 * np.maximum(bounds(table, top, "probit", m).lower, 0.0)
            for m in ("exact", "complement")
        )
        print(
            f"{n:<7} {ours.mean():.5f}  {cohen.mean():.5f}     "
            f"{ours[many].mean():.5f}    {cohen[many].mean():.5f}"
        )


def table_time(counts: np.ndarray) -> None:
    rng = default_rng(1)
    rows = counts[rng.integers(0, len(counts), 10_000)]
    rows = np.stack([rng.multinomial(100_000, row / row.sum()) for row in rows])
    start = time.perf_counter()
    bounds(rows, rows.argmax(axis=1), "probit", "exact")
    print(f"10,000 rows, ten classes, n = 100,000, probit: {time.perf_counter() - start:.1f} s")


def hard_rows() -> None:
    """CPU time of the rows that cost the most: few votes outside two classes, or for the top."""
    print("n          row                                scale   CPU ms   evaluations  exhausted")
    for n in (10**5, 10**6, 10**7, 10**9):
        rows = [[n, 0, 0], [0, n, 0], [0, n - 1, 1], [1, n - 1, 0], [n // 2, n - n // 2, 0]]
        rows += [[n // 2, 1, n - n // 2 - 1], [5, n // 2, n - n // 2 - 5]]
        rows += [[n - n // 10 * 4, n // 10 * 3, n // 10], [n - 25_000, 25_000, 0]]
        rows += [[n - 40_000, 40_000, 0], [n // 100 * 99, n // 200, n - n // 100 * 99 - n // 200]]
        for row in rows:
            for scale in ("linear", "probit"):
                start = time.process_time()
                found = bounds(np.array([row]), np.array([0]), scale, "exact")
                spent = 1e3 * (time.process_time() - start)
                used, short = found.details["evaluations"][0], found.details["exhausted"][0]
                print(f"{n:<10} {row!s:34} {scale:7} {spent:<8.2f} {used:<8} {short}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, no long table")
    options = parser.parse_args()
    path = data_file()
    if path is None:
        print("bench_exact: data folder not found (set RSBOUNDS_DATA); nothing measured")
        return 0
    data = np.loadtxt(path, skiprows=1, dtype=np.int64)
    counts, labels = data[:, :10], data[:, 10]
    bounds(counts[:2], labels[:2], "probit", "exact")
    hard_rows()
    radii(counts, labels)
    ratios(counts, labels, 1 if options.quick else 3)
    statistics(counts)
    draws(counts)
    if not options.quick:
        table_time(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
