"""The average of the capital over constant bets: near the best bet at every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod
from rsbounds.bounds.mean._capital import constant_rows
from rsbounds.bounds.mean._samples import Side, checked_caps
from rsbounds.bounds.mean._sequence import ConfidenceSequence, Remembering

#: The first eight were found by a random search: within a tenth of the best capped plug-in
#: bet, time-uniform, on Beta(20, 2), Bernoulli(0.95) and Beta(50, 0.5) from n = 100 to
#: 100,000. The best share at n is near z sqrt(m/n), far smaller where the mean m is small or n
#: large: a geometric tail follows, each a third of the one before, at 0.05 of the capital
#: (`tests/benchmarks/bench_sequential.py` has the widths with and without it).
CAPS = (
    0.99, 0.9, 0.7, 0.4, 0.2, 0.1, 0.04, 0.015,
    5e-3, 1.7e-3, 5.6e-4, 1.9e-4, 6.2e-5, 2.1e-5, 7e-6,
)  # fmt: skip
WEIGHTS = (0.266, 0.399, 0.095, 0.076, 0.076, 0.019, 0.0095, 0.0095, *(0.05 / 7,) * 7)


class MixtureSequence(Remembering):
    """Average capital over constant bets; remembers every sample.

    With probability at least 1 - alpha the mean is never outside the bounds (Ville's
    inequality for the average of the capitals; see `Mixture`). A bound is computed when it is
    asked for, from the whole history, in about a microsecond per sample.
    """

    name = "mixture"
    guarantee = "proven"
    source = "Ville's inequality for an average of capitals (method of mixtures)"
    memory = "8 to 16 bytes per sample"
    choose = "by default: near the normal width at every sample size"

    def __init__(
        self,
        alpha: float,
        side: Side,
        support: tuple[float, float],
        caps: tuple[float, ...] | None = None,
        weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(alpha, side, support)
        if (caps is None) != (weights is None):
            raise ValueError("caps is given without weights, or the reverse; allowed: both or none")
        self._given = None if caps is None else checked_caps(caps, weights)

    def _invert(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        caps, weights = self._given or (CAPS, WEIGHTS)
        lower = np.empty(len(y))
        constant_rows(y, self._share, np.array(caps), np.array(weights), lower)
        return lower


@dataclass(frozen=True)
class Mixture(MeanMethod):
    """Average over several gamma of the capital prod (1 - gamma + gamma X_i/m).

    With probability at least 1 - alpha the mean is at least the bound at every n at once: the
    largest m whose average capital ever reached 1/alpha (Ville's inequality; the average of
    supermartingales is one). Each gamma is a constant bet at a cap gamma/m, good at the
    horizon it suits; the average is behind the best of them by at most ln(1/weight) in
    ln(1/alpha), and needs no estimate of the variance.

    Parameters
    ----------
    caps : tuple of float
        The gammas, in (0, 0.999].
    weights : tuple of float
        Share of the starting capital of each; they add to 1.
    """

    caps: tuple[float, ...] = CAPS
    weights: tuple[float, ...] = WEIGHTS

    name: ClassVar[str] = "mixture"
    sequence: ClassVar[type[ConfidenceSequence]] = MixtureSequence
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Ville's inequality for an average of capitals (method of mixtures)"
    cost: ClassVar[str] = "about two thousand multiplications per sample"
    choose: ClassVar[str] = "when one setting must serve every sample size, or at every time"

    def __post_init__(self) -> None:
        caps, weights = checked_caps(self.caps, self.weights)
        object.__setattr__(self, "caps", caps)
        object.__setattr__(self, "weights", weights)

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        lower = np.empty(len(y))
        constant_rows(y, alpha, np.array(self.caps), np.array(self.weights), lower)
        return lower
