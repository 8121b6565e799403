"""The fewest draws that give a radius with a chance, to about 1 %."""

from __future__ import annotations

import math
from collections.abc import Callable

#: Where the search begins, and how near to each other its ends come.
_FIRST, _NEAR = 1000, 0.01


def fewest_draws(
    reached: Callable[[int], float], radius: float, end: float, limit: int
) -> int | None:
    """The smallest n found with ``reached(n) >= radius``; None where it is beyond ``limit``.

    Parameters
    ----------
    reached : callable
        The radius that n draws give with the chance in question; it grows with n.
    radius : float
        The radius that is asked for.
    end : float
        What ``reached`` tends to, above ``radius``.
    limit : int
        The most draws.

    Returns
    -------
    int or None
        A number of draws that is enough, where one that is smaller by 1 % (or by one draw) is not.
    """
    low, high = 0, limit + 1
    # What was reached at either end; no draws reach nothing, more than the limit are not taken.
    under, over = 0.0, end
    n = min(_FIRST, limit)
    for step in range(200):
        found = reached(n)
        if found >= radius:
            high, over = n, found
        else:
            low, under = n, found
        if high - low <= max(1, int(_NEAR * high)):
            break
        n = _next(low, under, high, over, radius, end, limit, halve=step % 3 == 2)
    return None if high > limit else high


def _next(
    low: int,
    under: float,
    high: int,
    over: float,
    radius: float,
    end: float,
    limit: int,
    *,
    halve: bool,
) -> int:
    """The draws to look at next, strictly between both ends."""
    bounded = high <= limit
    if low > 0 and bounded and not halve and over > under > 0.0:
        # A line in 1 / sqrt(n), as the gap to the end goes.
        share = (radius - under) / (over - under)
        guess = (low**-0.5 + share * (high**-0.5 - low**-0.5)) ** -2.0
        # A little to the far side of the crossing, so that the far end closes in.
        guess *= 1.0 + (-0.4 if guess - low > high - guess else 0.4) * _NEAR
        guess = min(max(guess, low * (1.0 + 0.5 * _NEAR)), high * (1.0 - 0.5 * _NEAR))
    elif low > 0 and bounded:
        guess = math.sqrt(float(low) * float(high))
    elif low > 0:
        near = under > 0.0 and end < 10.0 * radius
        guess = low * (((end - under) / (end - radius)) ** 2 if near else 8.0) * (1.0 + 0.4 * _NEAR)
        guess = max(guess, 1.2 * low)
    else:
        near = end < 10.0 * radius
        guess = high * (((end - over) / (end - radius)) ** 2 if near else 0.125)
        guess = min(guess * (1.0 - 0.6 * _NEAR), 0.8 * high)
    return int(min(max(round(min(guess, 1e15)), low + 1), high - 1))
