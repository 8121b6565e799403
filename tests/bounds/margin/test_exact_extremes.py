"""The exact bound where cells are one to within rounding, against mpmath and enumeration.

Below a margin of about -15 on the probit scale, or at alphas below 1e-36, the bound
erred more often than alpha.
"""

import numpy as np
import pytest
from mpmath import mp
from scipy.special import gammaln, log_ndtr, logsumexp, ndtr

import rsbounds
from rsbounds.solvers._sup import Problem, edge_share, edge_value
from rsbounds.solvers._trinomial import chord_dip, curve_point, log_tail_upper
from rsbounds.testing import outcomes

ORDERINGS = ("likelihood", "score", "wald", "runner-up")


def largest_probit_margin(x1, n, alpha):
    """Margin of (p, 1 - p) with P(Bin(n, p) >= x1) = alpha, in many digits."""
    with mp.workdps(40 + int(-2.2 * mp.log10(alpha))):
        low, high = mp.log(mp.mpf(alpha)) / x1 - mp.log(n) - 5, mp.log(mp.mpf(x1) / n)
        for _ in range(120):
            middle = (low + high) / 2
            p = mp.exp(middle)
            below = sum(mp.binomial(n, k) * p**k * (1 - p) ** (n - k) for k in range(x1))
            low, high = (low, middle) if 1 - below > alpha else (middle, high)
        p = mp.exp(high)
        quantile = mp.findroot(
            lambda y: mp.log(mp.erfc(-y / mp.sqrt(2)) / 2) - mp.log(p), -mp.sqrt(-2 * mp.log(p))
        )
        return float(2 * quantile)


@pytest.mark.parametrize("statistic", ORDERINGS)
@pytest.mark.parametrize(
    ("row", "alpha"),
    [
        ([1, 4637847, 0], 1.0547830266426189e-09),
        ([2, 2335226718, 0], 1.44e-13),
        ([1, 3199102, 0], 1.8087e-9),
        ([3, 10**9, 0], 1e-30),
        ([1, 10**6, 0], 1e-120),
        ([1, 10, 0], 1e-200),
    ],
)
def test_no_bound_exceeds_that_of_two_classes(row, alpha, statistic):
    # {y : L(y) >= L(x)} holds every (y1, n - y1, 0) with y1 >= x1, so that L(x) can be no
    # larger than the margin at which those have probability alpha.
    found = rsbounds.margin_lower_bound(
        row, 0, alpha=alpha, scale="probit", method="exact", statistic=statistic
    ).lower[0]
    limit = largest_probit_margin(row[0], sum(row), alpha)
    assert found <= limit + 1e-12 * abs(limit)


def log_worst_error(n, alpha, scale, **options):
    """Log of the largest error probability over alpha, p on the boundary of each bound."""
    table = outcomes(n, 3)
    lower = rsbounds.margin_lower_bound(
        table, 0, alpha=alpha, scale=scale, method="exact", **options
    ).lower
    ways = gammaln(n + 1) - gammaln(table + 1).sum(axis=1)
    worst = -np.inf
    for level in np.unique(lower[lower > (-1 if scale == "linear" else -np.inf)]):
        # log q1, log q2, log q3 along the curve, each from what is small.
        if scale == "probit":
            end = -0.5 * level
            t = end - np.concatenate([np.geomspace(1e-9, 40, 120), np.linspace(0, 12, 60)])
            q3 = np.where(t <= 0, ndtr(-t - level) - ndtr(t), ndtr(-t) - ndtr(t + level))
            logs = [log_ndtr(t + level), log_ndtr(t)]
        else:
            start, end = max(0.0, -level), 0.5 * (1 - level)
            near = (end - start) * np.geomspace(1e-18, 1, 120)
            q1 = np.concatenate([near + max(level, 0.0), end - near + level])
            q2 = np.concatenate([near + start, end - near])
            q3 = np.concatenate([2 * (end - start - near), 2 * near])
            with np.errstate(divide="ignore"):
                logs = [np.log(np.maximum(q1, 0)), np.log(q2)]
        with np.errstate(divide="ignore", invalid="ignore"):
            logs.append(np.log(np.maximum(q3, 0)))
            wrong = lower >= level
            terms = ways[wrong][:, None] + sum(
                np.where(table[wrong, i : i + 1] == 0, 0.0, table[wrong, i : i + 1] * logs[i])
                for i in range(3)
            )
        worst = max(worst, logsumexp(terms, axis=0).max())
    return worst - np.log(alpha)


@pytest.mark.parametrize("statistic", ORDERINGS)
@pytest.mark.parametrize("alpha", [0.999, 1e-12, 1e-60, 1e-120, 1e-180, 1e-250])
@pytest.mark.parametrize("scale", ["linear", "probit"])
def test_errors_by_enumeration_at_every_alpha(scale, alpha, statistic):
    for n in (1, 3, 10):
        assert log_worst_error(n, alpha, scale, statistic=statistic) <= 1e-9


