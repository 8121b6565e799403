"""Where valid bounds end: the normal limit of the margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import MarginBound, Scale
from rsbounds.bounds.margin import margin_lower_bound


def normal_limit(counts: ArrayLike, top: ArrayLike, *, alpha: float, scale: Scale) -> MarginBound:
    """Plug-in margin minus z_{1-alpha} times its delta-method standard error.

    Not a bound: it holds with probability about 1 - alpha for large n only. But no valid bound
    lies above it on average as n grows, so the gap to it is what a better bound could gain.
    Where every vote went to the top class there is no normal limit; the exact two-class bound
    stands there.

    Parameters
    ----------
    counts, top, alpha, scale
        As in `margin_lower_bound`.

    Returns
    -------
    MarginBound
        With ``method`` "limit" and ``guarantee`` "none".

    Raises
    ------
    ValueError
        As in `margin_lower_bound`.

    Examples
    --------
    >>> from rsbounds.report.limit import normal_limit
    >>> limit = normal_limit([[900, 80, 20]], 0, alpha=0.001, scale="linear")
    >>> print(f"{limit.lower[0]:.3f}, {limit.guarantee}")
    0.766, none
    """
    from scipy.special import ndtri

    base = margin_lower_bound(counts, top, alpha=alpha, scale=scale, method="complement")
    table = _validate.count_table(counts)
    lower = base.lower.copy()
    z = -float(ndtri(alpha))
    for start in range(0, len(table), 65536):
        span = slice(start, start + 65536)
        rows, n = _validate.count_rows(table[span], start)
        index = np.arange(len(rows))
        p_a = rows[index, base.top[span]] / n
        rows[index, base.top[span]] = -1
        p_c = rows.max(axis=1) / n
        inside = (p_a > 0) & (p_a < 1) & (p_c > 0)
        lower[span] = np.where(inside, _limit(p_a, p_c, n, z, scale), lower[span])
    return MarginBound(
        lower, base.top, base.n, base.alpha, scale, "limit", "none",
        np.zeros(len(lower), dtype=bool),
    )  # fmt: skip


def _limit(
    p_a: NDArray[np.float64],
    p_c: NDArray[np.float64],
    n: NDArray[np.int64],
    z: float,
    scale: Scale,
) -> NDArray[np.float64]:
    from scipy.special import ndtri

    if scale == "linear":
        margin, slope_a, slope_c = p_a - p_c, 1.0, 1.0
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            x_a, x_c = ndtri(p_a), ndtri(p_c)
            margin = x_a - x_c
            slope_a = np.sqrt(2 * np.pi) * np.exp(np.minimum(x_a * x_a, 1400.0) / 2)
            slope_c = np.sqrt(2 * np.pi) * np.exp(np.minimum(x_c * x_c, 1400.0) / 2)
    with np.errstate(invalid="ignore", over="ignore"):
        # Var(a X_A - c X_c) per draw, for a trinomial.
        mean = slope_a * p_a - slope_c * p_c
        variance = slope_a**2 * p_a + slope_c**2 * p_c - mean**2
        return np.asarray(margin - z * np.sqrt(np.maximum(variance, 0.0) / n))
