"""Clopper-Pearson bounds, rounded outward, and their randomised refinement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._kernels import kernel
from rsbounds._numerics import EPS, log_binom_pmf, proportion_lower, upper_tail
from rsbounds._parallel import map_rows

_CHUNK = 8192


@kernel
def _lower_rows(
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: NDArray[np.float64],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
) -> None:
    for i in range(k.size):
        p[i], q[i] = proportion_lower(float(k[i]), float(n[i]), alpha[i])


@kernel
def _randomized_lower(k: float, n: float, alpha: float, u: float) -> tuple[float, float]:
    """Largest proven p with P(Bin(n,p) > k) + u P(Bin(n,p) = k) <= alpha, as (p, 1 - p)."""
    log_alpha = math.log(alpha)
    low_p, low_q = proportion_lower(k, n, alpha)
    if k == n:
        high_p, high_q = 1.0, 0.0
    else:
        high_p, high_q = proportion_lower(k + 1.0, n, alpha)
    # Bisection in log-odds between the answers for u = 1 and u = 0; `low` is always proven.
    low = math.log(low_p) - math.log(low_q) if low_p > 0 else -800.0
    high = math.log(high_p) - math.log(high_q) if high_q > 0 else 60.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high or high - low < 1e-14:
            break
        p = 1.0 / (1.0 + math.exp(-middle))
        q = 1.0 / (1.0 + math.exp(middle))
        log_equal = log_binom_pmf(k, n, p, q)
        value = u * math.exp(log_equal)
        error = EPS * (60.0 + 3.0 * math.log(n + 1.0) + 8.0 * abs(log_equal))
        # The pair (p, q) adds to one up to roundings, which move the pmf by EPS |k - n p|.
        error += 8.0 * EPS * abs(k - n * p)
        if k < n:
            log_tail, slope, tail_error = upper_tail(k + 1.0, n, p, q)
            value += math.exp(log_tail)
            error = max(error, tail_error + 4.0 * EPS * slope * p * q)
        if value > 0 and math.log(value) + error + 8.0 * EPS * (1.0 - log_alpha) > log_alpha:
            high = middle
        else:
            low = middle
    p = 1.0 / (1.0 + math.exp(-low))
    q = 1.0 / (1.0 + math.exp(low))
    return max(low_p, p * (1.0 - 8.0 * EPS)), min(low_q, q * (1.0 + 8.0 * EPS))


@kernel
def _randomized_rows(
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: NDArray[np.float64],
    u: NDArray[np.float64],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
) -> None:
    for i in range(k.size):
        if k[i] == 0 and u[i] >= alpha[i]:
            p[i], q[i] = 0.0, 1.0
        else:
            p[i], q[i] = _randomized_lower(float(k[i]), float(n[i]), alpha[i], u[i])


def lower_pairs(
    k: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: NDArray[np.float64],
    u: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flat validated arrays in, lower bounds and their complements (p down, q up) out."""

    def work(start: int, stop: int) -> dict[str, NDArray[Any]]:
        p, q = np.empty(stop - start), np.empty(stop - start)
        span = slice(start, stop)
        if u is None:
            _lower_rows(k[span], n[span], alpha[span], p, q)
        else:
            _randomized_rows(k[span], n[span], alpha[span], u[span], p, q)
        return {"p": p, "q": q}

    joined = map_rows(work, k.size, chunk=_CHUNK)
    return joined["p"], joined["q"]


def _pairs(
    k: ArrayLike, n: ArrayLike, alpha: ArrayLike, randomized: bool, seed: int | None, upper: bool
) -> NDArray[np.float64]:
    counts, draws, levels = _checked(k, n, alpha)
    if not randomized and seed is not None:
        raise ValueError(f"seed is {seed!r}; allowed: a seed only with randomized=True")
    if randomized:
        seed = _validate.integer("seed", seed, low=0)
    shape = np.broadcast_shapes(counts.shape, draws.shape, levels.shape)
    if 0 in shape:
        return np.empty(shape)
    # An upper bound on k of n is one minus the lower bound on n - k of n.
    successes = draws - counts if upper else counts
    if not randomized and draws.size == levels.size == 1 and successes.size > 4096:
        result = _one_n(successes, int(draws.reshape(-1)[0]), float(levels.reshape(-1)[0]), upper)
        if result is not None:
            return result.reshape(shape)
    flat_k = np.ascontiguousarray(np.broadcast_to(successes, shape)).reshape(-1)
    flat_n = np.ascontiguousarray(np.broadcast_to(draws, shape)).reshape(-1)
    flat_alpha = np.ascontiguousarray(np.broadcast_to(levels, shape)).reshape(-1)
    u = np.random.Generator(np.random.Philox(seed)).random(flat_k.size) if randomized else None
    p, q = lower_pairs(flat_k, flat_n, flat_alpha, u)
    return (q if upper else p).reshape(shape)


def _one_n(k: NDArray[np.int64], n: int, alpha: float, upper: bool) -> NDArray[np.float64] | None:
    """Many counts out of the same n: each distinct count is inverted once."""
    if n > 8 * k.size:
        return None
    seen = np.zeros(n + 1, dtype=bool)
    seen[k] = True
    distinct = np.flatnonzero(seen)
    p, q = lower_pairs(distinct, np.full(distinct.size, n), np.full(distinct.size, alpha))
    by_count = np.empty(n + 1)
    by_count[distinct] = q if upper else p
    return by_count[k]


