"""Hoeffding's bound: the range and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._numerics import EPS
from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod


@dataclass(frozen=True)
class Hoeffding(MeanMethod):
    """Sample mean - sqrt(ln(1/alpha) / (2n)).

    With probability at least 1 - alpha the mean is at least that (Hoeffding 1963, Theorem 2).
    The yardstick that ignores the variance; no parameters.
    """

    name: ClassVar[str] = "hoeffding"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Hoeffding 1963, Theorem 2"
    cost: ClassVar[str] = "one pass per row"
    choose: ClassVar[str] = "as a yardstick: every other method here adapts to the variance"

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        n = y.shape[1]
        width = math.sqrt(-math.log(alpha) / (2.0 * n))
        return np.asarray(np.maximum(y.mean(axis=1) - width - (n + 8) * EPS, 0.0))
