"""The memory of a stored run."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import Certificates
from rsbounds.certificates import family_alpha
from rsbounds.noises import noise_from_dict
from rsbounds.runs.memory import MemoryStore
from rsbounds.runs.probes import digest
from rsbounds.runs.rebounding import rebound
from rsbounds.runs.row import RunRow, plain
from rsbounds.runs.store import RunStore

#: Answers that are stored in one transaction.
_GROUP = 256


def remember(
    store: RunStore,
    inputs: Sequence[Any] | NDArray[Any],
    path: str | os.PathLike[str],
    *,
    indices: Sequence[int] | None = None,
    alpha: float | None = None,
    family: bool = False,
    base: Callable[[NDArray[Any]], ArrayLike] | None = None,
) -> Certificates:
    """The memory of a run: its certificates, adjusted one by one in the order of the inputs.

    Sampling runs in parallel, resumes and merges as it likes; the memory takes finished inputs in
    order, up to the first that is not finished, and the same call goes on from there. So it is
    the same memory however the run was made.

    Parameters
    ----------
    store : RunStore
        The run.
    inputs : (N, ...) array or sequence of arrays
        The inputs of its data set, by index; their digests must be those of the run.
    path : str or path
        File of the memory, made if it is not there (`MemoryStore`).
    indices : sequence of int, optional
        Which inputs, in this order; all of the data set by default.
    alpha : float, optional
        Error probability per input; the run's own by default.
    family : bool
        ``alpha`` is shared over all ``indices`` (alpha / N each), so that all certificates, and
        the memory as a whole, hold together with probability at least 1 - alpha.
    base : callable, optional
        As in `MemoryClassifier`.

    Returns
    -------
    Certificates
        Of the inputs that were taken, about the memory.

    Raises
    ------
    ValueError
        No finished input at the front, inputs of another data set, or a memory of another run,
        order or alpha.

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> from rsbounds.runs import remember
    >>> law, x = rsbounds.Gaussian(sigma=[0.5, 0.9]), np.array([[0.4], [-0.7]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     own = rsbounds.certify_dataset(
    ...         lambda batch: (batch[:, 0] > 0).astype(int), x, noise=law, n=1000, num_classes=2,
    ...         seed=1, store=pathlib.Path(folder, "run.sqlite"))
    ...     with rsbounds.RunStore(pathlib.Path(folder, "run.sqlite")) as store:
    ...         mine = remember(store, x, pathlib.Path(folder, "memory.sqlite"), family=True)
    >>> mine.top, mine.about
    (array([1, 0]), 'memory')
    """
    rows = {row.index: row for row in store.rows()}
    order = list(range(store.config["inputs"])) if indices is None else [int(i) for i in indices]
    if len(set(order)) != len(order):
        raise ValueError("indices hold an input twice; allowed: each once")
    ready = list(itertools.takewhile(rows.__contains__, order))
    if not ready:
        raise ValueError(
            f"store {str(store.path)!r} holds no input at the front of the order yet; allowed: a "
            "run that has finished its first input"
        )
    level = store.config["alpha"] if alpha is None else alpha
    if family:
        level = float(family_alpha(level, len(order))[0])
    # Scores are not kept, so that their runs are read at their own alpha only.
    bounded = rebound(store, alpha=None if level == store.config["alpha"] else level)
    place = {index: i for i, index in enumerate(bounded.index.tolist())}
    own = bounded[np.array([place[i] for i in ready])]
    points = {i: _point(inputs, rows[i], store) for i in ready if rows[i].digest}
    if not points:
        raise ValueError(f"store {str(store.path)!r} holds no input that could be read")
    with MemoryStore(path, **_known(store, rows, points), base=base, config={
        "alpha": level, "family": family, "method": store.config["method"],
        "options": store.config["options"], "seed": store.config["seed"],
        "order": hashlib.sha256(plain("indices", order).encode()).hexdigest(),
    }) as held:  # fmt: skip
        _check_order(held, points)
        return _taken(held, own, ready, rows, points)


def _known(
    store: RunStore, rows: dict[int, RunRow], points: dict[int, NDArray[Any]]
) -> dict[str, Any]:
    """The fingerprint of the run's memory."""
    config = store.config
    first, point = next(iter(points.items()))
    return {
        "model": str(config.get("model_id") or config["model"]),
        # Laws that were found for each input may be of another kind than the run's own.
        "noise": rows[first].law["name"],
        "dimension": int(point.size),
    }


def _point(inputs: Any, row: RunRow, store: RunStore) -> NDArray[Any]:
    """An input of the data set, which must be the one that was certified."""
    if not row.index < len(inputs):
        raise ValueError(
            f"inputs hold {len(inputs)}; allowed: those of store {str(store.path)!r}, which holds "
            f"input {row.index}"
        )
    x = np.asarray(inputs[row.index])
    if digest(x, row.digest) != row.digest:
        raise ValueError(
            f"inputs[{row.index}] is not the one of store {str(store.path)!r} (its digest "
            "differs); allowed: the inputs of the run, in their type"
        )
    return x


def _check_order(held: MemoryStore, points: dict[int, NDArray[Any]]) -> None:
    """Refuse to continue a memory that took other inputs first."""
    first_new, met = None, 0
    for index, x in points.items():
        position = held.memory.position(x)
        if position is None:
            first_new = index if first_new is None else first_new
        elif held.sources[position] == index:
            met += 1
            if first_new is not None:
                raise ValueError(
                    f"input {first_new} comes before input {index}, which memory "
                    f"{str(held.path)!r} holds already; allowed: inputs in order (a new file)"
                )
    if met < len(held.sources):
        raise ValueError(
            f"memory {str(held.path)!r} holds {len(held.sources)} inputs, of which this run has "
            f"finished {met}; allowed: the run that it was made from"
        )


def _taken(
    held: MemoryStore,
    own: Certificates,
    ready: list[int],
    rows: dict[int, RunRow],
    points: dict[int, NDArray[Any]],
) -> Certificates:
    """The memory's certificates; inputs that could not be read abstain and are not stored."""
    names = ("candidate", "radius", "inscribed_radius", "proxy_radius")
    columns = {name: np.zeros_like(getattr(own, name)) for name in names}
    columns["candidate"] += own.candidate
    places = [i for i, index in enumerate(ready) if index in points]
    for start in range(0, len(places), _GROUP):
        group = places[start : start + _GROUP]
        parts = []
        for i in group:
            index = ready[i]
            law = noise_from_dict(rows[index].law)
            parts.append((points[index][None], own[np.array([i])], law, [index]))
        found = held.certify_each(parts)
        for name, column in columns.items():
            column[group] = np.concatenate([getattr(one, name) for one in found])
    return dataclasses.replace(own, about="memory", **columns)
