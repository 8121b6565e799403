"""The exact bound against a slow computation that shares nothing with it.

The ordering, the region and the tails are worked out with scipy: the nearest point
of the curve by golden section, the region by bisection for every x2, the tail as a sum of
binomials, the supremum by a dense scan.
"""

import numpy as np
import pytest
from scipy.special import betaincinv, ndtr, ndtri, xlogy
from scipy.stats import binom

import rsbounds

BETA = 1e-3


def curve(at, level, probit):
    if probit:
        q1, q2 = ndtr(at + level), ndtr(at)
        return q1, q2, np.where(at < 0, ndtr(-at - level) - q2, ndtr(-at) - q1)
    return at + level, at, 1 - 2 * at - level


def divergence(y, level, probit, pearson):
    """Smallest divergence of the counts from a point of the curve."""
    size = y[0] + y[1] + y[2]
    low = np.full(size.shape, -12.0 if probit else max(0.0, -level) + 1e-14)
    high = np.full(size.shape, (-0.5 * level if probit else 0.5 * (1 - level)) - 1e-13)

    def at(t):
        q = curve(t, level, probit)
        with np.errstate(all="ignore"):
            means = [size * share for share in q]
            if pearson:
                value = sum((a - m) ** 2 / (2 * m) for a, m in zip(y, means, strict=True))
            else:
                value = sum(xlogy(a, a / m) for a, m in zip(y, means, strict=True))
        return np.where(np.isfinite(value) & (np.min(q, axis=0) > 0), value, 1e300)

    golden = (np.sqrt(5) - 1) / 2
    for _ in range(80):
        left, right = high - golden * (high - low), low + golden * (high - low)
        lower = at(left) < at(right)
        high, low = np.where(lower, right, high), np.where(lower, low, left)
    return at(0.5 * (low + high))


def ranked(x1, x2, n):
    x3 = n - x1 - x2
    shift = np.where((x3 == 0) & (x1 > 0), 0.5, 0.0)
    return np.stack([x1 + 0.5 - shift, x2 + 0.5, x3 + 0.5 + shift]).astype(float)


def p_value(x1, x2, n, level, alpha, probit, pearson):
    """beta alpha + sup P_q(region) over the null points of the level."""

    def margin(y):
        size = n + 1.5
        return ndtri(y[0] / size) - ndtri(y[1] / size) if probit else (y[0] - y[1]) / size

    limit = 0.5 * max(-ndtri(alpha), 0.3) ** 2
    own = ranked(np.array([x1]), np.array([x2]), n)
    low, high = (-20.0 if probit else -1 + 1e-12), float(margin(own)[0])
    for _ in range(60):
        middle = 0.5 * (low + high)
        if divergence(own, middle, probit, pearson)[0] >= limit:
            low = middle
        else:
            high = middle
    rank = low
    a = betaincinv(x1, n - x1 + 1, BETA * alpha / 2)
    b = betaincinv(x2 + 1, n - x2, 1 - BETA * alpha / 2)
    if probit:
        scan = np.linspace(ndtri(a) - level, min(ndtri(b), -0.5 * level), 160)
    else:
        scan = np.linspace(max(a - level, 0.0), min(b, 0.5 * (1 - level)), 160)
    q1, q2, _ = curve(scan, level, probit)
    reach = 8 * np.sqrt(n * q2) + 30
    ys = np.arange(max(0, int((n * q2 - reach).min())), min(n, int((n * q2 + reach).max())) + 1)
    outside, inside = np.full(len(ys), -1), n - ys + 1
    while (inside - outside > 1).any():
        middle = np.clip((outside + inside) // 2, 0, n - ys)
        y = ranked(middle, ys, n)
        found = (margin(y) >= rank) & (divergence(y, rank, probit, pearson) >= limit * (1 - 1e-13))
        moving = inside - outside > 1
        inside = np.where(moving & found, middle, inside)
        outside = np.where(moving & ~found, middle, outside)
    boundary = np.where(inside > n - ys, n + 1, inside)
    tails = [
        (binom.pmf(ys, n, v) * binom.sf(boundary - 1, n - ys, min(u / (1 - v), 1.0))).sum()
        for u, v in zip(q1, q2, strict=True)
    ]
    return BETA * alpha + max(tails)


@pytest.mark.parametrize("statistic", ["likelihood", "score"])
@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("n", [300, 3000, 30_000])
def test_the_p_value_at_the_bound_is_alpha_and_not_more(n, scale, statistic):
    rng = np.random.default_rng([n, len(scale), len(statistic)])
    for alpha in (0.05, 0.001, 1e-6):
        x = rng.multinomial(n, rng.dirichlet([4.0, 1.5, 0.5]))
        x[1:] = np.sort(x[1:])[::-1]
        result = rsbounds.margin_lower_bound(
            [x], 0, alpha=alpha, scale=scale, method="exact",
            statistic=statistic,
        )  # fmt: skip
        found = p_value(
            int(x[0]), int(x[1]), n, result.lower[0], alpha, scale == "probit",
            statistic == "score",
        )  # fmt: skip
        assert found <= result.details["p_value"][0] * (1 + 1e-6) <= alpha * (1 + 2e-6)
        assert found >= 0.95 * alpha
