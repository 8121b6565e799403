"""Hypothesis strategies for what bounds are given (extra ``testing``).

Each leads with its simplest kind, so that a failing example shrinks towards few classes, small
counts and short samples, and mixes in the places where bounds break.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.bounds.mean._samples import checked_support
from rsbounds.testing.linear import LinearClassifier

try:
    from hypothesis import strategies as st
except ImportError:
    raise ImportError(
        "rsbounds.testing.strategies needs hypothesis; install rsbounds[testing]"
    ) from None


def alphas(low: float = 1e-12, high: float = 0.5) -> st.SearchStrategy[float]:
    """Error probabilities, spread evenly over their orders of magnitude."""
    return st.floats(math.log(low), math.log(high)).map(lambda x: min(max(math.exp(x), low), high))


def _checked_sizes(low: int, high: int, least: int, what: str) -> None:
    _validate.integer(f"min_{what}", low, low=least)
    _validate.integer(f"max_{what}", high, low=low)


def counts(
    min_classes: int = 2, max_classes: int = 6, max_n: int = 10**9
) -> st.SearchStrategy[list[int]]:
    """Count vectors with 1 <= n <= max_n, from nearly empty to very large.

    Besides counts of every magnitude: n next to max_n, zeros, ties between classes, margins of
    one vote, and saturated rows (all votes for one class).

    Examples
    --------
    >>> from hypothesis import find
    >>> from rsbounds.testing.strategies import counts
    >>> find(counts(), lambda row: row[0] == row[1])
    [1, 1]
    """
    _checked_sizes(min_classes, max_classes, 2, "classes")
    _validate.integer("max_n", max_n, low=1, high=_validate.MAX_N)
    magnitude = st.integers(0, len(str(max_n)) - 1)
    count = magnitude.flatmap(lambda m: st.integers(0, 10**m)) | st.sampled_from([0, 0, 1, 2, 5])

    def sized(entry: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
        return st.lists(entry, min_size=min_classes, max_size=max_classes)

    def cut(row: list[int]) -> list[int]:
        total = sum(row)
        if total > max_n:
            row = [c * max_n // total for c in row]
        if sum(row) == 0:
            row = [1, *row[1:]]
        return row

    def tie(pair: tuple[int, list[int], int]) -> list[int]:
        most, others, extra = pair
        # The first two are equal, or one vote apart, and no other is above them.
        return [most + extra, most, *(c % (most + 1) for c in others[2:])]

    def one(pair: tuple[list[int], int]) -> list[int]:
        row, place = pair
        return [sum(row) if i == place % len(row) else 0 for i in range(len(row))]

    def large(row: list[int]) -> list[int]:
        return [c * (max_n // max(sum(row), 1)) for c in row]

    return st.one_of(
        sized(count).map(cut),
        sized(st.integers(0, 20)).map(large).map(cut),
        st.tuples(count, sized(count), st.sampled_from([0, 1])).map(tie).map(cut),
        st.tuples(sized(count), st.integers(0, max_classes - 1)).map(one).map(cut),
    )


def probabilities(
    min_classes: int = 2, max_classes: int = 6
) -> st.SearchStrategy[NDArray[np.float64]]:
    """(K,) class probabilities: small fractions, zeros and ones, ties, and nearly all of these.

    Examples
    --------
    >>> from hypothesis import find
    >>> from rsbounds.testing.strategies import probabilities
    >>> find(probabilities(), lambda p: p[0] == p[1]).tolist()
    [0.5, 0.5]
    """
    _checked_sizes(min_classes, max_classes, 2, "classes")
    weights = st.lists(st.integers(0, 20), min_size=min_classes, max_size=max_classes)

    def fractions(row: list[int]) -> NDArray[np.float64]:
        table = np.array(row if any(row) else [1, *row[1:]], dtype=np.float64)
        return np.asarray(table / table.sum())

    def moved(pair: tuple[NDArray[np.float64], float]) -> NDArray[np.float64]:
        p, share = pair
        other = np.roll(p, 1)
        return np.asarray((1.0 - share) * p + share * other)

    simple = weights.map(fractions)
    near = st.sampled_from([1e-3, 1e-6, 1e-12])
    return st.one_of(simple, st.tuples(simple, near).map(moved))


def multinomial_rows(
    min_classes: int = 2, max_classes: int = 6, max_n: int = 10**6, max_rows: int = 4
) -> st.SearchStrategy[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Class probabilities (K,) and (B, K) counts drawn from them, one n for all rows.

    Examples
    --------
    >>> from hypothesis import find
    >>> from rsbounds.testing.strategies import multinomial_rows
    >>> p, rows = find(multinomial_rows(), lambda found: True)
    >>> p.tolist(), rows.tolist()
    ([1.0, 0.0], [[1, 0]])
    """
    _validate.integer("max_n", max_n, low=1, high=_validate.MAX_N)
    _validate.integer("max_rows", max_rows, low=1)
    magnitude = st.integers(0, len(str(max_n)) - 1)
    size = magnitude.flatmap(lambda m: st.integers(1, min(10**m, max_n)))

    def drawn(
        given: tuple[NDArray[np.float64], int, int, int],
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        p, n, rows, seed = given
        # numpy wants the first K - 1 to stay below 1 after rounding.
        table = np.random.default_rng(seed).multinomial(n, p / max(1.0, p.sum()), size=rows)
        return p, table.astype(np.int64)

    return st.tuples(
        probabilities(min_classes, max_classes), size, st.integers(1, max_rows),
        st.integers(0, 2**32 - 1),
    ).map(drawn)  # fmt: skip


def bounded_samples(
    min_size: int = 2, max_size: int = 60, support: tuple[float, float] = (0.0, 1.0)
) -> st.SearchStrategy[NDArray[np.float64]]:
    """(n,) samples in the support, of the kinds that mean bounds break on.

    Few and many values; the two ends alone; nearly constant ones; most of them at an end, the
    rest a hair from it; and against bounds that adapt to the variance, a long constant stretch
    with a jump to an end, early, late or last.

    Examples
    --------
    >>> from hypothesis import find
    >>> from rsbounds.testing.strategies import bounded_samples
    >>> find(bounded_samples(), lambda x: x.max() > 0.5).tolist()
    [0.0, 1.0]
    """
    _checked_sizes(min_size, max_size, 1, "size")
    a, b = checked_support(support)
    size = st.integers(min_size, max_size)

    def lists(entry: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
        return st.lists(entry, min_size=min_size, max_size=max_size)

    def jump(given: tuple[int, float, float, float]) -> list[float]:
        n, level, end, place = given
        row = [level] * n
        row[min(int(place * n), n - 1)] = end
        return row

    def near(given: tuple[int, float, float, int]) -> list[float]:
        n, level, gap, seed = given
        steps = np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], size=n)
        return list(np.clip(level + gap * steps, 0.0, 1.0))

    ends = st.sampled_from([0.0, 1.0])
    unit = st.floats(0.0, 1.0)
    hairs = st.sampled_from([0.0, 1.0, 5e-324, 1e-17, 1e-9, 1.0 - 1e-9, math.nextafter(1.0, 0.0)])
    gaps = st.sampled_from([1e-3, 1e-9, 1e-15])
    places = st.sampled_from([0.0, 0.5, 1.0])

    def placed(row: list[float]) -> NDArray[np.float64]:
        return np.clip(a + (b - a) * np.array(row, dtype=np.float64), a, b)

    return st.one_of(
        lists(ends),
        lists(st.sampled_from([0.0, 0.5, 1.0]) | unit),
        lists(hairs),
        st.tuples(size, unit, gaps, st.integers(0, 2**32 - 1)).map(near),
        st.tuples(size, hairs | unit, ends, places).map(jump),
    ).map(placed)


