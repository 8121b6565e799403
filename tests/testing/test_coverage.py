"""Exact coverage: against slow sums, on planted mistakes, and its own bad input."""

import itertools
from math import comb, prod

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.testing import (
    anytime_coverage,
    exact_coverage,
    margin_coverage,
    outcomes,
    simplex_grid,
    stopping_distribution,
)


def test_outcomes_are_all_and_distinct():
    for n, k in [(0, 3), (5, 1), (7, 3), (6, 4)]:
        table = outcomes(n, k)
        assert table.shape == (comb(n + k - 1, k - 1), k)
        assert (table.sum(axis=1) == n).all()
        assert len(np.unique(table, axis=0)) == len(table)
        assert table.min() >= 0


def test_the_error_is_a_multinomial_sum():
    # Literally: every sequence of draws, one by one.
    points = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    found = exact_coverage(lambda table: table[:, 0] / 6, 6, points)
    for p, error in zip(points, found.errors, strict=True):
        paths = itertools.product(range(3), repeat=6)
        slow = sum(prod(p[c] for c in path) for path in paths if path.count(0) / 6 > p[0])
        assert error == pytest.approx(slow, rel=1e-12, abs=1e-300)
    assert (exact_coverage(lambda t: np.full(len(t), -1.0), 6, points).errors == 0.0).all()
    assert exact_coverage(lambda t: np.full(len(t), 9.0), 6, points).errors == pytest.approx(1.0)
    always = exact_coverage(lambda t: np.zeros(len(t)), 6, points, truth=lambda p: p[:, 0] - np.inf)
    assert always.errors == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 7, 200])
def test_binomial_errors_against_scipy(n):
    grid = np.linspace(0, 1, 17)
    low = rsbounds.clopper_pearson_lower(np.arange(n + 1), n, alpha=0.1)
    high = rsbounds.clopper_pearson_upper(np.arange(n + 1), n, alpha=0.02)
    found = exact_coverage(lambda k: (low[k], high[k]), n, grid, side="both")
    for p, error in zip(grid, found.errors, strict=True):
        k = np.arange(n + 1)
        slow = stats.binom.pmf(k, n, p)[(low > p) | (high < p)].sum()
        assert error == pytest.approx(slow, rel=1e-10, abs=1e-300)


def strict_tail(k, n, alpha):
    """Clopper-Pearson with the observed count left out of its own tail."""
    return np.where(k == n, 1.0, stats.beta.ppf(alpha, k + 1, np.maximum(n - k, 1)))


def test_a_strict_tail_is_found_with_its_worst_point():
    everywhere = exact_coverage(lambda k: strict_tail(k, 20, 0.05), 20)
    assert (everywhere.worst_error, everywhere.worst_p) == (1.0, 0.0)
    assert everywhere.offending.tolist() == [0]
    found = exact_coverage(lambda k: strict_tail(k, 20, 0.05), 20, np.linspace(0.05, 0.9, 18))
    with pytest.raises(AssertionError) as failure:
        found.assert_at_most(0.05)
    first = str(failure.value).splitlines()[0]
    assert f"errs with probability {found.worst_error:.6g} at p = " in first
    # The message is right: those outcomes, at that p, and no other ones.
    wrong = np.flatnonzero(strict_tail(np.arange(21), 20, 0.05) > found.worst_p)
    assert sorted(found.offending) == wrong.tolist()
    law = stats.binom.pmf(wrong, 20, found.worst_p)
    assert found.worst_error == pytest.approx(law.sum(), rel=1e-10)
    assert f"count {wrong[np.argmax(law)]}: lower " in str(failure.value)


def test_own_points_reach_the_supremum():
    # Errors rise up to each bound, where the outcome stops to offend.
    for side, bound in (
        ("lower", lambda k: rsbounds.clopper_pearson_lower(k, 33, alpha=0.01)),
        ("upper", lambda k: rsbounds.clopper_pearson_upper(k, 33, alpha=0.01)),
    ):
        found = exact_coverage(bound, 33, side=side)
        assert found.worst_error == pytest.approx(0.01, rel=1e-6)
        found.assert_at_most(0.01)
        # Nothing is worse on a fine grid, and little there is as bad.
        fine = exact_coverage(bound, 33, np.linspace(0, 1, 5001), side=side)
        assert 0.0099 < fine.worst_error < found.worst_error


def test_a_number_of_classes_stands_for_a_grid():
    found = exact_coverage(lambda t: np.zeros(len(t)), 5, 3)
    assert found.points.shape[0] >= 200
    assert found.points.shape[1] == 3
    assert found.worst_error == 0.0
    assert "0 over" in str(found)


def test_the_margin_at_the_boundary():
    found = margin_coverage(
        "complement", n=6, classes=3, alpha=0.05, scale="probit", points=simplex_grid(3, 1)
    )
    assert found.errors.tolist() == [0.0, 0.0, 0.0]
    assert sorted(found.truth) == [-np.inf, -np.inf, np.inf]


