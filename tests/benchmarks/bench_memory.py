"""The memory of regions: time per added input, and a dense boundary without an overlap.

    python tests/benchmarks/bench_memory.py [inputs of 3,072 numbers] [insertions in the plane]

Times are of the process (all threads) and of the clock, per input, over the last inputs that were
added. The overlaps are counted by brute force, over every pair of stored regions, in exact
integers where floats cannot tell.
"""

import sys
import time
from fractions import Fraction

import numpy as np
from _timing import machine

import rsbounds
from rsbounds.certificates import MemoryAnswer
from rsbounds.regions import Ball, Ellipsoid


def images(count, rng):
    """Smooth random images of 3 x 32 x 32 numbers in [0, 1]: blocks with a little texture."""
    coarse = rng.normal(size=(count, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    fine = rng.normal(size=(count, 3, 32, 32))
    return np.clip(0.5 + 0.2 * coarse + 0.05 * fine, 0, 1).astype(np.float32).reshape(count, -1)


def noise(count, rng):
    """Pixels without any structure: all distances alike, which no bound can tell apart."""
    return rng.random((count, 3072), dtype=np.float32)


def filled(make, count, kind, timed=200):
    """Time the last inputs of a memory; those before are taken as from a file."""
    rng = np.random.default_rng(1)
    memory = rsbounds.MemoryClassifier(model="m", noise="n", dimension=3072)
    times, clocks = [], []
    while len(memory) < count:
        for x in make(min(1000, count - len(memory)), rng):
            size, label = float(rng.gamma(2.0, 0.5)), int(rng.integers(10))
            region = Ball([size], norm="l2")
            if kind == "ellipsoids":
                region = Ellipsoid([size], axes=rng.uniform(0.5, 1.5, 3072))
            if len(memory) < count - timed:
                answer = MemoryAnswer(len(memory), label, size, "no", None, label, size)
                memory.restore(x, region, answer)
                continue
            cpu, clock = time.process_time(), time.perf_counter()
            memory.add(x, label, region)
            times.append(1e3 * (time.process_time() - cpu))
            clocks.append(1e3 * (time.perf_counter() - clock))
    print(
        f"{make.__name__}, {kind}, {count:,} stored: an input takes {np.median(times):.1f} ms of "
        f"process time (95 %: {np.quantile(times, 0.95):.1f}), {np.median(clocks):.1f} ms by the "
        f"clock (95 %: {np.quantile(clocks, 0.95):.1f})",
        flush=True,
    )


def overlaps(memory, x):
    """Pairs of regions of different classes that meet, and pairs that were looked at."""
    radius = np.array([a.radius for a in memory])
    label = np.array([a.candidate for a in memory])
    rows = np.flatnonzero(radius > 0)
    found = pairs = 0
    for position, i in enumerate(rows):
        later = rows[position + 1 :]
        later = later[label[later] != label[i]]
        square = ((x[later] - x[i]) ** 2).sum(axis=1)
        reach = (radius[later] + radius[i]) ** 2
        pairs += len(later)
        # Near the border only fractions tell.
        for j in later[square < reach * (1 + 1e-9)]:
            here, there = x[[i, j]].tolist()
            gaps = (Fraction(p) - Fraction(q) for p, q in zip(here, there, strict=True))
            gap = sum(g * g for g in gaps)
            found += gap < (Fraction(float(radius[i])) + Fraction(float(radius[j]))) ** 2
    return found, pairs


def plane(count):
    """A winding boundary between two classes, labels near it at random, long-tailed radii."""
    rng = np.random.default_rng(2)
    memory = rsbounds.MemoryClassifier(model="m", noise="n", dimension=2)
    x = rng.uniform(size=(count, 2))
    away = x[:, 0] - 0.5 - 0.1 * np.sin(25 * x[:, 1])
    label = (away + 0.02 * rng.normal(size=count) > 0).astype(int)
    radius = rng.exponential(0.02, size=count)
    start = time.process_time()
    for point, one, size in zip(x, label, radius, strict=True):
        memory.add(point, int(one), Ball([size], norm="l2"))
    took = time.process_time() - start
    found, pairs = overlaps(memory, x)
    kinds = [a.adjusted for a in memory]
    print(
        f"plane, {count:,} insertions in {took:.0f} s of process time: "
        f"{kinds.count('shrunk')} shrunk, {kinds.count('relabelled')} relabelled, "
        f"{sum(a.abstained for a in memory)} empty; {found} overlapping of {pairs:,} pairs"
    )


if __name__ == "__main__":
    stored = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    insertions = int(sys.argv[2]) if len(sys.argv) > 2 else 5_000
    print(machine())
    if stored:
        filled(images, stored, "balls")
        filled(noise, stored, "balls")
        filled(images, stored // 10, "ellipsoids")
    if insertions:
        plane(insertions)
