"""Half-plane tests for many draws: proven tails against sums of binomials, patch by patch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from rsbounds._numerics import proportion_lower
from rsbounds.solvers._large import Window, half_plane_upper, largest_level, least_second


def tail(n: int, q1: float, q2: float, rho: float, d: float) -> float:
    """P(X1 - rho X2 >= d), summed over X2 where it has any mass."""
    spread = 12 * math.sqrt(n * q2 * (1 - q2)) + 40
    x2 = np.arange(max(math.floor(n * q2 - spread), 0), min(math.ceil(n * q2 + spread), n) + 1)
    least = np.ceil(d + rho * x2 - 1e-9)
    rest = np.minimum(q1 / (1 - q2), 1.0)
    return float(np.sum(binom.pmf(x2, n, q2) * binom.sf(least - 1, n - x2, rest)))


def curve(at: float, level: float, probit: bool) -> tuple[float, float]:
    return (ndtr(at + level), ndtr(at)) if probit else (at + level, at)


@pytest.mark.parametrize("probit", [False, True])
@pytest.mark.parametrize("n", [20, 200, 2000])
def test_the_tail_is_never_less_than_it_is(n, probit):
    rng = np.random.default_rng(n + probit)
    informative = 0
    for _ in range(150):
        p = rng.dirichlet([1.5, 1.0, 1.0])
        x1, x2, _ = (int(x) for x in rng.multinomial(n, p))
        level = (
            ndtri(np.clip(p[0], 0.01, 0.99)) - ndtri(np.clip(p[1], 0.01, 0.99))
            if probit
            else p[0] - p[1]
        )
        level -= rng.uniform(0.0, 5.0) / math.sqrt(n)
        last = -0.5 * level if probit else 0.5 * (1 - level)
        first = -4.0 - max(level, 0.0) if probit else max(0.0, -level)
        if first >= last:
            continue
        u, v = np.sort(rng.uniform(first, last, 2))
        if rng.random() < 0.7:
            v = min(v, u + rng.uniform(0.0, 0.3 / math.sqrt(n)))
        rho = 1.0 if not probit else math.exp(rng.uniform(-2.0, 1.0))
        upper = half_plane_upper(n, x1, x2, rho, level, u, v, probit, -math.inf)
        informative += upper < -1.0
        for at in np.linspace(u, v, 4):
            q1, q2 = curve(at, level, probit)
            if q2 > 0 and q1 > 0 and q1 + q2 <= 1:
                assert tail(n, q1, q2, rho, x1 - rho * x2) <= math.exp(upper) * (1 + 1e-9)
    assert informative > 8


@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.52, 0.48, 0.0), (0.9, 0.05, 0.05)])
@pytest.mark.parametrize("probit", [False, True])
def test_the_tail_is_tight_where_there_are_many_draws(shares, probit):
    n = 4_000_000
    q1, q2 = shares[0] - 1e-6, shares[1]
    level = ndtri(q1) - ndtri(q2) if probit else q1 - q2
    at = ndtri(q2) if probit else q2
    rho = math.exp(0.5 * (ndtri(q2) ** 2 - ndtri(q1) ** 2)) if probit else 1.0
    sd = math.sqrt(n * (q1 + rho**2 * q2 - (q1 - rho * q2) ** 2))
    x2 = round(n * q2)
    x1 = round(n * q1 + 3.1 * sd)
    upper = half_plane_upper(n, x1, x2, rho, level, at, at, probit, -math.inf)
    true = tail(n, q1, q2, rho, x1 - rho * x2)
    assert true <= math.exp(upper) <= 1.04 * true


def weight(n: int, q1: float, q2: float, probit: bool) -> float:
    """Weight of the test of a point, from the definition of the patches."""
    if not probit:
        return 1.0
    i = math.floor(2 * math.sqrt(n * q2))
    y = ndtri((0.5 * (i + 0.5)) ** 2 / n)
    width = 2 / ((i + 0.5) * (1 + abs(y)))
    tilt = (math.ceil((ndtri(q1) - ndtri(q2)) / width) - 0.5) * width
    return math.exp(-0.5 * (y + tilt) ** 2 + 0.5 * y**2)


@pytest.mark.parametrize("alpha", [0.2, 1e-3])
@pytest.mark.parametrize("probit", [False, True])
@pytest.mark.parametrize(
    "row", [(1100, 700, 200), (900, 880, 220), (1050, 950, 0), (1940, 40, 20), (60, 40, 1900)]
)
def test_every_point_below_the_level_is_rejected(row, probit, alpha):
    n, few = sum(row), 10.0
    x1, x2 = row[:2]
    beta = 1e-3 * alpha
    a1, a1_rest = proportion_lower(float(x1), float(n), beta / 2)
    b2_rest, b2 = proportion_lower(float(n - x2), float(n), beta / 2)
    low = -0.4
    high = ndtri(x1 / n) - ndtri(x2 / n) if probit else (x1 - x2) / n
    target = math.log(alpha - beta)
    window = Window(n, x1, x2, few, a1, a1_rest, b2, b2_rest, probit)
    level, _, _ = largest_level(window, low, high, target)
    assert level > (ndtri(a1) - ndtri(b2) if probit else a1 - b2)
    rng = np.random.default_rng(x1)
    checked, worst = 0, 0.0
    least = max(least_second(window, level), few / n)
    for _ in range(400):
        q2 = rng.uniform(least, b2)
        most = min(ndtr(ndtri(q2) + level) if probit else q2 + level, 1 - q2)
        if most < a1:
            continue
        # Half of the points on the curve itself, the others anywhere below.
        q1 = most if rng.random() < 0.5 else rng.uniform(a1, most)
        if (ndtri(q1) - ndtri(q2) if probit else q1 - q2) < low:
            continue
        rho = weight(n, q1, q2, probit)
        value = tail(n, q1, q2, rho, x1 - rho * x2)
        worst = max(worst, value)
        checked += 1
        assert value <= alpha - beta
    assert checked > 100
    # What is lost is the distance to the normal law, no more.
    assert worst > 0.05 * alpha
