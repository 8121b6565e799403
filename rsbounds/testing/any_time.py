"""Exact dynamic programming over Bernoulli streams: is a sequential rule valid at every time?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.bounds.mean import ConfidenceSequence
from rsbounds.testing._coverage import Coverage, bounds_of, outside

#: The code of a (t, s) at which a rule stops, 0 where it goes on.
Stop = Callable[[int, NDArray[np.int64]], NDArray[np.int8]]


def _exits(
    p: float, n: int, stop: Stop
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]]:
    """Each time, and the counts, codes and probabilities with which the rule stops there."""
    mass = np.zeros(n + 1)
    mass[0] = 1.0
    for t in range(1, n + 1):
        mass[1 : t + 1] = mass[1 : t + 1] * (1.0 - p) + mass[:t] * p
        mass[0] *= 1.0 - p
        code = stop(t, np.arange(t + 1))
        at = np.flatnonzero(code != 0)
        if at.size:
            yield t, at, code[at], mass[at]
            mass[at] = 0.0


def stopping_distribution(p: float, n: int, stop: Stop) -> dict[int, NDArray[np.float64]]:
    """Exact law of a rule that looks after every draw of a Bernoulli(p) stream.

    Parameters
    ----------
    p : float
        Success probability of each draw.
    n : int
        Last time.
    stop : callable
        ``stop(t, s)`` gives, for an array s of success counts at time t, a nonzero code where
        the rule stops and 0 where it goes on. It must depend on (t, s) alone.

    Returns
    -------
    dict of int to (n + 1,) float64
        For each code the probability of stopping with it at each time. What is missing to 1
        has not stopped by n.

    Examples
    --------
    >>> law = stopping_distribution(0.5, 2, lambda t, s: (s >= 1).astype("int8"))
    >>> law[1]
    array([0.  , 0.5 , 0.25])
    """
    law: dict[int, NDArray[np.float64]] = {}
    for t, _, codes, mass in _exits(p, n, stop):
        for value in np.unique(codes):
            law.setdefault(int(value), np.zeros(n + 1))[t] = mass[codes == value].sum()
    return law


class OrderMatters(ValueError):
    """A sequence whose bounds are not those of the counts alone."""


def _fed(sequence: ConfidenceSequence, t: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of a fresh sequence after t votes, s = 0, ..., t of them for the upper end."""
    a, b = sequence.support
    ones_first = np.tri(t + 1, t, -1)
    found = []
    for votes in (ones_first, np.random.default_rng(t).permuted(ones_first, axis=1)):
        one = copy.deepcopy(sequence)
        one.update(np.where(votes == 1.0, b, a))
        found.append((one.lower, one.upper))
    if any((x != y).any() for x, y in zip(*found, strict=True)):
        raise OrderMatters(
            f"sequence is a {type(sequence).__name__}, whose bounds after {t} votes depend on "
            "their order; allowed: bounds of the counts alone"
        )
    return found[0]


def anytime_coverage(
    sequence: ConfidenceSequence | Callable[[int, NDArray[np.int64]], Any],
    p: ArrayLike,
    horizon: int,
) -> Coverage:
    """Exact probability that a confidence sequence ever excludes the mean of a vote.

    Parameters
    ----------
    sequence : ConfidenceSequence or callable
        A fresh sequence whose bounds depend on the counts alone (``beta-binomial``), or
        ``sequence(t, s)`` giving a pair of (t + 1,) lower and upper bounds for the success counts
        s = 0, ..., t after t votes.
    p : float or (P,) array_like
        Chances of a vote for the upper end of the support (1, for a callable).
    horizon : int
        Votes up to which it is followed; it looks after every one.

    Returns
    -------
    Coverage
        Error probabilities over all times to the horizon, exact up to rounding. What offends
        at the worst p are the times and counts at which the mean is left first.

    Raises
    ------
    ValueError
        Chances outside [0, 1]; bounds that are NaN, have another shape, or depend on more than
        the counts; a sequence that has seen samples.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.testing import anytime_coverage
    >>> stream = rsbounds.confidence_sequence("beta-binomial", alpha=0.05)
    >>> found = anytime_coverage(stream, [0.1, 0.5, 0.9], horizon=100)
    >>> found.assert_at_most(0.05)
    >>> wald = anytime_coverage(  # 1.645 standard errors, looked at 100 times
    ...     lambda t, s: (s / t - 1.645 * (s / t * (1 - s / t) / t) ** 0.5, s / t + 1), 0.5, 100)
    >>> wald.worst_error > 0.5
    True
    """
    __tracebackhide__ = True
    _validate.integer("horizon", horizon, low=1)
    points = np.atleast_1d(_validate.real_array("p", p))
    if points.ndim != 1 or points.size == 0 or not ((points >= 0) & (points <= 1)).all():
        raise ValueError(f"p is {p!r}; allowed: a number from 0 to 1, or (P,) of them")
    truth = points
    if isinstance(sequence, ConfidenceSequence):
        if sequence.n:
            raise ValueError(f"sequence has seen {sequence.n} samples; allowed: a fresh one")
        a, b = sequence.support
        truth = a + (b - a) * points
        table = [_fed(sequence, t) for t in range(1, horizon + 1)]
    else:
        at = sequence
        table = [
            bounds_of(lambda s, t=t: at(t, s), np.arange(t + 1), "both")  # type: ignore[misc]
            for t in range(1, horizon + 1)
        ]

    def followed(i: int) -> list[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
        def left(t: int, s: NDArray[np.int64]) -> NDArray[np.int8]:
            return outside(*table[t - 1], truth[i]).astype(np.int8)

        return [(t, s, mass) for t, s, _, mass in _exits(float(points[i]), horizon, left)]

    errors = np.array(
        [sum(float(mass.sum()) for _, _, mass in followed(i)) for i in range(len(points))]
    )
    worst = followed(int(np.argmax(errors)))
    exits = [(t, s) for t, counts, _ in worst for s in counts.tolist()]
    ends = [[table[t - 1][side][s] for t, s in exits] for side in (0, 1)]
    return Coverage.build(
        points, errors, truth, ("time", "successes"),
        np.array(exits, dtype=np.int64).reshape(-1, 2), np.array(ends[0]), np.array(ends[1]),
        np.concatenate([np.empty(0), *(mass for _, _, mass in worst)]),
    )  # fmt: skip
