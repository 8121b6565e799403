"""The capitals behind the sequential assertions, each against one hypothesis.

Each is a nonnegative supermartingale that starts at most at 1 under its hypothesis, whatever the
times at which one looks: it reaches 1/alpha, ever, with probability at most alpha (Ville 1939).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from rsbounds.bounds.mean._capital import LANES, _constant_reaches, threshold
from rsbounds.bounds.mean._one_sided import log_capital, one_sided_lower
from rsbounds.bounds.mean.mixture import CAPS, WEIGHTS

_EPS = float(np.finfo(np.float64).eps)


class Odds:
    """Bets on a stream of booleans against "the probability is at most p" and "at least p".

    The alternatives are Beta(1, (1-p)/p) distributed (for p > 1/2 mirrored), nearly exponential
    with mean p, and cut to one side of p: the same bets for every small p, up to scale.
    `log_capital` rounds down.
    """

    def __init__(self, p: float) -> None:
        # `log_capital` takes both of p and 1 - p rounded up.
        self.p, self.q = p, math.nextafter(1.0 - p, 1.0)
        small = min(self.p, self.q)
        wide = (1.0 - small) / small
        self.prior = (1.0, wide) if p <= 0.5 else (wide, 1.0)

    def against_at_most(self, s: NDArray[np.int64], f: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log capital after s events and f others, against "at most p"."""
        return log_capital(s, f, *self._ends(s.size), self.prior)

    def against_at_least(self, s: NDArray[np.int64], f: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log capital against "at least p"."""
        return log_capital(f, s, *self._ends(s.size)[::-1], self.prior[::-1])

    def _ends(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.full(size, self.p), np.full(size, self.q)

    def could_reach(self, s: int, f: int, level: float) -> bool:
        """False where no alternative at all has a likelihood ratio of e^level against p."""
        n = s + f
        best = (s * math.log(s / (n * self.p)) if s else 0.0) + (
            f * math.log(f / (n * self.q)) if f else 0.0
        )
        return best >= level * (1.0 - 1e-9)

    def interval(self, s: int, n: int, alpha: float) -> tuple[float, float]:
        """Ends of a confidence sequence, each wrong with probability alpha at most, ever."""
        low = one_sided_lower(np.array([s]), n, alpha, self.prior)
        high = one_sided_lower(np.array([n - s]), n, alpha, self.prior[::-1])
        return float(low[0]), float(1.0 - high[0])


def mean_reaches(y: NDArray[np.float64], m: float, alpha: float) -> bool:
    """Whether the capital against "the mean of y in [0, 1] is at most m" ever reached 1/alpha."""
    best = np.empty(LANES)
    goal = threshold(y.size, alpha, max(CAPS))
    caps, weights = np.array(CAPS), np.array(WEIGHTS)
    shares = weights / (weights.sum() * (1.0 + 16.0 * _EPS))
    _constant_reaches(y, np.full(LANES, m), caps, shares, goal, best)
    return bool(best[0] >= goal)


def mean_could_reach(n: int, m: float, alpha: float) -> bool:
    """Whether `mean_reaches` would be true of n ones, without playing them."""
    logs = [
        math.log(w) + n * math.log1p(c * (1.0 / m - 1.0))
        for c, w in zip(CAPS, WEIGHTS, strict=True)
    ]
    goal = threshold(n, alpha, max(CAPS))
    # A margin for the rounding of the product, so that "yes" is sure.
    return bool(np.logaddexp.reduce(logs) >= math.log(goal) + 1e-9 * n**0.5)


class Twins:
    """Bets on pairs of draws against "both come from one distribution".

    For a feature g and a threshold c, the pairs with one of g(a) <= c, g(b) <= c and not the
    other are as often one way as the other under the hypothesis: fair coins, on which a
    Krichevsky-Trofimov mixture bets. Features are the coordinates (up to 16 of them) and,
    where there are several, random directions; thresholds are quantiles of what was drawn
    *before* the bets on them begin. The i-th beginning has 2^-i of the starting capital, in
    equal parts for its features and thresholds, and holds it as it is until then.
    """

    BEGINNINGS = (32, 256, 2048, 16384)
    THRESHOLDS = 15
    DIRECTIONS = 8
    COORDINATES = 16
    #: Pairs that are compared at once.
    CHUNK = 4096

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._directions: NDArray[np.float64] | None = None
        self._seen: list[NDArray[np.float64]] = []
        self._bets: list[_Coins] = []
        self.pairs = 0

    def take(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        """Take (m, d) draws of each."""
        left = np.stack([a, b])
        while left.shape[1]:
            started = len(self._bets)
            room = self.CHUNK
            if started < len(self.BEGINNINGS):
                room = min(room, self.BEGINNINGS[started] - self.pairs)
            part, left = self._features(left[:, :room]), left[:, room:]
            for coins in self._bets:
                coins.take(part)
            self.pairs += part.shape[1]
            if started < len(self.BEGINNINGS):
                self._seen.append(part.reshape(-1, part.shape[2]))
                if self.pairs == self.BEGINNINGS[started]:
                    self._bets.append(_Coins(np.concatenate(self._seen), self.THRESHOLDS))

    @classmethod
    def features(cls, d: int) -> int:
        """How many features draws of d numbers have."""
        return 1 if d == 1 else min(d, cls.COORDINATES) + cls.DIRECTIONS

    def _features(self, both: NDArray[np.float64]) -> NDArray[np.float64]:
        d = both.shape[2]
        if self._directions is None:
            self._directions = self._rng.normal(
                size=(d, self.features(d) - min(d, self.COORDINATES))
            )
        # The first coordinates as they are, since a product might round equal ones apart.
        return np.concatenate([both[:, :, : self.COORDINATES], both @ self._directions], axis=2)

    def log_capital(self) -> float:
        """Log of the capital after all pairs so far, rounded down."""
        total, left = -math.inf, 1.0
        for coins in self._bets:
            left /= 2.0
            total = np.logaddexp(total, math.log(left) + coins.log_capital())
        return float(np.logaddexp(total, math.log(left)))

    def clearest(self) -> tuple[int, float, float, float]:
        """Feature, threshold, and the two frequencies below it, where the bets won most."""
        return max((coins.clearest() for coins in self._bets), key=lambda found: found[0])[1]

    @classmethod
    def could_reach(cls, pairs: int, features: int, level: float) -> bool:
        """Whether so many pairs, all of them won, could bring the capital to e^level."""
        won = pairs - cls.BEGINNINGS[0]
        if won < 1:
            return False
        return float(betaln(0.5 + won, 0.5) - betaln(0.5, 0.5) + won * math.log(2.0)) >= (
            level + math.log(2.0 * features * cls.THRESHOLDS)
        )


class _Coins:
    """Bets on every feature and threshold from one beginning on."""

    def __init__(self, seen: NDArray[np.float64], count: int) -> None:
        # Values that were seen, so that a threshold at an atom has the atom below it.
        at = (np.arange(1, count + 1) / (count + 1) * len(seen)).astype(int)
        self.cuts = np.sort(seen, axis=0)[at].T
        self.below = np.zeros((2, *self.cuts.shape), dtype=np.int64)
        self.won = np.zeros(self.cuts.shape, dtype=np.int64)
        self.lost = np.zeros(self.cuts.shape, dtype=np.int64)
        self.pairs = 0

    def take(self, both: NDArray[np.float64]) -> None:
        under = both[..., None] <= self.cuts
        self.below += under.sum(axis=1)
        self.won += (under[0] & ~under[1]).sum(axis=0)
        self.lost += (under[1] & ~under[0]).sum(axis=0)
        self.pairs += both.shape[1]

    def _logs(self) -> NDArray[np.float64]:
        coins = self.won + self.lost
        exact = betaln(0.5 + self.won, 0.5 + self.lost) - betaln(0.5, 0.5) + coins * math.log(2.0)
        # The logarithms of the beta function are off by a few EPS of terms up to n log n.
        return np.asarray(exact - 64.0 * _EPS * (1.0 + coins * np.log1p(coins)))

    def log_capital(self) -> float:
        logs = self._logs()
        return float(np.logaddexp.reduce(logs, axis=None)) - math.log(logs.size)

    def clearest(self) -> tuple[float, tuple[int, float, float, float]]:
        logs = self._logs()
        where = np.unravel_index(int(np.argmax(logs)), logs.shape)
        a, b = self.below[:, where[0], where[1]] / max(self.pairs, 1)
        return float(logs[where]), (int(where[0]), float(self.cuts[where]), float(a), float(b))
