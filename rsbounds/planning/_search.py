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
    n = min(_FIRST, limit)
    # Two ends that are never evaluated: no draws give nothing; more than the limit are not taken.
    # The gap to the end goes about as 1 / sqrt(n), and each step of the loop narrows the ends.
    for step in range(200):
        found = reached(n)
        if found >= radius:
            high = n
        else:
            low = n
        if high - low <= max(1, int(_NEAR * high)):
            break
        n = _next(n, found, radius, end, low, high, halve=step % 4 == 3)
    return None if high > limit else high


def _next(
    n: int, found: float, radius: float, end: float, low: int, high: int, *, halve: bool
) -> int:
    """The draws to look at next, strictly between both ends."""
    if halve and low > 0:
        guess = math.sqrt(float(low) * float(high))
    elif found > 0.0 and end > found:
        guess = n * ((end - found) / (end - radius)) ** 2
        # On the side of the end that is still far, so that both ends close in.
        guess *= 1.0 - 0.7 * _NEAR if found >= radius else 1.0 + 0.7 * _NEAR
    else:
        guess = n * (8.0 if found < radius else 0.125)
    return min(max(round(min(guess, 1e15)), low + 1), high - 1)
