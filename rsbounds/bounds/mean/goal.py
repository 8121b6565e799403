"""Goal-reaching bets: a fixed-n bound at the normal limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from rsbounds._kernels import kernel
from rsbounds._numerics import EPS
from rsbounds._types import Guarantee
from rsbounds.bounds.mean._base import MeanMethod
from rsbounds.bounds.mean._capital import threshold
from rsbounds.bounds.mean._samples import checked_caps

#: Capital aimed at, over 1/alpha. Aiming a little higher lets candidates that are clearly
#: rejected retire before the horizon, and is worth more than it costs on two-point data.
AIM = 1.01
#: Share of the samples that decides where the grid is fine.
PILOT_SHARE = 0.05
#: Cell width over the width expected of the bound, where the bound is expected: a cell costs
#: half its width on average, and time.
PITCH_SHORT, PITCH_LONG, SHORT = 0.003, 0.005, 5000

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

_LOWEST = -40.0
_STEPS = 1024


def _hazard_table() -> NDArray[np.float64]:
    """Phi(y)^-1 phi(y) at y = Phi^-1(p) for log p from _LOWEST to 0 in equal steps."""
    log_p = np.linspace(_LOWEST, 0.0, _STEPS + 1)
    y = ndtri_exp(log_p[:-1])
    hazard = np.exp(-0.5 * y * y - log_p[:-1]) / math.sqrt(2.0 * math.pi)
    return np.append(hazard, 0.0)


_HAZARD = _hazard_table()


@kernel
def _hazard(p: float) -> float:
    """Interpolated hazard; only the bets rest on it, and any bet is valid."""
    if p >= 1.0:
        return 0.0
    if p < 1e-17:
        return float(_HAZARD[0])
    place = (math.log(p) - _LOWEST) * (_STEPS / -_LOWEST)
    index = min(max(int(place), 0), _STEPS - 1)
    return float(_HAZARD[index] + (place - index) * (_HAZARD[index + 1] - _HAZARD[index]))


@kernel
def _grid(pilot: NDArray[np.float64], n: int, alpha: float, fineness: float) -> NDArray[np.float64]:
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
        pitch = fineness * width * (1.0 + GROWTH * z * z)
        if z < 0:
            pitch = min(pitch, max(APPROACH * (centre - m), fineness * width))
        m = min(m + pitch, 1.0)
        grid[count] = m
        count += 1
    return grid[:count]


@kernel
def _stakes(y: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
    """scale_t = 1/sqrt(V_{t-1} (n - t + 1)), V_t = (1/4 + sum (y_i - mu_i)^2)/(t + 1)."""
    n = y.size
    total = 0.5
    squares = 0.25
    for i in range(n):
        t = i + 1.0
        scale[i] = math.sqrt(t / (squares * (n - i)))
        total += y[i]
        step = y[i] - total / (t + 1.0)
        squares += step * step


@kernel
def _first_kept(
    y: NDArray[np.float64],
    scale: NDArray[np.float64],
    grid: NDArray[np.float64],
    pilot: int,
    caps: NDArray[np.float64],
    weights: NDArray[np.float64],
    alpha: float,
) -> float:
    """Left end of the first cell whose right end is not rejected."""
    n = y.size
    kinds = caps.size
    goal = threshold(n, alpha, caps.max())
    aim = alpha / AIM
    opening = _hazard(aim)
    limit = np.empty((kinds, LANES))
    capital = np.empty((kinds, LANES))
    m = np.empty(LANES)
    total = np.empty(LANES)
    hazard = np.empty(LANES)
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
                value = 0.0
                for k in range(kinds):
                    value += capital[k, j]
                total[j] = value
                rejected[j] = rejected[j] or value >= goal
                alive = alive or not rejected[j]
            if not alive:
                break
            if i < pilot:
                stop = min(i + 32, pilot)
                for j in range(LANES):
                    hazard[j] = opening
            else:
                stop = i + max(1, min(32, (n - i) // 500))
                for j in range(LANES):
                    hazard[j] = 0.0 if rejected[j] else _hazard(total[j] * aim)
            for s in range(i, stop):
                x = y[s]
                unit = scale[s]
                for k in range(kinds):
                    for j in range(LANES):
                        stake = min(hazard[j] * unit, limit[k, j])
                        capital[k, j] *= 1.0 + stake * (x - m[j])
            i = stop
        for j in range(width):
            value = 0.0
            for k in range(kinds):
                value += capital[k, j]
            if not (rejected[j] or value >= goal):
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
    scale = np.empty(n)
    pilot = math.ceil(PILOT_SHARE * n)
    fineness = PITCH_SHORT if n < SHORT else PITCH_LONG
    for i in range(y.shape[0]):
        grid = _grid(y[i, :pilot], n, alpha, fineness)
        _stakes(y[i], scale)
        lower[i] = _first_kept(y[i], scale, grid, pilot, caps, weights, alpha)


@dataclass(frozen=True)
class Goal(MeanMethod):
    """Bets that aim at 1/alpha by the horizon n, as a digital option is replicated.

    With probability at least 1 - alpha the mean is at least the bound. Against a candidate m
    the bet is h(alpha W) / sqrt(V_{t-1} (n - t + 1)), h(p) = phi(Phi^-1(p))/p, at most cap/m
    (Kulldorff 1993 and Browne 1999 for Brownian motion); any predictable bet is valid by
    Ville's inequality, and these reach the normal width z_{1-alpha} sigma/sqrt(n).

    Capital with such bets need not fall with m, so candidates stand for cells: everything in
    (m', m] is played with the bets of its right end m, which loses capital against none of
    it. The bound is the left end of the first cell, from below, that is kept. The first 5 %
    of the samples decide where the cells are small; on them the bets do not depend on m
    (capital still falls with m), so nothing is lost and nothing is used twice.

    Parameters
    ----------
    caps : tuple of float
        Caps that the capital is averaged over, in (0, 0.999].
    weights : tuple of float
        Share of the starting capital of each; they add to 1. All caps aim with the total.
    """

    caps: tuple[float, ...] = (0.88, 0.995)
    weights: tuple[float, ...] = (0.35, 0.65)

    name: ClassVar[str] = "goal"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Ville's inequality with the bets of Kulldorff 1993, Browne 1999"
    cost: ClassVar[str] = "a few hundred multiplications per sample"
    # A grid of levels that moves with alpha, by at most 0.3 % of the width.
    grain: ClassVar[float] = 3e-3
    choose: ClassVar[str] = "by default: the tightest here at a fixed n"

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
