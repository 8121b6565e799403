"""One driver for long tables: chunks of rows, threads, progress.

Kernels release the interpreter lock, so threads over chunks use every core, memory stays
at a few chunks, and no result depends on how many threads there were.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def thread_count() -> int:
    """Threads to use: ``RSBOUNDS_NUM_THREADS`` where set, else the cores this process has."""
    given = os.environ.get("RSBOUNDS_NUM_THREADS")
    if given is not None:
        if not given.isdigit() or int(given) < 1:
            raise ValueError(f"RSBOUNDS_NUM_THREADS is {given!r}; allowed: an integer >= 1")
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Progress:
    """A progress line on stderr; silent where stderr is not a terminal, unless forced."""

    def __init__(self, total: int, label: str, show: bool | None = None) -> None:
        import time

        self._clock = time.monotonic
        self._total, self._label, self._done = max(total, 1), label, 0
        self._stream: TextIO = sys.stderr
        self._show = self._stream.isatty() if show is None else show
        self._start = self._last = self._clock()
        self._shown = False
        #: Text behind the time left, such as a running result.
        self.note = ""

    def advance(self, by: int) -> None:
        """Count ``by`` more pieces of work as done."""
        self._done += by
        now = self._clock()
        if not self._show or (now - self._last < 0.2 and self._done < self._total):
            return
        self._last = now
        share = self._done / self._total
        left = (now - self._start) * (1 - share) / share if share > 0 else 0.0
        bar = "#" * int(24 * share)
        rate = self._done / max(now - self._start, 1e-9)
        text = (
            f"\r{self._label} [{bar:<24}] {self._done}/{self._total}, {rate:.3g}/s, "
            f"{left:.0f} s left {self.note} "
        )
        self._stream.write(text)
        self._stream.flush()
        self._shown = True

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()


def ordered_map(work: Callable[[T], Any], items: Iterable[T], threads: int) -> Iterator[Any]:
    """``map`` over threads with at most two items per thread in flight, in order."""
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Any] = []
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def map_rows(
    work: Callable[[int, int], dict[str, NDArray[Any]]],
    rows: int,
    *,
    chunk: int,
    label: str = "rows",
    progress: bool | None = False,
) -> dict[str, NDArray[Any]]:
    """Run ``work(start, stop)`` over chunks of rows and join the arrays it returns."""
    threads = min(thread_count(), -(-rows // chunk))
    spans = [(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]
    joined: dict[str, NDArray[Any]] = {}
    with Progress(rows, label, progress) as bar:
        results = ordered_map(lambda span: work(*span), spans, threads)
        for (start, stop), part in zip(spans, results, strict=True):
            for name, values in part.items():
                if name not in joined:
                    joined[name] = np.empty((rows, *values.shape[1:]), dtype=values.dtype)
                joined[name][start:stop] = values
            bar.advance(stop - start)
    return joined
