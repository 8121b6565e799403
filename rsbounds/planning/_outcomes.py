"""What votes there may be after n draws, and what radii they give.

Of assumed probabilities the outcomes are enumerated where that is cheap, else simulated. Of a
pilot they are simulated from its predictive distribution: class probabilities from the Dirichlet
posterior of the votes with 1/K votes more for each class (Perks 1947), then votes from these. So
an input that lost no vote of a short pilot is not taken for one that never loses any.

A bound is computed at a few outcomes only. Outcomes are ordered by the likelihood limit of the
margin, cut into strata of known weight, and one of each stratum is bounded: every good bound
orders them nearly alike, and where one does not, it is still a stratified sample.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from rsbounds.noises import Noise
from rsbounds.report.limit import likelihood_limit

#: Outcomes up to which they are enumerated, and the chance of what a window leaves out.
_ALL = 20_000
_TAIL = 1e-12

#: (m, K) votes to (m,) certified radii.
Bound = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Radii:
    """A distribution of radii: values in increasing order, and their weights, which add to 1."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    def exceeded(self, chance: float) -> float:
        """The largest of the values that the radius reaches with that chance at least."""
        below = np.cumsum(self.weights) - self.weights
        return float(self.values[np.flatnonzero(below <= 1.0 - chance + 1e-12)[-1]])

    def reaches(self, radius: float) -> float:
        """The chance that the radius is at least ``radius``."""
        return float(self.weights[self.values >= radius].sum())

    def mean(self) -> float:
        """The expected radius."""
        return float(self.values @ self.weights)


