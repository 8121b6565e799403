"""One outer search over L for every inner solver: the paper's bound, certified or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Scale
from rsbounds.bounds.margin._rows import largest_other
from rsbounds.solvers import Region, Solver, Window
from rsbounds.solvers.branch_and_bound import BranchAndBound


def plug_in_region(x1: int, x2: int, n: int, scale: Scale) -> Region:
    """Outcomes whose plug-in margin is at least the observed one (the paper's tail)."""
    from scipy.special import ndtr, ndtri

    y2 = np.arange(n + 1)
    if scale == "linear":
        boundary = np.maximum(y2 + (x1 - x2), 0)
    else:
        with np.errstate(invalid="ignore"):
            least = n * ndtr(ndtri(y2 / n) + (ndtri(x1 / n) - ndtri(x2 / n)))
        # Empty classes and full ones have no finite plug-in margin: the sure side is to
        # let an undecided outcome in. A millionth of a vote covers the rounding.
        boundary = np.ceil(np.nan_to_num(least, nan=0.0) - 1e-6).astype(np.int64)
        boundary = np.maximum(boundary, 0)
    boundary[: x2 + 1] = np.minimum(boundary[: x2 + 1], x1)
    boundary = np.where(boundary <= n - y2, boundary, n + 1)
    return Region(n, np.minimum.accumulate(boundary[::-1])[::-1].astype(np.int64), scale)


def searched_rows(
    solver: Solver,
    certify: bool,
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: float,
    scale: Scale,
    tolerance: float,
) -> Mapping[str, NDArray[Any]]:
    """Bisect L: the solver refutes levels (Lemma 1); branch and bound accepts them.

    Without ``certify`` a level that the solver does not refute is taken on trust, and the
    row says ``certified=False``.
    """
    lower = np.empty(n.size)
    values = np.empty(n.size)
    upper = np.full(n.size, np.inf)
    proof = BranchAndBound()
    for i in range(n.size):
        x1, x2 = int(counts[i, top[i]]), int(largest_other(counts[i], int(top[i])))
        region = plug_in_region(x1, x2, int(n[i]), scale)
        low, high = (-1.0, 1.0) if scale == "linear" else (-12.0, 12.0)
        best, values[i] = (-1.0 if scale == "linear" else -np.inf), np.nan
        while high - low > tolerance:
            level = 0.5 * (low + high)
            found = solver(region, level, Window(), alpha)
            accepted = found.value <= alpha
            if accepted and certify:
                proven = proof(region, level, Window(), alpha)
                accepted = proven.upper <= alpha
                if accepted:
                    upper[i] = proven.upper
            if accepted:
                low = best = level
                values[i] = found.value
            else:
                high = level
        lower[i] = best
    values = np.where(np.isnan(values), alpha, values)
    certified = np.isfinite(upper) | (lower <= (-1.0 if scale == "linear" else -np.inf))
    return {"lower": lower, "certified": certified, "inner_value": values, "p_value": upper}
