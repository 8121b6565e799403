"""Exact error probabilities over every sequence of two- and three-point distributions."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from rsbounds.bounds.mean import MEAN_METHODS, mean_bound

METHODS = [
    pytest.param(name, dict(options), id=f"{name}{options or ''}")
    for name in MEAN_METHODS
    if MEAN_METHODS[name].fixed_n
    for options in MEAN_METHODS[name].variants
]
TWO = [((0.0, 1.0), p) for p in (0.02, 0.2, 0.5, 0.8, 0.95)] + [
    ((0.3, 0.9), 0.5),
    ((0.0, 0.4), 0.6),
]
THREE = [
    ((0.0, 0.5, 1.0), (0.05, 0.15, 0.8)),
    ((0.0, 0.5, 1.0), (0.3, 0.4, 0.3)),
    ((0.0, 0.9, 1.0), (0.1, 0.6, 0.3)),
    ((0.2, 0.7, 0.8), (0.5, 0.1, 0.4)),
]


@pytest.fixture(scope="module")
def bench():
    """The benchmark of the bounds, which has their errors over every path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("bench_mean")


def worst(points, probabilities, n, alpha, name, options, side):
    sequences = np.array(list(itertools.product(range(len(points)), repeat=n)))
    values = np.asarray(points)[sequences]
    chance = np.asarray(probabilities)[sequences].prod(axis=1)
    truth = float(np.dot(points, probabilities))
    found = mean_bound(values, alpha=alpha, side=side, method=name, axis=1, **options)
    wrong = (found.lower > truth + 1e-12) | (found.upper < truth - 1e-12)
    return float(chance[wrong].sum())


@pytest.mark.parametrize(("name", "options"), METHODS)
@pytest.mark.parametrize("side", ["lower", "upper", "both"])
def test_two_points(name, options, side):
    n = 10
    for points, p in TWO:
        if MEAN_METHODS[name].two_point and points != (0.0, 1.0):
            continue
        for alpha in (0.05, 0.3):
            assert worst(points, (1 - p, p), n, alpha, name, options, side) <= alpha


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_three_points(name, options):
    if MEAN_METHODS[name].two_point:
        pytest.skip("samples between the ends of the support are refused")
    for points, probabilities in THREE:
        for alpha in (0.05, 0.3):
            assert worst(points, probabilities, 7, alpha, name, options, "lower") <= alpha


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.001])
@pytest.mark.parametrize("n", [2, 6, 11])
def test_goal_over_every_path_of_votes(n, alpha, bench):
    # Not at chosen means: at the worst of all.
    assert bench.worst_over_votes(n, alpha, method="goal") <= 1


def test_the_worst_over_votes_would_notice(bench):
    # Hoeffding at 0.3 in place of 0.05.
    assert bench.worst_over_votes(11, 0.3, method="hoeffding") > 0.05 / 0.3


def test_the_enumeration_would_notice():
    # With 60 % of the samples' own mean as a "bound" the same sum is far above alpha.
    sequences = np.array(list(itertools.product((0.0, 1.0), repeat=10)))
    chance = np.full(len(sequences), 0.5**10)
    assert chance[sequences.mean(axis=1) > 0.5].sum() > 0.3


@pytest.mark.parametrize("name", ["goal", "betting", "mixture", "prpl-eb"])
def test_error_is_not_idle(name):
    # A bound that is never wrong would pass every test above; these use their alpha.
    found = worst((0.0, 1.0), (0.5, 0.5), 12, 0.3, name, {}, "lower")
    assert found > 0.01
