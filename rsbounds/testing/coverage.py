"""Error probabilities by complete enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.bounds.margin import MarginMethod, margin_lower_bound
from rsbounds.bounds.mean._samples import SIDES, Side
from rsbounds.testing._coverage import Coverage, bounds_of, outside

#: Probabilities that are held at once.
_CELLS = 1 << 22
#: Points of the grid that serves where none is given.
_LEAST_POINTS = 200


def outcomes(n: int, classes: int) -> NDArray[np.int64]:
    """Every count vector of ``classes`` classes that sums to ``n``.

    Parameters
    ----------
    n : int
        Draws, at least 0.
    classes : int
        K, at least 1.

    Returns
    -------
    (C(n + K - 1, K - 1), K) ndarray
        One outcome per row.

    Examples
    --------
    >>> from rsbounds.testing import outcomes
    >>> outcomes(2, 2)
    array([[0, 2],
           [1, 1],
           [2, 0]])
    """
    _validate.integer("n", n, low=0)
    _validate.integer("classes", classes, low=1)
    bars = np.array(
        list(itertools.combinations(range(n + classes - 1), classes - 1)), dtype=np.int64
    ).reshape(math.comb(n + classes - 1, classes - 1), classes - 1)
    edges = np.hstack([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), n + classes - 1)])
    return np.diff(edges, axis=1) - 1


def simplex_grid(classes: int, steps: int) -> NDArray[np.float64]:
    """Every probability vector with entries in multiples of 1/steps, boundary included.

    Examples
    --------
    >>> from rsbounds.testing import simplex_grid
    >>> simplex_grid(2, 2).tolist()
    [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """
    _validate.integer("steps", steps, low=1)
    return outcomes(steps, classes) / steps


def outcome_probabilities(
    table: NDArray[np.int64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(P, C) probabilities of the C outcomes under each of P class probabilities."""
    from scipy.special import gammaln

    n = table[0].sum()
    with np.errstate(divide="ignore"):
        # Times a count of zero this is zero, and else it underflows as it should.
        log = np.maximum(np.log(points), -1e300)
    ways = gammaln(n + 1) - gammaln(table + 1).sum(axis=1)
    return np.asarray(np.exp(np.maximum(log @ table.T.astype(np.float64) + ways, -1e4)))


def _checked_points(p: ArrayLike) -> NDArray[np.float64]:
    """(P,) chances or (P, K) class probabilities."""
    points = _validate.real_array("p", p)
    if points.ndim not in (1, 2) or 0 in points.shape or (points.ndim == 2 and len(points.T) < 2):
        raise ValueError(
            f"p has shape {points.shape}; allowed: (P,) chances, (P, K) class probabilities with "
            "K >= 2, or a number of classes"
        )
    bad = ~((points >= 0.0) & (points <= 1.0))
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"p[{', '.join(map(str, where))}] is {points[where]}; allowed: numbers from 0 to 1"
        )
    if points.ndim == 2:
        off = np.abs(points.sum(axis=1) - 1.0) > 1e-9
        if off.any():
            row = int(np.argmax(off))
            raise ValueError(f"p row {row} sums to {points[row].sum()}; allowed: 1")
    return points


def _own_points(
    lower: NDArray[np.float64], upper: NDArray[np.float64], side: Side
) -> NDArray[np.float64]:
    """A grid, and beside each bound the chance at which it begins to err."""
    found = [np.linspace(0.0, 1.0, _LEAST_POINTS + 1)]
    if side != "upper":
        found.append(lower - 2e-12 * np.maximum(np.abs(lower), 1e-3))
    if side != "lower":
        found.append(upper + 2e-12 * np.maximum(np.abs(upper), 1e-3))
    every = np.concatenate(found)
    return np.unique(every[(every >= 0.0) & (every <= 1.0)])