def _checked(
    k: ArrayLike, n: ArrayLike, alpha: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    arrays = []
    for name, values, low in (("k", k, 0), ("n", n, 1)):
        array = _validate.array(name, values)
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{name} is {values!r}; allowed: whole numbers >= {low}")
        if array.dtype.kind == "f":
            # Smaller floats cannot be compared with the largest n.
            array = array.astype(np.float64)
        bad = ~((array >= low) & (array <= _validate.MAX_N))
        if array.dtype.kind == "f":
            bad |= np.floor(array) != array
        if bad.any():
            raise ValueError(
                f"{name} is {array[bad].reshape(-1)[0]}; allowed: whole numbers from {low} to "
                f"{_validate.MAX_N:.0e}"
            )
        arrays.append(array.astype(np.int64, copy=False))
    levels = _validate.real_array("alpha", alpha)
    bad = ~((levels >= 1e-300) & (levels < 1))
    if bad.any():
        raise ValueError(
            f"alpha is {levels[bad].reshape(-1)[0]}; allowed: a number with 1e-300 <= value < 1"
        )
    try:
        np.broadcast_shapes(arrays[0].shape, arrays[1].shape, levels.shape)
    except ValueError:
        raise ValueError(
            f"k, n and alpha have shapes {arrays[0].shape}, {arrays[1].shape} and "
            f"{levels.shape}; allowed: shapes that broadcast together"
        ) from None
    over = arrays[0] > arrays[1]
    if over.any():
        which = np.argwhere(over)[0]
        pair = np.broadcast_arrays(arrays[0], arrays[1])
        raise ValueError(
            f"k is {pair[0][tuple(which)]} with n = {pair[1][tuple(which)]}; allowed: k <= n"
        )
    return arrays[0], arrays[1], levels


def clopper_pearson_lower(
    k: ArrayLike,
    n: ArrayLike,
    *,
    alpha: ArrayLike,
    randomized: bool = False,
    seed: int | None = None,
) -> NDArray[np.float64]:
    """One-sided Clopper-Pearson lower bound on a proportion.

    With probability at least ``1 - alpha`` the true proportion is at least the returned
    number (Clopper and Pearson 1934); it is rounded down from the exact value by less than
    1e-12 of it. The randomised form (Voracek 2024) has error probability exactly alpha,
    over the draws and its uniform together.

    Parameters
    ----------
    k, n : int array_like
        Successes and draws, 0 <= k <= n, 1 <= n; they broadcast with ``alpha``.
    alpha : float array_like
        One-sided error probability in (0, 1).
    randomized : bool
        Use the randomised bound; needs ``seed``.
    seed : int, optional
        Seed of the uniforms of the randomised bound. Draw it before k is seen.

    Returns
    -------
    ndarray of float64
        Bounds in the broadcast shape.

    Raises
    ------
    ValueError
        k, n, alpha or seed out of range.

    See Also
    --------
    rsbounds.clopper_pearson_upper : The bound on the other side.
    rsbounds.clopper_pearson_interval : Both sides together.

    References
    ----------
    .. [1] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> import rsbounds
    >>> print(f"{rsbounds.clopper_pearson_lower(990, 1000, alpha=0.001):.4f}")
    0.9760
    """
    return _pairs(k, n, alpha, randomized, seed, upper=False)


def clopper_pearson_upper(
    k: ArrayLike,
    n: ArrayLike,
    *,
    alpha: ArrayLike,
    randomized: bool = False,
    seed: int | None = None,
) -> NDArray[np.float64]:
    """One-sided Clopper-Pearson upper bound on a proportion.

    With probability at least ``1 - alpha`` the true proportion is at most the returned
    number (Clopper and Pearson 1934); it is rounded up from the exact value by less than
    1e-12 of it. Parameters, errors and the randomised form are those of
    `clopper_pearson_lower`.

    See Also
    --------
    rsbounds.clopper_pearson_lower : The bound on the other side.
    rsbounds.clopper_pearson_interval : Both sides together.

    References
    ----------
    .. [1] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> import rsbounds
    >>> print(f"{rsbounds.clopper_pearson_upper(0, 1000, alpha=0.001):.5f}")
    0.00688
    """
    return _pairs(k, n, alpha, randomized, seed, upper=True)


def clopper_pearson_interval(
    k: ArrayLike,
    n: ArrayLike,
    *,
    alpha: ArrayLike,
    randomized: bool = False,
    seed: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided Clopper-Pearson interval: the one-sided bounds at alpha/2 each.

    With probability at least ``1 - alpha`` the true proportion lies in the interval (Clopper
    and Pearson 1934, with the union bound). Parameters and errors are those of
    `clopper_pearson_lower`.

    See Also
    --------
    rsbounds.clopper_pearson_lower, rsbounds.clopper_pearson_upper : One side, at all of alpha.
    rsbounds.mean_bound : Intervals for samples that are no votes.

    References
    ----------
    .. [1] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> import rsbounds
    >>> lower, upper = rsbounds.clopper_pearson_interval(5, 10, alpha=0.05)
    >>> print(f"{lower:.4f} {upper:.4f}")
    0.1871 0.8129
    """
    _checked(k, n, alpha)
    half = np.asarray(alpha, dtype=np.float64) / 2
    return (
        _pairs(k, n, half, randomized, seed, upper=False),
        _pairs(k, n, half, randomized, seed, upper=True),
    )
