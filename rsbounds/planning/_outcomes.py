"""What votes there may be after n draws, and what radii they give.

Of assumed probabilities the outcomes are enumerated where that is cheap, else simulated. Of a
pilot they are simulated from its predictive distribution: class probabilities from the Dirichlet
posterior of the votes with 1/K votes more for each class (Perks 1947), then votes from these. So
an input that lost no vote of a short pilot is not taken for one that never loses any. The class's
probability and its votes, which matter most, are spread evenly over their distributions (an
additive recurrence in two dimensions), the same places for every n.

A bound that takes long is computed at a few outcomes only: every valid bound is nearly a function
of the likelihood limit of the margin, which takes microseconds, so that the radius at the limit is
corrected by what the bound lacks there, interpolated. Where the limit certifies nothing, no bound
is taken to.
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

#: Steps of the recurrence: powers of the root of x^3 = x + 1.
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])

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
        places = (rng.random(2) + np.arange(draws)[:, None] * _STEPS) % 1.0
        self._places = np.clip(places[:, 1], 1e-12, 1.0 - 1e-12)
        if p is not None:
            self._p = p[None, :]
        else:
            assert votes is not None
            weight = votes + 1.0 / len(votes)
            others = np.delete(weight, top)
            own = stats.beta.ppf(places[:, 0], weight[top], others.sum())
            rest = rng.dirichlet(others, size=draws) * (1.0 - own)[:, None]
            self._p = np.insert(rest, top, own, axis=1)
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

    def after(self, n: int, alpha: float, bound: Bound, points: int, success: float) -> Radii:
        """The radii that n draws give, of which the one reached with ``success`` is to be right."""
        votes, weights = self._outcomes(n)
        good = weights > 0
        votes, weights = votes[good], weights[good]
        if len(votes) <= points:
            radii = bound(votes)
        else:
            radii = self._corrected(votes, weights, alpha, bound, points, success)
        # What is left of the weight is where another class was chosen.
        radii = np.append(radii, 0.0)
        weights = np.append(weights, max(1.0 - weights.sum(), 0.0))
        order = np.argsort(radii, kind="stable")
        return Radii(radii[order], weights[order])

    def _corrected(
        self,
        votes: NDArray[np.int64],
        weights: NDArray[np.float64],
        alpha: float,
        bound: Bound,
        points: int,
        success: float,
    ) -> NDArray[np.float64]:
        """Radii of all votes from bounds of some, spread evenly over the weight."""
        scale = "linear" if self._law.curve_only else self._law.scale
        level = likelihood_limit(votes, self.top, alpha=alpha, scale=scale).level
        alive = np.flatnonzero(level > 0)
        alive = alive[np.argsort(level[alive], kind="stable")]
        radii = np.zeros(len(votes))
        if alive.size:
            least = np.zeros(len(votes)) if self._law.curve_only else self._law.radius(level)
            upto = np.cumsum(weights[alive]) / weights[alive].sum()
            # Counted from the top of all of the weight.
            decides = 1.0 - success / weights[alive].sum()
            at = np.append((np.arange(points) + 0.5) / points, decides)
            places = np.searchsorted(upto, at[(at > 0) & (at < 1)])
            some = alive[np.minimum(np.append(places, [0, alive.size - 1]), alive.size - 1)]
            _, first = np.unique(level[some], return_index=True)
            some = some[first]
            lacks = bound(votes[some]) - least[some]
            radii[alive] = least[alive] + np.interp(level[alive], level[some], lacks)
        return np.maximum(radii, 0.0)

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
        p = np.broadcast_to(self._p, (self._draws, classes))
        own = stats.binom.ppf(self._places, n, p[:, self.top]).astype(np.int64)
        others = np.delete(p, self.top, axis=1)
        total = others.sum(axis=1, keepdims=True)
        # Where the class has all of the probability it has all of the votes.
        shares = np.where(total > 0, others, 1.0) / np.where(total > 0, total, classes - 1.0)
        votes = np.insert(rng.multinomial(n - own, shares), self.top, own, axis=1).astype(np.int64)
        if len(self._p) == 1:
            return votes, np.full(len(votes), self._picked / len(votes))
        return votes, self._chosen / len(votes)


def _compositions(n: int, classes: int) -> NDArray[np.int64]:
    """Every way in which n votes can fall."""
    bars = np.array(list(itertools.combinations(range(n + classes - 1), classes - 1)))
    ends = np.full((len(bars), 1), n + classes - 1)
    walls = np.concatenate([-np.ones_like(ends), bars, ends], axis=1)
    return np.asarray(np.diff(walls, axis=1) - 1, dtype=np.int64)
