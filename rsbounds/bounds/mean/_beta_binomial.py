"""The beta-binomial mixture likelihood ratio and its safe-side inversion."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import EPS


@kernel
def log_ratio(s: float, f: float, p: float, q: float, a: float, b: float) -> float:
    """Log of B(a+s, b+f) / (B(a, b) p^s q^f), rounded down by the error of its terms."""
    terms = (
        math.lgamma(a + s),
        math.lgamma(b + f),
        -math.lgamma(a + b + s + f),
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b),
        -s * math.log(p) if s > 0 else 0.0,
        -f * math.log(q) if f > 0 else 0.0,
    )
    value = 0.0
    # Relative errors of the functions, and one of the rounded arguments a + s and so on.
    size = (s + f + a + b) * 4.0 + abs(math.lgamma(a)) + abs(math.lgamma(b)) + 8.0
    for term in terms:
        value += term
        size += abs(term)
    return value - 8.0 * EPS * size


@kernel
def log_ratio_rows(
    s: NDArray[np.float64],
    f: NDArray[np.float64],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    a: float,
    b: float,
    value: NDArray[np.float64],
) -> None:
    """`log_ratio` for each row."""
    for i in range(s.size):
        value[i] = log_ratio(s[i], f[i], p[i], q[i], a, b)


@kernel
def lower_rows(
    successes: NDArray[np.float64],
    n: float,
    alpha: float,
    a: float,
    b: float,
    lower: NDArray[np.float64],
) -> None:
    """Largest p found below s/n whose mixture ratio provably reached 1/alpha.

    The log ratio is convex in p with its minimum at s/n, so that everything below such a p
    is rejected as well. The search runs in log-odds.
    """
    level = -math.log(alpha) * (1.0 + 4.0 * EPS)
    for i in range(successes.size):
        s = successes[i]
        f = n - s
        lower[i] = 0.0
        if s == 0:
            continue
        high = math.log(s / f) if f > 0 else 40.0
        low = min(high, 0.0) - 1.0
        while low > -700.0:
            p, q = 1.0 / (1.0 + math.exp(-low)), 1.0 / (1.0 + math.exp(low))
            if log_ratio(s, f, p, q, a, b) >= level:
                break
            high = low
            low = 2.0 * low
        if low <= -700.0:
            continue
        while high - low > 1e-13 * max(1.0, abs(low)):
            middle = 0.5 * (low + high)
            if middle <= low or middle >= high:
                break
            p, q = 1.0 / (1.0 + math.exp(-middle)), 1.0 / (1.0 + math.exp(middle))
            if log_ratio(s, f, p, q, a, b) >= level:
                low = middle
            else:
                high = middle
        # p and q as computed belong to log-odds a few ulps apart.
        lower[i] = 1.0 / (1.0 + math.exp(-low)) * (1.0 - 8.0 * EPS * (1.0 + abs(low)))
