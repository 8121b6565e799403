"""Bets against "the radius is at most r": tangents of the curve of a noise law.

Source: the curve of a law is the receiver operating curve of Neyman and Pearson, which is concave;
against a convex null every best bet is a likelihood ratio, and that is a tangent (Gruenwald,
de Heide and Koolen, "Safe testing", 2024, theorem 1).

The null set
------------
One competitor c of the class A leaves three cells: A, c and the rest. With R(b) = roc(r, b) the
radius r is *not* certified where R(1 - p_A) + R(p_c) >= 1, that is where p_A <= h(p_c),

    h(b) = 1 - sup { x : R(x) <= 1 - R(b) }.

R is nondecreasing, so h is. On the probit scale h(b) = Phi(Phi^-1(b) + t), t the margin that the
radius takes; on the linear scale h(b) = b + t. R is concave, hence h is: the supremum is R's
inverse, convex and nondecreasing, of 1 - R(b), which is convex.

The bets
--------
Let a line lie above the curve, u + s b >= h(b) for all b in [0, 1]. Then
S = 1{A} - s 1{c} - u has mean p_A - s p_c - u <= h(p_c) - s p_c - u <= 0 under every p of the
null, and for 0 <= l <= 1 / (s + u) the factors

    f_A = 1 + l (1 - u),    f_c = 1 - l (s + u),    f_rest = 1 - l u

are nonnegative with mean at most 1. Products of them over draws are supermartingales, and so is
their mixture over lines and l with weights that add to 1 at most. Rounding any factor down keeps
this true. A slope may be rounded up only *after* u has been computed with the slope of the
tangent itself or a smaller one: the line of slope s > h'(b) through (b, h(b)) cuts the curve to
the left of b.

At the end of the curve where the rest is empty (h(b) = 1 - b = p0, slope 1) the tangent's factors
are f_A and f_c of a bet on "A or not" against p_A <= p0, and f_rest >= f_c. So the mixture over
that column is at least the capital of the same mixture in a binary test: it is in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from rsbounds._types import Scale
from rsbounds.noises import Noise

#: The columns: share b of the competitor where a line touches, in units of its largest value.
_COLUMNS = np.exp(-np.concatenate([[0.0], np.geomspace(0.15, 14.0, 12)]))
#: Weight of the first column, where nothing is left but A and c.
_CORNER = 0.85
#: The stakes: -log(1 - l (s + u)), and the power of 1 - l (s + u) that is their prior.
_STAKES = np.geomspace(1e-5, 7.0, 36)
_POWER = 0.1
#: The rest that an alternative of the first column is given, as a share of what A leaves.
_REST = 0.15

#: Relative error allowed for in ndtr (below 3e-13 as far as 38 standard deviations) and in
#: products of it; and in the logarithms of factors.
_ERROR = 1e-12
_LOG_ERROR = 1e-15


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines above a curve, one for each column: u + s b >= h(b).

    Attributes
    ----------
    s, u : (C,) float64
        Slopes and heights, rounded up.
    v : (C,) float64
        1 - u, rounded down: exact where u is nearly 1.
    a, b : (C,) float64
        About where they touch; nothing rests on these.
    """

    s: NDArray[np.float64]
    u: NDArray[np.float64]
    v: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]


def scale_lines(margin: float, scale: Scale) -> Lines:
    """Lines above the curve of a margin > 0 on a scale."""
    if scale == "linear":
        b = max(0.5 - 0.5 * margin, 0.0) * _COLUMNS
        one = np.ones_like(b)
        # Sums of margins above 1 are refuted by nobody.
        v = np.full_like(b, (1.0 - margin) * (1.0 - 2.0**-52) if margin < 1.0 else 0.0)
        return Lines(one, one * min(margin, 1.0), v, b + margin, b)
    if margin > 74.0:
        # Beyond 37 standard deviations there are no numbers to bet with.
        one = np.ones_like(_COLUMNS)
        return Lines(one, one, 0.0 * one, one, 0.0 * one)
    end = ndtr(-0.5 * margin)
    z = np.maximum(ndtri(np.maximum(end * _COLUMNS, 1e-300)), -37.0)
    z[0] = max(-0.5 * margin, -37.0)
    power = -margin * (z + 0.5 * margin)
    with np.errstate(over="ignore"):
        s = np.exp(power)
    b, error = ndtr(z), 8e-16 * (1.0 + np.abs(margin * z) + margin * margin)
    # 1 - u = 1 - h(b) + s b with the slope of the tangent rounded down, then the slope up.
    v = (ndtr(-(z + margin)) + s * (1.0 - error) * b) * (1.0 - _ERROR)
    u = np.minimum(1.0, (1.0 - v) * (1.0 + 2.0**-52))
    return Lines(s * (1.0 + error), u, np.minimum(v, 1.0), ndtr(z + margin), b)


