# mypy: disable-error-code="no-any-return"
"""Capital against "the margin is at most m" that falls as m grows, and where it reaches a level.

The bets are those of `rsbounds.sequential._tangents`, with slopes s and stakes l that do not depend
on m: only the height u(m) of the line above the curve of m does. The nulls grow with m, so u(m)
does, each factor falls and the capital with it: what is refuted at m is refuted below it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel, part

#: Logarithms of the slopes on the probit scale (the linear scale has the slope 1 alone), closest
#: where A and its rival have most of the votes.
SLOPES = 9.0 * np.linspace(0.0, 1.0, 41) ** 2
#: Number of stakes for each slope.
STAKES = 12
#: Spread of the stakes around the best one for the target, in logarithms, and its place.
_SPREAD, _PLACE = 0.8, math.log(0.9)
#: Weight of the even mixture beside that of the selection sample.
_EVEN = 0.1
#: Largest margin that is asked about: beyond it the numbers end.
MOST = 74.0
_LEAST = 1e-6

_ERROR = 1e-12


def stakes(slopes: NDArray[np.float64], n_target: int, alpha: float) -> NDArray[np.float64]:
    """(S, STAKES) stakes: from the largest that keeps every factor above 0 downwards."""
    least = min(0.3 * math.sqrt(-2.0 * math.log(alpha) / n_target) * 2.0, 0.5)
    share = np.geomspace(0.999, least * 0.3, STAKES)
    return np.asarray(share / (1.0 + np.exp(slopes))[:, None])


@part
def _tail(x: float) -> float:
    """P(Z > x)."""
    return 0.5 * math.erfc(x * 0.7071067811865476)


@part
def _line(slope: float, margin: float, probit: bool) -> tuple[float, float]:
    """The height u of the line of a slope (its logarithm), rounded up, and 1 - u rounded down."""
    if not probit:
        return margin, (1.0 - margin) * (1.0 - 2.0**-52)
    z = -slope / margin - 0.5 * margin
    s = math.exp(slope)
    # The tangent at z has a slope that differs from s by this part of it at most.
    error = 1e-15 * (1.0 + slope + margin * margin)
    below, above = s * _tail(-z), _tail(-(z + margin))
    u = above * (1.0 + _ERROR) - below * (1.0 - _ERROR) + error * s
    v = _tail(z + margin) * (1.0 - _ERROR) + below * (1.0 - _ERROR) - error * s
    return min(u, 1.0), min(max(v, 0.0), 1.0)


@part
def _capital(
    a: float, c: float, rest: float, margin: float, probit: bool,
    slopes: NDArray[np.float64], stake: NDArray[np.float64],
    weights: NDArray[np.float64], terms: NDArray[np.float64],
) -> float:  # fmt: skip
    """Log capital against a margin, rounded down."""
    top = -math.inf
    many = stake.shape[1]
    for i in range(slopes.size):
        u, v = _line(slopes[i], margin, probit)
        s = math.exp(slopes[i]) * (1.0 + 1e-15)
        for j in range(many):
            bet = stake[i, j]
            won, lost = a * math.log1p(bet * v), c * math.log1p(-bet * (s + u))
            left = rest * math.log1p(-bet * u)
            k = i * many + j
            # Each logarithm to a few roundings of it, one more for those of its argument, which
            # count most where little is left of 1: 1 - bet (s + u) is above a thousandth.
            size = won - lost - left
            terms[k] = won + lost + left + weights[k] - 4e-15 * size - 1e-12 * c * bet * (s + u)
            top = max(top, terms[k])
    total = 0.0
    for k in range(terms.size):
        if terms[k] > top - 40.0:
            total += math.exp(terms[k] - top)
    return top + math.log(total) - 1e-12


@part
def _weigh(
    a: float, c: float, rest: float, target: float, level: float,
    slopes: NDArray[np.float64], stake: NDArray[np.float64], probit: bool,
    weights: NDArray[np.float64],
) -> None:  # fmt: skip
    """Logarithms of weights that add to 1: even ones, and ones around what earlier votes say."""
    n, many = a + c + rest, stake.shape[1]
    even, summed = 0.0, 0.0
    p_a, p_c = (a + 0.5) / (n + 1.5), (c + 0.5) / (n + 1.5)
    place, spread = 0.0, 1.0
    if probit:
        z_a, z_c = _quantile(p_a), _quantile(p_c)
        place = max(0.5 * (z_c * z_c - z_a * z_a), 0.0)
        of_a, of_c = z_a / _density(z_a), z_c / _density(z_c)
        spread = max(math.sqrt((of_a**2 * p_a * (1 - p_a) + of_c**2 * p_c * (1 - p_c)) / n), 0.15)
    for turn in range(2):
        for i in range(slopes.size):
            s = math.exp(slopes[i])
            variance = p_a + s * s * p_c - (p_a - s * p_c) ** 2
            best = 0.5 * math.log(2.0 * level / (target * max(variance, 1e-12))) + _PLACE
            far = ((slopes[i] - place) / spread) ** 2
            for j in range(many):
                off = ((math.log(stake[i, j]) - best) / _SPREAD) ** 2
                # Where the votes say nothing, small slopes are the likelier ones.
                flat, near = math.exp(-0.3 * slopes[i]), math.exp(-0.5 * min(far + off, 1200.0))
                if turn == 0:
                    even += flat
                    summed += near
                else:
                    w = _EVEN * flat / even + (1 - _EVEN) * near / max(summed, 1e-280)
                    weights[i * many + j] = math.log(w if n > 0 else flat / even) - 1e-12


@part
def _density(z: float) -> float:
    return math.exp(-0.5 * z * z) * 0.3989422804014327


@part
def _quantile(p: float) -> float:
    """About Phi^-1(p); nothing rests on it."""
    t = math.sqrt(-2.0 * math.log(min(p, 1.0 - p)))
    x = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (
        1.0 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t * t * t
    )
    return -x if p < 0.5 else x


@kernel
def lower_rows(
    votes: NDArray[np.float64], earlier: NDArray[np.float64], target: float, level: float,
    slopes: NDArray[np.float64], stake: NDArray[np.float64], probit: bool,
    lower: NDArray[np.float64],
) -> None:  # fmt: skip
    """Raise each bound to about the largest margin whose capital reaches the level."""
    weights, terms = np.empty(stake.size), np.empty(stake.size)
    for i in range(lower.size):
        a, c, rest = votes[i, 0], votes[i, 1], votes[i, 2]
        n = a + c + rest
        if n == 0:
            continue
        _weigh(earlier[i, 0], earlier[i, 1], earlier[i, 2], target, level, slopes, stake, probit,
               weights)  # fmt: skip
        low = max(lower[i], _LEAST)
        at_low = _capital(a, c, rest, low, probit, slopes, stake, weights, terms) - level
        if at_low < 0.0:
            continue
        # Half a vote for the rival bounds the search where it has none.
        p_a, p_c = (a + 0.5) / (n + 1.0), (c + 0.5) / (n + 1.0)
        high = (_quantile(p_a) - _quantile(p_c) if probit else p_a - p_c) + 0.01
        high = min(max(high, low), MOST if probit else 1.0 - 1e-12)
        at_high, side = -level, 0
        # Regula falsi (Illinois): `low` is always proven.
        for _ in range(60):
            if high - low <= 1e-6 + 2e-5 * high:
                break
            part_of = at_low / (at_low - at_high)
            middle = low + min(max(part_of, 0.02), 0.98) * (high - low)
            found = _capital(a, c, rest, middle, probit, slopes, stake, weights, terms) - level
            if found >= 0.0:
                low, at_low = middle, found
                at_high = 0.5 * at_high if side == 1 else at_high
                side = 1
            else:
                high, at_high = middle, found
                at_low = 0.5 * at_low if side == -1 else at_low
                side = -1
        lower[i] = max(lower[i], low)
