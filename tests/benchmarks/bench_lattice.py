"""Noise on a lattice against float noise: time per number, table, sampling, and a chi-square.

    python tests/benchmarks/bench_lattice.py [--draws 1e9] [--lenet]

Times are CPU time, medians of repeats that take turns, both in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy import stats

import rsbounds
from rsbounds.streams import CounterStream, gaussian_table

D, COPIES = 784, 1000
LAWS = {
    "float": rsbounds.Gaussian(0.25),
    "1/255": rsbounds.Gaussian(0.25, lattice=1 / 255),
    "auto": rsbounds.Gaussian(0.25, lattice="auto"),
    "largest table": rsbounds.Gaussian(1.0, lattice=1 / 2040),
    "uniform, float": rsbounds.Uniform(0.5),
    "uniform, auto": rsbounds.Uniform(0.5, lattice="auto"),
}


def in_turns(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def kernels(repeats: int) -> dict[str, float]:
    """Nanoseconds per number, float32."""
    out, x = np.empty((COPIES, D), np.float32), np.zeros(D, np.float32)

    def work(law: rsbounds.Gaussian | rsbounds.Uniform) -> Callable[[], object]:
        stream = CounterStream(law, (D,), seed=1, role="estimate")
        return lambda: stream.add(out, x, 0, 0)

    found = in_turns({name: work(law) for name, law in LAWS.items()}, repeats)
    return {name: seconds / out.size * 1e9 for name, seconds in found.items()}


def tables(repeats: int) -> dict[str, float]:
    """Milliseconds to build a table, by its columns."""
    found = {}
    for sigma, spacing in ((0.25, 1 / 255), (0.5, 1 / 255), (0.25, 1 / 2040), (1.0, 1 / 2040)):
        bits = gaussian_table(sigma, spacing).bits
        times = []
        for _ in range(repeats):
            gaussian_table.cache_clear()
            start = time.process_time()
            gaussian_table(sigma, spacing)
            times.append(time.process_time() - start)
        found[f"2^{bits}"] = statistics.median(times) * 1e3
    return found


def chi_square(draws: int) -> dict[str, float]:
    """P-value of so many draws against the cells, those with few draws expected put together."""
    law = LAWS["1/255"]
    table = law.table()
    assert table is not None
    out, x = np.empty((1000, 10_000), np.float32), np.zeros(10_000, np.float32)
    stream = CounterStream(law, (10_000,), seed=1, role="estimate")
    counts = np.zeros(2 * table.reach + 1, np.int64)
    rounds = max(1, draws // out.size)
    for i in range(rounds):
        stream.add(out, x, 0, i * len(out))
        cells = np.rint(out.ravel() * np.float32(255)).astype(np.int64) + table.reach
        counts += np.bincount(cells, minlength=len(counts))
    k = np.arange(table.reach + 1)
    edges = (k - 0.5) / 255 / 0.25
    half = stats.norm.sf(edges) - stats.norm.sf(edges + 1 / 255 / 0.25)
    expected = np.concatenate([half[:0:-1], half]) * counts.sum()
    few = expected < 20
    seen = np.append(counts[~few], counts[few].sum())
    wanted = np.append(expected[~few], expected[few].sum())
    result = stats.chisquare(seen, wanted * (seen.sum() / wanted.sum()))
    return {"draws": float(rounds * out.size), "cells": float(len(seen)), "p": float(result.pvalue)}


def sampling(repeats: int, copies: int = 20_000) -> dict[str, float]:
    """Share of the float path's speed that sampling a LeNet with exact noise has."""
    import torch
    from bench_torch import lenet

    from rsbounds_torch import SmoothedClassifier

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = lenet()
    x = torch.rand(1, 1, 28, 28)

    def work(law: rsbounds.Gaussian) -> Callable[[], object]:
        classifier = SmoothedClassifier(
            model, num_classes=10, noise=law, lattice=law.spacing, batch_size=500
        )
        return lambda: classifier.sample_counts(x, n=copies, seed=1, progress=False)

    found = in_turns({name: work(LAWS[name]) for name in ("float", "1/255", "auto")}, repeats)
    return {
        "us per copy, float": found["float"] / copies * 1e6,
        "efficiency, 1/255": found["float"] / found["1/255"],
        "efficiency, auto": found["float"] / found["auto"],
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=float, default=1e8)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--lenet", action="store_true")
    given = parser.parse_args()
    found = {
        "ns per number": kernels(given.repeats),
        "ms per table": tables(given.repeats),
        "chi-square": chi_square(int(given.draws)),
    }
    if given.lenet:
        found["LeNet"] = sampling(given.repeats)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
