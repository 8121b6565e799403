"""The empirical Bernstein bound of Maurer and Pontil."""

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
class EmpiricalBernstein(MeanMethod):
    """Sample mean - sqrt(2 V ln(2/alpha) / n) - 7 ln(2/alpha) / (3 (n - 1)).

    With probability at least 1 - alpha the mean is at least that, V the unbiased sample
    variance (Maurer and Pontil 2009, Theorem 4). optimal-certified-radius, Proposition 2,
    prints ln(1/alpha) in both places, which the theorem does not prove. No parameters.
    """

    name: ClassVar[str] = "empirical-bernstein"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Maurer and Pontil 2009, Theorem 4"
    cost: ClassVar[str] = "two passes per row"
    choose: ClassVar[str] = "as the paper's baseline, and where speed is all that matters"

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        n = y.shape[1]
        log_term = (math.log(2.0) - math.log(alpha)) * (1.0 + 4.0 * EPS)
        error = (n + 8) * EPS
        mean = y.mean(axis=1)
        # The two-pass sum of squares about a rounded mean is never below the exact one by
        # more than its own rounding.
        variance = np.square(y - mean[:, None]).sum(axis=1) * (1.0 + 2.0 * error) / (n - 1)
        width = np.sqrt(2.0 * variance * log_term / n) + 7.0 * log_term / (3.0 * (n - 1))
        return np.asarray(np.maximum(mean - width * (1.0 + 8.0 * EPS) - error, 0.0))
