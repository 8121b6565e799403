"""Hypothesis strategies for counts (extra ``testing``)."""

from __future__ import annotations

try:
    from hypothesis import strategies as st
except ImportError:
    raise ImportError(
        "rsbounds.testing.strategies needs hypothesis; install rsbounds[testing]"
    ) from None


def alphas(low: float = 1e-12, high: float = 0.5) -> st.SearchStrategy[float]:
    """Error probabilities, spread evenly over their orders of magnitude."""
    import math

    return st.floats(math.log(low), math.log(high)).map(lambda x: min(max(math.exp(x), low), high))


def count_rows(
    min_classes: int = 2, max_classes: int = 6, max_n: int = 10**9
) -> st.SearchStrategy[list[int]]:
    """Count vectors with n >= 1, from nearly empty to very large, zeros and ties included."""
    magnitude = st.integers(0, len(str(max_n)) - 1)
    count = magnitude.flatmap(lambda m: st.integers(0, 10**m)) | st.sampled_from([0, 0, 1, 2, 5])

    def cut(row: list[int]) -> list[int]:
        total = sum(row)
        if total > max_n:
            row = [c * max_n // total for c in row]
        if sum(row) == 0:
            row = [1, *row[1:]]
        return row

    return st.lists(count, min_size=min_classes, max_size=max_classes).map(cut)
