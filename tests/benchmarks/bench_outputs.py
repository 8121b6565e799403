"""Top-k radii, times of components and quantiles: python tests/benchmarks/bench_outputs.py.

Reads cifar10_resnet110_sigma0.25_counts.tsv from ``$RSBOUNDS_DATA`` or ``../shared/data`` where it
is there: mean radius in which the label stays among the first k, against Jia et al. 2020.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from _timing import machine

import rsbounds

LAW = rsbounds.Gaussian(0.25)


def top_k(file: Path) -> None:
    rows = np.loadtxt(file, skiprows=1, dtype=np.int64)
    counts, labels = rows[:, :-1], rows[:, -1]
    print("k   Jia et al.   ours   rows larger   rows smaller")
    for k in range(1, 6):
        theirs = rsbounds.certify_top_k(
            counts, labels, k, noise=LAW, method="bonferroni", over="classes"
        ).radius
        ours = rsbounds.certify_top_k(counts, labels, k, noise=LAW).radius
        print(
            f"{k}     {theirs.mean():.4f}   {ours.mean():.4f}  {(ours > theirs + 1e-12).sum():12d}"
            f"{(ours < theirs - 1e-12).sum():15d}"
        )


def components(size: int, n: int) -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(20, 0.05), size=size)
    counts = rng.multinomial(n, shares).astype(np.int32)
    top = shares.argmax(axis=1)
    for name, options in (
        ("bonferroni", {}),
        ("holm, tau 0.75", {"family": "holm", "tau": 0.75}),
        ("holm, tau 0.75, complement", {"family": "holm", "tau": 0.75, "method": "complement"}),
    ):
        rsbounds.certify_components(counts[:9], top[:9], noise=LAW, **options)
        start = time.perf_counter()
        found = rsbounds.certify_components(counts, top, noise=LAW, **options)
        spent = time.perf_counter() - start
        share = found.certified.mean()
        print(f"{size} x 20 components, n {n}, {name}: {spent:.2f} s, {share:.4f} certified")


def quantiles(inputs: int, outputs: int, n: int) -> None:
    samples = np.random.default_rng(0).normal(size=(inputs, n, outputs))
    radii = np.linspace(0.0, 0.5, 20)
    rsbounds.certify_quantile(samples[:1], radii, noise=LAW)
    start = time.perf_counter()
    rsbounds.certify_quantile(samples, radii, noise=LAW)
    spent = time.perf_counter() - start
    print(f"{inputs} x {outputs} outputs, n {n}, 20 radii: {spent:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    print(machine())
    folder = os.environ.get("RSBOUNDS_DATA")
    root = Path(folder) if folder else Path(__file__).resolve().parents[2].parent / "shared/data"
    file = root / "cifar10_resnet110_sigma0.25_counts.tsv"
    if file.is_file():
        top_k(file)
    for n in (100,) if given.quick else (100, 100_000):
        components(50_000 if given.quick else 500_000, n)
    quantiles(10 if given.quick else 100, 4, 1000 if given.quick else 10_000)


if __name__ == "__main__":
    main()
