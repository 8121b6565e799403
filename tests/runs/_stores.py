"""Stores to test with."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rsbounds
from rsbounds.runs import RunRow, RunStore

ROOT = Path(__file__).resolve().parents[2]
LAW = rsbounds.Gaussian(0.12345678901234566)
CONFIG = {
    "model": "", "num_classes": 4, "noise": LAW.to_dict(), "n0": 50, "n": 400, "alpha": 0.01,
    "method": "complement", "options": {}, "seed": 2**62 + 1,
}  # fmt: skip
CERTIFIED = dict(zip(range(100), np.random.default_rng(0).uniform(0.1, 1, 100), strict=True))


def row(number, **changes):
    rng = np.random.default_rng(number)
    p = rng.dirichlet([0.3] * 4)
    select = rng.multinomial(50, p)
    values = {
        "index": number, "label": number % 4, "digest": f"{number:016x}", "select": select,
        "estimate": rng.multinomial(400, p), "n0": 50, "n": 400, "invalid": 0, "alpha": 0.01,
        "method": "complement", "options": {}, "law": LAW.to_dict(), "seed": 2**62 + 1,
        "top": int(select.argmax()), "radius": CERTIFIED[number], "abstained": False,
        "seconds": 0.25, "error": "", **changes,
    }  # fmt: skip
    return RunRow(**values)


def filled(path, indices=range(12), config=CONFIG):
    with RunStore(path, config) as store:
        store.set_fact("probe", [0.1, 2.5])
        store.add_many(row(i) for i in indices)
    return path


def plain(r):
    return {**vars(r), "select": r.select.tolist(), "estimate": r.estimate.tolist()}


def content(path):
    """All that is in a store."""
    with RunStore(path) as store:
        return store.config, store.versions, store.facts(), [plain(r) for r in store.rows()]


def folder_of(path):
    return {p.name: p.read_bytes() for p in path.parent.iterdir()}


def edit(path, *statements):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from _stores import CONFIG, RunStore, row
store = RunStore(sys.argv[2], CONFIG)
store.set_fact("probe", [0.1, 2.5])
for i in range(int(sys.argv[3])):
    store.add(row(i))
os.kill(os.getpid(), signal.SIGKILL)
"""

kills = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")


def killed(path, rows=7):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path), str(rows)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Path(f"{path}-wal").stat().st_size > 0
    return path
