"""Exact dynamic programming over Bernoulli streams: is a sequential rule valid at every time?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def stopping_distribution(
    p: float, n: int, stop: Callable[[int, NDArray[np.int64]], NDArray[np.int8]]
) -> dict[int, NDArray[np.float64]]:
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
    mass = np.zeros(n + 1)
    mass[0] = 1.0
    for t in range(1, n + 1):
        mass[1 : t + 1] = mass[1 : t + 1] * (1.0 - p) + mass[:t] * p
        mass[0] *= 1.0 - p
        code = stop(t, np.arange(t + 1))
        for value in np.unique(code[code != 0]):
            at = code == value
            law.setdefault(int(value), np.zeros(n + 1))[t] = mass[: t + 1][at].sum()
            mass[: t + 1][at] = 0.0
    return law