def score_matrices(
    min_rows: int = 1, max_rows: int = 8, min_classes: int = 2, max_classes: int = 6
) -> st.SearchStrategy[NDArray[np.float64]]:
    """(n, K) rows of scores >= 0 that add to 1: one-hot ones, ties, and softmax of any logits.

    Examples
    --------
    >>> from hypothesis import find
    >>> from rsbounds.testing.strategies import score_matrices
    >>> find(score_matrices(), lambda s: len(s) == 2).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    _checked_sizes(min_rows, max_rows, 1, "rows")
    _checked_sizes(min_classes, max_classes, 2, "classes")

    def one_hot(given: tuple[int, int]) -> NDArray[np.float64]:
        k, place = given
        return np.asarray(np.eye(k)[place % k])

    def softmax(row: list[float]) -> NDArray[np.float64]:
        e = np.exp(np.array(row) - max(row))
        return np.asarray(e / e.sum())

    def rows(k: int) -> st.SearchStrategy[NDArray[np.float64]]:
        row: Any = st.one_of(
            st.tuples(st.just(k), st.integers(0, k - 1)).map(one_hot),
            probabilities(k, k),
            st.lists(st.floats(-700.0, 700.0), min_size=k, max_size=k).map(softmax),
        )
        return st.lists(row, min_size=min_rows, max_size=max_rows).map(np.array)

    return st.integers(min_classes, max_classes).flatmap(rows)


def linear_classifiers(
    min_inputs: int = 1, max_inputs: int = 5
) -> st.SearchStrategy[LinearClassifier]:
    """Linear classifiers on inputs of d numbers, whose smoothed answers are known.

    Examples
    --------
    >>> from hypothesis import find
    >>> from rsbounds.testing.strategies import linear_classifiers
    >>> find(linear_classifiers(), lambda line: len(line.weights) == 2)
    LinearClassifier(weights=(1.0, 0.0), offset=0.0)
    """
    _checked_sizes(min_inputs, max_inputs, 1, "inputs")
    weight = st.floats(-1e3, 1e3, allow_subnormal=False)

    def built(given: tuple[list[float], float]) -> LinearClassifier:
        weights, offset = given
        if math.hypot(*weights) < 1e-100:
            weights = [1.0, *weights[1:]]
        return LinearClassifier(tuple(weights), offset)

    return st.tuples(st.lists(weight, min_size=min_inputs, max_size=max_inputs), weight).map(built)
