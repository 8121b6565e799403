"""Bounds on margins and on means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rsbounds import _text
from rsbounds._types._common import Guarantee, Scale


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
    guarantee : {"deterministic", "proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    solved : (B,) bool
        False where an inner solver could not prove its answer; the bound is then only as
        good as the solver.
    details : mapping of str to (B,) arrays
        What the method has to say besides, such as ``p_a_lower`` and ``p_b_upper``.
    options : mapping of str to plain values
        Options of the method.
    """

    lower: NDArray[np.float64]
    top: NDArray[np.int64]
    n: NDArray[np.int64]
    alpha: float
    scale: Scale
    method: str
    guarantee: Guarantee
    solved: NDArray[np.bool_]
    details: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lower)

    def __repr__(self) -> str:
        return (
            f"MarginBound({len(self)} rows, {self.scale}, {self.method}, alpha {self.alpha:g}, "
            f"{self.guarantee})"
        )


@dataclass(frozen=True, eq=False)
class MeanBound:
    """Bounds on the mean of bounded samples; ``low, high = bound`` gives both ends.

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

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        # A pair, and so without a length: that of the pair is not that of the columns.
        return iter((self.lower, self.upper))

    def __repr__(self) -> str:
        what = f"{self.n.size} means"
        if self.n.size == 1:
            what = f"[{_text.down(self.lower[0])}, {_text.up(self.upper[0])}]"
        return (
            f"MeanBound({what}, side {self.side}, {self.method}, alpha {self.alpha:g}, "
            f"{self.guarantee})"
        )
