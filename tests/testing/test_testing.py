"""The helpers that other people's tests rest on."""

import numpy as np
import pytest
from scipy import stats

from rsbounds.testing import assert_error_rate, exact_error, margin_errors, outcomes, simplex_grid


def test_outcomes_are_all_and_distinct():
    from math import comb

    for n, k in [(0, 3), (5, 1), (7, 3), (6, 4)]:
        table = outcomes(n, k)
        assert table.shape == (comb(n + k - 1, k - 1), k)
        assert (table.sum(axis=1) == n).all()
        assert len(np.unique(table, axis=0)) == len(table)
        assert table.min() >= 0


def test_exact_error_is_a_multinomial_sum():
    table = outcomes(6, 3)
    p = np.array([0.5, 0.3, 0.2])
    lower = table[:, 0] / 6
    wrong = table[lower > 0.5]
    expected = stats.multinomial(6, p).pmf(wrong).sum()
    assert exact_error(lower, table, p, 0.5) == pytest.approx(expected, rel=1e-12)
    assert exact_error(np.full(len(table), -1.0), table, p, 0.5) == 0.0
    assert exact_error(np.full(len(table), 9.0), table, p, 0.5) == pytest.approx(1.0)
    assert exact_error(np.zeros(len(table)), table, [0, 1, 0], -np.inf) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="NaN"):
        exact_error(np.full(len(table), np.nan), table, p, 0.5)


def test_margin_errors_at_the_boundary():
    errors = margin_errors(
        "complement", n=6, classes=3, alpha=0.05, scale="probit", points=simplex_grid(3, 1)
    )
    assert errors.tolist() == [0.0, 0.0, 0.0]


def test_assert_error_rate_fails_at_its_stated_rate():
    # The smallest count that fails is the first one beyond the binomial quantile.
    trials, alpha, chance = 2000, 0.01, 1e-3
    limit = next(k for k in range(trials) if stats.binom.sf(k - 1, trials, alpha) < chance)
    assert_error_rate(limit - 1, trials, alpha, false_alarm=chance)
    with pytest.raises(AssertionError, match=f"{limit} failures in 2000"):
        assert_error_rate(limit, trials, alpha, false_alarm=chance)
    with pytest.raises(ValueError, match="failures is 3"):
        assert_error_rate(3, 2, 0.1)
