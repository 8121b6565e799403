"""The contract of a confidence sequence, check by check.

What fails says the same under pytest as elsewhere: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds.bounds.mean import ConfidenceSequence, Side
from rsbounds.testing.any_time import OrderMatters, anytime_coverage
from rsbounds.testing.contracts._declared import Case, by_name, check_declaration
from rsbounds.testing.statistical import assert_error_rate

Kind = type[ConfidenceSequence]
_UNIT = (0.0, 1.0)
#: Draws of which every path is followed, and of which the counts are; means of the votes.
_PATHS, _COUNTS = 10, 60
_CHANCES = (0.1, 0.4, 0.5, 0.8, 0.95)


def _data(kind: Kind, seed: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    if kind.two_point:
        return (rng.random(shape) < 0.8).astype(np.float64)
    return rng.beta(5, 1, shape)


def _bounds(sequence: ConfidenceSequence) -> list[float]:
    return [*sequence.lower.tolist(), *sequence.upper.tolist()]


def _fed(
    kind: Kind, x: NDArray[np.float64], options: dict[str, Any], alpha: float = 0.05
) -> ConfidenceSequence:
    sequence = kind(alpha, "both", _UNIT, **options)
    sequence.update(x)
    return sequence


def _refused(sequence: ConfidenceSequence, chunk: Any) -> None:
    try:
        sequence.update(chunk)
    except ValueError:
        return
    raise AssertionError(f"the chunk {chunk!r} was taken")


def declares_itself(kind: Kind, **options: Any) -> None:
    """Name, source, memory, advice and guarantee; every option has a default."""
    built = kind(0.05, "both", _UNIT, **options)
    check_declaration(built, cost="memory")
    assert built.guarantee in ("proven", "enumerated"), (
        f"{kind.__name__}.guarantee is {built.guarantee!r}; it must be declared"
    )
    known = kind.options()
    assert set(options) <= set(known), f"options() has {sorted(known)}, without {sorted(options)}"
    kind(0.05, "both", _UNIT)


def before_the_first_chunk(kind: Kind, **options: Any) -> None:
    """Nothing was seen and nothing is known: the support."""
    sequence = kind(0.05, "both", (-2.0, 3.0), **options)
    assert (sequence.n, sequence.closed) == (0, False)
    assert _bounds(sequence) == [-2.0, 3.0], f"bounds are {_bounds(sequence)} before any sample"


def chunks_do_not_matter(kind: Kind, **options: Any) -> None:
    """The same bounds, bit by bit, however the samples were cut and whenever one looked."""
    x = _data(kind, 1, (2, 500))
    whole = _fed(kind, x, options)
    for cuts in ((), (1, 2, 3), (7, 200, 201, 456, 499), range(50, 500, 50)):
        parts = kind(0.05, "both", _UNIT, **options)
        for a, b in itertools.pairwise((0, *cuts, 500)):
            parts.update(x[:, a:b])
            assert parts.n == b, f"n is {parts.n} after {b} samples"
            _bounds(parts)
        assert _bounds(parts) == _bounds(whole), f"other bounds with cuts at {list(cuts)}"


def a_row_is_alone(kind: Kind, **options: Any) -> None:
    """A stream has the same bounds beside others as by itself, around its mean."""
    x = _data(kind, 2, (4, 300))
    together = _fed(kind, x, options)
    for i, row in enumerate(x):
        one = _fed(kind, row, options)
        assert one.lower.shape == one.upper.shape == (1,), "one stream has one bound"
        assert one.lower[0] == together.lower[i], f"row {i}"
        assert one.upper[0] == together.upper[i], f"row {i}"
        assert one.lower[0] <= row.mean() <= one.upper[0], f"row {i}: {_bounds(one)}"


def a_refused_chunk_leaves_it_as_it_was(kind: Kind, **options: Any) -> None:
    """After any refusal it goes on as if the chunk had never been offered."""
    x = _data(kind, 3, (2, 300))
    plain = _fed(kind, x, options)
    tried = kind(0.05, "both", _UNIT, **options)
    # The faults stand at the end of the chunk and of the last row, behind samples that are fine.
    wrong: list[Any] = [np.ones((3, 5)), np.ones(5), np.empty((2, 0)), np.full((2, 2), "a")]
    for value in (1.5, -1e-9, np.nan, *((0.5,) if kind.two_point else ())):
        chunk = np.ones((2, 5))
        chunk[1, 4] = value
        wrong.append(chunk)
    for a in range(0, 300, 100):
        tried.update(x[:, a : a + 100])
        before = (tried.n, _bounds(tried))
        for chunk in wrong:
            _refused(tried, chunk)
        assert (tried.n, _bounds(tried)) == before, "a refused chunk changed it"
    assert _bounds(tried) == _bounds(plain), "a refused chunk changed what came later"
    tried.close()
    _refused(tried, x)
    assert tried.closed
    assert _bounds(tried) == _bounds(plain), "closing changed the bounds"


def a_pickle_goes_on(kind: Kind, **options: Any) -> None:
    """Stored in the middle and taken up again, it is the same sequence."""
    x = _data(kind, 4, (2, 300))
    sequence = kind(0.05, "both", _UNIT, **options)
    for part in np.split(x, 5, axis=1):
        sequence = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(sequence))))
        sequence.update(part)
    assert sequence.n == 300
    assert _bounds(sequence) == _bounds(_fed(kind, x, options)), "resuming changed the bounds"


def bounds_are_nested_in_time(kind: Kind, **options: Any) -> None:
    """Where it says so, a bound never gets worse with time."""
    if not kind.nested:
        return
    for p in (0.2, 0.9):
        votes = (np.random.default_rng(5).random((3, 400)) < p) * 1.0
        sequence = kind(0.05, "both", _UNIT, **options)
        low, high = np.zeros(3), np.ones(3)
        # Up to here all is well; then the streams turn.
        for chunk in (*np.split(votes, 40, axis=1), *np.split(1.0 - votes, 40, axis=1)):
            sequence.update(chunk)
            assert (sequence.lower >= low).all(), f"lower fell from {low} at n = {sequence.n}"
            assert (sequence.upper <= high).all(), f"upper rose from {high} at n = {sequence.n}"
            low, high = sequence.lower, sequence.upper


def two_sides(kind: Kind, **options: Any) -> None:
    """One side leaves the other end of the support; by default the sides are treated alike."""
    x = _data(kind, 6, (2, 400))
    both = _fed(kind, x, options)
    assert (both.lower <= both.upper).all()
    if not options:
        mirrored = _fed(kind, 1.0 - x, options)
        np.testing.assert_allclose(both.lower, 1.0 - mirrored.upper, rtol=0, atol=2e-9)
        np.testing.assert_allclose(both.upper, 1.0 - mirrored.lower, rtol=0, atol=2e-9)
    low, high = kind(0.05, "lower", _UNIT, **options), kind(0.05, "upper", _UNIT, **options)
    low.update(x)
    high.update(x)
    assert (low.upper == 1.0).all(), f"side 'lower' has the upper bound {low.upper}"
    assert (high.lower == 0.0).all(), f"side 'upper' has the lower bound {high.lower}"
    assert (low.lower >= both.lower - 1e-6).all(), "a single side is wider than both together"
    assert (high.upper <= both.upper + 1e-6).all(), "a single side is wider than both together"


def scaling_moves_the_bounds_along(kind: Kind, **options: Any) -> None:
    """The support is a unit like any other, and no bound leaves it."""
    x = _data(kind, 7, (2, 300))
    plain = _fed(kind, x, options)
    moved = kind(0.05, "both", (-3.0, 5.0), **options)
    moved.update(-3.0 + 8.0 * x)
    for there, here in ((moved.lower, plain.lower), (moved.upper, plain.upper)):
        np.testing.assert_allclose(there, -3.0 + 8.0 * here, rtol=0, atol=2e-8)
        assert ((there >= -3.0) & (there <= 5.0)).all()


def smaller_alpha_never_tightens(kind: Kind, **options: Any) -> None:
    """Less error probability cannot buy a tighter bound."""
    x = _data(kind, 8, (2, 200))
    found = [_fed(kind, x, options, alpha) for alpha in (0.3, 0.05, 1e-3, 1e-9, 1e-100)]
    for wide, narrow in zip(found[1:], found[:-1], strict=True):
        assert (wide.lower <= narrow.lower + 1e-9).all(), f"{wide.lower} above {narrow.lower}"
        assert (wide.upper >= narrow.upper - 1e-9).all(), f"{wide.upper} below {narrow.upper}"


def extreme_streams(kind: Kind, **options: Any) -> None:
    """Constant streams, at every alpha and from the first sample on, stay in range."""
    rows = np.array([[0.0] * 60, [1.0] * 60, [0.0, 1.0] * 30])
    for alpha in (0.999999, 0.5, 1e-3, 1e-300):
        sequence = kind(alpha, "both", _UNIT, **options)
        for a, b in ((0, 1), (1, 2), (2, 60)):
            sequence.update(rows[:, a:b])
            low, high = sequence.lower, sequence.upper
            where = f"alpha {alpha}, n = {b}: {low}, {high}"
            assert ((low >= 0) & (high <= 1)).all(), where
            assert low[0] == 0, where
            assert high[1] == 1, where
            if alpha < 0.5:
                assert (low <= high).all(), where
            # P(only ones up to n) is p^n: no valid bound excludes p with p^n > alpha.
            assert low[1] <= alpha ** (1 / b), where
            assert high[0] >= 1 - alpha ** (1 / b) - 1e-15, where


def _over_paths(kind: Kind, options: dict[str, Any], alpha: float, side: Side) -> list[float]:
    """Exact chance for each p that it is ever left within a few draws: every path is followed."""
    paths = np.array(list(itertools.product((0.0, 1.0), repeat=_PATHS)))
    sequence = kind(alpha, side, _UNIT, **options)
    wrong = np.zeros((len(_CHANCES), len(paths)), dtype=bool)
    for t in range(_PATHS):
        sequence.update(paths[:, t : t + 1])
        low, high = sequence.lower, sequence.upper
        for i, p in enumerate(_CHANCES):
            wrong[i] |= (low > p + 1e-12) | (high < p - 1e-12)
    ones = paths.sum(axis=1)
    law = [p**ones * (1.0 - p) ** (_PATHS - ones) for p in _CHANCES]
    return [float(chance[bad].sum()) for chance, bad in zip(law, wrong, strict=True)]


def _over_counts(kind: Kind, options: dict[str, Any], alpha: float, side: Side) -> list[float]:
    """The same for longer, where paths with as many ones have the same bounds; else nothing."""
    try:
        fresh = kind(alpha, side, _UNIT, **options)
        return list(anytime_coverage(fresh, _CHANCES, _COUNTS).errors)
    except OrderMatters:
        return []


def any_time_error_exactly(kind: Kind, **options: Any) -> None:
    """The mean of a vote is left, ever, with at most the stated probability.

    Every path of a few draws is followed. Where the bounds depend on the counts alone, the
    paths merge, and exact dynamic programming follows them for longer.
    """
    cases: tuple[tuple[float, Side], ...]
    cases = ((0.3, "lower"), (0.3, "upper"), (0.3, "both"), (0.05, "both"))
    for alpha, side in cases:
        for draws, errors in (
            (_PATHS, _over_paths(kind, options, alpha, side)),
            (_COUNTS, _over_counts(kind, options, alpha, side)),
        ):
            for error, p in zip(errors, _CHANCES, strict=False):
                assert error <= alpha + 1e-12, (
                    f"the mean {p} of votes was left with probability {error} within {draws} "
                    f"draws, at alpha {alpha}, side {side!r}"
                )


def any_time_error_by_simulation(kind: Kind, **options: Any) -> None:
    """Looked at ever so often, long streams leave their mean no more often than stated.

    A valid sequence fails here with probability 3e-6 at most (`assert_error_rate`).
    """
    looks = np.unique(np.geomspace(1, 1000, 15).astype(int))
    rng = np.random.default_rng(9)
    votes = [((rng.random((250, 1000)) < p) * 1.0, p) for p in (0.5, 0.9)]
    scores = [] if kind.two_point else [(rng.beta(20, 2, (250, 1000)), 20 / 22)]
    for x, mean in votes + scores:
        sequence = kind(0.1, "both", _UNIT, **options)
        wrong = np.zeros(len(x), dtype=bool)
        for a, b in itertools.pairwise((0, *looks.tolist())):
            sequence.update(x[:, a:b])
            wrong |= (sequence.lower > mean + 1e-12) | (sequence.upper < mean - 1e-12)
        assert_error_rate(int(wrong.sum()), len(x), 0.1)


#: Each check of the contract, by name.
SEQUENCE_CHECKS: dict[str, Callable[..., None]] = by_name(
    declares_itself,
    before_the_first_chunk,
    chunks_do_not_matter,
    a_row_is_alone,
    a_refused_chunk_leaves_it_as_it_was,
    a_pickle_goes_on,
    bounds_are_nested_in_time,
    two_sides,
    scaling_moves_the_bounds_along,
    smaller_alpha_never_tightens,
    extreme_streams,
    any_time_error_exactly,
    any_time_error_by_simulation,
)


def sequence_cases(kind: Kind) -> Iterator[Case]:
    """Every check of a confidence sequence with its default options."""
    for name, check in SEQUENCE_CHECKS.items():

        def run(check: Callable[..., None] = check) -> None:
            check(kind)

        yield Case(f"any-time form: {name}", {}, run)


def check_sequence(kind: Kind, **options: Any) -> None:
    """Put a confidence sequence through every check of the contract.

    Parameters
    ----------
    kind : type[ConfidenceSequence]
        The class, the any-time form of a mean method.
    **options
        Options with which it is to be checked.

    Raises
    ------
    AssertionError
        What it breaks.

    Examples
    --------
    >>> from rsbounds.bounds.mean import MEAN_METHODS
    >>> from rsbounds.testing.contracts import check_sequence
    >>> check_sequence(MEAN_METHODS["prpl-eb"].sequence)
    """
    for check in SEQUENCE_CHECKS.values():
        check(kind, **options)
