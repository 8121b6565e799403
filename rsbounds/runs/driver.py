"""The loop of a run: sample, bound, store, show progress."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._parallel import Progress
from rsbounds.bounds.margin import margin_method
from rsbounds.certificates import certify_votes
from rsbounds.noises import Noise
from rsbounds.runs.row import RunRow
from rsbounds.runs.store import RunStore


class Sampler(Protocol):
    """Votes of the model: ``(inputs, indices, role, n) -> (counts, invalid)``.

    ``counts`` is (b, K) and ``invalid`` (b,): how many of the n draws had no valid answer.
    """

    def __call__(
        self, inputs: NDArray[Any], indices: Sequence[int], role: Any, n: int, /
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...


@dataclass(frozen=True)
class RunSummary:
    """What a call of `run_inputs` did.

    Attributes
    ----------
    finished : int
        Inputs that this call finished.
    total : int
        Inputs in the store.
    invalid : tuple of int
        Indices of inputs on which the model gave invalid answers; they abstained.
    """

    finished: int
    total: int
    invalid: tuple[int, ...]


def digest(x: NDArray[Any]) -> str:
    """Start of the SHA-256 of an input's bytes."""
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:16]


def run_inputs(
    sampler: Sampler,
    items: Callable[[int], tuple[NDArray[Any], int | None]],
    indices: Iterable[int],
    *,
    store: RunStore,
    noise: Noise,
    n0: int,
    n: int,
    alpha: float,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    group: int = 1,
    progress: bool | None = None,
) -> RunSummary:
    """Sample, certify and store every input that the store does not hold yet.

    Parameters
    ----------
    sampler : Sampler
        Votes of the model, for a group of inputs and their stream indices.
    items : callable
        Index to (input, label or None).
    indices : iterable of int
        Inputs of the run.
    store : RunStore
        Open for writing.
    noise, alpha, method, options
        As in `certify`.
    n0, n : int
        Draws of the selection and of the estimation sample.
    seed : int
        Seed of the noise streams, kept with every row.
    group : int
        Inputs sampled together; each is stored on its own.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.

    Returns
    -------
    RunSummary
        What was done.

    Raises
    ------
    ValueError
        Bad arguments; nothing is stored for the inputs in flight.
    """
    _validate.integer("group", group, low=1)
    chosen = margin_method(method, options)
    done = store.done()
    wanted = [int(i) for i in indices]
    todo = [i for i in wanted if i not in done]
    invalid = [row.index for row in store.rows() if row.invalid > 0]
    correct, seen, labelled = _tally(store)
    law = noise.to_dict()
    with Progress(len(wanted), "inputs", progress) as bar:
        bar.advance(len(wanted) - len(todo))
        for chunk in _groups(todo, group):
            start = time.perf_counter()
            pairs = [items(i) for i in chunk]
            inputs = np.stack([np.asarray(x) for x, _ in pairs])
            select, bad0 = sampler(inputs, chunk, "select", n0)
            estimate, bad = sampler(inputs, chunk, "estimate", n)
            bad = bad + bad0
            result = certify_votes(select, estimate, bad, noise=noise, alpha=alpha, method=chosen)
            took = (time.perf_counter() - start) / len(chunk)
            rows = [
                RunRow(
                    index, None if label is None else int(label), digest(np.asarray(x)), select[j],
                    estimate[j], n0, n, int(bad[j]), alpha, method, options, law, seed,
                    # A store keeps -1 where there was no class to put to the test.
                    max(-1, int(result.candidate[j])), float(result.radius[j]),
                    bool(result.abstained[j]), took, "NaN" if bad[j] else "",
                )
                for j, (index, (x, label)) in enumerate(zip(chunk, pairs, strict=True))
            ]  # fmt: skip
            store.add_many(rows)
            seen += len(rows)
            for row in rows:
                if row.invalid:
                    invalid.append(row.index)
                if row.label is not None:
                    labelled += 1
                    correct += int(not row.abstained and row.top == row.label)
            bar.note = f"certified accuracy {correct / labelled:.3f}" if labelled else ""
            bar.advance(len(chunk))
    return RunSummary(len(todo), seen, tuple(sorted(invalid)))


def _tally(store: RunStore) -> tuple[int, int, int]:
    correct = seen = labelled = 0
    for row in store.rows():
        seen += 1
        if row.label is not None:
            labelled += 1
            correct += int(not row.abstained and row.top == row.label)
    return correct, seen, labelled


def _groups(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
