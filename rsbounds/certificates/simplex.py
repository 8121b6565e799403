"""From logits to class scores: softmax, sparsemax and hardmax."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate


def _logits(logits: ArrayLike) -> NDArray[np.float64]:
    values = _validate.array("logits", logits)
    if values.dtype.kind not in "iuf" or values.ndim == 0 or values.shape[-1] < 2:
        raise ValueError(
            f"logits has type {values.dtype} and shape {values.shape}; allowed: real numbers with "
            "at least 2 classes along the last axis"
        )
    values = values.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"logits[{', '.join(map(str, where))}] is {values[where]}; allowed: finite numbers"
        )
    return values


def softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """exp(z/T) normalised along the last axis; Lipschitz with constant 1/(2T) in l2.

    Parameters
    ----------
    logits : (..., K) float array_like
        Finite numbers, K >= 2.
    temperature : float
        T > 0.

    Returns
    -------
    (..., K) ndarray
        Entries in [0, 1]; rows add to 1 up to rounding.

    Raises
    ------
    ValueError
        Logits that are not finite numbers, or T not above 0.

    See Also
    --------
    rsbounds.sparsemax, rsbounds.hardmax : Sharper maps.
    rsbounds.soft_lipschitz : The constant of a network with such a map behind it.

    Examples
    --------
    >>> softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    scaled = _logits(logits) / _validate.positive("temperature", temperature)
    scaled -= scaled.max(axis=-1, keepdims=True)
    weights = np.exp(scaled)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def sparsemax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Euclidean projection of z/T onto the simplex (Martins and Astudillo 2016, Algorithm 1).

    Lipschitz with constant 1/T in l2. Parameters, result and errors are those of `softmax`.

    See Also
    --------
    rsbounds.softmax : A smooth map, with half the Lipschitz constant.

    References
    ----------
    .. [1] A. F. T. Martins and R. F. Astudillo, "From softmax to sparsemax", ICML 2016.

    Examples
    --------
    >>> sparsemax([2.0, 0.0, 1.5]).tolist()
    [0.75, 0.0, 0.25]
    """
    scaled = _logits(logits) / _validate.positive("temperature", temperature)
    scaled -= scaled.max(axis=-1, keepdims=True)
    ordered = -np.sort(-scaled, axis=-1)
    sums = np.cumsum(ordered, axis=-1)
    size = np.arange(1, scaled.shape[-1] + 1)
    kept = np.count_nonzero(1.0 + size * ordered > sums, axis=-1)[..., None]
    shift = (np.take_along_axis(sums, kept - 1, axis=-1) - 1.0) / kept
    return np.asarray(np.clip(scaled - shift, 0.0, 1.0))


def hardmax(logits: ArrayLike) -> NDArray[np.float64]:
    """One at the largest entry of each row (the first on a tie), zero elsewhere.

    Parameters, result and errors are those of `softmax`; there is no temperature. It is not
    Lipschitz: its means are vote shares, which `certify` bounds more tightly from counts.

    See Also
    --------
    rsbounds.softmax, rsbounds.sparsemax : Maps with a Lipschitz constant.
    rsbounds.certify : Bounds from counts.

    Examples
    --------
    >>> hardmax([2.0, 0.0, 1.5]).tolist()
    [1.0, 0.0, 0.0]
    """
    values = _logits(logits)
    result = np.zeros_like(values)
    np.put_along_axis(result, values.argmax(axis=-1)[..., None], 1.0, axis=-1)
    return result


def soft_lipschitz(network: float, map_constant: float = 1.0) -> float:
    """Constant of map(network(x)): the product of the two constants.

    Parameters
    ----------
    network : float
        Lipschitz constant of the logits, l2 to l2, > 0.
    map_constant : float
        That of the simplex map: 1/(2T) for softmax, 1/T for sparsemax.

    Returns
    -------
    float
        The product, rounded up.

    Raises
    ------
    ValueError
        A constant is not above 0.

    See Also
    --------
    rsbounds.Lipschitz : The law that takes the constant.
    rsbounds.softmax, rsbounds.sparsemax : The maps.

    Examples
    --------
    >>> soft_lipschitz(4.0, 0.5) >= 2.0
    True
    """
    product = _validate.positive("network", network) * _validate.positive(
        "map_constant", map_constant
    )
    return math.nextafter(product, math.inf)
