"""The contract of a margin method, check by check.

What fails says the same under pytest as elsewhere: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Scale
from rsbounds.bounds.margin import MarginMethod, margin_lower_bound
from rsbounds.testing.contracts._declared import Case, by_name, check_declaration, member_cases
from rsbounds.testing.coverage import margin_coverage, simplex_grid

SCALES: tuple[Scale, Scale] = ("linear", "probit")
#: Seconds that a check may give to a slow method.
_SECONDS = 3.0


def _fit(rows: NDArray[np.int64], method: MarginMethod) -> NDArray[np.int64]:
    """The rows that the method takes; of a slow one, as many as it has time for."""
    if method.max_n is not None:
        rows = rows[rows.sum(axis=1) <= method.max_n]
    step = max(1, round(len(rows) * method.seconds_per_row / _SECONDS))
    return rows[::step]


def _bound(
    rows: NDArray[np.int64], method: MarginMethod, scale: Scale, top: int = 0, alpha: float = 0.01
) -> NDArray[np.float64]:
    return margin_lower_bound(rows, top, alpha=alpha, scale=scale, method=method).lower


def declares_itself(method: MarginMethod) -> None:
    """Name, source, cost, advice, guarantee, and how long a row takes."""
    check_declaration(method)
    assert method.claims, f"{method.name}.claims is empty; a method proves some kind of claim"


def one_row_is_the_batch_of_one(method: MarginMethod) -> None:
    """A row has the same bound alone as in a table."""
    rows = _fit(np.random.default_rng(5).multinomial(200, [0.7, 0.2, 0.1], size=12), method)
    for scale in SCALES:
        together = _bound(rows, method, scale)
        alone = [_bound(row, method, scale)[0] for row in rows]
        assert alone == together.tolist(), f"{scale}: alone {alone}, in a table {together}"


def rows_may_have_different_n(method: MarginMethod) -> None:
    """More draws with the same shares never bound worse."""
    rows = _fit(np.array([[9, 1, 0], [90, 8, 2], [900, 80, 20], [1, 0, 0]]), method)
    for scale in SCALES:
        together = _bound(rows, method, scale)
        assert [_bound(r, method, scale)[0] for r in rows] == together.tolist()
        ordered = together[np.argsort(rows.sum(axis=1))]
        assert (ordered[1:] >= ordered[:-1]).all(), f"{scale}: {ordered} for growing n"


def refuses_more_draws_than_it_declares(method: MarginMethod) -> None:
    """A row above ``max_n`` is named, not bounded."""
    if method.max_n is None:
        return
    for scale in SCALES:
        try:
            _bound(np.array([[7, 3], [method.max_n, 1]]), method, scale)
        except ValueError as error:
            said = str(error)
            assert f"row 1 sums to n = {method.max_n + 1}" in said, said
        else:
            raise AssertionError(f"{scale}: a row of max_n + 1 draws was bounded")


def classes_may_be_permuted(method: MarginMethod) -> None:
    """The order of the classes does not matter."""
    row = np.array([70, 5, 20, 0, 5])
    for scale in SCALES:
        plain = _bound(row, method, scale)
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3], [3, 4, 1, 2, 0]):
            got = _bound(row[order], method, scale, top=order.index(0))
            np.testing.assert_allclose(got, plain, rtol=1e-12, err_msg=f"{scale}, order {order}")


def never_nan_and_in_range_on_hard_rows(method: MarginMethod) -> None:
    """Ties, single draws, saturated and losing rows, at large and tiny alpha."""
    rows = _fit(
        np.array(
            [[1, 0, 0], [0, 1, 0], [0, 0, 7], [7, 0, 0], [3, 3, 3], [5, 5, 0], [1, 5, 0],
             [0, 500, 500], [1000, 0, 0], [999, 1, 0], [500, 500, 0]]
        ),
        method,
    )  # fmt: skip
    others = rows.copy()
    others[:, 0] = -1
    observed = (rows[:, 0] - others.max(axis=1)) / rows.sum(axis=1)
    for alpha in (0.5, 0.01, 1e-12):
        for scale in SCALES:
            got = _bound(rows, method, scale, alpha=alpha)
            assert not np.isnan(got).any(), f"{scale}, alpha {alpha}: NaN"
        linear = _bound(rows, method, "linear", alpha=alpha)
        assert ((linear >= -1) & (linear <= 1)).all(), f"alpha {alpha}: {linear}"
        # At small alpha a valid bound stays under the observed margin.
        if alpha <= 0.01:
            assert (linear <= observed + 1e-12).all(), f"alpha {alpha}: {linear} > {observed}"


def smaller_alpha_never_raises_the_bound(method: MarginMethod) -> None:
    """Less error probability cannot buy a larger bound."""
    rows = _fit(np.array([[70, 20, 10], [95, 5, 0], [40, 35, 25]]), method)
    for scale in SCALES:
        bounds = [_bound(rows, method, scale, alpha=a) for a in (0.3, 0.05, 1e-3, 1e-9)]
        for wide, narrow in zip(bounds[1:], bounds[:-1], strict=True):
            assert (wide <= narrow + 1e-9).all(), f"{scale}: {wide} above {narrow}"


def takes_floats_and_small_integers(method: MarginMethod) -> None:
    """The type of the table does not matter."""
    row = np.array([[70, 20, 10]])
    for scale in SCALES:
        for kind in (np.float64, np.int16, np.uint8):
            assert _bound(row.astype(kind), method, scale) == _bound(row, method, scale), kind


def says_what_it_rests_on(method: MarginMethod) -> None:
    """The record has the method's name, scale, alpha, n, and finite details."""
    for scale in SCALES:
        result = margin_lower_bound([[70, 20, 10]], 0, alpha=0.01, scale=scale, method=method)
        assert (result.method, result.scale, result.alpha) == (method.name, scale, 0.01)
        assert result.guarantee == method.guarantee
        assert result.n.tolist() == [100]
        for key, values in result.details.items():
            assert len(values) == 1, f"details[{key!r}] has {len(values)} entries for one row"
            assert np.isfinite(values).all(), f"details[{key!r}] is {values}"


