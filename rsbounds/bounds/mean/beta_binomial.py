"""The beta-binomial mixture, for votes in a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import AnyTimeOnly
from rsbounds.bounds.mean._beta_binomial import lower_rows
from rsbounds.bounds.mean._one_sided import one_sided_lower
from rsbounds.bounds.mean._samples import Side
from rsbounds.bounds.mean._sequence import ConfidenceSequence


def checked_prior(prior: Any) -> tuple[float, float]:
    """Two positive parameters of a beta distribution."""
    allowed = "two numbers from 1e-3 to 1e6"
    try:
        a, b = prior
    except (TypeError, ValueError):
        raise ValueError(f"prior is {prior!r}; allowed: {allowed}") from None
    pair = [_validate.number("prior", v, allowed, lambda v: 1e-3 <= v <= 1e6) for v in (a, b)]
    return pair[0], pair[1]


def beta_binomial_lower(
    successes: NDArray[np.int64], n: int, alpha: float, prior: tuple[float, float]
) -> NDArray[np.float64]:
    """Lower end of {p : mixture likelihood ratio against p < 1/alpha}, rounded down."""
    lower = np.empty(successes.size)
    lower_rows(successes.astype(np.float64), float(n), alpha, prior[0], prior[1], lower)
    return lower


class BetaBinomialSequence(ConfidenceSequence):
    """Beta-binomial mixture for samples that are one of the two ends of the support.

    With probability at least 1 - alpha the mean is never outside the bounds. With side "both"
    the two hold together at level alpha: P(at some t, B(a+S, b+F) / (B(a, b) p^S (1-p)^F) >=
    1/alpha) <= alpha (Ville; the mixture of likelihood ratios over a Beta(a, b) prior is a
    martingale under p). One side spends all of alpha on that side: the prior is cut to what
    lies beyond p, over its mass there. The prior (1/2, 1/2) is Krichevsky and Trofimov's. The
    bounds are those of the counts at the time, with no running intersection, because counts do
    not remember their order.
    """

    name = "beta-binomial"
    guarantee = "proven"
    source = "Ville's inequality for a beta mixture (Robbins 1970)"
    memory = "one count per stream"
    choose = "for votes: samples that are one of the two ends of the support"
    two_point = True
    nested = False

    def __init__(
        self,
        alpha: float,
        side: Side,
        support: tuple[float, float],
        prior: tuple[float, float] = (0.5, 0.5),
    ) -> None:
        super().__init__(alpha, side, support)
        self.prior = checked_prior(prior)
        self._successes: NDArray[np.int64] = np.zeros(1, dtype=np.int64)

    def _take(self, y: NDArray[np.float64]) -> None:
        self._successes = self._successes + (y == 1.0).sum(axis=1)

    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        successes = self.n - self._successes if reflected else self._successes
        prior = self.prior[::-1] if reflected else self.prior
        bound = beta_binomial_lower if self.side == "both" else one_sided_lower
        return bound(successes, self.n, self.alpha, prior)


@dataclass(frozen=True)
class BetaBinomial(AnyTimeOnly):
    """Beta-binomial mixture for votes in a stream; `BetaBinomialSequence` is its only form.

    With probability at least 1 - alpha the mean is never outside the sequence's bounds. At an
    n fixed in advance ``clopper-pearson`` is exact for the same samples, and tighter.
    """

    name: ClassVar[str] = BetaBinomialSequence.name
    guarantee: ClassVar[Guarantee] = BetaBinomialSequence.guarantee
    source: ClassVar[str] = BetaBinomialSequence.source
    cost: ClassVar[str] = BetaBinomialSequence.memory
    choose: ClassVar[str] = BetaBinomialSequence.choose
    two_point: ClassVar[bool] = BetaBinomialSequence.two_point
    sequence: ClassVar[type[ConfidenceSequence]] = BetaBinomialSequence
