"""Capital of a beta mixture cut to one side of p, and the bound that it gives."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

#: Allowance for the relative error of the incomplete beta function, of the prior where it is
#: above 1e-290 and of the posterior where it is above a thousandth; scipy's is below 1e-9
#: there, up to 1e12 draws (against mpmath, and against the binomial tails of `_numerics`).
_BETA_ERROR = 1e-6
_TINY = 1e-290


def log_capital(
    successes: NDArray[np.int64],
    failures: NDArray[np.int64],
    p0: NDArray[np.float64],
    q0: NDArray[np.float64],
    prior: tuple[float, float],
) -> NDArray[np.float64]:
    """Log capital against "p <= p0" of a beta mixture cut to p > p0, rounded down.

    p0 and q0 = 1 - p0 may both be rounded up. The capital is
    B(a+s, b+f) / (B(a, b) p0^s q0^f) times the posterior mass above p0 over the prior mass
    above p0. Each likelihood ratio with p > p0 has mean at most one under p <= p0.
    """
    won = _log_won(successes.astype(np.float64), failures.astype(np.float64), p0, q0, prior)
    staked = betainc(prior[1], prior[0], q0)
    # Where the prior mass underflows its logarithm is unknown, and no capital is claimed.
    return np.where(staked > _TINY, won - _log_staked(q0, prior), -math.inf)


def _log_won(
    s: NDArray[np.float64],
    f: NDArray[np.float64],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    prior: tuple[float, float],
) -> NDArray[np.float64]:
    """Log of the integral of the likelihood ratios above p over the prior, rounded down."""
    from rsbounds.bounds.mean._beta_binomial import log_ratio_rows

    a, b = prior
    plain = np.empty(s.size)
    log_ratio_rows(s, f, p, q, a, b, plain)
    # I_q(b + f, a + s) = 1 - I_p(a + s, b + f), from its small argument.
    posterior = betainc(b + f, a + s, q)
    with np.errstate(divide="ignore"):
        gain = np.log(posterior) - _BETA_ERROR
    # Where little posterior mass is above p there is little to win, and `betainc` is less
    # accurate than allowed for: no capital is claimed.
    return np.where(posterior > 1e-3, plain + gain, -math.inf)


def _log_staked(q: NDArray[np.float64], prior: tuple[float, float]) -> NDArray[np.float64]:
    """Log of the prior mass above 1 - q, rounded up."""
    a, b = prior
    return np.asarray(np.log(np.maximum(betainc(b, a, q), _TINY)) + _BETA_ERROR)


def one_sided_lower(
    successes: NDArray[np.int64], n: int, alpha: float, prior: tuple[float, float]
) -> NDArray[np.float64]:
    """A p such that the capital against every p' <= p provably reached 1/alpha; 0 if none.

    The capital against p is won(p)/staked(p). Both fall as p grows, staked everywhere and won
    up to s/n: there each likelihood ratio falls, and fewer of them are left. Their quotient
    need not fall, so the search climbs from x to y in steps that are proven whole: for every p
    in [x, y] the capital is at least won(y)/staked(x), and y is accepted only if that reaches
    1/alpha. (Beyond s/n no ratio is above 1, so that no step gets there.) The search starts
    at an x with won(x) >= 1/alpha; everything below it is refuted too, because won is larger
    there and the stake is at most 1. The steps are Newton's, in log-odds, halved until they
    are accepted.
    """
    s = successes.astype(np.float64)
    f = n - s
    level = -math.log(alpha) * (1.0 + 1e-15)
    with np.errstate(divide="ignore"):
        peak = np.clip(np.log(s) - np.log(f), -1000.0, 40.0)
    x, found = _first(s, f, level, prior, peak)
    step = np.zeros(s.size)
    moving = found.copy()
    p, q = _pair(x)
    for _ in range(400):
        target = level + _log_staked(q, prior)
        at = np.flatnonzero(moving & (step == 0.0))
        if at.size:
            excess = _log_won(s[at], f[at], p[at], q[at], prior) - target[at]
            step[at] = np.maximum(excess, 0.0) / np.maximum(s[at] - n * p[at], 1e-300)
        moving &= step > 1e-12 * np.maximum(np.abs(x), 1.0)
        at = np.flatnonzero(moving)
        if at.size == 0:
            break
        y = np.minimum(x[at] + step[at], peak[at])
        there_p, there_q = _pair(y)
        good = _log_won(s[at], f[at], there_p, there_q, prior) >= target[at]
        x[at] = np.where(good, y, x[at])
        p[at], q[at] = np.where(good, there_p, p[at]), np.where(good, there_q, q[at])
        step[at] = np.where(good, 0.0, 0.5 * step[at])
    # p and q as computed belong to log-odds a few ulps apart.
    return np.where(found, p * (1.0 - 2e-15 * (1.0 + np.abs(x))), 0.0)


def _first(
    s: NDArray[np.float64],
    f: NDArray[np.float64],
    level: float,
    prior: tuple[float, float],
    peak: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-odds at which the win alone reaches the level, and whether there are any."""
    x = np.minimum(peak, 0.0) - 1.0
    found = np.zeros(s.size, dtype=bool)
    while True:
        at = np.flatnonzero(~found & (x > -600.0))
        if at.size == 0:
            return x, found
        p, q = _pair(x[at])
        found[at] = _log_won(s[at], f[at], p, q, prior) >= level
        x[at] = np.where(found[at], x[at], 2.0 * x[at])


def _pair(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P and 1 - p for log-odds."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x)), 1.0 / (1.0 + np.exp(x))
