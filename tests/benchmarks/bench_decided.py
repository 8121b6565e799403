"""Certified accuracy at given radii (`decide=`): python tests/benchmarks/bench_decided.py.

Votes of published counts are taken as true probabilities (needs the data folder: RSBOUNDS_DATA or
../shared/data). 250 inputs, Gaussian noise of sigma 0.25, radii 0.25, 0.5 and 0.75, alpha 0.001.

Part 1: rows of the model for a whole curve, against fixed n and against one run of `Decide` for
each radius. Part 2 (needs torch): how full batches are, and CPU time of everything but the
model's passes with their noise, over that of these, where each draw costs a pass of a LeNet.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_sequential import ALPHA, SIGMA, counts_file
from numpy.typing import NDArray

import rsbounds
from rsbounds.runs import Answers, RunPlan, RunStore, run_inputs
from rsbounds.sequential import Ladder

LAW = rsbounds.Gaussian(sigma=SIGMA)
RADII = (0.25, 0.5, 0.75)
N0 = 100


def fed(test: Any, p: NDArray[np.float64], seed: int) -> Any:
    """A rule with its answers; each input has draws of its own."""
    streams = [np.random.default_rng([seed, row]) for row in range(len(p))]
    while test.active.any():
        wanted = test.wanted
        test.update([rng.multinomial(n, q) for rng, n, q in zip(streams, wanted, p, strict=True)])
    return test


def rows_used(p: NDArray[np.float64], cap: int, seeds: int) -> None:
    several, alone, share, exact, same = 0.0, np.zeros(3), np.zeros(3), np.zeros(3), True
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        top = rsbounds.select_top(rng.multinomial(N0, p), independent=True)
        options: Any = {"noise": LAW, "alpha": ALPHA, "limit": cap, "no": "futile"}
        test = fed(Ladder(np.tile(RADII, (len(p), 1)), top, **options), p, seed)
        several += test.n.mean() / seeds
        share += (test.status == "yes").mean(axis=0) / seeds
        for j, radius in enumerate(RADII):
            one = fed(rsbounds.Decide(radius, top, **options), p, seed)
            alone[j] += one.n.mean() / seeds
            same &= bool(((one.status == "yes") == (test.status[:, j] == "yes")).all())
        votes = np.array([rng.multinomial(cap, q) for q in p])
        got = rsbounds.certify(votes, top, noise=LAW, alpha=ALPHA).radius
        exact += [(got >= radius).mean() / seeds for radius in RADII]
    shown = ", ".join(f"{v:.4f}" for v in share)
    print(f"  at most {cap}: {several + N0:.0f} rows per input ({(several + N0) / (cap + N0):.2%} "
          f"of fixed n), certified {shown}; exact from all: "
          f"{', '.join(f'{v:.4f}' for v in exact)}")  # fmt: skip
    print(f"    a run of Decide for each radius: {', '.join(f'{v + N0:.0f}' for v in alone)}, "
          f"together {alone.sum() + 3 * N0:.0f}; the same yes: {same}", flush=True)  # fmt: skip


class Costly:
    """Votes with given probabilities, each of which costs a noisy pass of a model."""

    def __init__(self, model: Any, p: NDArray[np.float64], batch: int) -> None:
        self._model, self._p, self._batch = model, p, batch
        self.seconds, self.aside, self.draws, self.slots = 0.0, 0.0, 0, 0

    def item(self, index: int) -> tuple[NDArray[Any], int]:
        return np.zeros((1, 28, 28), dtype=np.float32), 0

    def batch_size(self, x: NDArray[Any], index: int) -> int:
        return self._batch

    def votes(self, inputs: Any, indices: Any, role: Any, spans: Any) -> Any:
        start = time.process_time()
        self._model.span_votes(inputs, spans, seed=1, role=role, streams=list(indices))
        passed = time.process_time()
        self.seconds += passed - start
        draws = sum(stop - first for first, stop in spans)
        self.draws += draws
        self.slots += -(-draws // self._batch) * self._batch
        votes = [
            np.random.default_rng([i, first, len(role)]).multinomial(stop - first, self._p[i])
            for i, (first, stop) in zip(indices, spans, strict=True)
        ]
        table = np.array(votes), np.zeros(len(votes), dtype=np.int64)
        # What stands for the model's answers is nobody's cost.
        self.aside += time.process_time() - passed
        return table

    def answers(self, batch: Any) -> Answers:
        return Answers(np.zeros(len(batch), dtype=np.int64), "classes")


def overhead(p: NDArray[np.float64], batch: int, inputs: int) -> None:
    import torch
    from bench_torch import lenet

    import rsbounds_torch

    torch.set_num_threads(1)
    model = rsbounds_torch.SmoothedClassifier(
        lenet().eval(), num_classes=p.shape[1], noise=LAW, batch_size=batch
    )
    for name, radii in (("one radius", RADII[:1]), ("three radii", RADII)):
        plan = RunPlan(
            noise=LAW, num_classes=p.shape[1], inputs=len(p), n=100_000, seed=1, kind="decide",
            options={"radius": list(radii)},
        )  # fmt: skip
        for part in (20, inputs):
            # The first run compiles.
            subject = Costly(model, p, batch)
            with (
                tempfile.TemporaryDirectory() as folder,
                RunStore(Path(folder, "run.sqlite"), plan.config()) as store,
            ):
                start = time.process_time()
                run_inputs(subject, plan, range(part), store=store, progress=False)
                took = time.process_time() - start
        rest = took - subject.seconds - subject.aside
        print(
            f"  {name}, batch {batch}, {inputs} inputs: batches "
            f"{subject.draws / subject.slots:.2%} full; {subject.draws / inputs:.0f} rows per "
            "input at "
            f"{1e6 * subject.seconds / subject.draws:.1f} us, all else "
            f"{1e3 * rest / inputs:.2f} ms per input, {rest / subject.seconds:.2%} of the passes",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=250)
    arguments = parser.parse_args()
    path = counts_file()
    if path is None:
        sys.exit("left out: no data folder (set RSBOUNDS_DATA)")
    votes = np.loadtxt(path, delimiter="\t", skiprows=1, dtype=np.int64)[:, :-1]
    p = votes / votes.sum(axis=1, keepdims=True)
    print("1. rows of the model for a curve")
    for cap in (10_000, 100_000):
        rows_used(p, cap, arguments.seeds)
    print("2. batches, and CPU time of all but the passes")
    try:
        import torch  # noqa: F401
    except ImportError:
        print("  left out: no torch")
        return
    for batch in (64, 256, 1024):
        overhead(p, batch, arguments.inputs)


if __name__ == "__main__":
    main()
