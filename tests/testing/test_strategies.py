"""The strategies give what they promise, reach the places they name, and shrink."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.testing import LinearClassifier, assert_probability_at_most
from rsbounds.testing.strategies import (
    bounded_samples,
    counts,
    linear_classifiers,
    multinomial_rows,
    probabilities,
    score_matrices,
)

SEARCH = settings(max_examples=1000, derandomize=True, database=None, deadline=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip


def reaches(strategy, **kinds):
    """Every kind is among a few hundred examples, where each comes up ten times or so."""
    missing = set(kinds)

    @given(strategy)
    @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    def look(value):
        missing.difference_update([name for name in missing if kinds[name](value)])

    look()
    assert missing == set()


@given(counts(3, 5, max_n=1000))
def test_counts_are_counts(row):
    assert 3 <= len(row) <= 5
    assert all(isinstance(c, int) and c >= 0 for c in row)
    assert 1 <= sum(row) <= 1000


def test_counts_reach_every_kind():
    reaches(
        counts(),
        huge=lambda row: sum(row) > 10**8,
        zeros=lambda row: 0 in row and sum(row) > 100,
        tied=lambda row: row[0] == row[1] > 100,
        one_vote=lambda row: row[0] == row[1] + 1 > 5,
        saturated=lambda row: sum(row) > 1000 and sorted(row)[-2] == 0,
        many_classes=lambda row: len(row) == 6,
        loser_first=lambda row: row[0] < row[1],
    )


@pytest.mark.parametrize(
    ("wanted", "smallest"),
    [
        (lambda row: len(row) == 6, [1, 0, 0, 0, 0, 0]),
        (lambda row: row[0] == 0, [0, 1]),
    ],
)
def test_counts_shrink(wanted, smallest):
    assert find(counts(), wanted, settings=SEARCH) == smallest


@given(probabilities(2, 5))
def test_probabilities_add_to_one(p):
    assert 2 <= len(p) <= 5
    assert (p >= 0).all()
    assert abs(p.sum() - 1.0) < 1e-12


def test_probabilities_reach_the_boundary():
    reaches(
        probabilities(),
        certain=lambda p: p.max() == 1,
        tied=lambda p: p[0] == p[1] > 0,
        nearly_zero=lambda p: 0 < p.min() < 2e-3,
        inside=lambda p: p.min() > 0.05,
    )


@given(multinomial_rows(max_n=10**6))
def test_multinomial_rows_come_from_their_probabilities(found):
    p, rows = found
    assert rows.shape[1] == len(p)
    assert (rows.sum(axis=1) == rows[0].sum()).all()
    assert (rows[:, p == 0] == 0).all()
    n = rows[0].sum()
    # Hoeffding, over the whole run of this test: 1e-9.
    assert np.abs(rows / n - p).max() < math.sqrt(math.log(1e13) / (2 * n))


@given(bounded_samples(1, 30, support=(-2.0, 1e-3)))
def test_bounded_samples_stay_inside(x):
    assert 1 <= x.size <= 30
    assert ((x >= -2.0) & (x <= 1e-3)).all()


def test_bounded_samples_reach_every_kind():
    reaches(
        bounded_samples(),
        two_point=lambda x: set(x) == {0.0, 1.0},
        nearly_constant=lambda x: 0 < np.ptp(x) < 1e-8,
        late_jump=lambda x: len(x) > 2 and np.ptp(x[:-1]) == 0 and x[-1] != x[0],
        near_an_end=lambda x: ((x > 0) & (x < 1e-8)).sum() >= 2,
        many_values=lambda x: len(set(x)) > 5,
    )


def test_a_bound_that_trusts_the_variance_is_found_out():
    # The empirical variance in place of the empirical Bernstein bound: wrong after n equal draws.
    def lower(x):
        return x.mean() - 3 * x.std() / math.sqrt(len(x))

    found = find(bounded_samples(), lambda x: lower(x) > 0.9 and len(x) < 10, settings=SEARCH)
    assert found.tolist() == [1.0, 1.0]


@given(score_matrices(max_rows=3))
def test_scores_are_scores(scores):
    assert scores.ndim == 2
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    rsbounds.mean_bound(np.vstack([scores] * 2), alpha=0.1, axis=0, method="hoeffding")


@given(linear_classifiers(), st.floats(0.1, 3.0), st.integers(0, 9))
@settings(max_examples=20)
def test_linear_classifiers_know_their_smoothed_answers(line, sigma, seed):
    x = np.random.default_rng(seed).normal(size=(1, len(line.weights)))
    p = float(line.smoothed_probability(x, sigma)[0])
    noise = sigma * np.random.default_rng([seed, 1]).normal(size=(4000, len(line.weights)))
    seen = line(x + noise).mean()
    # Hoeffding at 1e-9 in 4,000 draws.
    assert abs(seen - p) < math.sqrt(math.log(2e9) / 8000)
    # At the distance the answer changes, and not before.
    w = np.array(line.weights) / math.hypot(*line.weights)
    towards = w if line(x)[0] == 0 else -w
    distance = line.distance(x)[0]
    assert line(x + 0.999 * distance * towards)[0] == line(x)[0] or distance < 1e-9
    assert line(x + (1.001 * distance + 1e-9) * towards)[0] != line(x)[0]


def test_a_certificate_of_a_linear_classifier():
    line, x = LinearClassifier((3.0, -4.0), 0.5), np.array([[0.6, 0.1]])
    law = rsbounds.Gaussian(sigma=0.5)

    def too_far(rng):
        seed = int(rng.integers(2**62))
        counts = rsbounds.sample_counts(line, x, noise=law, n=200, num_classes=2, seed=seed)
        radius = rsbounds.certify(counts, 1, noise=law, alpha=0.05).radius[0]
        return bool(radius > line.distance(x)[0])

    found = assert_probability_at_most(too_far, 0.2, false_alarm=1e-6, seed=1)
    assert found.verdict == "accepted"


def test_bad_arguments_are_named():
    for build, said in (
        (lambda: counts(1), "min_classes is 1"),
        (lambda: counts(3, 2), "max_classes is 2"),
        (lambda: counts(max_n=0), "max_n is 0"),
        (lambda: probabilities(5, 4), "max_classes is 4"),
        (lambda: multinomial_rows(max_rows=0), "max_rows is 0"),
        (lambda: bounded_samples(0), "min_size is 0"),
        (lambda: bounded_samples(support=(1, 0)), "support is"),
        (lambda: score_matrices(0), "min_rows is 0"),
        (lambda: linear_classifiers(0), "min_inputs is 0"),
        (lambda: LinearClassifier((0.0, 0.0)), "weights and offset are"),
        (lambda: LinearClassifier((1.0,), math.nan), "weights and offset are"),
        (lambda: LinearClassifier((1.0, 2.0))([[1.0]]), "x has 1 numbers in an input; allowed: 2"),
        (lambda: LinearClassifier((1.0,)).smoothed_probability([[1.0]], 0.0), "sigma is 0.0"),
    ):
        with pytest.raises(ValueError, match=said):
            build()
