"""Kernels that are compiled apart: what their callers find in the cell, and what they do not."""

import os
import subprocess
import sys

import pytest

CODE = """
from typing import Annotated, Any, NamedTuple
import numpy as np
from numpy.typing import NDArray
from rsbounds._kernels import apart, kernel, part, records

NOTE = np.dtype([("sum", np.float64), ("calls", np.int64)], align=True)

class Line(NamedTuple):
    slope: float
    at: NDArray[np.int64]

@part
def twice(x: float) -> float:
    return 2.0 * x

@apart
def height(line: Line, i: int, up: bool, note: Annotated[Any, NOTE]) -> tuple[float, int]:
    value = twice(line.slope * line.at[i])
    note.sum += value
    note.calls += 1
    return value if up else -value, i

@apart
def never(x: float) -> float:
    return no_such_name(x)

@apart
def zeros(size: int) -> float:
    return np.zeros(size).sum() + np.ones(size).sum()

@apart
def huge(size: int) -> int:
    return np.empty(size).size

@kernel
def total(at, notes):
    line = Line(0.5, at)
    result = 0.0
    for i in range(at.size):
        value, j = height(line, i, True, notes[0])
        result += value + height(line, i, False, notes[0])[1] - j
    return result

@kernel
def allocates(size):
    return zeros(size)

@kernel
def fails(which):
    return never(1.0) if which else float(huge(1 << 60))
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "some_kernels.py").write_text(CODE)

    def run(code):
        return subprocess.run(
            [sys.executable, "-c", f"import numpy as np, some_kernels as k\n{code}"],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.getcwd()},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_kernels_apart_give_what_they_give_and_the_next_process_reads_them(run):
    code = (
        "n = k.records(1, k.NOTE); n[0] = (0.0, 0)\n"
        "print(k.total(np.arange(5), n), n[0].item(), k.twice(1.5))\n"
        "print(k.height(k.Line(1.0, np.arange(3)), 2, False, n[0]))\n"
    )
    first = run(code)
    assert first.stdout == "10.0 (20.0, 10) 3.0\n(-4.0, 2)\n", first.stderr
    compiled = "from numba.core import event\nprint(len(found.buffer))"
    listening = "from numba.core import event\nfound = event.RecordingListener()\n"
    listening += "event.register('numba:compile', found)\n"
    again = run(listening + code + compiled)
    assert again.stdout == f"{first.stdout}0\n", again.stderr


def test_kernels_apart_may_allocate(run):
    # One that allocated with np.zeros did not compile: memory management was left out of it.
    done = run("print(k.allocates(3))")
    assert done.stdout == "3.0\n", done.stderr


def test_what_fails_apart_fails_in_the_caller(run):
    # Not a result that was never computed, and not the end of the process.
    for which, error in (
        (True, "RuntimeError: some_kernels.never could not"),
        (False, "ValueError: array is too"),
    ):
        done = run(f"k.fails({which})")
        assert done.returncode == 1
        assert error in done.stderr.splitlines()[-1]


def test_an_interrupt_while_a_kernel_is_compiled_is_one(run):
    code = """
from numba.core import event
class Listener(event.Listener):
    def on_start(self, found):
        if found.data["dispatcher"].__name__ == "never":
            raise KeyboardInterrupt
    def on_end(self, found):
        pass
event.register("numba:compile", Listener())
def work():
    k.fails(True)
try:
    work()
finally:
    print("cleaned")
"""
    done = run(code)
    assert done.stdout == "cleaned\n"
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
