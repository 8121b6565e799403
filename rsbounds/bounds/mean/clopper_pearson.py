"""Clopper-Pearson for samples that can only be the two ends of the support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod


@dataclass(frozen=True)
class ClopperPearson(MeanMethod):
    """The exact bound for votes written as scores.

    With probability at least 1 - alpha the mean is at least the bound (Clopper and Pearson
    1934), provided the distribution has no mass between the ends of its support. That is
    the caller's knowledge; samples in between are refused. No parameters.
    """

    name: ClassVar[str] = "clopper-pearson"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Clopper and Pearson 1934"
    cost: ClassVar[str] = "one tail inversion per row"
    choose: ClassVar[str] = "when every sample is known to be one of the two ends of the support"
    two_point: ClassVar[bool] = True

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        from rsbounds.bounds.proportion import clopper_pearson_lower

        # Half of the smallest alpha, for side "both": nothing can be said.
        if alpha < 1e-300:
            return np.zeros(len(y))
        successes = np.count_nonzero(y, axis=1)
        return clopper_pearson_lower(successes, y.shape[1], alpha=alpha)
