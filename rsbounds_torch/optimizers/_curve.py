"""A smooth curve through votes at many scales, and the scale where it certifies most."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import log_ndtr, ndtr

from rsbounds_torch.optimizers._foretold import Foretold

#: Logarithm of the factor from one node of the lattice to the next.
STEP = 0.2 * float(np.log(2.0))
#: Nodes on either side of the best one that the curve covers.
_REACH = 18
#: Standard deviation of the curve's second derivative in the logarithm of the scale, before any
#: vote is seen; 2 to 8 find as much. For a half-space the probit is d / sigma, which has that
#: second derivative itself: about 3 where it matters.
_BEND = 4.0
#: What keeps the curve from floating where there are no votes at all.
_RIDGE = 1e-4
_NEWTON_STEPS = 15
#: Standard deviations below the mean that are expected: where scales are worth about the same, as
#: those of a half-space, the one is taken of which most is known.
_CAUTION = 1.0
#: Parts of a step of the lattice in which the final scale is told.
_PARTS = 8
#: Nodes and weights that integrate against a normal density.
_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_SHARES = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, eq=False)
class Votes:
    """What was seen at each node of the lattice, (B, nodes) each.

    Attributes
    ----------
    draws, against, second : float64
        Draws, those that were no vote for the top class, and those for the strongest other.
    plural : (B,) bool
        Whether the class is held against the strongest other, not against all of them. Under
        very much noise a model answers no matter what the input is, and a class with half of
        such votes has a large radius that means nothing: only where the start's votes need it
        are the others taken apart.
    highest : (B,) float64
        Logarithm of the largest factor that is allowed.
    zero : int
        The node of the factor 1.
    """

    draws: NDArray[np.float64]
    against: NDArray[np.float64]
    second: NDArray[np.float64]
    plural: NDArray[np.bool_]
    highest: NDArray[np.float64]
    zero: int

    def adding(
        self, rows: NDArray[np.int64], nodes: NDArray[np.int64], counts: NDArray[np.int64],
        top: NDArray[np.int64], draws: int,
    ) -> Votes:  # fmt: skip
        """With (b, K) votes of some rows at a node each; a draw that is no answer ends the curve.

        A certificate has no use for a scale at which some draws are no answer, nor for a larger.
        """
        seen, against, second = self.draws.copy(), self.against.copy(), self.second.copy()
        place = np.arange(len(rows))
        others = counts.copy()
        others[place, top] = 0
        lost = draws - counts[place, top]
        seen[rows, nodes] += draws
        against[rows, nodes] += lost
        second[rows, nodes] += np.where(self.plural[rows], others.max(axis=1), lost)
        highest = self.highest.copy()
        below = STEP * (nodes - 1 - self.zero)
        broken = counts.sum(axis=1) < draws
        highest[rows] = np.where(broken, np.minimum(highest[rows], below), highest[rows])
        return replace(self, draws=seen, against=against, second=second, highest=highest)

    def worth(self, foretold: Foretold) -> NDArray[np.float64]:
        """(B, nodes) radii that the votes of each node alone foretell, for a start's of one."""
        known = np.maximum(self.draws, 1.0)
        lost = foretold.part((self.against + 0.5) / (known + 1.0))[0]
        taken = foretold.part((self.second + 0.5) / (known + 1.0))[0]
        scales = np.exp(self._logs(np.arange(self.draws.shape[1])))
        worth = np.where(self.draws > 0, np.maximum(lost + taken, 0.0) * scales, 0.0)
        return np.where(self._allowed(), worth, 0.0)

    def tried(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B,) lowest and highest node with draws."""
        there = self.draws > 0
        return there.argmax(axis=1), there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)

    def _logs(self, nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(STEP * (nodes - self.zero))

    def _allowed(self) -> NDArray[np.bool_]:
        logs = self._logs(np.arange(self.draws.shape[1]))
        return np.asarray(logs <= self.highest[:, None] + 1e-9)

    def at(self, rows: NDArray[np.int64]) -> Votes:
        """Of some inputs."""
        return Votes(
            self.draws[rows], self.against[rows], self.second[rows], self.plural[rows],
            self.highest[rows], self.zero,
        )  # fmt: skip


def best_node(votes: Votes, foretold: Foretold) -> NDArray[np.int64]:
    """(B,) node at which the curve expects the largest radius, between those that were tried."""
    window, values = _expected(votes, foretold)
    low, high = (end[:, None] for end in votes.tried())
    allowed = np.take_along_axis(votes._allowed(), window, axis=1)
    allowed &= (window >= low) & (window <= high)
    best = np.where(allowed, values, -np.inf).argmax(axis=1)
    return np.asarray(np.take_along_axis(window, best[:, None], axis=1)[:, 0])


def best_log(votes: Votes, foretold: Foretold) -> NDArray[np.float64]:
    """(B,) logarithm of the factor with the largest expected radius, between what was tried."""
    window, values = _expected(votes, foretold)
    places = np.arange(window.shape[1])
    fine = np.linspace(0, len(places) - 1, _PARTS * (len(places) - 1) + 1)
    between = CubicSpline(places, values, axis=1)(fine)
    logs = STEP * (window[:, :1] - votes.zero + fine)
    low, high = (STEP * (end - votes.zero)[:, None] for end in votes.tried())
    low = np.minimum(low, votes.highest[:, None])
    allowed = (logs >= low - 1e-9) & (logs <= np.minimum(high, votes.highest[:, None]) + 1e-9)
    best = np.where(allowed, between, -np.inf).argmax(axis=1)
    found = np.take_along_axis(logs, best[:, None], axis=1)[:, 0]
    # Where nothing on the grid is allowed there is one scale between the ends.
    return np.asarray(np.where(allowed.any(axis=1), found, low[:, 0]))


def _expected(votes: Votes, foretold: Foretold) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(B, W) nodes around the best one of each input, and the radius to be expected at each."""
    rows, nodes = votes.draws.shape
    best = votes.worth(foretold).argmax(axis=1)
    width = min(2 * _REACH + 1, nodes)
    first = np.clip(best - _REACH, 0, nodes - width)
    window = first[:, None] + np.arange(width)
    draws, against, second = (
        np.take_along_axis(held, window, axis=1)
        for held in (votes.draws, votes.against, votes.second)
    )
    u, spread = _fitted(draws - against, against)
    # Held against all others, both are the same votes.
    v = u.copy()
    if votes.plural.any():
        some = votes.plural
        v[some] = _fitted((draws - second)[some], second[some])[0]
    taken = foretold.part(ndtr(-v))[0]
    scales = np.exp(STEP * (window - votes.zero))
    mean, square = np.zeros((2, rows, width))
    for point, share in zip(_POINTS, _SHARES, strict=True):
        lost = foretold.part(ndtr(-(u + point * spread)))[0]
        value = np.maximum(lost + taken, 0.0) * scales
        mean, square = mean + share * value, square + share * value**2
    return window, mean - _CAUTION * np.sqrt(np.maximum(square - mean**2, 0.0))


def _fitted(
    held: NDArray[np.float64], lost: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, W) probits of the shares held, and their standard deviations, by Laplace's method.

    Binomial votes at each node, and a normal prior on the second differences of the probits.
    """
    width = held.shape[1]
    bends = np.diff(np.eye(width), 2, axis=0) / STEP**2
    prior = bends.T @ bends * (STEP / _BEND**2) + _RIDGE * np.eye(width)
    u = np.zeros(held.shape)
    diagonal = np.arange(width)
    for _ in range(_NEWTON_STEPS):
        density = -0.5 * u**2 - 0.5 * np.log(2.0 * np.pi)
        rise, fall = np.exp(density - log_ndtr(u)), np.exp(density - log_ndtr(-u))
        slope = held * rise - lost * fall - u @ prior
        matrix = np.broadcast_to(prior, (len(u), width, width)).copy()
        matrix[:, diagonal, diagonal] += held * rise * (rise + u) + lost * fall * (fall - u)
        u = u + np.clip(np.linalg.solve(matrix, slope[..., None])[..., 0], -1.0, 1.0)
    variances = np.linalg.inv(matrix)[:, diagonal, diagonal]
    return u, np.sqrt(np.maximum(variances, 0.0))
