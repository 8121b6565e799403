"""What goes in and what comes out: frozen records of arrays, one entry per input."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rsbounds import _text

if TYPE_CHECKING:
    import pandas

#: How sure a statement is. ``proven``: its error probability is at most alpha by a theorem.
#: ``enumerated``: no proof is known; complete enumeration of small cases found no violation.
#: ``none``: the conditions of the theorem were not met (the top class was chosen from the
#: estimation counts themselves).
Guarantee = Literal["proven", "enumerated", "none"]
Scale = Literal["linear", "probit"]


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Counts:
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
    """

    values: NDArray[np.int64]
    role: Literal["select", "estimate"]
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values))

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws per input."""
        return np.asarray(self.values.sum(axis=1))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != self.values.dtype:
            return self.values.astype(dtype)
        return self.values.copy() if copy else self.values

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class BoundedSamples:
    """Scores of a soft classifier under noise at one input.

    Attributes
    ----------
    values : (n, K) float64
        One row per draw.
    support : (float, float)
        Interval that contains every score.
    seed : int
        Seed of the noise streams.
    """

    values: NDArray[np.float64]
    support: tuple[float, float]
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None and np.dtype(dtype) != self.values.dtype:
            return self.values.astype(dtype)
        return self.values.copy() if copy else self.values

    def __len__(self) -> int:
        return len(self.values)


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
    """

    top: NDArray[np.int64]
    counts: NDArray[Any]

    def __len__(self) -> int:
        return len(self.top)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of PREDICT: the class with most votes, or an abstention.

    Attributes
    ----------
    top : (B,) int64
        Class with most votes.
    abstained : (B,) bool
        True where the two leading classes could not be told apart at level alpha.
    p_value : (B,) float64
        Two-sided p-value of the two leading counts, rounded up.
    alpha : float
        Probability of returning a class other than the smoothed classifier's answer.
    """

    top: NDArray[np.int64]
    abstained: NDArray[np.bool_]
    p_value: NDArray[np.float64]
    alpha: float

    def __len__(self) -> int:
        return len(self.top)


@dataclass(frozen=True, eq=False)
class MarginBound:
    """Lower bounds on the margin between a top class and every other class.

    Attributes
    ----------
    lower : (B,) float64
        The bounds, on ``scale``; -1 (linear) or -inf (probit) where nothing is known.
    top, n : (B,) int64
        Class the bound is about, and draws it rests on.
    alpha : float
        Error probability of each row's statement.
    scale : {"linear", "probit"}
        p_A - p_c, or Phi^-1(p_A) - Phi^-1(p_c).
    method : str
        Registered name of the method.
    guarantee : {"proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    certified : (B,) bool
        False where an inner solver could not prove its answer; the bound is then only as
        good as the solver.
    details : mapping of str to (B,) arrays
        What the method has to say besides, such as ``p_a_lower`` and ``p_b_upper``.
    """

    lower: NDArray[np.float64]
    top: NDArray[np.int64]
    n: NDArray[np.int64]
    alpha: float
    scale: Scale
    method: str
    guarantee: Guarantee
    certified: NDArray[np.bool_]
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lower)


@dataclass(frozen=True, eq=False)
class MeanBound:
    """Bounds on the mean of bounded samples.

    Attributes
    ----------
    lower, upper : (B,) float64
        The bounds; the end of the support on a side that was not asked for.
    side : {"lower", "upper", "both"}
        Which sides hold together at level alpha.
    n : (B,) int64
        Samples each bound rests on.
    alpha : float
        Error probability of the statement.
    support : (float, float)
        Interval that contains every sample.
    method : str
        Registered name of the method.
    guarantee : {"proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    details : mapping of str to (B,) arrays
        ``two_point``: True where every sample is one of the two ends of the support.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    side: Literal["lower", "upper", "both"]
    n: NDArray[np.int64]
    alpha: float
    support: tuple[float, float]
    method: str
    guarantee: Guarantee
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lower)


@dataclass(frozen=True)
class Certificate:
    """One row of `Certificates`."""

    index: int
    top: int
    radius: float
    abstained: bool
    margin_lower: float
    n: int
    alpha: float
    method: str
    guarantee: Guarantee
    certified: bool
    noise: str
    norm: str

    def __str__(self) -> str:
        if self.abstained:
            return f"input {self.index}: abstained"
        return (
            f"input {self.index}: class {self.top} within {self.norm} radius "
            f"{_text.down(self.radius)} ({self.method}, error probability {self.alpha:g})"
        )


@dataclass(frozen=True, eq=False)
class Certificates:
    """Certified radii: with probability at least 1 - alpha, per row, no perturbation
    smaller than ``radius`` changes the smoothed classifier's answer ``top``.

    Attributes
    ----------
    top : (B,) int64
        Certified class (meaningless where abstained).
    radius : (B,) float64
        Radius in units of the raw input, in the norm ``norm``; 0 where abstained.
    abstained : (B,) bool
        True where the margin's lower bound is not above 0.
    margin_lower : (B,) float64
        The bound that the radius comes from, on ``scale``.
    n : (B,) int64
        Draws per input.
    alpha, method, guarantee, certified, scale
        As in `MarginBound`.
    noise : str
        The noise law with its parameters.
    norm : str
        Norm of the radius.
    """

    top: NDArray[np.int64]
    radius: NDArray[np.float64]
    abstained: NDArray[np.bool_]
    margin_lower: NDArray[np.float64]
    n: NDArray[np.int64]
    alpha: float
    method: str
    guarantee: Guarantee
    certified: NDArray[np.bool_]
    noise: str
    norm: str
    scale: Scale
    index: NDArray[np.int64]

    _ROWS = ("index", "top", "radius", "abstained", "margin_lower", "n", "certified")

    def __len__(self) -> int:
        return len(self.top)

    @overload
    def __getitem__(self, key: int) -> Certificate: ...

    @overload
    def __getitem__(self, key: slice | NDArray[Any]) -> Certificates: ...

    def __getitem__(self, key: Any) -> Certificate | Certificates:
        if isinstance(key, (int, np.integer)):
            values = {name: getattr(self, name)[key].item() for name in self._ROWS}
            shared = {
                f.name: getattr(self, f.name)
                for f in fields(Certificate)
                if f.name not in self._ROWS
            }
            return Certificate(**values, **shared)
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen.update({name: getattr(self, name)[key] for name in self._ROWS})
        return Certificates(**chosen)

    def __iter__(self) -> Iterator[Certificate]:
        return (self[i] for i in range(len(self)))

    def __str__(self) -> str:
        return self.table(20)

    def table(self, rows: int | None = None) -> str:
        """A table for a terminal; radii and margins rounded down.

        Parameters
        ----------
        rows : int, optional
            Show no more than the first ``rows``.
        """
        shown = self if rows is None else self[:rows]
        body = [
            [
                str(c.index),
                "-" if c.abstained else str(c.top),
                "abstained" if c.abstained else _text.down(c.radius),
                _text.down(c.margin_lower),
                str(c.n),
            ]
            for c in shown
        ]
        text = _text.table(["input", "class", "radius", "margin", "n"], body)
        if len(shown) < len(self):
            text += f"\n... {len(self) - len(shown)} more rows"
        certified = int((~self.abstained).sum())
        mean = float(self.radius.mean()) if len(self) else 0.0
        text += (
            f"\n{certified} of {len(self)} certified, mean {self.norm} radius "
            f"{_text.down(mean, 5)}\n{self.noise}, {self.method}, alpha {self.alpha:g}, "
            f"guarantee: {self.guarantee}"
        )
        return text

    def records(self) -> Iterator[dict[str, Any]]:
        """One dictionary per row, every field a plain value that JSON can carry."""
        for certificate in self:
            row = {f.name: getattr(certificate, f.name) for f in fields(certificate)}
            if math.isinf(row["margin_lower"]):
                row["margin_lower"] = None
            yield row

    def to_tsv(self, path: str | os.PathLike[str]) -> None:
        """Write one line per row, tab-separated, numbers in full precision."""
        names = [f.name for f in fields(Certificate)]
        with _text.complete_file(path) as stream:
            stream.write("\t".join(names) + "\n")
            for certificate in self:
                cells = (getattr(certificate, name) for name in names)
                stream.write(
                    "\t".join(str(int(c)) if isinstance(c, bool) else str(c) for c in cells) + "\n"
                )

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object per line; a margin of -inf becomes null."""
        with _text.complete_file(path) as stream:
            for row in self.records():
                stream.write(json.dumps(row, allow_nan=False) + "\n")

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame (needs pandas: install ``rsbounds[all]``)."""
        try:
            import pandas
        except ImportError:
            raise ImportError("to_pandas needs pandas; install rsbounds[all]") from None
        return pandas.DataFrame(
            {f.name: getattr(self, f.name) for f in fields(Certificate)}, index=self.index
        )