def errs_at_most_alpha_by_enumeration(method: MarginMethod) -> None:
    """Over every outcome of a few draws, at probabilities up to near the boundary.

    Small n is where a bound that holds only as n grows is wrong most often. A method that
    promises nothing (``guarantee`` "none") is not asked.
    """
    if method.guarantee == "none":
        return
    for classes, n, steps in ((2, 23, 20), (2, 5, 20), (3, 9, 12)):
        rows = n + 1 if classes == 2 else (n + 1) * (n + 2) // 2
        slow = rows * len(SCALES) * 2 * method.seconds_per_row > 2 * _SECONDS
        if slow or (method.max_n is not None and n > method.max_n):
            continue
        edge = [[1 - chance, *[chance / (classes - 1)] * (classes - 1)] for chance in (1e-3, 0.03)]
        points = np.vstack([simplex_grid(classes, steps), edge])
        for alpha in (0.05, 0.3):
            for scale in SCALES:
                found = margin_coverage(
                    method, n=n, classes=classes, alpha=alpha, scale=scale, points=points
                )
                assert found.worst_error <= alpha * (1 + 1e-9), (
                    f"{scale}: {n} draws at p = {found.worst_p.tolist()} err with probability "
                    f"{found.worst_error:.4g}, at alpha {alpha}"
                )


#: Each check of the contract, by name.
MARGIN_CHECKS: dict[str, Callable[[MarginMethod], None]] = by_name(
    declares_itself,
    errs_at_most_alpha_by_enumeration,
    one_row_is_the_batch_of_one,
    rows_may_have_different_n,
    refuses_more_draws_than_it_declares,
    classes_may_be_permuted,
    never_nan_and_in_range_on_hard_rows,
    smaller_alpha_never_raises_the_bound,
    takes_floats_and_small_integers,
    says_what_it_rests_on,
)


def margin_cases(kind: type[MarginMethod]) -> Iterator[Case]:
    """Every check of every variant of a margin method."""
    return member_cases(kind, kind.variants, MARGIN_CHECKS)


def check_margin_method(method: MarginMethod) -> None:
    """Put a margin method through every check of the contract.

    Parameters
    ----------
    method : MarginMethod
        With the options that are to be checked.

    Raises
    ------
    AssertionError
        What it breaks.

    Examples
    --------
    >>> from rsbounds.bounds.margin import MARGIN_METHODS
    >>> from rsbounds.testing.contracts import check_margin_method
    >>> check_margin_method(MARGIN_METHODS["complement"]())
    """
    for check in MARGIN_CHECKS.values():
        check(method)
