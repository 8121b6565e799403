"""One outer search over L for every inner solver: the paper's bound, certified or not."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Scale
from rsbounds.solvers import Region, Solver, Window
from rsbounds.solvers._base import curve_range, on_curve
from rsbounds.solvers._taylor import polynomial
from rsbounds.solvers.branch_and_bound import BranchAndBound

#: Proofs per row at most: each lowers L further than the one before.
ATTEMPTS = 60


class Found(NamedTuple):
    """What the search over L found for one row.

    ``lower`` is -1 or -inf where nothing is known; ``p_value`` a proven bound on the p-value
    at ``lower`` (1 where there is no proof); ``inner_value`` the solver's own value at the
    last level it was asked about, at or just above ``lower``;
    ``missed`` how many levels the solver took and the proof refuted; ``exhausted`` whether
    the proof gave up more than the tolerance.
    """

    lower: float
    certified: bool
    p_value: float
    inner_value: float
    missed: int
    exhausted: bool


def plug_in_region(x1: int, x2: int, n: int, scale: Scale, order: int = 0) -> Region:
    """Outcomes whose plug-in margin is at least the observed one (the paper's tail).

    The probit margin is taken with half a pseudo-count, so that it is finite where a class
    is empty or full; of the polynomial of ``order`` no such care is needed. Which statistic
    it is decides how tight the bound is, never whether it is valid.
    """
    from scipy.special import ndtri

    y = np.arange(n + 1)
    if scale == "linear":
        boundary = np.clip(y + (x1 - x2), 0, n + 1)
    else:
        if order:
            height = np.array([polynomial(k / n - 0.5, order) for k in y])
        else:
            height = ndtri((y + 0.5) / (n + 1.0))
        least = height + (height[x1] - height[x2])
        # An outcome that ties with the observed one belongs to the tail. Rounding may put it a
        # hair below, so the threshold is lowered by a hair: a larger tail is a safe one.
        least -= 1e-9 * (1.0 + np.abs(least))
        boundary = np.searchsorted(np.maximum.accumulate(height), least)
        boundary[: x2 + 1] = np.minimum(boundary[: x2 + 1], x1)
    boundary = np.where(boundary <= n - y, boundary, n + 1).astype(np.int64)
    return Region(n, np.minimum.accumulate(boundary[::-1])[::-1].copy(), scale, order)


def _refuted_from(
    region: Region, window: Window, alpha: float, level: float, floor: float, share: float
) -> float:
    """A level up to ``level`` that is refuted by the point at that share of its own curve.

    Null sets are nested: what refutes a level refutes every level above (Lemma 1).
    """
    low, high = floor, level
    while high - low > 1e-9 * (1.0 + abs(high)):
        middle = 0.5 * (low + high)
        start, end = curve_range(region, middle, window)
        refuted = False
        if end >= start:
            q1, q2, _ = on_curve(region, middle, start + share * (end - start))
            refuted = region.probability(q1, q2) > alpha
        if refuted:
            high = middle
        else:
            low = middle
    return high


def _share(region: Region, window: Window, level: float, q2: float) -> float:
    start, end = curve_range(region, level, window)
    return min(max((q2 - start) / (end - start), 0.0), 1.0) if end > start else 0.0


@lru_cache(maxsize=4096)
def searched(
    solver: Solver,
    certify: bool,
    x1: int,
    x2: int,
    n: int,
    alpha: float,
    scale: Scale,
    order: int,
    window: Window,
    tolerance: float,
) -> Found:
    """Largest level that the solver does not refute and branch and bound accepts.

    Each refutation is followed down to the lowest level that the same place on the curve
    refutes, tails only, so a row takes a few inner solves instead of one per halving.
    Without ``certify`` a level that the solver does not refute is taken on trust. Rows
    repeat in tables: answers are remembered.
    """
    region = plug_in_region(x1, x2, n, scale, order)
    # Below the floor nothing is claimed, or (in the window q1 >= 1/2 >= q2) g >= 0 is known.
    floor, top = (-1.0, 1.0) if scale == "linear" else (-40.0, 17.0)
    if order:
        floor, top = 0.0, 2.0 * polynomial(0.5, order)
    nothing = 0.0 if order else (-1.0 if scale == "linear" else -math.inf)
    trivial = Found(nothing, True, 1.0, 1.0, 0, False)
    if region.boundary[n] <= 0:
        return trivial
    level = top
    for share in (0.5, 1.0, 0.0):
        level = _refuted_from(region, window, alpha, level, floor, share)
    proof = BranchAndBound()
    missed, least, undecided = 0, level, 0.0
    step = tolerance / 64.0
    accepted, enough, trusted = math.nan, alpha, -math.inf
    upper, value = 1.0, 0.0
    for _ in range(ATTEMPTS):
        if level <= floor:
            return trivial._replace(missed=missed, exhausted=undecided > tolerance)
        if level > trusted:
            found = solver(region, level, window, enough)
            value = found.value
        if level > trusted and value > alpha:
            share = _share(region, window, level, found.point[1])
            least = _refuted_from(region, window, alpha, level, floor, share)
            if level - least < 16.0 * tolerance:
                # Points found early refute little each time; the optimum refutes the most.
                if enough == 1.0:
                    step *= 2.0
                enough = 1.0
            level = least - step
            continue
        # Null sets are nested: below a level that it could not refute the solver has no say.
        trusted = max(trusted, level)
        if not certify:
            return Found(level, False, 1.0, value, 0, False)
        proven = proof(region, level, window, alpha)
        if proven.upper <= alpha:
            accepted, upper = level, proven.upper
            break
        if proven.value > alpha:
            missed += 1
            share = _share(region, window, level, proven.point[1])
            least = _refuted_from(region, window, alpha, level, floor, share)
        level = min(level, least) - step
        step *= 2.0
        undecided = least - level
    if math.isnan(accepted):
        return trivial._replace(missed=missed, exhausted=True)
    # The last steps were long: a level between the one that was proved and the lowest one that
    # was refuted may be provable too. Halve the gap, keeping the levels that are proved.
    high = min(least, accepted + 2.0 * step)
    while high - accepted > tolerance:
        middle = 0.5 * (accepted + high)
        if middle > trusted:
            value = solver(region, middle, window, alpha).value
        proven = proof(region, middle, window, alpha)
        if value <= alpha and proven.upper <= alpha:
            accepted, upper, trusted = middle, proven.upper, max(trusted, middle)
        else:
            high = middle
    # Levels of the proof are rounded to a few ulps.
    accepted -= 1e-12 * (1.0 + abs(accepted))
    return Found(accepted, True, upper, value, missed, least - accepted > 2.0 * tolerance)


def columns(rows: list[Found]) -> dict[str, NDArray[Any]]:
    """The rows as the arrays of a margin method."""
    kinds = (np.float64, np.bool_, np.float64, np.float64, np.int64, np.bool_)
    return {
        name: np.array([row[i] for row in rows], dtype=kind)
        for i, (name, kind) in enumerate(zip(Found._fields, kinds, strict=True))
    }
