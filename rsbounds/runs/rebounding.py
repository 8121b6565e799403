"""New certificates from stored counts, without sampling."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates, content_hash
from rsbounds.bounds.margin import MarginMethod, margin_method
from rsbounds.certificates import certify_votes
from rsbounds.noises import noise_from_dict
from rsbounds.runs.store import RunStore


def stored_labels(store: RunStore) -> NDArray[np.int64] | None:
    """Labels of the stored inputs, or None where any is missing.

    An input that failed before its label was read abstains, so it counts as wrong whatever its
    class: 0 stands for it.
    """
    labels = [0 if row.label is None and row.error else row.label for row in store.rows()]
    if not labels or any(label is None for label in labels):
        return None
    return np.array(labels, dtype=np.int64)


def rebound(
    store: RunStore,
    *,
    method: str | MarginMethod | None = None,
    alpha: float | None = None,
    **options: Any,
) -> Certificates:
    """Certificates of a stored run with another method or alpha.

    Each certificate holds at its alpha as if the run had been made with it: the counts are
    the same draws, and the top class still comes from the selection counts. Choosing the
    method after looking at several results is not covered.

    Parameters
    ----------
    store : RunStore
        Open for reading or writing, with at least one input.
    method : str or MarginMethod, optional
        As in `certify`; the run's own method and options by default.
    alpha : float, optional
        Error probability per input; the run's own by default.
    **options
        Options of the method.

    Returns
    -------
    Certificates
        One entry per stored input, by index. Inputs with invalid answers abstain.

    Raises
    ------
    ValueError
        An empty store, or bad arguments.

    See Also
    --------
    rsbounds.certify_dataset : Makes the store.
    rsbounds.RunStore : Reads its rows.

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> from rsbounds.runs import RunStore, rebound
    >>> law = rsbounds.Gaussian(sigma=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.sqlite")
    ...     _ = rsbounds.certify_dataset(
    ...         lambda batch: (batch[:, 0] > 0).astype(int), np.array([[0.4], [-0.7]]), [1, 0],
    ...         noise=law, n=1000, num_classes=2, seed=1, store=path)
    ...     with RunStore(path) as store:
    ...         print(rebound(store, method="complement", alpha=1e-4).abstained)
    [False False]
    """
    _check_any(store)
    if method is None:
        config = store.config
        method, options = config["method"], {**config["options"], **options}
    level = store.config["alpha"] if alpha is None else alpha
    return _certificates(store, margin_method(method, options), level, {})


def certificates_of(store: RunStore, bounded: Iterable[Certificates]) -> Certificates:
    """Certificates of a run, where some of its inputs have just been certified.

    Parameters
    ----------
    store : RunStore
        With at least one input.
    bounded : iterable of Certificates
        Of stored inputs, from the stored counts, at the run's own method and alpha; they are
        not computed again.

    Returns
    -------
    Certificates
        Those of `rebound`.

    Raises
    ------
    ValueError
        An empty store.
    """
    _check_any(store)
    names = _values_of_a_row()
    known = {
        index: values
        for part in bounded
        for index, *values in zip(
            part.index.tolist(), *(getattr(part, name).tolist() for name in names), strict=True
        )
    }
    config = store.config
    method = margin_method(config["method"], config["options"])
    return _certificates(store, method, config["alpha"], known)


def _check_any(store: RunStore) -> None:
    if not len(store):
        raise ValueError(f"store {str(store.path)!r} holds no finished input yet")


def _values_of_a_row() -> list[str]:
    """What a table of certificates says of each input besides its index."""
    return [name for name in Certificates._ROWS if name != "index"]


def _certificates(
    store: RunStore, method: MarginMethod, alpha: float, known: Mapping[int, Sequence[Any]]
) -> Certificates:
    """Certificates of all stored inputs; those that are known are taken as they are."""
    rows = list(store.rows())
    classes = len(rows[0].estimate)
    laws: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        laws.setdefault(json.dumps(row.law), []).append(position)
    tables = []
    for where in laws.values():
        new = [i for i in where if rows[i].index not in known]
        table = certify_votes(
            np.array([rows[i].select for i in new], np.int64).reshape(-1, classes),
            np.array([rows[i].estimate for i in new], np.int64).reshape(-1, classes),
            np.array([rows[i].invalid for i in new], np.int64),
            noise=noise_from_dict(rows[where[0]].law),
            alpha=alpha,
            method=method,
        )
        tables.append((new, table))
    given = [(i, known[row.index]) for i, row in enumerate(rows) if row.index in known]
    counts = content_hash(np.array([row.estimate for row in rows]))
    return _joined(tables, given, np.array([row.index for row in rows]), counts)


def _joined(
    tables: Sequence[tuple[Sequence[int], Certificates]],
    given: Sequence[tuple[int, Sequence[Any]]],
    index: NDArray[np.int64],
    input_hash: str,
) -> Certificates:
    """One table of the certificates of several laws, in the order of the inputs."""
    first = tables[0][1]
    for _, table in tables:
        if (table.norm, table.scale) != (first.norm, first.scale):
            raise ValueError(
                f"noise is {first.noise} and {table.noise}; allowed: laws whose radii have one norm"
            )
    places = [i for i, _ in given]
    arrays: dict[str, Any] = {}
    for column, name in enumerate(_values_of_a_row()):
        values = np.empty(len(index), dtype=getattr(first, name).dtype)
        values[places] = [known[column] for _, known in given]
        for where, table in tables:
            values[where] = getattr(table, name)
        arrays[name] = values
    names = list(dict.fromkeys(table.noise for _, table in tables))
    text = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} laws)"
    law = first.law if len(tables) == 1 else None
    return dataclasses.replace(
        first, index=index, noise=text, law=law, input_hash=input_hash, **arrays
    )
