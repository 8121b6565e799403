"""New certificates from stored counts, without sampling."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates
from rsbounds.bounds.margin import MarginMethod
from rsbounds.certificates.exact import joined_details
from rsbounds.noises import noise_from_dict
from rsbounds.runs.kinds import Drawn, Kind, kind_of_run
from rsbounds.runs.kinds.decisions import DecideKind
from rsbounds.runs.row import RunRow, offset_held
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

    Runs of decisions may be asked about other radii (``radius``, one or several) or at another
    alpha, adaptive runs bounded by another method at the looks that they took; their proofs allow
    it whatever stopped the draws (`rsbounds.runs.kinds`). Runs of scores keep their bounds alone
    and are read as they are.

    Parameters
    ----------
    store : RunStore
        Open for reading or writing, with at least one input.
    method : str or MarginMethod, optional
        As in `certify`; the run's own method and options by default.
    alpha : float, optional
        Error probability per input; the run's own by default.
    **options
        Options of the method; of a decision, ``radius`` and ``prior``.

    Returns
    -------
    Certificates
        One entry per stored input, by index. Inputs with invalid answers abstain.

    Raises
    ------
    ValueError
        An empty store, bad arguments, or a run of scores with another method or alpha.

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
    return _certificates(store, kind_of_run(store.config).again(method, alpha, options), ())


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
    return _certificates(store, kind_of_run(store.config), list(bounded))


def stored_answers(store: RunStore) -> NDArray[np.str_]:
    """Of a run of decisions, the (B, J) answers for each stored input, by index, at each radius.

    One of "yes", "no", "futile" and "undecided" (`rsbounds.sequential.Ladder`). The radii are
    ``store.config["options"]["radius"]``; an input that failed is undecided.

    Raises
    ------
    ValueError
        A run of another kind, or an empty store.
    """
    _check_any(store)
    kind = kind_of_run(store.config)
    if not isinstance(kind, DecideKind):
        raise ValueError(
            f"store {str(store.path)!r} holds no decisions; allowed: a run of the kind 'decide'"
        )
    nothing = ["undecided"] * len(kind.options["radius"])
    return np.array([(row.evidence or {}).get("answers") or nothing for row in store.rows()])


def _check_any(store: RunStore) -> None:
    if not len(store):
        raise ValueError(f"store {str(store.path)!r} holds no finished input yet")


def _certificates(store: RunStore, kind: Kind, known: Sequence[Certificates]) -> Certificates:
    """Certificates of all stored inputs; those that are known are taken as they are."""
    rows = list(store.rows())
    place = {row.index: position for position, row in enumerate(rows)}
    tables = [([place[i] for i in table.index.tolist()], table) for table in known]
    there = {position for where, _ in tables for position in where}
    laws: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        laws.setdefault(json.dumps(row.law), []).append(position)
    texts = []
    for where in laws.values():
        noise = noise_from_dict(rows[where[0]].law)
        texts.append(str(noise))
        new = [i for i in where if i not in there]
        if new:
            tables.append((new, kind.certify(_drawn_of([rows[i] for i in new]), noise)))
    shared = {
        "noise": texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]} ({len(texts)} laws)",
        "law": rows[0].law if len(laws) == 1 else None,
        "input_hash": kind.input_hash(_drawn_of(rows)),
        "index": np.array([row.index for row in rows]),
    }
    return _joined(tables, len(rows), shared)


def content_hash_of(store: RunStore) -> str:
    """A hash of what the certificates of a run rest on."""
    return kind_of_run(store.config).input_hash(_drawn_of(list(store.rows())))


def _drawn_of(rows: Sequence[RunRow]) -> Drawn:
    """What was drawn of stored inputs, at least one."""
    evidence, offset = zip(*(offset_held(row) for row in rows), strict=True)
    return Drawn(
        np.array([row.select for row in rows], np.int64),
        np.array([row.estimate for row in rows], np.int64),
        np.array([row.invalid for row in rows], np.int64),
        np.array([row.n for row in rows], np.int64),
        evidence,
        None if None in offset else np.array(offset, np.float64),
    )


def _joined(
    tables: Sequence[tuple[Sequence[int], Certificates]], size: int, shared: Mapping[str, Any]
) -> Certificates:
    """One table of several, each with the places of its rows."""
    first = tables[0][1]
    for _, table in tables:
        if (table.norm, table.scale) != (first.norm, first.scale):
            raise ValueError(
                f"noise is {first.noise} and {table.noise}; allowed: laws whose radii have one norm"
            )
    arrays: dict[str, Any] = {}
    for name in (name for name in Certificates._ROWS if name not in shared):
        values = np.empty(size, dtype=getattr(first, name).dtype)
        for where, table in tables:
            values[where] = getattr(table, name)
        arrays[name] = values
    details = joined_details([table.details for _, table in tables])
    return dataclasses.replace(first, **shared, **arrays, details=details)
