"""Error probabilities by complete enumeration."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.bounds.margin import MarginMethod, margin_lower_bound


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
    return outcomes(steps, classes) / steps


def _probabilities(table: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import gammaln, xlogy

    n = table[0].sum()
    log = gammaln(n + 1) - gammaln(table + 1).sum(axis=1) + xlogy(table, p).sum(axis=1)
    return np.asarray(np.exp(log))


def exact_error(lower: ArrayLike, table: NDArray[np.int64], p: ArrayLike, truth: float) -> float:
    """Probability that a lower bound exceeds the truth, summed over every outcome.

    Parameters
    ----------
    lower : (C,) float array_like
        The bound at each outcome.
    table : (C, K) ndarray
        The outcomes, from `outcomes`.
    p : (K,) float array_like
        Class probabilities.
    truth : float
        What the bound is about. Bounds above it by more than 1e-12 (relative) count as
        errors: the truth itself is a rounded number.

    Returns
    -------
    float
        The error probability, exact up to rounding.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.testing import exact_error, outcomes
    >>> table = outcomes(20, 2)
    >>> lower = rsbounds.clopper_pearson_lower(table[:, 0], 20, alpha=0.05)
    >>> exact_error(lower, table, [0.7, 0.3], truth=0.7) <= 0.05
    True
    """
    bounds = np.asarray(lower, dtype=np.float64)
    if np.isnan(bounds).any():
        raise ValueError("lower contains NaN; allowed: numbers")
    slack = 0.0 if np.isinf(truth) else 1e-12 * max(abs(truth), 1e-3)
    wrong = bounds > truth + slack
    return float(_probabilities(table, np.asarray(p, dtype=np.float64))[wrong].sum())


def margin_errors(
    method: str | MarginMethod,
    *,
    n: int,
    classes: int,
    alpha: float,
    scale: Scale,
    points: ArrayLike,
    **options: Any,
) -> NDArray[np.float64]:
    """Exact error probability of a margin method at each of several class probabilities.

    Every outcome of Multinomial(n, p) is bounded, with class 0 as the top class; a method is
    valid at ``alpha`` where no entry exceeds it.

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
    (P,) ndarray
        Error probabilities.

    Examples
    --------
    >>> from rsbounds.testing import margin_errors, simplex_grid
    >>> errors = margin_errors(
    ...     "runner-up", n=12, classes=3, alpha=0.05, scale="linear", points=simplex_grid(3, 8))
    >>> bool((errors <= 0.05).all())
    True
    """
    from scipy.special import ndtri

    table = outcomes(n, classes)
    lower = margin_lower_bound(table, 0, alpha=alpha, scale=scale, method=method, **options).lower
    errors = []
    for p in np.atleast_2d(np.asarray(points, dtype=np.float64)):
        rival = p[1:].max()
        if scale == "linear":
            truth = float(p[0] - rival)
        elif p[0] == 0 or rival == 1:
            truth = -np.inf
        elif p[0] == 1 or rival == 0:
            truth = np.inf
        else:
            truth = float(ndtri(p[0]) - ndtri(rival))
        errors.append(exact_error(lower, table, p, truth))
    return np.array(errors)
