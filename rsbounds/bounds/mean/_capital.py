"""Capital of bets against a candidate mean, and its safe-side inversion.

Against the claim "the mean is at most m" a gambler with capital W_0 = 1 stakes
lambda_t in [0, c/m], c < 1, on each sample: W_t = W_{t-1} (1 + lambda_t (X_t - m)). Under the
claim W is a nonnegative supermartingale whatever the bets are, as long as lambda_t rests on
X_1..X_{t-1} alone; by Ville's inequality it reaches 1/alpha with probability at most alpha.

Where the wish l_t behind lambda_t = min(l_t, c/m) does not depend on m, each factor falls
with m: it is 1 + l_t (X_t - m), or 1 - c + c X_t/m where the cap binds, and the two agree
where they meet. So does the capital, an average of capitals, and its maximum over time: the
rejected candidates form an interval from 0, and any search that ends in a rejected
candidate has found a valid bound.

Floating point: a bet may be any number, so the rounding of lambda_t is harmless. What counts
is the rounding of the product, at most (4 + 2/(1-c)) EPS/2 per factor relative to it, since a
factor is at least 1 - c while its terms are at most 1. The threshold is raised by that. (A
factor written as 1 - c + (c/m) X, or as (1 - lambda m) + lambda X, adds positive terms only;
the same allowance covers it.)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import EPS
from rsbounds.bounds.mean._moments import took

#: Candidates that are played side by side; one vector register holds 8.
LANES = 8
#: Samples between two looks at whether every candidate is decided.
STRIDE = 256
#: Width of the last interval of the search.
RESOLUTION = 1e-11


@kernel
def threshold(n: int, alpha: float, cap: float) -> float:
    """The capital that proves 1/alpha was reached, after at most n roundings."""
    return (1.0 + n * EPS * (4.0 + 2.0 / (1.0 - cap)) + 64.0 * EPS) / alpha


@kernel
def plug_in_bets(
    y: NDArray[np.float64], alpha: float, horizon: int, bets: NDArray[np.float64]
) -> None:
    """The predictable plug-in l_t = sqrt(2 ln(1/alpha) / (V_{t-1} N_t)).

    V_t = (1/4 + sum_{i<=t} (y_i - mu_i)^2)/(t+1) with mu_i = (1/2 + sum_{j<=i} y_j)/(i+1);
    N_t is the horizon, or t ln(1+t) where the horizon is 0 (Waudby-Smith and Ramdas 2023).
    """
    total = 0.5
    squares = 0.25
    scale = 2.0 * math.log(1.0 / alpha)
    for i in range(y.size):
        t = i + 1.0
        budget = float(horizon) if horizon > 0 else t * math.log1p(t)
        bets[i] = math.sqrt(scale * t / (squares * budget))
        total, squares, _ = took(y[i], t + 1.0, total, squares, 0.0)


@kernel
def _plug_in_reaches(
    y: NDArray[np.float64],
    bets: NDArray[np.float64],
    m: NDArray[np.float64],
    cap: float,
    goal: float,
    best: NDArray[np.float64],
) -> None:
    """Largest capital over time against each of the candidates ``m``, into ``best``.

    Stops early once every candidate has reached ``goal``.
    """
    limit = np.empty(LANES)
    capital = np.ones(LANES)
    for j in range(LANES):
        limit[j] = cap / m[j]
        best[j] = 0.0
    for start in range(0, y.size, STRIDE):
        for i in range(start, min(start + STRIDE, y.size)):
            x = y[i]
            wish = bets[i]
            for j in range(LANES):
                value = capital[j] * (1.0 + min(wish, limit[j]) * (x - m[j]))
                capital[j] = value
                best[j] = max(best[j], value)
        decided = True
        for j in range(LANES):
            decided = decided and best[j] >= goal
            # A capital that small never returns; giving it up is safe and avoids denormals.
            if capital[j] < 1e-250:
                capital[j] = 0.0
        if decided:
            return


@kernel
def _constant_reaches(
    y: NDArray[np.float64],
    m: NDArray[np.float64],
    caps: NDArray[np.float64],
    weights: NDArray[np.float64],
    goal: float,
    best: NDArray[np.float64],
) -> None:
    """As `_plug_in_reaches`, for the average capital of constant bets at each of the caps."""
    kinds = caps.size
    capital = np.empty((kinds, LANES))
    slope = np.empty((kinds, LANES))
    rest = 1.0 - caps
    total = np.empty(LANES)
    for j in range(LANES):
        best[j] = 0.0
        for k in range(kinds):
            slope[k, j] = caps[k] / m[j]
            capital[k, j] = weights[k]
    for start in range(0, y.size, STRIDE):
        for i in range(start, min(start + STRIDE, y.size)):
            x = y[i]
            for j in range(LANES):
                total[j] = 0.0
            for k in range(kinds):
                for j in range(LANES):
                    value = capital[k, j] * (rest[k] + slope[k, j] * x)
                    capital[k, j] = value
                    total[j] += value
            for j in range(LANES):
                best[j] = max(best[j], total[j])
        decided = True
        for j in range(LANES):
            decided = decided and best[j] >= goal
            for k in range(kinds):
                if capital[k, j] < 1e-250:
                    capital[k, j] = 0.0
        if decided:
            return


@kernel
def _invert(
    y: NDArray[np.float64],
    bets: NDArray[np.float64],
    caps: NDArray[np.float64],
    weights: NDArray[np.float64],
    alpha: float,
) -> float:
    """Largest candidate found whose capital provably reached 1/alpha; 0 if there is none.

    Plug-in bets where there are any, else constant ones. The candidates tried do not depend
    on how the samples arrived, so a stream and a batch give the same number.
    """
    goal = threshold(y.size, alpha, caps.max())
    m = np.empty(LANES)
    best = np.empty(LANES)
    low, high = 0.0, 1.0
    while high - low > RESOLUTION:
        for j in range(LANES):
            m[j] = low + (high - low) * (j + 1.0) / (LANES + 1.0)
        if bets.size > 0:
            _plug_in_reaches(y, bets, m, caps[0], goal, best)
        else:
            _constant_reaches(y, m, caps, weights, goal, best)
        found = 0
        while found < LANES and best[found] >= goal:
            found += 1
        if found < LANES:
            high = m[found]
        if found > 0:
            low = m[found - 1]
    return low


@kernel
def plug_in_rows(
    y: NDArray[np.float64], alpha: float, fixed: bool, cap: float, lower: NDArray[np.float64]
) -> None:
    """Plug-in bets of each row, inverted; ``fixed`` tunes them for its length."""
    n = y.shape[1]
    bets = np.empty(n)
    caps = np.full(1, cap)
    for i in range(y.shape[0]):
        plug_in_bets(y[i], alpha, n if fixed else 0, bets)
        lower[i] = _invert(y[i], bets, caps, caps, alpha)


@kernel
def constant_rows(
    y: NDArray[np.float64],
    alpha: float,
    caps: NDArray[np.float64],
    weights: NDArray[np.float64],
    lower: NDArray[np.float64],
) -> None:
    """Average capital of constant bets of each row, inverted."""
    none = np.empty(0)
    # Weights that add to 1 up to rounding: scale them so that they never exceed it.
    shares = weights / (weights.sum() * (1.0 + 16.0 * EPS))
    for i in range(y.shape[0]):
        lower[i] = _invert(y[i], none, caps, shares, alpha)
