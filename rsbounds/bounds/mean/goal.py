"""Goal-reaching bets: a fixed-n bound at the normal limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import EPS
from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod
from rsbounds.bounds.mean._capital import threshold
from rsbounds.bounds.mean._moments import took
from rsbounds.bounds.mean._option import quantile, stake
from rsbounds.bounds.mean._samples import checked_caps

#: Capital aimed at, over 1/alpha. Aiming a little higher lets candidates that are clearly
#: rejected retire before the horizon, and is worth more than it costs on two-point data.
AIM = 1.03
#: Share of the samples that decides where the grid is fine.
PILOT_SHARE = 0.02
#: Cell width over the width expected of the bound, where the bound is expected: a cell costs
#: half its width on average, and time.
PITCH = 0.005

#: How the grid is laid out (`_grid`); any layout is valid, these decide tightness and time.
#: Added to the pilot's sum of squares, so that equal samples do not give a width of 0.
SQUARES_FLOOR = 0.05
#: Spread of the bound about its expected place, in expected widths, beyond the pilot's error.
SPREAD = 0.25
#: How fast cells grow with the distance from that place: 1 + GROWTH z^2 at z spreads.
GROWTH = 0.25
#: Below that place no cell takes more than this part of the way to it: the fine part is not
#: stepped over.
APPROACH = 0.2
#: Cells at most; far more than any n and alpha were seen to need.
MAX_CELLS = 100_000

#: Cells that are played side by side.
LANES = 16

#: What stands for samples that are not there yet (`_moments`): one half, at this weight; their
#: squares, by themselves and while the pilot lasts; the squares of falls down to 0.
PRIOR_WEIGHT, PRIOR_SQUARES, PILOT_SQUARES, PRIOR_FALLS = 0.1, 0.02, 0.06, 0.1
#: A bet is held for a part of what is left, and at most for so many samples.
STEPS_LEFT, MOST_HELD = 150, 128
#: The variance under a candidate is not taken to be less than this part of the samples'.
LEAST = 0.1


@kernel
def _grid(pilot: NDArray[np.float64], n: int, alpha: float) -> NDArray[np.float64]:
    """Right ends of cells, fine around the bound that the pilot lets expect.

    The bound is expected near mean - width with the width of the empirical Bernstein bound; the
    pilot's mean is off by about sigma / sqrt(size).
    """
    size = pilot.size
    mean = 0.0
    for x in pilot:
        mean += x / size
    squares = 0.0
    for x in pilot:
        squares += (x - mean) * (x - mean)
    sigma = math.sqrt((squares + SQUARES_FLOOR) / size)
    log_inverse = -math.log(alpha)
    width = sigma * math.sqrt(2.0 * log_inverse / n) + log_inverse / n
    centre = mean - width
    spread = sigma / math.sqrt(size) + SPREAD * width
    grid = np.empty(MAX_CELLS)
    count = 0
    m = 0.0
    while m < 1.0 and count < grid.size:
        z = (m - centre) / spread
        pitch = PITCH * width * (1.0 + GROWTH * z * z)
        if z < 0:
            pitch = min(pitch, max(APPROACH * (centre - m), PITCH * width))
        m = min(m + pitch, 1.0)
        grid[count] = m
        count += 1
    return grid[:count]


@kernel
def _shape(
    y: NDArray[np.float64],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    fall: NDArray[np.float64],
) -> None:
    """What each bet knows of the samples before its own: mean, variance and size of a fall.

    The latter is the third moment over the second, of the falls; one fall from the mean to 0 is
    counted besides, which is the worst that can come.
    """
    total, squares, cubes = 0.5 * PRIOR_WEIGHT, 0.0, 0.0
    for i in range(y.size):
        mean[i] = min(total / (i + PRIOR_WEIGHT), 1.0)
        variance[i] = (squares + PRIOR_SQUARES) / (i + 1.0)
        fall[i] = (PRIOR_FALLS * mean[i] - cubes) / (squares + PRIOR_FALLS)
        total, squares, cubes = took(y[i], i + 1.0 + PRIOR_WEIGHT, total, squares, cubes)


@kernel
def _openings(
    variance: NDArray[np.float64],
    fall: NDArray[np.float64],
    pilot: int,
    p: float,
    bets: NDArray[np.float64],
) -> None:
    """The bets of the pilot, the same against every candidate: as if the price stayed p.

    The root of the variance is k where the mean is the candidate and r where it is the samples'
    (`_option`); here it is the samples'.
    """
    n = variance.size
    half = -0.5 * quantile(p)
    for i in range(pilot):
        seen = variance[i] + (PILOT_SQUARES - PRIOR_SQUARES) / (i + 1.0)
        deviation = math.sqrt(seen * (n - i)) + half * max(fall[i], 0.0)
        bets[i] = stake(p, deviation, fall[i])


@kernel
def _bet(p: float, m: float, mean: float, variance: float, fall: float, left: int) -> float:
    """The bet against m at a price p with so many samples left.

    Falls enough to bring the mean down to m add to the variance, each its size.
    """
    size = min(fall, m)
    under = max(variance + size * (mean - m), LEAST * variance)
    return stake(p, math.sqrt(under * left), size)


@kernel
def _held(i: int, n: int) -> int:
    """How many samples a bet is held for, from sample i on."""
    return max(1, min(MOST_HELD, (n - i) // STEPS_LEFT))


@kernel
def _first_kept(
    y: NDArray[np.float64],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    fall: NDArray[np.float64],
    openings: NDArray[np.float64],
    grid: NDArray[np.float64],
    caps: NDArray[np.float64],
    weights: NDArray[np.float64],
    alpha: float,
) -> float:
    """Left end of the first cell whose right end is not rejected."""
    n = y.size
    kinds, pilot = caps.size, openings.size
    goal = threshold(n, alpha, caps.max())
    aim = alpha / AIM
    limit = np.empty((kinds, LANES))
    capital = np.empty((kinds, LANES))
    bets = np.empty((kinds, LANES))
    rest = np.empty((kinds, LANES))
    m = np.empty(LANES)
    rejected = np.empty(LANES, dtype=np.bool_)
    left = 0.0
    for first in range(0, grid.size, LANES):
        width = min(LANES, grid.size - first)
        for j in range(LANES):
            m[j] = grid[first + j] if j < width else 1.0
            rejected[j] = False
            for k in range(kinds):
                limit[k, j] = caps[k] / m[j]
                capital[k, j] = weights[k]
        i = 0
        while i < n:
            alive = False
            for j in range(LANES):
                total = 0.0
                for k in range(kinds):
                    total += capital[k, j]
                rejected[j] = rejected[j] or total >= goal
                alive = alive or not rejected[j]
                bet = 0.0
                if i < pilot:
                    bet = openings[i]
                elif not rejected[j]:
                    bet = _bet(total * aim, m[j], mean[i], variance[i], fall[i], n - i)
                for k in range(kinds):
                    bets[k, j] = min(bet, limit[k, j])
                    rest[k, j] = 1.0 - bets[k, j] * m[j]
            if not alive:
                break
            # In the pilot a bet is held for one sample: early ones change fast.
            stop = i + (1 if i < pilot else _held(i, n))
            for s in range(i, stop):
                for k in range(kinds):
                    for j in range(LANES):
                        capital[k, j] *= rest[k, j] + bets[k, j] * y[s]
            i = stop
        for j in range(width):
            total = 0.0
            for k in range(kinds):
                total += capital[k, j]
            if not (rejected[j] or total >= goal):
                return left
            left = m[j]
    return left


@kernel
def _rows(
    y: NDArray[np.float64],
    alpha: float,
    caps: NDArray[np.float64],
    weights: NDArray[np.float64],
    lower: NDArray[np.float64],
) -> None:
    n = y.shape[1]
    mean, variance, fall = np.empty(n), np.empty(n), np.empty(n)
    pilot = math.ceil(PILOT_SHARE * n)
    openings = np.empty(pilot)
    for i in range(y.shape[0]):
        grid = _grid(y[i, :pilot], n, alpha)
        _shape(y[i], mean, variance, fall)
        _openings(variance, fall, pilot, alpha / AIM, openings)
        lower[i] = _first_kept(y[i], mean, variance, fall, openings, grid, caps, weights, alpha)


@dataclass(frozen=True)
class Goal(MeanMethod):
    """Bets that aim at 1/alpha by the horizon n, as a digital option is replicated.

    With probability at least 1 - alpha the mean is at least the bound. Against a candidate m
    the bet is that of an option whose price is alpha W (`_option`): h(alpha W) over the standard
    deviation of what is left, h(p) = phi(Phi^-1(p))/p, where the sum is near normal (Kulldorff
    1993 and Browne 1999 for Brownian motion), and that of few large losses where the third
    moment says so; at most cap/m. Any predictable bet is valid by Ville's inequality, so nothing
    rests on the moments, which are running ones, nor on the model; these bets reach the normal
    width z_{1-alpha} sigma/sqrt(n).

    Capital with such bets need not fall with m, so candidates stand for cells: everything in
    (m', m] is played with the bets of its right end m, which loses capital against none of
    it. The bound is the left end of the first cell, from below, that is kept. The first 2 %
    of the samples decide where the cells are small; on them the bets do not depend on m
    (capital still falls with m), so nothing is lost and nothing is used twice.

    Parameters
    ----------
    caps : tuple of float
        Caps that the capital is averaged over, in (0, 0.999].
    weights : tuple of float
        Share of the starting capital of each; they add to 1. All caps aim with the total.
    """

    caps: tuple[float, ...] = (0.995,)
    weights: tuple[float, ...] = (1.0,)

    name: ClassVar[str] = "goal"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Ville's inequality with the bets of Kulldorff 1993, Browne 1999"
    cost: ClassVar[str] = "a few hundred multiplications per sample"
    # A grid of levels that moves with alpha, by at most 0.5 % of the width.
    grain: ClassVar[float] = 3e-3
    choose: ClassVar[str] = "by default, for an n that is fixed in advance"

    def __post_init__(self) -> None:
        caps, weights = checked_caps(self.caps, self.weights)
        object.__setattr__(self, "caps", caps)
        object.__setattr__(self, "weights", weights)

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        lower = np.empty(len(y))
        shares = np.array(self.weights)
        # Weights that add to 1 up to rounding: scale them so that they never exceed it.
        shares /= shares.sum() * (1.0 + 16.0 * EPS)
        _rows(y, alpha, np.array(self.caps), shares, lower)
        return lower
