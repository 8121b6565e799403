"""Votes and scores, the classes that they choose, and the answers of PREDICT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rsbounds._types._common import NO_CLASS, frozen, pandas_package

if TYPE_CHECKING:
    import pandas


class _Table:
    """A record whose numbers numpy takes as they are."""

    values: NDArray[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", frozen(self.values))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != self.values.dtype:
            return self.values.astype(dtype)
        return self.values.copy() if copy else self.values

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Counts(_Table):
    """Votes of a classifier under noise, with where they came from.

    Attributes
    ----------
    values : (B, K) int64
        Votes for each of K classes at each of B inputs.
    role : {"select", "estimate"}
        ``select`` counts choose the top class; ``estimate`` counts bound its margin. The two
        come from independent noise streams.
    seed : int
        Seed of the noise streams.
    lattice : float or None
        Spacing of the lattice that the noise was drawn on, exactly; None where it was floats.
    offset : mapping or None
        On a lattice, (B,) distances of the inputs from it, rounded up, by norm ("l1", "l2").
    cells : int or None
        Of a law that is enumerated, the number of its cells; None where the votes are of a sample.
    """

    values: NDArray[np.int64]
    role: Literal["select", "estimate"]
    seed: int
    lattice: float | None = field(default=None, kw_only=True)
    offset: Mapping[str, NDArray[np.float64]] | None = field(default=None, kw_only=True)
    cells: int | None = field(default=None, kw_only=True)

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws per input."""
        return np.asarray(self.values.sum(axis=1))

    def __repr__(self) -> str:
        inputs, classes = self.values.shape
        return f"Counts({inputs} inputs, {classes} classes, {self.role}, seed {self.seed})"


@dataclass(frozen=True, eq=False)
class BoundedSamples(_Table):
    """Scores of a soft classifier under noise, at one input or at several.

    Attributes
    ----------
    values : (n, K) or (B, n, K) float64
        One row per draw.
    support : (float, float)
        Interval that contains every score.
    seed : int
        Seed of the noise streams.
    lattice, offset
        As in `Counts`, of one input or of B.
    """

    values: NDArray[np.float64]
    support: tuple[float, float]
    seed: int
    lattice: float | None = field(default=None, kw_only=True)
    offset: Mapping[str, NDArray[np.float64]] | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        *inputs, draws, classes = self.values.shape
        low, high = self.support
        of = "".join(f"{many} inputs, " for many in inputs)
        return (
            f"BoundedSamples({of}{draws} draws, {classes} classes, support [{low:g}, {high:g}], "
            f"seed {self.seed})"
        )


@dataclass(frozen=True, eq=False)
class Selection:
    """Top classes chosen from selection counts, which it remembers.

    Attributes
    ----------
    top : (B,) int64
        The class with most votes at each input (the lowest index on a tie).
    counts : (B, K) array
        The selection counts. They must not be the estimation counts: a bound computed from
        the counts that chose its class is not covered by any theorem here.
    independent : bool
        True where the caller vouches that the estimation counts are of another sample, even
        if they should be equal.
    """

    top: NDArray[np.int64]
    counts: NDArray[Any]
    independent: bool = False

    def __len__(self) -> int:
        return len(self.top)

    def __repr__(self) -> str:
        vouched = ", said to be independent" if self.independent else ""
        return f"Selection({len(self)} inputs{vouched})"


@dataclass(frozen=True)
class Prediction:
    """One row of `Predictions`; ``top`` is None where it abstained.

    ``candidate`` is None where a draw had no valid answer.
    """

    top: int | None
    candidate: int | None
    abstained: bool
    p_value: float
    alpha: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of PREDICT: the class with most votes, or an abstention.

    ``predictions[3]`` is one `Prediction`; a slice, a mask or a list of rows gives `Predictions`.

    Attributes
    ----------
    candidate : (B,) int64
        Class with most votes; `rsbounds.NO_CLASS` where a draw had no valid answer.
    abstained : (B,) bool
        True where the two leading classes could not be told apart at level alpha.
    p_value : (B,) float64
        Two-sided p-value of the two leading counts, rounded up.
    alpha : float
        Probability of returning a class other than the smoothed classifier's answer.
    """

    candidate: NDArray[np.int64]
    abstained: NDArray[np.bool_]
    p_value: NDArray[np.float64]
    alpha: float

    @cached_property
    def top(self) -> NDArray[np.int64]:
        """(B,) the class returned; `rsbounds.NO_CLASS`, which equals no label, where abstained."""
        return frozen(np.where(self.abstained, NO_CLASS, self.candidate))

    def __len__(self) -> int:
        return len(self.candidate)

    @overload
    def __getitem__(self, key: int) -> Prediction: ...

    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> Predictions: ...

    def __getitem__(self, key: Any) -> Prediction | Predictions:
        if not isinstance(key, (int, np.integer)):
            rows = (self.candidate[key], self.abstained[key], self.p_value[key])
            return Predictions(*rows, self.alpha)
        top, candidate = (
            None if c == NO_CLASS else int(c) for c in (self.top[key], self.candidate[key])
        )
        return Prediction(
            top, candidate, bool(self.abstained[key]), float(self.p_value[key]), self.alpha
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[i] for i in range(len(self)))

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame; ``top`` is missing (NaN equals no label) where one abstained.

        Needs pandas: install ``rsbounds[all]``.
        """
        columns = {
            "top": np.where(self.abstained, np.nan, self.candidate),
            "abstained": self.abstained,
            "p_value": self.p_value,
            "alpha": self.alpha,
        }
        return pandas_package().DataFrame(columns)

    def __repr__(self) -> str:
        answered = int((~self.abstained).sum())
        return f"Predictions({len(self)} inputs, {answered} answered, alpha {self.alpha:g})"
