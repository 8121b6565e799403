"""One error probability shared by many statements, so that they hold together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate


def family_alpha(
    alpha: float, inputs: int | None = None, *, index: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Error probabilities per input that add up to no more than ``alpha``.

    With them, all certificates of a run hold together with probability at least 1 - alpha, and so
    does the statement about the whole memory (the union bound).

    Parameters
    ----------
    alpha : float
        Error probability of all statements together.
    inputs : int, optional
        How many inputs there will be, fixed in advance: each gets alpha / inputs. Without it the
        i-th input (from 0) gets alpha / ((i + 1) (i + 2)), for any number of them.
    index : (B,) integers, optional
        Which inputs; all of ``inputs`` by default.

    Returns
    -------
    (B,) float64 ndarray
        Rounded down.

    Raises
    ------
    ValueError
        An alpha outside (0, 1), a share below 1e-300, or an index that is not below ``inputs``.

    Examples
    --------
    >>> from rsbounds.certificates import family_alpha
    >>> family_alpha(0.01, 4).round(6)
    array([0.0025, 0.0025, 0.0025, 0.0025])
    >>> family_alpha(0.01, index=[0, 1, 2]).round(6)
    array([0.005   , 0.001667, 0.000833])
    """
    total = _validate.alpha(alpha)
    if inputs is None and index is None:
        raise ValueError("inputs and index are None; allowed: one of them, or both")
    if inputs is not None:
        _validate.integer("inputs", inputs, low=1)
    which = np.arange(inputs or 0) if index is None else _validate.array("index", index)
    if which.dtype.kind not in "iu" or which.ndim != 1 or (len(which) and which.min() < 0):
        raise ValueError(f"index is {index!r}; allowed: (B,) whole numbers >= 0")
    if inputs is not None and len(which) and which.max() >= inputs:
        raise ValueError(f"index holds {which.max()}; allowed: 0 to {inputs - 1}")
    place = which.astype(np.float64)
    parts = (place + 1.0) * (place + 2.0) if inputs is None else np.full(len(place), float(inputs))
    found = total / parts * (1.0 - 1e-15)
    if not (found >= 1e-300).all():
        raise ValueError(
            f"alpha is {alpha!r}, the smallest share {found.min():g}; allowed: >= 1e-300 each"
        )
    return np.asarray(found)
