"""Where valid bounds end: the likelihood limit of the margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._numerics import kernel, normal_quantile
from rsbounds._types import MarginBound, Scale
from rsbounds.bounds.margin import margin_lower_bound
from rsbounds.bounds.margin._orderings import divergence_limit
from rsbounds.bounds.margin._rows import largest_other

#: Added to each cell, so that a class without votes has a (tiny) share to vary.
PSEUDO = 1e-6


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    z: float,
    probit: bool,
    out: NDArray[np.float64],
) -> None:
    for i in range(n.size):
        x1 = counts[i, top[i]]
        x2 = largest_other(counts[i], top[i])
        if x1 == 0 and probit:
            continue
        y1, y2, y3 = x1 + PSEUDO, x2 + PSEUDO, n[i] - x1 - x2 + PSEUDO
        level, _, _ = divergence_limit(y1, y2, y3, z, probit, False)
        out[i] = level if probit else max(level, -1.0)


def likelihood_limit(
    counts: ArrayLike, top: ArrayLike, *, alpha: float, scale: Scale
) -> MarginBound:
    """Margin at which the signed root of the likelihood ratio is the normal quantile of alpha.

    Not a bound: it holds with probability about 1 - alpha for large n only. But no valid bound
    lies above it on average as n grows, so the gap to it is what a better bound could gain.
    It agrees with the plug-in margin less z standard errors (delta method) to first order;
    unlike that, it is the same limit on both scales and takes skewness into account, so that
    it is worth reading at a hundred draws and where shares are near 0 or 1. Source: Wilks
    1938, for one class against the top class, the largest other count being the class.

    Parameters
    ----------
    counts, top, alpha, scale
        As in `margin_lower_bound`; for alpha above 1/2 the limit is the plug-in margin.

    Returns
    -------
    MarginBound
        With ``method`` "limit" and ``guarantee`` "none". On the probit scale the limit of a row
        without a vote for its top class is minus infinity.

    Raises
    ------
    ValueError
        As in `margin_lower_bound`.

    Examples
    --------
    >>> from rsbounds.report.limit import likelihood_limit
    >>> limit = likelihood_limit([[900, 80, 20]], 0, alpha=0.001, scale="linear")
    >>> print(f"{limit.lower[0]:.3f}, {limit.guarantee}")
    0.761, none
    """
    base = margin_lower_bound(counts, top, alpha=alpha, scale=scale, method="complement")
    table = _validate.count_table(counts)
    lower = base.lower.copy()
    z = max(-normal_quantile(base.alpha), 1e-3)
    for start in range(0, len(table), 65536):
        span = slice(start, start + 65536)
        rows, n = _validate.count_rows(table[span], start)
        _kernel(rows, base.top[span], n, z, scale == "probit", lower[span])
    return MarginBound(
        lower, base.top, base.n, base.alpha, scale, "limit", "none",
        np.zeros(len(lower), dtype=bool),
    )  # fmt: skip