@pytest.mark.parametrize("level", [-40.0, -33.0, -17.0, -16.2, -9.0, -1.0, 0.0, 3.0, 20.0])
def test_the_end_edge_holds_what_lies_on_it(level):
    # Old: 1 - q1 - q2 and 1 - q2 with q2 one to within rounding gave q1 = 0, probability 0.
    n = 10**6
    boundary = np.array([1, 1, 1, 1], dtype=np.int64)
    whole = np.ones(n + 1, dtype=np.int64)
    for region in (boundary, whole):
        size = region.size - 1 if region.size < 10 else n
        problem = Problem(size, region, 0, True, 0.0, 1.0, 1.0, 0.0, edge_share(size, 1e-9))
        for at in (-0.5 * level - 1e-6, -0.5 * level - 1e-14 * (1 + abs(level))):
            with mp.workdps(400):
                q1 = mp.erfc(-mp.mpf(level) / 2 / mp.sqrt(2)) / 2
                truth = float(mp.log(1 - (1 - q1) ** size))
            assert edge_value(problem, at, level, True) >= max(truth, -600.0) - 1e-12


@pytest.mark.parametrize("level", [-35.545029, -20.0, -16.2, 12.0])
def test_a_dip_is_never_less_than_it_is(level):
    # Old: not a number where q2 is one to within rounding, which every comparison let pass.
    end = -0.5 * level
    for u, v in ((end - 0.9, end - 1e-9), (end - 0.1, end - 1e-3), (end - 0.5, end - 0.3)):
        a, b = curve_point(u, level, True), curve_point(v, level, True)
        dip = chord_dip(*a, *b, True, 1e-3)
        assert dip >= 0.0
        with mp.workdps(400):
            cells = []
            for t in (u, v):
                q1 = mp.erfc(-(mp.mpf(t) + mp.mpf(level)) / mp.sqrt(2)) / 2
                rest = mp.erfc(mp.mpf(t) / mp.sqrt(2)) / 2
                cells.append((q1, 1 - rest, rest - q1))
            for share in (0.05, 0.3, 0.5, 0.8, 0.97):
                raw = [x ** (1 - share) * y**share for x, y in zip(*cells, strict=True)]
                q1, q2 = raw[0] / sum(raw), raw[1] / sum(raw)
                # g(q) >= level - dip, read as q1 >= Phi(Phi^-1(q2) + level - dip).
                small = 1 - q2 if q2 > 0.5 else q2
                quantile = mp.findroot(
                    lambda y, s=small: mp.log(mp.erfc(-y / mp.sqrt(2)) / 2) - mp.log(s),
                    -mp.sqrt(-2 * mp.log(small)),
                )
                height = (-quantile if q2 > 0.5 else quantile) + level - min(dip, 50.0)
                assert q1 >= mp.erfc(-(height - mp.mpf("1e-9")) / mp.sqrt(2)) / 2


def test_what_lies_before_the_boundary_counts_where_the_top_class_has_no_share():
    # Old: P = 0 was claimed from the first entry, although nothing is known below it.
    n, first = 100, 40
    boundary = np.arange(1, 21, dtype=np.int64)
    got = log_tail_upper(n, 0.0, 0.4, 0.6, boundary, first)
    with mp.workdps(50):
        below = sum(
            mp.binomial(n, k) * mp.mpf(0.4) ** k * (1 - mp.mpf(0.4)) ** (n - k)
            for k in range(first)
        )
        assert float(mp.log(below)) - 1e-15 <= got <= float(mp.log(below)) + 1e-9
    assert log_tail_upper(n, 0.0, 0.4, 0.6, np.ones(10, dtype=np.int64), 0) == -600.0
    assert log_tail_upper(n, 0.0, 0.4, 0.6, np.zeros(10, dtype=np.int64), 0) == 0.0


def test_the_budget_caps_the_whole():
    # Old: the budget was given to each of up to 65 attempts.
    for slack, budget in ((1e-6, 300), (1e-6, 2000), (2e-3, 300)):
        for row in ([50_000, 50_000, 0], [7, 2, 1], [666_667, 333_333, 0]):
            for scale in ("linear", "probit"):
                result = rsbounds.margin_lower_bound(
                    row, 0, alpha=1e-9, scale=scale, method="exact", slack=slack, budget=budget
                )
                assert result.details["evaluations"][0] <= budget + 40


def test_no_votes_for_the_top_class_and_all_for_another_costs_nothing():
    # Old: O(n), 170 s and 920 MB at n = 1e8.
    for row in ([0, 10**9, 0], [0, 0, 10**9]):
        result = rsbounds.margin_lower_bound(row, 0, alpha=0.001, scale="linear", method="exact")
        assert result.lower[0] == -1.0
        assert result.details["evaluations"][0] == 0