class Input:
    """One input of a plan.

    Parameters
    ----------
    votes : (K,) int64 or None
        Votes of the pilot.
    p : (K,) float64 or None
        Assumed probabilities, where there is no pilot.
    top : int
        The class to be certified.
    law : Noise
        Of this input alone.
    n0 : int or None
        Selection draws; where they choose another class nothing is certified. None: none.
    draws : int
        Simulated outcomes.
    seed : (int, int)
        Of the simulation.
    """

    def __init__(
        self,
        votes: NDArray[np.int64] | None,
        p: NDArray[np.float64] | None,
        top: int,
        law: Noise,
        *,
        n0: int | None,
        draws: int,
        seed: tuple[int, int],
    ) -> None:
        self._seed, self._draws, self.top, self._law = seed, draws, top, law
        rng = np.random.default_rng([*seed, 0])
        if p is not None:
            self._p = p[None, :]
        else:
            assert votes is not None
            self._p = rng.dirichlet(votes + 1.0 / len(votes), size=draws)
        self._chosen = np.ones(draws, dtype=bool)
        if n0 is not None:
            chosen = rng.multinomial(n0, np.broadcast_to(self._p, (draws, self._p.shape[1])))
            self._chosen = chosen.argmax(axis=1) == top
        self._picked = self._chance_picked(n0)

    def _chance_picked(self, n0: int | None) -> float:
        """The chance that the class is chosen."""
        if n0 is not None and self._p.shape == (1, 2):
            # The lower index on a tie.
            need = n0 // 2 + (self.top if n0 % 2 == 0 else 1)
            return float(stats.binom.sf(need - 1, n0, self._p[0, self.top]))
        return float(self._chosen.mean())

    def probabilities(self, size: int) -> NDArray[np.float64]:
        """(size, K) probabilities, each as likely as the others."""
        return self._p[np.arange(size) % len(self._p)]

    def limit(self) -> Radii:
        """The radii that any number of draws tends to."""
        own = self._p[:, self.top]
        others = self._p.copy()
        others[:, self.top] = -1.0
        radii = self._radius(own, others.max(axis=1))
        if len(self._p) == 1:
            return Radii(np.array([0.0, radii[0]]), np.array([1 - self._picked, self._picked]))
        radii = np.sort(np.where(self._chosen, radii, 0.0))
        return Radii(radii, np.full(len(radii), 1.0 / len(radii)))

    def _radius(self, own: NDArray[np.float64], rival: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._law.curve_only:
            return self._law.radius_of_pair(own, rival)
        if self._law.scale == "linear":
            return self._law.radius(own - rival)
        with np.errstate(invalid="ignore"):
            margin = special.ndtri(own) - special.ndtri(rival)
        return self._law.radius(np.where(own > rival, margin, -np.inf))

    def after(self, n: int, alpha: float, bound: Bound, points: int, quantile: float) -> Radii:
        """The radii that n draws give, with more detail where they reach ``quantile``."""
        votes, weights = self._outcomes(n)
        if (weights > 0).sum() > 2 * points:
            scale = "linear" if self._law.curve_only else self._law.scale
            level = likelihood_limit(votes, self.top, alpha=alpha, scale=scale).level
            # Outcomes of weight zero, and those where another class was chosen, are not bounded.
            votes, weights = _strata(votes, weights, level, points, quantile)
        radii = np.zeros(len(votes))
        good = weights > 0
        radii[good] = bound(votes[good])
        radii = np.append(radii, 0.0)
        weights = np.append(weights, max(1.0 - weights.sum(), 0.0))
        order = np.argsort(radii, kind="stable")
        return Radii(radii[order], weights[order])

    def _outcomes(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Votes, and weights that add to the chance that the class is chosen."""
        classes = self._p.shape[1]
        if len(self._p) == 1:
            p = self._p[0]
            if classes == 2:
                law = stats.binom(n, p[0])
                x = np.arange(int(law.ppf(_TAIL)), int(law.isf(_TAIL)) + 1)
                votes = np.stack([x, n - x], axis=1).astype(np.int64)
                return votes, law.pmf(x) * self._picked
            if math.comb(min(n, _ALL) + classes - 1, classes - 1) <= _ALL:
                votes = _compositions(n, classes)
                log = special.gammaln(n + 1.0) + (
                    special.xlogy(votes, p) - special.gammaln(votes + 1.0)
                ).sum(axis=1)
                return votes, np.exp(log) * self._picked
        rng = np.random.default_rng([*self._seed, 1])
        shares = np.broadcast_to(self._p, (self._draws, classes))
        votes = rng.multinomial(n, shares).astype(np.int64)
        if len(self._p) == 1:
            return votes, np.full(len(votes), self._picked / len(votes))
        return votes, self._chosen / len(votes)


def _compositions(n: int, classes: int) -> NDArray[np.int64]:
    """Every way in which n votes can fall."""
    bars = np.array(list(itertools.combinations(range(n + classes - 1), classes - 1)))
    ends = np.full((len(bars), 1), n + classes - 1)
    walls = np.concatenate([-np.ones_like(ends), bars, ends], axis=1)
    return np.asarray(np.diff(walls, axis=1) - 1, dtype=np.int64)


def _strata(
    votes: NDArray[np.int64],
    weights: NDArray[np.float64],
    level: NDArray[np.float64],
    points: int,
    quantile: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One outcome of each stratum of the outcomes in order of ``level``, and its weight."""
    order = np.argsort(level, kind="stable")
    order = order[weights[order] > 0]
    upto = np.cumsum(weights[order])
    total = float(upto[-1])
    # Narrow strata around what decides; the quantile counts from the top of all of the weight.
    fine = total - quantile + np.linspace(-1.0, 1.0, max(points // 4, 5)) * total / points
    ends = np.unique(np.clip(np.concatenate([np.linspace(0, total, points + 1), fine]), 0, total))
    at = np.searchsorted(upto, 0.5 * (ends[1:] + ends[:-1]))
    places, where = np.unique(np.minimum(at, len(order) - 1), return_inverse=True)
    share = np.bincount(where, np.diff(ends)).astype(np.float64)
    return votes[order[places]], share
