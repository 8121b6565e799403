import math

import numpy as np
import pytest
from mpmath import mp
from scipy.special import gammaln, xlogy

from rsbounds.solvers._sup import CELL, Problem, certified_sup
from rsbounds.solvers._trinomial import (
    chord_dip,
    chord_upper,
    curve_point,
    log_tail_upper,
    margin_of,
)


def staircase(rng, n):
    """A random nondecreasing boundary; n + 1 where the region is empty."""
    rise = np.cumsum(rng.integers(0, 4, n + 1)) + rng.integers(0, max(n // 3, 1))
    return np.where(rise <= n - np.arange(n + 1), rise, n + 1).astype(np.int64)


def direct(n, q1, q2, boundary):
    """The tail in 50 digits, term by term."""
    with mp.workdps(50):
        # q1 is what the other two leave, exactly.
        a, b = mp.mpf(q1), mp.mpf(q2)
        c = 1 - a - b
        total = mp.mpf(0)
        for x2 in range(n + 1):
            for x1 in range(int(boundary[x2]), n - x2 + 1):
                x3 = n - x1 - x2
                ways = mp.binomial(n, x1) * mp.binomial(n - x1, x2)
                total += ways * a**x1 * b**x2 * c**x3
        return total


@pytest.mark.parametrize("n", [1, 2, 5, 17, 40])
def test_tail_dominates_50_digits_and_is_tight(n):
    rng = np.random.default_rng(n)
    for _ in range(12):
        boundary = staircase(rng, n)
        q1, q2, _ = rng.dirichlet([1.0, 0.7, 0.4])
        exact = direct(n, q1, q2, boundary)
        upper = log_tail_upper(n, q1, q2, 1.0 - q1 - q2, boundary, 0)
        if exact == 0:
            assert upper == -600.0
            continue
        log_exact = float(mp.log(exact))
        assert upper >= min(log_exact, 0.0) - 1e-15
        assert upper <= max(log_exact, -600.0) + 1e-6


@pytest.mark.parametrize("q", [(0.9, 0.08), (0.5, 0.45), (0.999, 2e-5), (0.3, 0.3)])
def test_tail_agrees_with_an_independent_sum_at_100_000(q):
    from scipy.stats import binom

    n = 100_000
    q1, q2 = q
    q3 = 1.0 - q1 - q2
    x2 = np.arange(n + 1)
    z = 3.0
    width = z * math.sqrt(n * q1 * (1 - q1))
    boundary = np.ceil(n * q1 + 0.8 * width + 0.4 * (x2 - n * q2)).astype(np.int64)
    boundary = np.where(boundary <= n - x2, np.maximum(boundary, 0), n + 1)
    keep = np.abs(x2 - n * q2) < 12 * math.sqrt(n * q2) + 60
    weight = np.exp(
        gammaln(n + 1)
        - gammaln(x2 + 1)
        - gammaln(n - x2 + 1)
        + xlogy(x2, q2)
        + xlogy(n - x2, 1 - q2)
    )
    tails = binom.sf(boundary[keep] - 1, n - x2[keep], q1 / (1 - q2))
    independent = float((weight[keep] * tails).sum())
    got = math.exp(log_tail_upper(n, q1, q2, q3, boundary, 0))
    assert got == pytest.approx(independent, rel=2e-6)


@pytest.mark.parametrize("q3", [1e-9, 1e-7, 1e-5, 6.57e-5, 1.31e-4, 1e-3])
@pytest.mark.parametrize("n", [10**5, 10**7])
def test_tail_is_tight_where_the_third_cell_is_small(n, q3):
    # The tail given x2 goes from nothing to one within a few x2, far below the spread of x2.
    from scipy.stats import binom

    q2 = (1 - q3 - 0.3324) / 2
    q1 = 1 - q2 - q3
    spread = math.sqrt(n * (q1 + q2 - (q1 - q2) ** 2))
    first = int(n * q2 - 8 * math.sqrt(n * q2))
    x2 = np.arange(first, int(n * q2 + 8 * math.sqrt(n * q2)))
    boundary = (math.ceil(n * (q1 - q2) + 3 * spread) + x2).astype(np.int64)
    boundary = np.where(boundary <= n - x2, boundary, n + 1)
    weight = binom.pmf(x2, n, q2)
    independent = float((weight * binom.sf(boundary - 1, n - x2, q1 / (q1 + q3))).sum())
    got = math.exp(log_tail_upper(n, q1, q2, q3, boundary, first))
    assert got == pytest.approx(independent, rel=1e-5)


def test_a_partial_boundary_only_raises_the_answer():
    rng = np.random.default_rng(5)
    n = 60
    for _ in range(50):
        boundary = staircase(rng, n)
        q1, q2, q3 = rng.dirichlet([2.0, 1.0, 1.0])
        whole = log_tail_upper(n, q1, q2, q3, boundary, 0)
        first = int(rng.integers(0, 20))
        last = int(rng.integers(first, n))
        part = log_tail_upper(n, q1, q2, q3, boundary[first : last + 1], first)
        assert part >= whole - 1e-6


@pytest.mark.parametrize("probit", [False, True])
def test_chord_dominates_the_curve_between_its_ends(probit):
    rng = np.random.default_rng(11)
    n = 80
    for _ in range(40):
        boundary = staircase(rng, n)
        level = rng.uniform(-0.3, 0.8) * (3.0 if probit else 1.0)
        if probit:
            u, v = sorted(rng.uniform(-2.5, -0.5 * level - 0.01, 2) - max(level, 0) * 0.2)
            v = min(v, -0.5 * level - 0.01)
        else:
            low, high = max(0.0, -level) + 1e-4, 0.5 * (1 - level) - 1e-4
            u, v = sorted(rng.uniform(low, high, 2))
        v = u + min(v - u, 0.1)
        if v <= u:
            continue
        a, b = curve_point(u, level, probit), curve_point(v, level, probit)
        upper = chord_upper(
            n, *a, log_tail_upper(n, *a, boundary, 0), *b, log_tail_upper(n, *b, boundary, 0)
        )
        dip = chord_dip(*a, *b, probit, rng.choice([1e-9, 1e-5, 1e-3]))
        for t in np.linspace(0, 1, 33):
            q = curve_point(u + t * (v - u), level - dip, probit)
            assert log_tail_upper(n, *q, boundary, 0) <= upper + 1e-6
            weights = np.array(a) ** (1 - t) * np.array(b) ** t
            weights /= weights.sum()
            assert margin_of(*weights, probit) >= level - dip - 1e-12


@pytest.mark.parametrize("probit", [False, True])
@pytest.mark.parametrize("n", [3, 30, 300])
def test_certified_supremum_dominates_a_dense_scan(probit, n):
    rng = np.random.default_rng(n)
    for _ in range(8):
        boundary = staircase(rng, n)
        if boundary[0] == 0:
            boundary[boundary == 0] = 1
        level = rng.uniform(-0.2, 0.7) * (2.0 if probit else 1.0)
        problem = Problem(n, boundary, 0, probit, 0.0, 1.0, 1.0, 0.0, 1e-7 / n)
        cells = np.empty(1500, CELL)
        upper, value, at, dip, _ = certified_sup(problem, level, 1e-3, 1e-6, 1.0, 1500, cells)
        params = (
            np.linspace(-8 - max(level, 0), -0.5 * level, 800)
            if probit
            else np.linspace(max(0.0, -level), 0.5 * (1 - level), 800)
        )
        scan = max(
            log_tail_upper(n, *curve_point(p, level - dip, probit), boundary, 0) for p in params
        )
        assert upper >= scan - 1e-6
        assert value <= upper + 1e-9
        assert log_tail_upper(n, *curve_point(at, level, probit), boundary, 0) == value
