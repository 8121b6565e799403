"""Exact coverage: every outcome of small multinomials, at points that include the boundary."""

import numpy as np
import pytest

from rsbounds.bounds.margin import MARGIN_METHODS
from rsbounds.testing import exact_coverage, margin_coverage, outcomes, simplex_grid
from rsbounds.testing.coverage import outcome_probabilities

VARIANTS = [
    pytest.param(name, dict(options), id=f"{name}-{i}")
    for name in MARGIN_METHODS
    if MARGIN_METHODS[name].usable()
    for i, options in enumerate(MARGIN_METHODS[name].variants)
]


@pytest.mark.parametrize("scale", ["linear", "probit"])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize(
    ("classes", "n", "steps"),
    [(2, 1, 20), (2, 23, 40), (3, 3, 12), (3, 5, 16), (3, 17, 20), (4, 9, 10)],
)
def test_error_is_at_most_alpha(name, options, classes, n, steps, scale):
    if MARGIN_METHODS[name].seconds_per_row * len(outcomes(n, classes)) > 10.0:
        pytest.skip("too slow per row: enumerated at smaller n only")
    points = simplex_grid(classes, steps)
    # Near the boundary and off the grid: where discrete bounds come closest to alpha.
    near = np.array([[1 - 1e-3, *[1e-3 / (classes - 1)] * (classes - 1)]])
    points = np.vstack([points, near, near[:, ::-1], simplex_grid(classes, 7)])
    for alpha in (0.001, 0.05, 0.3):
        margin_coverage(
            name, n=n, classes=classes, alpha=alpha, scale=scale, points=points, **options
        ).assert_at_most(alpha)


def test_the_enumeration_would_notice():
    """A bound that is a little too good fails the same check."""
    from dataclasses import dataclass, replace
    from typing import ClassVar

    from rsbounds.bounds.margin.complement import Complement

    @dataclass(frozen=True)
    class Greedy(Complement):
        """Claims a fifth more than alpha pays for."""

        name: ClassVar[str] = "greedy"

        def rows(self, problem):
            return super().rows(replace(problem, alpha=min(1.2 * problem.alpha, 0.99)))

    points = np.column_stack([np.linspace(0.01, 0.99, 99), np.linspace(0.99, 0.01, 99)])
    found = margin_coverage(Greedy(), n=23, classes=2, alpha=0.05, scale="linear", points=points)
    with pytest.raises(AssertionError, match="claimed at most"):
        found.assert_at_most(0.05)


def test_the_planned_split_covers_given_any_selection():
    import rsbounds
    from rsbounds._types import Selection

    for seen in ([10, 0, 0], [6, 3, 1], [1, 8, 1]):

        def lower(table, seen=seen):
            top = np.zeros(len(table), dtype=np.int64)
            select = Selection(top, np.tile(np.array([seen]), (len(table), 1)))
            return rsbounds.margin_lower_bound(
                table, select, alpha=0.05, scale="linear", method="runner-up", split="selection"
            ).lower

        exact_coverage(
            lower, 15, simplex_grid(3, 12), truth=lambda p: p[:, 0] - p[:, 1:].max(axis=1)
        ).assert_at_most(0.05)


def test_predict_errs_at_most_alpha():
    import rsbounds

    for n in (6, 17):
        table = outcomes(n, 3)
        for alpha in (0.05, 0.3):
            answers = rsbounds.predict(table, alpha=alpha)
            # Near a tie an answer is wrong most often: off it, a strict tail went unnoticed.
            ties = [[0.5 + 1e-6, 0.5 - 1e-6, 0.0], [1 / 3 + 2e-6, 1 / 3 - 1e-6, 1 / 3 - 1e-6]]
            for p in np.vstack([simplex_grid(3, 20), ties]):
                wrong = ~answers.abstained & (p[answers.candidate] < p.max())
                assert outcome_probabilities(table, p[None])[0, wrong].sum() <= alpha * (1 + 1e-9)
