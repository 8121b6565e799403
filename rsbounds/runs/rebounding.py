"""New certificates from stored counts, without sampling."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
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
    rows = list(store.rows())
    if not rows:
        raise ValueError(f"store {str(store.path)!r} holds no finished input yet")
    if method is None:
        config = store.config
        method, options = config["method"], {**config["options"], **options}
    chosen = margin_method(method, options)
    level = store.config["alpha"] if alpha is None else alpha
    groups: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(json.dumps(row.law), []).append(position)
    parts = [
        (
            where,
            certify_votes(
                np.array([rows[i].select for i in where]),
                np.array([rows[i].estimate for i in where]),
                np.array([rows[i].invalid for i in where]),
                noise=noise_from_dict(rows[where[0]].law),
                alpha=level,
                method=chosen,
            ),
        )
        for where in groups.values()
    ]
    counts = content_hash(np.array([row.estimate for row in rows]))
    return _joined(parts, np.array([row.index for row in rows]), counts)


def _joined(
    parts: Sequence[tuple[Sequence[int], Certificates]], index: NDArray[np.int64], input_hash: str
) -> Certificates:
    """One table of the certificates of several laws, in the order of the inputs."""
    first = parts[0][1]
    arrays: dict[str, Any] = {}
    for name in (name for name in Certificates._ROWS if name != "index"):
        values = np.empty(len(index), dtype=getattr(first, name).dtype)
        for where, part in parts:
            if (part.norm, part.scale) != (first.norm, first.scale):
                raise ValueError(
                    f"noise is {first.noise} and {part.noise}; allowed: laws whose radii have one "
                    "norm"
                )
            values[where] = getattr(part, name)
        arrays[name] = values
    names = list(dict.fromkeys(part.noise for _, part in parts))
    text = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} laws)"
    law = first.law if len(parts) == 1 else None
    return dataclasses.replace(
        first, index=index, noise=text, law=law, input_hash=input_hash, **arrays
    )
