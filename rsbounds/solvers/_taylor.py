"""The odd Taylor polynomial of Phi^-1 at one half (Lemma 2's substitute for the quantile).

Every coefficient is positive, so up to rounding the polynomial lies below Phi^-1 above one
half and above it below: where q1 >= 1/2 >= q2 its margin is at most the probit margin.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=16)
def coefficients(order: int) -> NDArray[np.float64]:
    """Coefficients of u, u^3, ..., u^order in Phi^-1(1/2 + u)."""
    d = [1.0]
    for k in range(1, (order + 1) // 2):
        d.append(sum(d[m] * d[k - 1 - m] / ((m + 1) * (2 * m + 1)) for m in range(k)))
    # erf^-1(z) = sum of d_k/(2k + 1) (sqrt(pi) z/2)^(2k + 1), z = 2u, Phi^-1 = sqrt(2) erf^-1.
    scale = math.sqrt(math.pi)
    values = [math.sqrt(2.0) * c / (2 * k + 1) * scale ** (2 * k + 1) for k, c in enumerate(d)]
    fixed = np.array(values)
    fixed.setflags(write=False)
    return fixed


def polynomial(u: float, order: int) -> float:
    """Phi_M^-1(1/2 + u)."""
    total, square = 0.0, u * u
    for c in coefficients(order)[::-1]:
        total = total * square + float(c)
    return total * u


def inverse(value: float, order: int) -> float:
    """The u in [0, 1/2] with Phi_M^-1(1/2 + u) = value, or the nearer end."""
    from scipy.optimize import brentq

    if value <= 0.0:
        return 0.0
    if value >= polynomial(0.5, order):
        return 0.5
    return float(brentq(lambda u: polynomial(u, order) - value, 0.0, 0.5, xtol=1e-16))
