"""Runs over data sets: overhead per input, 20 kill -9, ranks and batch sizes.

Run this file, or `make bench`. Needs torch.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _timing import machine

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

CERTIFY = """
import sys, numpy as np, torch, rsbounds, rsbounds_torch
from rsbounds_torch.distributed import process_group
store, inputs, n, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
x = np.random.default_rng(0).uniform(0, 1, (inputs, 64)).astype(np.float32)
with process_group() as (rank, size):
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=10, noise=rsbounds.Gaussian(0.5),
        batch_size=batch if batch == "auto" else int(batch))
    print("ready", flush=True)
    rsbounds_torch.certify_dataset(
        classifier, [(row, 0) for row in x], store=store, n=n, seed=5, progress=False)
"""


def rows(path):
    import rsbounds

    with rsbounds.RunStore(path) as store:
        return [
            (r.index, r.digest, r.select.tolist(), r.estimate.tolist(), r.top, r.radius)
            for r in store.rows()
        ]


def run(store, inputs=200, n=2000, batch="256", ranks=1):
    arguments = [str(store), str(inputs), str(n), batch]
    if ranks == 1:
        command = [sys.executable, "-c", CERTIFY, *arguments]
    else:
        script = Path(store).parent / "certify.py"
        script.write_text(CERTIFY)
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks),
            "--master-port", "29517", str(script), *arguments,
        ]  # fmt: skip
    subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True)
    return rows(store)


def kills(folder):
    whole = run(folder / "whole.sqlite", n=20_000)
    store = folder / "killed.sqlite"
    rng = np.random.default_rng(0)
    done, lost, killed, inside = 0, 0, 0, 0
    while killed < 20:
        with subprocess.Popen(
            [sys.executable, "-c", CERTIFY, str(store), "200", "20000", "256"],
            stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.25, 0.45))
            process.send_signal(signal.SIGKILL)
        killed += 1
        try:
            now = len(rows(store)) if store.exists() else 0
        except ValueError:
            now = 0
        lost += now < done
        inside += done < now < 200
        done = max(done, now)
    final = run(store, n=20_000)
    print(
        f"20 kill -9 of a 200-input run, {inside} of them with inputs newly done and others left;"
    )
    print(f"  rows lost {lost}, final rows identical to the uninterrupted run: {final == whole}")


def dealt(folder):
    base = run(folder / "base.sqlite", inputs=40)
    total = sum(sum(r[2]) + sum(r[3]) for r in base)
    for name, options in [
        ("2 ranks", {"ranks": 2}), ("4 ranks", {"ranks": 4}), ("batch 64", {"batch": "64"}),
        ("batch 1024", {"batch": "1024"}), ("batch 4096", {"batch": "4096"}),
        ("batch auto", {"batch": "auto"}),
    ]:  # fmt: skip
        other = run(folder / f"{name.replace(' ', '_')}.sqlite", inputs=40, **options)
        moved = sum(
            int(np.abs(np.array(a[j]) - np.array(b[j])).sum()) // 2
            for a, b in zip(base, other, strict=True)
            for j in (2, 3)
        )
        print(f"  {name:12} votes that differ from one rank, batch 256: {moved} of {total}")
    few = run(folder / "few.sqlite", inputs=1, n=20_000)
    many = run(folder / "few4.sqlite", inputs=1, n=20_000, ranks=4)
    print(f"  one input on 4 ranks, draws dealt: rows identical {few == many}")


def overhead(folder):
    """Statistics and storage of one input at n = 100,000, sampling excluded."""
    import rsbounds
    from rsbounds.bounds.margin import MARGIN_METHODS
    from rsbounds.runs import RunStore, run_inputs
    from rsbounds.runs.dataset import run_config

    rng = np.random.default_rng(0)
    inputs = 300
    p = rng.dirichlet([0.3] * 10, inputs)
    p.sort(axis=1)
    law = rsbounds.Gaussian(0.25)
    votes = {
        "select": np.array([rng.multinomial(100, q) for q in p]),
        "estimate": np.array([rng.multinomial(100_000, q) for q in p]),
    }
    x = np.zeros((3, 32, 32), dtype=np.float32)
    for method in ("runner-up", "exact"):
        if method not in MARGIN_METHODS:
            continue
        config = run_config(
            noise=law, n0=100, n=100_000, alpha=0.001, method=method, options={}, seed=0,
            num_classes=10, inputs=inputs, model="",
        )  # fmt: skip
        arguments = {
            "noise": law, "n0": 100, "n": 100_000, "alpha": 0.001, "method": method,
            "options": {}, "seed": 0, "progress": False,
        }  # fmt: skip

        def sampler(batch, indices, role, n):
            return votes[role][list(indices)], np.zeros(len(indices), dtype=np.int64)

        rsbounds.certify([2, 1, 1], 0, noise=law, method=method)
        with RunStore(folder / f"{method}.sqlite", config) as store:
            start = time.perf_counter()
            run_inputs(sampler, lambda i: (x, 0), range(inputs), store=store, **arguments)
            took = (time.perf_counter() - start) / inputs
        print(f"  {method:10} {took * 1e3:.2f} ms per input at n = 1e5 (statistics and storage)")


def everything(path):
    """All that a store holds, as text."""
    import rsbounds

    with rsbounds.RunStore(path) as store:
        rows = [
            {**vars(r), "select": r.select.tolist(), "estimate": r.estimate.tolist()}
            for r in store.rows()
        ]
        return repr((store.config, store.versions, store.facts(), rows))


def fuzz(folder, flips=5000, cuts=500):
    """Single flipped bits and truncations of a finished store: what is read, or refused."""
    import rsbounds

    path, broken = folder / "fuzz.sqlite", folder / "broken.sqlite"
    x = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    rsbounds.certify_dataset(
        lambda batch: (batch[:, :2] > 0).sum(axis=1), x, [0] * 40, store=path, n=1000,
        noise=rsbounds.Gaussian(0.37), num_classes=3, seed=3, method="runner-up", progress=False,
    )  # fmt: skip
    data, expected = path.read_bytes(), everything(path)
    rng = np.random.default_rng(1)

    def trial(changed):
        broken.write_bytes(changed)
        try:
            return "the same" if everything(broken) == expected else "CHANGED"
        except (ValueError, OSError):
            return "refused"

    def flipped(bit):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return changed

    for what, trials in [
        (f"{flips} flipped bits", [flipped(b) for b in rng.integers(0, 8 * len(data), flips)]),
        (f"{cuts} truncations", [data[:size] for size in rng.integers(0, len(data), cuts)]),
    ]:
        seen = [trial(changed) for changed in trials]
        told = ", ".join(
            f"{word} {seen.count(word)}" for word in ("refused", "the same", "CHANGED")
        )
        print(f"  {what} of a store of 40 inputs ({len(data)} bytes): {told}")


if __name__ == "__main__":
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        fuzz(Path(name))
        overhead(Path(name))
        try:
            import torch  # noqa: F401
        except ImportError:
            print("torch is not installed: kills and ranks left out")
        else:
            kills(Path(name))
            dealt(Path(name))
