"""Many draws: tests by half-planes, each with a proven tail in closed form.

Each point q of the table (q1, q2, q3) gets a test of its own, {x1 - rho x2 >= d}, whose weight
rho depends on q alone. What is not rejected is a confidence set for q, and the smallest margin
in it is a lower bound: nothing has to be nested. rho is the slope of the curve of equal margin
near q: 1 on the linear scale; on the probit scale it is constant on the patches of a grid of q2
and margin that is fixed before the counts are seen (patches of about one standard deviation).

The tail is tilted to its threshold: with S = x1 - rho x2 and any theta >= 0,
P(S >= d) = exp(n K(theta) - theta d) E_theta[exp(-theta (S - d)); S >= d], and the expectation is
at most that of a normal S plus 2 Delta, Delta the distance of the two distribution functions
(integrate by parts); Delta <= 0.4748 E|X - EX|^3 / (sd^3 sqrt n) by Berry-Esseen with the constant
of Shevtsova (2011). The cost does not depend on n.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rsbounds._kernels import apart, part
from rsbounds._numerics import EPS, normal_quantile
from rsbounds.solvers._trinomial import ROOT_HALF, ROOT_TWO_PI, curve_point

BERRY_ESSEEN = 0.4748
#: Patches that one level may take: more are never needed where the top class wins.
PATCHES = 2000


class Window(NamedTuple):
    """Counts, and the points that half-planes test: n q2 >= few, q1 >= a1, q2 <= b2."""

    n: int
    x1: int
    x2: int
    few: float
    a1: float
    a1_rest: float
    b2: float
    b2_rest: float
    probit: bool


@apart
def _range_on_curve(
    up: float, down: float, level: float, u: float, v: float, probit: bool
) -> tuple[float, float]:
    """Range of up q1 - down q2 (up, down >= 0) on the curve g = level from u to v.

    Linear in q2 on the linear scale; on the probit scale its derivative is phi(y) times a
    monotone function of y, so it turns at most once.
    """
    q1, q2, _ = curve_point(u, level, probit)
    low = high = up * q1 - down * q2
    q1, q2, _ = curve_point(v, level, probit)
    value = up * q1 - down * q2
    low, high = min(low, value), max(high, value)
    error = 32.0 * EPS * (up * q1 + down * q2)
    if probit and level != 0.0 and up > 0.0 and down > 0.0:
        turn = (math.log(up / down) - 0.5 * level * level) / level
        if u < turn < v:
            q1, q2, _ = curve_point(turn, level, probit)
            value = up * q1 - down * q2
            low, high = min(low, value), max(high, value)
            # Where it turns it is flat: an error of ``turn`` counts by its square.
            error *= 2.0
    return low - error, high + error


@apart
def _excess(theta: float, low: float, high: float, sd_low: float, sd_high: float) -> float:
    # Largest E[exp(-theta Y); Y >= 0] over Y ~ N(mean, sd^2), mean in [low, high]. It falls
    # with theta sd at fixed mean/sd, and its log is concave in mean/sd: a tangent bounds it.
    low = low / sd_low if low < 0.0 else low / sd_high
    high = high / sd_low if high > 0.0 else high / sd_high
    scaled = theta * sd_low
    centre = 0.5 * (low + high)
    w = scaled - centre
    if not -35.0 < w < 35.0:
        return 1.0
    tail = 0.5 * math.erfc(w * ROOT_HALF)
    hazard = math.exp(-0.5 * w * w) / (ROOT_TWO_PI * tail)
    log_value = 0.5 * scaled * scaled - scaled * centre + math.log(tail)
    return math.exp(min(log_value + abs(hazard - scaled) * 0.5 * (high - low), 0.0)) * (1 + 1e-12)


@apart
def half_plane_upper(
    n: int,
    x1: int,
    x2: int,
    rho: float,
    level: float,
    u: float,
    v: float,
    probit: bool,
    enough: float,
) -> float:
    """Upper bound on the log of P_q(X1 - rho X2 >= x1 - rho x2) for every q of the curve
    g = level between the parameters u and v; no effort is made below ``enough``.
    """
    size = float(n)
    d = x1 - rho * x2
    q1, q2, _ = curve_point(0.5 * (u + v), level, probit)
    mean = q1 - rho * q2
    variance = q1 + rho * rho * q2 - mean * mean
    theta = max((d - size * mean) / (size * variance), 0.0) if variance > 0.0 else 0.0
    theta = min(theta, 600.0 / max(1.0, rho))
    grow, shrink = math.exp(theta), math.exp(-theta * rho)
    low, high = _range_on_curve(math.expm1(theta), -math.expm1(-theta * rho), level, u, v, probit)
    if not low > -1.0:
        return 0.0
    exponent = size * math.log1p(high) - theta * d
    exponent += 16.0 * EPS * (size * max(abs(low), abs(high)) + theta * (x1 + rho * x2) + 1.0)
    if exponent <= enough:
        return exponent
    # The tilted table, cell by cell, between its ends: q1 and q2 grow along the curve.
    z_low, z_high = 1.0 + low, 1.0 + high
    low, high = _range_on_curve(grow, rho * shrink, level, u, v, probit)
    low = low / z_high if low > 0.0 else low / z_low
    high = high / z_low if high > 0.0 else high / z_high
    a1, a2, a3 = curve_point(u, level, probit)
    b1, b2, b3 = curve_point(v, level, probit)
    far, near = max(1.0 - low, 0.0), max(1.0 - high, 0.0)
    least = a1 * grow * near**2
    most = b1 * grow * far**2
    third = b1 * grow * far**3
    far, near = max(rho + high, 0.0), max(rho + low, 0.0)
    least += a2 * shrink * near**2
    most += b2 * shrink * far**2
    third += b2 * shrink * far**3
    far = max(abs(low), abs(high))
    near = min(abs(low), abs(high)) if low * high > 0.0 else 0.0
    least = (least + b3 * near**2) / z_high * (1.0 - 1e-12)
    most = (most + a3 * far**2) / z_low * (1.0 + 1e-12)
    third = (third + a3 * far**3) / z_low * (1.0 + 1e-12)
    if not least > 0.0:
        return min(exponent, 0.0)
    sd_low, sd_high = math.sqrt(size * least), math.sqrt(size * most)
    error = 4.0 * EPS * (abs(d) + size * far)
    value = _excess(theta, size * low - d - error, size * high - d + error, sd_low, sd_high)
    value += 2.0 * BERRY_ESSEEN * third / (least * sd_low)
    return min(exponent + math.log(min(value, 1.0)), 0.0)


@part
def _parameter(q: float, rest: float, probit: bool) -> float:
    if not probit:
        return q
    return normal_quantile(q) if q <= 0.5 else -normal_quantile(rest)


@part
def least_second(window: Window, level: float) -> float:
    """Smallest q2 with q1 >= a1 and g(q) <= level, rounded down."""
    first = _parameter(window.a1, window.a1_rest, window.probit) - level
    if window.probit:
        return 0.5 * math.erfc(-first * ROOT_HALF) * (1.0 - 1e-9)
    return max(first - 1e-12, 0.0)


@apart
def level_holds(window: Window, level: float, lowest: float, target: float) -> tuple[bool, int]:
    """Whether every q with lowest <= g(q) <= level, n q2 >= few, q1 >= a1 and q2 <= b2 is
    proven rejected at exp(target); and the patches looked at.

    A patch is one interval of sqrt(n q2), one standard deviation long, times one interval
    (jh, (j + 1)h] of the margin (all margins on the linear scale, where there is one test). Its
    tests are half-planes of one slope, whose tails grow with q1 and fall with q2: within the
    patch the curve of its largest margin is enough, or where q3 = 0 comes first, its point of
    the smallest q2.
    ``lowest`` is at least -1/2, so that q2 > 3/4 need not be looked at.
    """
    used = 0
    n, few, b2, probit = window.n, window.few, window.b2, window.probit
    start1 = _parameter(window.a1, window.a1_rest, probit)
    hair = 1e-13 * (1.0 + abs(start1)) if probit else 1e-15
    least = least_second(window, level)
    i = math.floor(2.0 * math.sqrt(max(n * least, few)) * (1.0 - 1e-12))
    while 0.25 * i * i <= n * b2:
        bottom = max(0.25 * i * i, few) / n
        if bottom > 0.75:
            break
        # At most the end of the confidence set; its bounds are the patch's to within a hair.
        top = 0.25 * (i + 1.0) * (i + 1.0) / n
        u = _parameter(bottom, 1.0 - bottom, probit) - hair if bottom > 0.0 else -37.0
        if top < b2:
            v = _parameter(top, 1.0 - top, probit) + hair
        else:
            v = _parameter(b2, window.b2_rest, probit) + hair
        if not probit:
            u = max(u, 0.0)
        middle = 0.25 * (i + 0.5) * (i + 0.5) / n
        y = _parameter(middle, 1.0 - middle, probit)
        width = 2.0 / ((i + 0.5) * (1.0 + abs(y)))
        strip, j = level, math.ceil(level / width) - 1.0
        while strip >= lowest:
            begin = max(u, start1 - strip - hair)
            if probit:
                reached = min(strip, -2.0 * begin)
                end = min(v, -0.5 * reached)
            else:
                reached = min(strip, 1.0 - 2.0 * begin)
                end = min(v, 0.5 * (1.0 - reached))
            if begin > v or reached < lowest:
                break
            rho = 1.0
            if probit:
                tilt = (j + 0.5) * width
                rho = math.exp(-tilt * (y + 0.5 * tilt))
            used += 1
            raised = reached + 2.0 * hair
            upper = half_plane_upper(
                n, window.x1, window.x2, rho, raised, begin, max(begin, end), probit, target
            )
            if upper > target or used >= PATCHES:
                return False, used
            if not probit:
                break
            strip = j * width
            j -= 1.0
        i += 1
    return True, used


@apart
def largest_level(window: Window, low: float, high: float, target: float) -> tuple[float, int, int]:
    """Largest level found between low and high that holds (see `level_holds`) above ``low``,
    ``low`` where none does: (level, patches, levels tried).
    """
    best, total, tried = low, 0, 0
    lowest = low
    for _ in range(15):
        level = 0.5 * (best + high)
        holds, used = level_holds(window, level, lowest, target)
        total += used
        tried += 1
        if holds:
            best = level
        else:
            high = level
    return best, total, tried
