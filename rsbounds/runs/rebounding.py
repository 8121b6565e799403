"""New certificates from stored counts, without sampling."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates
from rsbounds.bounds.margin import MarginMethod, margin_method
from rsbounds.noises import noise_from_dict
from rsbounds.runs.driver import certify_votes
from rsbounds.runs.store import RunStore


def stored_labels(store: RunStore) -> NDArray[np.int64] | None:
    """Labels of the stored inputs, or None where any is missing."""
    labels = [row.label for row in store.rows()]
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
    config = store.config
    if method is None:
        method, options = config["method"], {**config["options"], **options}
    law = noise_from_dict(config["noise"])
    result = certify_votes(
        np.array([row.select for row in rows]),
        np.array([row.estimate for row in rows]),
        np.array([row.invalid for row in rows]),
        noise=law,
        alpha=config["alpha"] if alpha is None else alpha,
        method=margin_method(method, options),
    )
    return dataclasses.replace(result, index=np.array([row.idx for row in rows]))
