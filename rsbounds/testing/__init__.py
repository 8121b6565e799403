"""What other people's tests import: exact coverage, statistical assertions, strategies.

`exact_coverage` enumerates every outcome, so it replaces simulation for small n, and
`anytime_coverage` follows every path of a sequence. The assertions are for the rest: they draw
trials until a claim is settled, and fail a true one with a probability that you state. The
hypothesis strategies are in `rsbounds.testing.strategies` (extra ``testing``), contracts for
members of the registries in `rsbounds.testing.contracts`. Under pytest the fixture
``rsbounds_assertions`` is an `Assertions` for the session, with one false-alarm budget.
"""

from __future__ import annotations

from rsbounds.testing._coverage import Coverage
from rsbounds.testing._trials import Finding, Refuted
from rsbounds.testing.any_time import anytime_coverage, stopping_distribution
from rsbounds.testing.budget import Assertions
from rsbounds.testing.coverage import exact_coverage, margin_coverage, outcomes, simplex_grid
from rsbounds.testing.linear import LinearClassifier
from rsbounds.testing.statistical import (
    assert_covers,
    assert_error_rate,
    assert_mean_at_least,
    assert_probability_at_least,
    assert_probability_at_most,
    assert_same_distribution,
)

__all__ = [
    "Assertions",
    "Coverage",
    "Finding",
    "LinearClassifier",
    "Refuted",
    "anytime_coverage",
    "assert_covers",
    "assert_error_rate",
    "assert_mean_at_least",
    "assert_probability_at_least",
    "assert_probability_at_most",
    "assert_same_distribution",
    "exact_coverage",
    "margin_coverage",
    "outcomes",
    "simplex_grid",
    "stopping_distribution",
]
