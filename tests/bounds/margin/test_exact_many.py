"""The exact bound for many draws, and its rules forced on few draws: errors by enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import multinomial

import rsbounds
from rsbounds.bounds.margin._rows import FOUND
from rsbounds.bounds.margin._search import CELLS, LIKELIHOOD, Settings
from rsbounds.bounds.margin.exact import FEW, _kernel
from rsbounds.solvers._sup import CELL


def forced(n: int, few: float, alpha: float, probit: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """All outcomes of three classes, the bound of each for its largest other, half-planes used."""
    settings = Settings(alpha, 0.02 * alpha, LIKELIHOOD, 0.9, 2e-3, 20_000, 0, few)
    outcomes = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)])
    rows = len(outcomes)
    found = np.empty(rows, FOUND)
    top, size = np.zeros(rows, np.int64), np.full(rows, n)
    _kernel(outcomes, top, size, probit, settings, found, np.empty(CELLS, CELL))
    return outcomes, found["lower"], int((found["used"] == 15).sum())


@pytest.mark.parametrize("probit", [False, True])
@pytest.mark.parametrize("alpha", [0.4, 0.05])
@pytest.mark.parametrize(("n", "few"), [(24, 0.5), (24, 6.0), (40, 4.0)])
def test_errors_of_the_rules_for_many_draws(n, few, alpha, probit):
    outcomes, lower, planes = forced(n, few, alpha, probit)
    assert planes > 15
    grid = [(a, b, 1 - a - b) for a in np.linspace(0.05, 0.95, 19) for b in (0.02, 0.1, 0.2, 0.3)]
    grid += [(a, (1 - a) / 2, (1 - a) / 2) for a in np.linspace(0.3, 0.95, 14)]
    # The hardest points are those whose margin is just below a bound that can be attained.
    worst = 0.0
    levels = np.unique(lower[np.isfinite(lower)])[::7]
    for level in levels:
        for p2 in (0.02, 0.1, 0.25, 0.33, 0.4, 0.48):
            p1 = p2 + level if not probit else 0.5 * math.erfc(-(ndtri(p2) + level) / 2**0.5)
            grid.append((p1 - 1e-9, p2, 1 - p1 - p2 + 1e-9))
    for p in grid:
        p = np.array(p)
        if (p < 0).any() or p[0] >= 1:
            continue
        other = max(p[1], p[2])
        margin = ndtri(p[0]) - ndtri(other) if probit else p[0] - other
        error = multinomial.pmf(outcomes, n, p)[lower > margin].sum()
        worst = max(worst, error)
        assert error <= alpha * (1 + 1e-9)
    assert worst > 0.05 * alpha


def bound(row: list[int], scale: str, **options: object) -> rsbounds.MarginBound:
    return rsbounds.margin_lower_bound(
        np.array([row]), np.array([0]), alpha=1e-3, scale=scale, method="exact", **options
    )


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize(
    ("shares", "most"),
    [((0.6, 0.3, 0.1), 0.002), ((0.9, 0.1, 0.0), 0.002), ((0.98, 0.01, 0.01), 0.008)],
)
def test_many_draws_lose_little(scale, shares, most):
    assert_little_is_lost(10_000_000, scale, shares, most)


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.5, 0.49, 0.01), (0.8, 0.2, 0.0)])
def test_two_hundred_thousand_draws_lose_half_a_percent(scale, shares):
    assert_little_is_lost(200_000, scale, shares, 0.006)


def assert_little_is_lost(n, scale, shares, most):
    row = [round(n * p) for p in shares]
    fast, slow = bound(row, scale), bound(row, scale, statistic="likelihood")
    p = np.array(row) / n
    middle = p[0] - p[1] if scale == "linear" else ndtri(p[0]) - ndtri(p[1])
    assert 0.999 < (middle - fast.lower[0]) / (middle - slow.lower[0]) < 1 + most
    assert fast.details["p_value"][0] <= 1e-3 * (1 + 1e-9)
    assert not fast.details["exhausted"][0]


# These took seconds, and the first gigabytes.
@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize("n", [100_001, 500_000, 1_000_001, 10**9])
def test_the_work_does_not_grow_with_the_draws(scale, n):
    few = int(FEW)
    rows = [[n, 0, 0], [0, n, 0], [1, n - 1, 0], [n // 2, n - n // 2, 0]]
    rows += [
        [n // 2, 1, n - n // 2 - 1],
        [5, n // 2, n - n // 2 - 5],
        [n - few, few, 0],
        [n - 25_000, 25_000, 0],
    ]
    rows += [[n - 2 * few, few, few], [few, few - 400, n - 2 * few + 400], [n - 1, 1, 0]]
    rows += [[n - n // 10 * 4, n // 10 * 3, n // 10], [n // 3 + 9, n // 3, n - n // 3 * 2 - 9]]
    for row in rows:
        found = bound(row, scale)
        # Either 15 levels of half-planes, or sums over a window of few votes; or both.
        assert found.details["evaluations"][0] <= 1500, row
        assert found.details["cells"][0] <= 2500, row
        x2 = max(row[1:])
        if n - x2 > 10 * few and x2 > 2 * few:
            assert found.details["evaluations"][0] <= 15, row
