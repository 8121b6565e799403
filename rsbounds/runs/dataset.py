"""Certify a whole data set of any callable on numpy batches, resumably."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.bounds.margin import margin_method
from rsbounds.noises import Noise
from rsbounds.runs.driver import run_inputs
from rsbounds.runs.rebounding import rebound
from rsbounds.runs.store import RunStore
from rsbounds.sampling import Classifier, sample_counts


def run_config(
    *, noise: Noise, n0: int, n: int, alpha: float, method: str, options: dict[str, Any],
    seed: int, num_classes: int, inputs: int, model: str,
) -> dict[str, Any]:  # fmt: skip
    """What two calls must share to be the same run; validated, so that no bad store is made."""
    _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
    _validate.integer("n", n, low=1, high=_validate.MAX_N)
    _validate.integer("num_classes", num_classes, low=2)
    margin_method(method, options)
    return {
        "model": model,
        "inputs": inputs,
        "num_classes": num_classes,
        "noise": noise.to_dict(),
        "n0": n0,
        "n": n,
        "alpha": _validate.alpha(alpha),
        "method": method,
        "options": options,
        "seed": seed,
    }


def resumed_seed(store: str | os.PathLike[str], seed: int | None) -> int:
    """The seed given, else that of the store, else a fresh one."""
    if seed is not None:
        return _validate.integer("seed", seed, low=0)
    if os.path.exists(store):
        with RunStore(store) as held:
            return int(held.config["seed"])
    return secrets.randbits(63)


def certify_dataset(
    classifier: Classifier,
    inputs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    store: str | os.PathLike[str],
    noise: Noise,
    n: int,
    num_classes: int,
    n0: int = 100,
    alpha: float = 0.001,
    method: str = "exact",
    seed: int | None = None,
    batch_size: int = 1024,
    model: str = "",
    progress: bool | None = None,
    **options: Any,
) -> Certificates:
    """Certify every input of a data set; stop it anywhere, and the same call resumes.

    With probability at least ``1 - alpha``, for each input on its own, no perturbation
    smaller than its radius changes the smoothed classifier's answer (as in `certify`). The
    rows of a run that was stopped and resumed are those of one that was not.

    Parameters
    ----------
    classifier : callable
        As in `sample_counts`.
    inputs : (B, ...) array_like
        Inputs in raw units.
    labels : (B,) integers, optional
        True classes, kept with the rows.
    store : str or path
        SQLite file of the run, made if it is not there.
    noise : Noise
        Law of the noise.
    n, n0 : int
        Draws of the estimation and of the selection sample.
    num_classes : int
        K.
    alpha, method, **options
        As in `certify`.
    seed : int, optional
        Seed of the streams; that of the store where it exists, else a fresh one.
    batch_size : int
        Copies per call of the classifier.
    model : str
        A name for the model; a store made with another name is refused.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.

    Returns
    -------
    Certificates
        One entry per input.

    Raises
    ------
    ValueError
        Bad arguments, or a store of another run (the first difference is named).

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     certificates = rsbounds.certify_dataset(
    ...         lambda batch: (batch[:, 0] > 0).astype(int), np.array([[0.4], [-0.7]]), [1, 0],
    ...         noise=rsbounds.Gaussian(sigma=0.5), n=1000, num_classes=2, seed=1,
    ...         store=pathlib.Path(folder, "run.sqlite"))
    >>> certificates.top
    array([1, 0])
    """
    array = np.asarray(inputs)
    if array.ndim < 2 or array.shape[0] == 0:
        raise ValueError(f"inputs have shape {array.shape}; allowed: (B, ...) with B >= 1")
    _validate.integer("num_classes", num_classes, low=2)
    known = None
    if labels is not None:
        known = _validate.class_indices(labels, len(array), num_classes, "labels")
    chosen = resumed_seed(store, seed)
    config = run_config(
        noise=noise, n0=n0, n=n, alpha=alpha, method=method, options=options, seed=chosen,
        num_classes=num_classes, inputs=len(array), model=model,
    )  # fmt: skip

    def items(i: int) -> tuple[NDArray[Any], int | None]:
        return array[i], None if known is None else int(known[i])

    def sampler(
        chunk: NDArray[Any], indices: Sequence[int], role: Any, draws: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = sample_counts(
            classifier, chunk, noise=noise, n=draws, num_classes=num_classes, role=role,
            seed=chosen, index=indices[0], batch_size=batch_size, progress=False,
        )  # fmt: skip
        return counts.values, np.zeros(len(chunk), dtype=np.int64)

    with RunStore(store, config) as run:
        run_inputs(
            sampler, items, range(len(array)), store=run, noise=noise, n0=n0, n=n, alpha=alpha,
            method=method, options=options, seed=chosen, progress=progress,
        )  # fmt: skip
        return rebound(run)