def curve_lines(law: Noise, radius: float) -> Lines:
    """Lines above the curve that a law (for one input) has at a radius.

    The curve is read at a few thousand points and taken for the staircase above them: what is
    returned lies above any nondecreasing curve through points not above those.
    """
    error = 1e-14
    end = _corner(law, radius)
    down = end * np.exp(-np.linspace(0.0, 16.0, 4096)) if end > 0 else np.empty(0)
    up = np.linspace(end, 1.0, 512)
    points = np.concatenate([[0.0], down[::-1], up[1:]])
    level = 1.0 - np.asarray(law.roc(radius, points)).reshape(-1) - error
    rest = np.asarray(law.roc_inverse(radius, level)).reshape(-1)
    above = np.minimum(1.0 - rest + 2.0**-52, 1.0)
    b = end * _COLUMNS
    at = np.clip(np.searchsorted(points, b), 17, len(points) - 17)
    width = points[at + 16] - points[at - 16]
    # Nothing rests on the slopes: the heights are those of the lines that they give.
    s = np.clip((above[at + 16] - above[at - 16]) / np.maximum(width, 1e-300), 1.0, 1e12)
    stairs = above[1:, None] - s * points[:-1, None] * (1.0 - 2.0**-50)
    u = np.clip(stairs.max(axis=0) + 2.0**-50, 0.0, 1.0)
    return Lines(s, u, (1.0 - u) * (1.0 - 2.0**-52), above[at], b)


def _corner(law: Noise, radius: float) -> float:
    """About where h(b) = 1 - b: roc(r, b) = 1/2."""
    return float(np.asarray(law.roc_inverse(radius, 0.5)).reshape(-1)[0])


def bets(lines: Lines) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every stake on every line.

    Returns
    -------
    factors : (3, G) float64
        Logarithms of the factors of A, c and the rest, rounded down.
    alternatives : (3, G) float64
        Logarithms of the probabilities that each bet is best for; nothing rests on these.
    """
    share = -np.expm1(-_STAKES)
    s, u, v = lines.s[:, None], lines.u[:, None], lines.v[:, None]
    usable = np.isfinite(s) & (s < 1e100)
    stake = np.where(usable, share / (np.where(usable, s, 1.0) + u), 0.0)
    a = np.log1p(stake * v * (1.0 - 1e-15)) * (1.0 - _LOG_ERROR)
    c = np.log1p(-np.where(usable, share, 0.0) * (1.0 + 1e-15)) * (1.0 + _LOG_ERROR)
    # Rounded up as the share of c's loss that it is, so that it is never more than that.
    rest = np.log1p(-stake * u * (1.0 + 2e-15)) * (1.0 + _LOG_ERROR)
    factors = np.stack([a, c, np.maximum(rest, c)])
    left = np.maximum(1.0 - lines.a - lines.b, _REST * (1.0 - lines.a))
    touch = np.stack([lines.a, lines.b, left])[:, :, None]
    chances = touch * np.exp(factors)
    chances = np.maximum(chances / chances.sum(axis=0), 1e-300)
    return factors.reshape(3, -1), np.log(chances).reshape(3, -1)


@lru_cache(maxsize=256)
def scale_bets(margin: float, scale: Scale) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`bets` on the lines of a margin; made once, for rules that ask the same question."""
    return bets(scale_lines(margin, scale))


def weights() -> NDArray[np.float64]:
    """(G,) logarithms of the weights of the bets, which add to 1 at most."""
    column = np.full(len(_COLUMNS), (1.0 - _CORNER) / (len(_COLUMNS) - 1))
    column[0] = _CORNER
    ends = np.concatenate([[0.0], np.sqrt(_STAKES[1:] * _STAKES[:-1]), [np.inf]])
    stake = np.diff(-np.expm1(-_POWER * ends))
    return np.log(np.outer(column, stake / stake.sum()).reshape(-1)) - 1e-12