def test_bad_bounds_and_points_are_named():
    good = lambda k: np.zeros(len(k))  # noqa: E731
    for bound, said in (
        (lambda k: k[:3] * 1.0, r"bound gave shape \(3,\) for 6 outcomes"),
        (lambda k: 0.0, r"bound gave shape \(\) for 6 outcomes"),
        (lambda k: np.where(k == 2, np.nan, 0.0), "bound is NaN at the outcome 2"),
        (lambda k: 0.0 if k == 5 else 1.0, "bound raised ValueError.*numpy.vectorize"),
        (lambda k: None, "bound"),
        (lambda k: ["a"] * 6, "bound has type"),
    ):
        with pytest.raises(ValueError, match=said):
            exact_coverage(bound, 5)
    for p, said in (
        ([0.5, 1.5], r"p\[1\] is 1.5"),
        ([0.5, np.nan], r"p\[1\] is nan"),
        ([[0.5, 0.4]], "p row 0 sums to 0.9"),
        ([[1.0]], r"p has shape \(1, 1\)"),
        ([], r"p has shape \(0,\)"),
        (1, "p is 1"),
    ):
        with pytest.raises(ValueError, match=said):
            exact_coverage(good, 5, p)
    with pytest.raises(ValueError, match="n is 0"):
        exact_coverage(good, 0)
    with pytest.raises(ValueError, match="side is 'left'"):
        exact_coverage(good, 5, side="left")
    with pytest.raises(ValueError, match=r"allowed with side 'both': \(lower, upper\)"):
        exact_coverage(good, 5, side="both")
    with pytest.raises(ValueError, match="truth gave shape"):
        exact_coverage(good, 5, truth=lambda p: p[:3])
    with pytest.raises(ValueError, match="points has 2 columns; allowed: 3"):
        margin_coverage("complement", n=3, classes=3, alpha=0.1, scale="linear", points=[[0.5] * 2])


def test_a_bound_cannot_change_the_outcomes():
    def thief(k):
        k[:] = 0
        return np.ones(len(k))

    assert exact_coverage(thief, 5, [0.5]).offending.sum() == 15


def test_any_time_against_every_path():
    # Every path of nine draws, one by one.
    def bounds(t, s):
        return s / t - 0.4, s / t + 0.5

    points = np.array([0.1, 0.5, 0.83])
    found = anytime_coverage(bounds, points, 9)
    for p, error in zip(points, found.errors, strict=True):
        slow = 0.0
        for path in itertools.product((0, 1), repeat=9):
            means = np.cumsum(path) / np.arange(1, 10)
            if ((means - 0.4 > p) | (means + 0.5 < p)).any():
                slow += p ** sum(path) * (1 - p) ** (9 - sum(path))
        assert error == pytest.approx(slow, rel=1e-12)
    assert found.probability.sum() == pytest.approx(found.worst_error)
    time, successes = found.offending[0]
    assert abs(successes / time - found.worst_p) > 0.4
    with pytest.raises(AssertionError, match=r"claimed at most 0.01[\s\S]*time \d+, successes"):
        found.assert_at_most(0.01)


def test_any_time_of_a_sequence_on_its_own_support():
    one = rsbounds.confidence_sequence("beta-binomial", alpha=0.2)
    other = rsbounds.confidence_sequence("beta-binomial", alpha=0.2, support=(-2.0, 3.0))
    found = anytime_coverage(one, [0.2, 0.7], 40)
    moved = anytime_coverage(other, [0.2, 0.7], 40)
    assert moved.truth.tolist() == pytest.approx([-1.0, 1.5])
    assert moved.errors == pytest.approx(found.errors)
    assert 0.02 < found.worst_error <= 0.2

    def left(t, s):
        fed = [rsbounds.confidence_sequence("beta-binomial", alpha=0.2) for _ in s]
        for sequence, hits in zip(fed, s, strict=True):
            sequence.update([1.0] * hits + [0.0] * (t - hits))
        return np.array([q.lower[0] > 0.7 or q.upper[0] < 0.7 for q in fed], dtype=np.int8)

    law = stopping_distribution(0.7, 40, left)
    assert found.errors[1] == pytest.approx(law[1].sum())


def test_any_time_refuses_what_it_cannot_follow():
    with pytest.raises(ValueError, match="depend on their order"):
        anytime_coverage(rsbounds.confidence_sequence("prpl-eb", alpha=0.2), 0.5, 20)
    seen = rsbounds.confidence_sequence("beta-binomial", alpha=0.2)
    seen.update([1.0])
    with pytest.raises(ValueError, match="sequence has seen 1 samples"):
        anytime_coverage(seen, 0.5, 20)
    with pytest.raises(ValueError, match="p is 2"):
        anytime_coverage(lambda t, s: (s * 0.0, s + 1.0), 2, 20)
    with pytest.raises(ValueError, match="bound is NaN"):
        anytime_coverage(lambda t, s: (s * np.nan, s + 1.0), 0.5, 20)
