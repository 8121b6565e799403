"""Betting with the predictable plug-in, inverted exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod
from rsbounds.bounds.mean._capital import plug_in_rows
from rsbounds.bounds.mean._samples import Side, checked_cap
from rsbounds.bounds.mean._sequence import ConfidenceSequence, Remembering


class BettingSequence(Remembering):
    """Betting with the predictable plug-in; remembers every sample.

    With probability at least 1 - alpha the mean is never outside the bounds (Waudby-Smith and
    Ramdas 2023, section 4, one side at a time), with bets
    min(sqrt(2 ln(1/alpha)/(V_{t-1} t ln(1+t))), cap/m). A bound is computed when it is asked
    for, from the whole history, in about 60 ns per sample.
    """

    name = "betting"
    guarantee = "proven"
    source = "Waudby-Smith and Ramdas 2023, section 4"
    memory = "8 to 16 bytes per sample"
    choose = "to compare with the literature"

    def __init__(
        self, alpha: float, side: Side, support: tuple[float, float], cap: float = 0.5
    ) -> None:
        super().__init__(alpha, side, support)
        self.cap = checked_cap("cap", cap)

    def _invert(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        lower = np.empty(len(y))
        plug_in_rows(y, self._share, False, self.cap, lower)
        return lower


@dataclass(frozen=True)
class Betting(MeanMethod):
    """One side of the hedged capital process, capital inverted by a safe-side search.

    With probability at least 1 - alpha the mean is at least the bound: the largest candidate
    m whose capital, with bets min(sqrt(2 ln(1/alpha)/(n V_{t-1})), cap/m), ever reached
    1/alpha (Waudby-Smith and Ramdas 2023, section 4, with Ville's inequality). They hedge
    between both signs and search a grid; a one-sided bound needs one sign, and capital falls
    with m, so the search is exact.

    Parameters
    ----------
    cap : float
        Largest share of the capital that a sample of 0 can take, in (0, 0.999].
    """

    cap: float = 0.75

    name: ClassVar[str] = "betting"
    sequence: ClassVar[type[ConfidenceSequence]] = BettingSequence
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Waudby-Smith and Ramdas 2023, section 4 (hedged capital, one side)"
    cost: ClassVar[str] = "about a hundred multiplications per sample"
    choose: ClassVar[str] = "to compare with the literature; goal is tighter at a fixed n"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"cap": 0.99})

    def __post_init__(self) -> None:
        object.__setattr__(self, "cap", checked_cap("cap", self.cap))

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        lower = np.empty(len(y))
        plug_in_rows(y, alpha, True, self.cap, lower)
        return lower