def exact_coverage(
    bound: Callable[[NDArray[np.int64]], Any],
    n: int,
    p: ArrayLike | int | None = None,
    *,
    truth: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
    side: Side = "lower",
) -> Coverage:
    """Error probability of a bound, summed over every outcome, at each of several p.

    Parameters
    ----------
    bound : callable
        Called once, with every outcome: the (n + 1,) counts 0, ..., n of a binomial, or the
        (C, K) rows of `outcomes` for a multinomial. It gives (C,) lower bounds; with side
        "upper" upper bounds, with side "both" a pair (lower, upper).
    n : int
        Draws, at least 1.
    p : (P,) or (P, K) array_like, or int, optional
        Chances of a binomial, or class probabilities of a multinomial. A whole number is K, and
        stands for a `simplex_grid` of 200 points or more. Left out: a binomial, at 201 even
        points and beside each of the bounds. Where the bound rises with the count (as every
        sensible one does) the error is largest there, so that the largest of them is the
        supremum over all p.
    truth : callable, optional
        What the bound is about, (P,) values from the points; by default the chance itself, for
        a multinomial that of class 0. A bound that passes it by less than 1e-12 (relative, of
        1e-3 at least) is no error: the truth is a rounded number.
    side : {"lower", "upper", "both"}
        Which bounds are given.

    Returns
    -------
    Coverage
        Error probabilities, exact up to rounding (1e-10 relative for n up to 10,000), with the
        worst point and the outcomes that offend there. `Coverage.assert_at_most` is the test.

    Raises
    ------
    ValueError
        A bound that raises, is NaN or has another shape; points that are no probabilities.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.testing import exact_coverage
    >>> found = exact_coverage(lambda k: rsbounds.clopper_pearson_lower(k, 20, alpha=0.05), 20)
    >>> found.assert_at_most(0.05)
    >>> print(f"{found.worst_error:.4f}")
    0.0500
    """
    __tracebackhide__ = True
    _validate.integer("n", n, low=1)
    _validate.choice("side", side, SIDES)
    if isinstance(p, (int, np.integer)) and not isinstance(p, bool):
        classes = _validate.integer("p", p, low=2)
        steps = 1
        while math.comb(steps + classes - 1, classes - 1) < _LEAST_POINTS:
            steps += 1
        p = simplex_grid(classes, steps)
    points = None if p is None else _checked_points(p)
    binomial = points is None or points.ndim == 1
    counts = np.arange(n + 1)
    if points is not None and points.ndim == 2:
        counts = outcomes(n, points.shape[1])
    lower, upper = bounds_of(bound, counts, side)
    if points is None:
        points = _own_points(lower, upper, side)
    if truth is None:
        true = points if binomial else points[:, 0]
    else:
        true = _validate.real_array("truth", truth(points))
    if true.shape != (len(points),) or np.isnan(true).any():
        raise ValueError(
            f"truth gave shape {true.shape} with {int(np.isnan(true).sum())} NaN; allowed: "
            f"{len(points)} numbers, one for each point"
        )
    table = np.column_stack([counts, n - counts]) if binomial else counts
    full = np.column_stack([points, 1.0 - points]) if binomial else points
    errors = np.empty(len(points))
    step = max(1, _CELLS // len(table))
    for a in range(0, len(points), step):
        chunk = slice(a, a + step)
        wrong = outside(lower, upper, true[chunk, None])
        errors[chunk] = (outcome_probabilities(table, full[chunk]) * wrong).sum(axis=1)
    worst = int(np.argmax(errors))
    at = np.flatnonzero(outside(lower, upper, true[worst]))
    return Coverage.build(
        points, errors, true, ("count",) if binomial else None, counts[at], lower[at], upper[at],
        outcome_probabilities(table, full[worst : worst + 1])[0, at],
    )  # fmt: skip


def _margin(points: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """The margin of class 0 over its largest rival."""
    from scipy.special import ndtri

    top, rival = points[:, 0], points[:, 1:].max(axis=1)
    if scale == "linear":
        return np.asarray(top - rival)
    safe = (top > 0) & (top < 1) & (rival > 0) & (rival < 1)
    known = ndtri(np.where(safe, top, 0.5)) - ndtri(np.where(safe, rival, 0.5))
    ends = np.where((top == 0) | (rival == 1), -np.inf, np.inf)
    return np.where(safe, known, ends)


def margin_coverage(
    method: str | MarginMethod,
    *,
    n: int,
    classes: int,
    alpha: float,
    scale: Scale,
    points: ArrayLike,
    **options: Any,
) -> Coverage:
    """Exact error probability of a margin method at each of several class probabilities.

    Every outcome of Multinomial(n, p) is bounded, with class 0 as the top class; a method is
    valid at ``alpha`` where `Coverage.assert_at_most` passes.

    Parameters
    ----------
    method : str or MarginMethod
        As in `margin_lower_bound`; ``**options`` are the method's.
    n, classes : int
        Draws and classes; there are C(n + K - 1, K - 1) outcomes.
    alpha : float
        Error probability that the bounds are asked for.
    scale : {"linear", "probit"}
        Scale of the margin.
    points : (P, K) float array_like
        Class probabilities, such as `simplex_grid`.

    Returns
    -------
    Coverage
        As from `exact_coverage`.

    Examples
    --------
    >>> from rsbounds.testing import margin_coverage, simplex_grid
    >>> found = margin_coverage(
    ...     "runner-up", n=12, classes=3, alpha=0.05, scale="linear", points=simplex_grid(3, 8))
    >>> found.assert_at_most(0.05)
    """
    __tracebackhide__ = True
    given = np.atleast_2d(np.asarray(points, dtype=np.float64))
    if given.shape[1] != classes:
        raise ValueError(f"points has {given.shape[1]} columns; allowed: {classes}, the classes")
    return exact_coverage(
        lambda table: (
            margin_lower_bound(table, 0, alpha=alpha, scale=scale, method=method, **options).lower
        ),
        n,
        given,
        truth=lambda p: _margin(p, scale),
    )
