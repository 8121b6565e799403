"""What sequential rules are given, checked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Selection
from rsbounds.bounds.margin._copies import refuse_copies
from rsbounds.certificates.complete import sampled_only
from rsbounds.claims import checked_claim
from rsbounds.noises import Noise


def checked_law(noise: Any) -> Noise:
    """A law of noise."""
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    sampled_only(noise, "rules that stop")
    return noise


def checked_scale(noise: Any) -> Noise:
    """A law whose radius is a multiple of the margin."""
    if checked_law(noise).curve_only:
        raise ValueError(
            f"noise is {noise}, known by its curve; allowed: laws with a margin scale, or "
            "no='futile' against all competitors"
        )
    return checked_law(noise)


def checked_curve(noise: Any) -> Noise:
    """A law that says how far a share of votes can move."""
    if isinstance(noise, Noise) and noise.curve_only:
        sampled_only(noise, "rules that stop")
        try:
            (noise[0] if noise.batch_shape else noise).roc(1.0, 0.25)
        except NotImplementedError:
            raise ValueError(
                f"noise is {noise}, a law without a curve; allowed: laws with a margin scale or "
                "a roc"
            ) from None
        return noise
    return checked_law(noise)


def checked_rows(
    radius: ArrayLike, top: ArrayLike | Selection
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(B,) radii above 0 and (B,) classes; one of either serves every row."""
    tops = checked_top(top)
    given = np.atleast_1d(_validate.array("radius", radius))
    if given.dtype.kind not in "iuf" or given.ndim > 1 or given.size == 0:
        raise ValueError(f"radius is {radius!r}; allowed: a number, or one for each row")
    values = given.astype(np.float64)
    if not ((values > 0) & np.isfinite(values)).all():
        raise ValueError(f"radius is {radius!r}; allowed: finite numbers > 0")
    if values.size != tops.size and 1 not in (values.size, tops.size):
        raise ValueError(
            f"radius has {values.size} entries; allowed: one, or one for each of {tops.size} rows"
        )
    rows = max(values.size, tops.size)
    return np.broadcast_to(values, (rows,)), np.broadcast_to(tops, (rows,))


def checked_top(top: ArrayLike | Selection) -> NDArray[np.int64]:
    """(B,) classes, a single one as (1,); their upper end is known with the first counts.

    `rsbounds.NO_CLASS` says that a row has no class to put to the test.
    """
    values = top.top if isinstance(top, Selection) else top
    indices = np.atleast_1d(_validate.array("top", values))
    if indices.size == 0:
        raise ValueError("top is empty; allowed: a class index, or one for each row")
    none = indices == NO_CLASS
    known = np.where(none, 0, indices) if none.any() else indices
    tops = _validate.class_indices(known, len(indices), _validate.MAX_N)
    return np.where(none, NO_CLASS, tops)


def checked_total(total: NDArray[np.int64]) -> None:
    """Refuse more draws in a row than every count can be trusted with."""
    if total.max() > _validate.MAX_N:
        row = int(np.argmax(total))
        raise ValueError(
            f"counts row {row} brings its draws to {total[row]}; allowed: at most "
            f"{_validate.MAX_N:.0e}"
        )


def checked_columns(fresh: NDArray[np.int64], before: NDArray[np.int64] | None) -> None:
    """Refuse votes for another number of classes than before."""
    if before is not None and fresh.shape != before.shape:
        raise ValueError(
            f"counts has {fresh.shape[1]} columns; allowed: {before.shape[1]} as before"
        )


def checked_sums(
    counts: ArrayLike,
    top: NDArray[np.int64],
    selection: Selection | None,
    before: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B, K) votes with those of `checked_increments`, and (B,) how many were added."""
    fresh, total = checked_increments(counts, top, selection, before)
    checked_columns(fresh, before)
    sums = fresh if before is None else before + fresh
    checked_total(sums.sum(axis=1))
    return sums, total


def checked_increments(
    counts: ArrayLike,
    top: NDArray[np.int64],
    selection: Selection | None,
    before: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B, K) votes since the last time, rows of zeros allowed, and their sums.

    Refuses the selection sample, by its memory or, together with the counts ``before``, by its
    values. Each row reaches the number of selection draws once at most, so that a pair of
    independent samples is compared once, however many updates there are.
    """
    table = _validate.count_table(counts)
    if len(table) != top.size:
        raise ValueError(f"counts has {len(table)} row(s); allowed: {top.size}, one per input")
    named = np.where(top == NO_CLASS, 0, top)
    checked_claim(
        named if selection is None else dataclasses.replace(selection, top=named), *table.shape
    )
    if selection is not None and np.shares_memory(selection.counts, table):
        raise ValueError(
            "top was selected from the counts that are given now; allowed: a selection from an "
            "independent sample"
        )
    # `count_rows` refuses rows without votes, which are fine here: they get a vote in a further
    # column, for the check alone.
    one = (table == 0).all(axis=1).astype(table.dtype)
    rows, _ = _validate.count_rows(np.concatenate([table, one[:, None]], axis=1))
    rows = rows[:, :-1]
    if selection is not None and not selection.independent:
        refuse_copies(selection.counts, rows if before is None else before + rows)
    return rows, rows.sum(axis=1)
