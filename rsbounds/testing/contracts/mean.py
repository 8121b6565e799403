"""The contract of a mean method, check by check.

What fails says the same under pytest as elsewhere: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from rsbounds.bounds.mean import MeanMethod, mean_bound
from rsbounds.testing.contracts._declared import Case, by_name, check_declaration, member_cases
from rsbounds.testing.contracts.sequence import sequence_cases


def _data(method: MeanMethod, seed: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    if method.two_point:
        return (rng.random(shape) < 0.9).astype(np.float64)
    return rng.beta(9, 1, shape)


def declares_itself(method: MeanMethod) -> None:
    """Name, source, cost, advice and guarantee."""
    check_declaration(method)


def one_row_is_the_batch_of_one(method: MeanMethod) -> None:
    """A row has the same bounds alone as in a table, around its mean."""
    rows = _data(method, 1, (7, 150))
    together = mean_bound(rows, alpha=0.01, side="both", method=method, axis=1)
    for i, row in enumerate(rows):
        one = mean_bound(row, alpha=0.01, side="both", method=method)
        assert one.lower[0] == together.lower[i], f"row {i}"
        assert one.upper[0] == together.upper[i], f"row {i}"
    assert (together.lower <= rows.mean(axis=1)).all()
    assert (together.upper >= rows.mean(axis=1)).all()


def does_not_depend_on_threads(method: MeanMethod) -> None:
    """The same bounds on one thread and on three."""
    rows = _data(method, 2, (40, 30_000))
    got = []
    for threads in ("1", "3"):
        with mock.patch.dict(os.environ, {"RSBOUNDS_NUM_THREADS": threads}):
            got.append(mean_bound(rows, alpha=0.01, method=method, axis=1).lower)
    assert (got[0] == got[1]).all()


def reflection_swaps_the_sides(method: MeanMethod) -> None:
    """The upper bound of 1 - X is one minus the lower bound of X, never inside it."""
    x = _data(method, 3, (3, 400))
    low = mean_bound(x, alpha=0.01, side="lower", method=method, axis=1).lower
    high = mean_bound(1 - x, alpha=0.01, side="upper", method=method, axis=1).upper
    np.testing.assert_allclose(high, 1 - low, rtol=0, atol=2e-9)
    assert (high >= 1 - low - 1e-15).all()


def scaling_moves_the_bound_along(method: MeanMethod) -> None:
    """The support is a unit like any other."""
    x = _data(method, 4, (3, 400))
    low = mean_bound(x, alpha=0.01, method=method, axis=1).lower
    moved = mean_bound(-3 + 8 * x, alpha=0.01, method=method, support=(-3, 5), axis=1)
    np.testing.assert_allclose(moved.lower, -3 + 8 * low, rtol=0, atol=2e-8)
    assert moved.support == (-3.0, 5.0)


def smaller_alpha_never_raises_the_bound(method: MeanMethod) -> None:
    """Less error probability cannot buy a larger bound (up to ``method.grain``)."""
    x = _data(method, 5, (4, 200))
    levels = [0.3, 0.05, 1e-3, 1e-9, 1e-100, 1e-300]
    bounds = [mean_bound(x, alpha=a, method=method, axis=1).lower for a in levels]
    for wide, narrow in zip(bounds[1:], bounds[:-1], strict=True):
        assert (wide <= narrow + method.grain).all(), f"{wide} above {narrow}"


def extreme_rows(method: MeanMethod) -> None:
    """Constant and two-point rows, at every alpha, stay in range."""
    for row in ([0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0] * 500, [0.0] * 500):
        for alpha in (0.999999, 0.5, 1e-3, 1e-300):
            found = mean_bound(row, alpha=alpha, side="both", method=method)
            where = f"{row[:2]}... of {len(row)}, alpha {alpha}: {found.lower}, {found.upper}"
            assert 0 <= found.lower[0] <= found.upper[0] <= 1, where
            assert found.lower[0] <= max(row), where
    assert mean_bound([0.0] * 500, alpha=0.1, method=method).lower[0] == 0
    if not method.two_point:
        tiny = np.full(300, 5e-324)
        assert mean_bound(tiny, alpha=0.1, method=method).lower[0] <= 1e-300


def all_ones_are_bounded_below_the_binomial_limit(method: MeanMethod) -> None:
    """Where only ones were seen, no valid bound exceeds alpha^(1/n)."""
    found = mean_bound(np.ones(300), alpha=0.001, method=method)
    assert found.lower[0] <= 0.001 ** (1 / 300), found.lower
    assert found.details["two_point"][0]


def errs_at_most_alpha_by_enumeration(method: MeanMethod) -> None:
    """Over every row of a few votes; a method that promises nothing is not asked."""
    if method.guarantee == "none":
        return
    for n in (2, 9):
        rows = np.array(list(itertools.product((0.0, 1.0), repeat=n)))
        ones = rows.sum(axis=1)
        for alpha in (0.05, 0.3):
            lower = mean_bound(rows, alpha=alpha, method=method, axis=1).lower
            for p in (0.001, 0.03, 0.2, 0.5, 0.8, 0.97, 0.999):
                error = float((p**ones * (1 - p) ** (n - ones))[lower > p + 1e-12].sum())
                assert error <= alpha * (1 + 1e-9), (
                    f"{n} votes with mean {p} err with probability {error:.4g}, at alpha {alpha}"
                )


#: Each check of the contract, by name.
MEAN_CHECKS: dict[str, Callable[[MeanMethod], None]] = by_name(
    declares_itself,
    errs_at_most_alpha_by_enumeration,
    one_row_is_the_batch_of_one,
    does_not_depend_on_threads,
    reflection_swaps_the_sides,
    scaling_moves_the_bound_along,
    smaller_alpha_never_raises_the_bound,
    extreme_rows,
    all_ones_are_bounded_below_the_binomial_limit,
)


def mean_cases(kind: type[MeanMethod]) -> Iterator[Case]:
    """Every check of every variant of a mean method, and those of its any-time form."""
    if kind.fixed_n:
        yield from member_cases(kind, kind.variants, MEAN_CHECKS)
    if kind.sequence is not None:
        yield from sequence_cases(kind.sequence)


def check_mean_method(method: MeanMethod) -> None:
    """Put a mean method through every check of the contract.

    Parameters
    ----------
    method : MeanMethod
        With the options that are to be checked.

    Raises
    ------
    AssertionError
        What it breaks.

    Examples
    --------
    >>> from rsbounds.bounds.mean import MEAN_METHODS
    >>> from rsbounds.testing.contracts import check_mean_method
    >>> check_mean_method(MEAN_METHODS["hoeffding"]())
    """
    for check in MEAN_CHECKS.values():
        check(method)
