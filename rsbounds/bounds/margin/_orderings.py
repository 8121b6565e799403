"""Orderings of the outcomes (x1, x2, x3) for the exact bound, and the regions they make.

Two of the orderings come from a divergence of counts from probabilities: the deviance
sum_i x_i log(x_i/(N q_i)) (likelihood ratio) and half of Pearson's chi-square (score). With
D(x, L) = min over g(q) = L of the divergence and R_L = {x : g(x/N) >= L, D(x, L) >= z^2/2},
the sets R_L fall as L grows, and T(x) = sup {L : x in R_L} orders the outcomes. What makes
it convenient, for both:

* R_L is monotone (the derivative of D in x_i, x_3 falling, is log(x_i/x_3) - log(q_i/q_3) or
  (x_i/q_i - x_3/q_3)/N at the nearest point of the curve, where its sign is known);
* the nearest point is the maximum of a concave function of one parameter on both scales, and
  *any* point of the curve proves that an outcome is outside R_L;
* on the linear scale, and for L >= 0 on the probit scale, the outcomes outside R_L form a
  convex set (the divergence is jointly convex and {g <= L} is convex), so straight lines
  between proven points stay outside.

The region that is summed may only be larger than R_L; every rounding goes that way.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import apart, part
from rsbounds._numerics import (
    deviance,
    normal_quantile,
    proportion_lower,
    upper_tail,
)
from rsbounds.solvers._trinomial import ROOT_HALF, ROOT_TWO_PI, curve_point


@part
def _phi(x: float) -> float:
    return math.exp(-0.5 * x * x) / ROOT_TWO_PI


@part
def divergence(
    x1: float, x2: float, x3: float, q1: float, q2: float, q3: float, pearson: bool
) -> float:
    """Deviance sum x log(x/(N q)), or half of Pearson's sum (x - N q)^2/(N q)."""
    size = x1 + x2 + x3
    m1, m2, m3 = size * q1, size * q2, size * q3
    if pearson:
        return 0.5 * ((x1 - m1) ** 2 / m1 + (x2 - m2) ** 2 / m2 + (x3 - m3) ** 2 / m3)
    return deviance(x1, m1) + deviance(x2, m2) + deviance(x3, m3)


@apart
def restricted(
    x1: float, x2: float, x3: float, level: float, probit: bool, pearson: bool, guess: float
) -> tuple[float, float, float]:
    """Parameter of the nearest point with g = level, the divergence D, dD/dlevel.

    Along the curve -D is concave: with q_i = Phi(.) or an affine function, log q_i is concave
    and 1/q_i convex. Newton's method inside a bracket.
    """
    low = -40.0 if probit else max(0.0, -level)
    high = -0.5 * level if probit else 0.5 * (1.0 - level)
    param = guess
    if not low < param < high:
        param = low + 0.5 * (high - low) if not probit else min(-1.0 - abs(level), high - 0.1)
    size = x1 + x2 + x3
    q1, q2, q3 = curve_point(param, level, probit)
    f1, f2, bend1, bend2 = 1.0, 1.0, 0.0, 0.0
    for turn in range(100):
        if q3 <= 0.0 or q1 <= 0.0 or q2 <= 0.0:
            if q3 <= 0.0:
                high = param
            else:
                low = param
            param = 0.5 * (low + high)
            q1, q2, q3 = curve_point(param, level, probit)
            if high - low < 1e-14 * (1.0 + abs(low)):
                break
            continue
        if probit:
            f1, f2 = _phi(param + level), _phi(param)
            bend1, bend2 = -(param + level) * f1, -param * f2
        # dD/dq_i = -w_i, and d2D/dq_i^2 = k w_i/q_i.
        w1, w2, w3 = x1 / q1, x2 / q2, x3 / q3
        k = 1.0
        if pearson:
            w1, w2, w3 = 0.5 * w1 * w1 / size, 0.5 * w2 * w2 / size, 0.5 * w3 * w3 / size
            k = 2.0
        if max(w1, w2) == math.inf and w3 == math.inf:
            break
        f3 = f1 + f2
        slope = w1 * f1 + w2 * f2 - w3 * f3
        bend = (
            w1 * (bend1 - k * f1 * f1 / q1)
            + w2 * (bend2 - k * f2 * f2 / q2)
            - w3 * (bend1 + bend2 + k * f3 * f3 / q3)
        )
        if slope > 0.0:
            low = param
        else:
            high = param
        following = param - slope / bend if bend < 0.0 else 0.5 * (low + high)
        # D is flat at its minimum: what is left is about bend step^2.
        if -math.inf < bend < 0.0 and slope * slope <= -1e-12 * bend:
            param = min(max(following, low), high)
            q1, q2, q3 = curve_point(param, level, probit)
            break
        # Far out Pearson's sum is exponential, and Newton's steps are short there.
        if not low < following < high or turn % 8 == 7:
            following = 0.5 * (low + high)
        param = following
        q1, q2, q3 = curve_point(param, level, probit)
        if high - low <= 1e-15 * (1.0 + abs(low)):
            break
    if q1 <= 0.0 or q2 <= 0.0 or q3 <= 0.0:
        return param, math.inf, -math.inf
    w1, w3 = x1 / q1, x3 / q3
    if pearson:
        w1, w3 = 0.5 * w1 * w1 / size, 0.5 * w3 * w3 / size
    if max(w1, w3) == math.inf:
        return param, math.inf, -math.inf
    return param, divergence(x1, x2, x3, q1, q2, q3, pearson), -f1 * (w1 - w3)


@apart
def divergence_limit(
    x1: float, x2: float, x3: float, z: float, probit: bool, pearson: bool
) -> tuple[float, float, float]:
    """T(x): the level whose signed root of 2 D is z; its point; slope of the root."""
    size = x1 + x2 + x3
    p1, p2 = x1 / size, x2 / size
    if probit:
        y1, y2 = normal_quantile(p1), normal_quantile(p2)
        plug_in = y1 - y2
        w1, w2 = 1.0 / _phi(y1), 1.0 / _phi(y2)
        guess = y2
    else:
        plug_in = p1 - p2
        w1, w2 = 1.0, 1.0
        guess = p2
    mean = w1 * p1 - w2 * p2
    spread = math.sqrt(max(w1 * w1 * p1 + w2 * w2 * p2 - mean * mean, 1e-300) / size)
    floor = -70.0 if probit else -1.0
    low, high = floor, plug_in
    level = max(plug_in - z * spread, 0.5 * (floor + plug_in) if not probit else plug_in - 8.0)
    slope = -1.0 / spread
    for _ in range(60):
        guess, half, change = restricted(x1, x2, x3, level, probit, pearson, guess)
        root = math.sqrt(max(2.0 * half, 0.0))
        if root > z:
            low = level
        else:
            high = level
        slope = change / root if root > 1e-8 else -1.0 / spread
        # Pearson's sum grows exponentially on the probit scale: its logarithm is solved for.
        rise = root * math.log(root / z) if pearson and root > 1e-8 else root - z
        following = level - rise / slope if slope < 0.0 else 0.5 * (low + high)
        if not low < following < high:
            following = 0.5 * (low + high)
        step = following - level
        level = following
        if abs(step) <= 1e-12 * spread or high - low <= 1e-15:
            break
    # A hair lower, so that x is inside its own region whatever the last rounding was: of the
    # search, and of the points of the curve. Regions are then nested as the proof wants them.
    level -= 1e-9 * spread + 1e-14 * (1.0 + abs(level))
    guess, _, _ = restricted(x1, x2, x3, level, probit, pearson, guess)
    return level, guess, slope


@part
def ranked_as(x1: int, x2: int, x3: int, pseudo: float) -> tuple[float, float, float]:
    """Counts that the orderings by likelihood and score work with.

    Where x3 = 0, x1 - x2 moves in steps of two, so its tail is that of a limit half a vote
    lower; such outcomes rank half a vote lower. (Monotone: every step gains a whole one.)
    """
    shift = 0.5 if x3 == 0 and x1 > 0 else 0.0
    return x1 + pseudo - shift, x2 + pseudo, x3 + pseudo + shift


@part
def _first_inside(value: float, x2: int, n: int) -> int:
    # Smallest x1 that ranks above ``value``.
    b = math.floor(max(value, -1.0)) + 1
    if b == n - x2 and b > 0 and b - 0.5 <= value:
        b += 1
    return int(b)


@apart
def _proven_outside(
    y1: float,
    y2: float,
    size: float,
    room: float,
    level: float,
    z: float,
    probit: bool,
    pearson: bool,
    guess: float,
) -> tuple[float, float]:
    """Largest y1 found that is proven outside R_level at this y2, and the point that proves it.

    Newton's method from ``y1`` on the root of 2 D, then steps down until the divergence from
    some point of the curve is below z^2/2. ``room`` is the largest y1 there is.
    """
    share = y2 / size
    on_curve, _, _ = curve_point(normal_quantile(share) if probit else share, level, probit)
    # Outcomes on or below the curve are outside; the root is looked for above it.
    proven = min(size * on_curve * (1.0 - 1e-12), room)
    low, high = proven, room
    if y1 <= low or y1 >= room:
        y1 = min(low + z * math.sqrt(low + 1.0), 0.5 * (low + room))
    empty = low >= room
    for _ in range(60):
        if empty:
            break
        y3 = size - y1 - y2
        guess, half, _ = restricted(y1, y2, y3, level, probit, pearson, guess)
        q1, _, q3 = curve_point(guess, level, probit)
        rise = (y1 / q1 - y3 / q3) / size if pearson else math.log(y1 / y3) - math.log(q1 / q3)
        root = math.sqrt(max(2.0 * half, 0.0))
        if root < z:
            low = y1
        else:
            high = y1
        if low >= room * (1.0 - 1e-12):
            empty, y1 = True, room
            break
        following = y1 - (root - z) * root / rise if rise > 0.0 else 0.5 * (low + high)
        if following >= room and high >= room:
            following = room
        elif not low < following < high:
            following = 0.5 * (low + high)
        step = abs(following - y1)
        y1 = following
        if step <= 1e-4 and y1 < room:
            break
    y1 = min(y1, room)
    back = 0.0 if empty else 0.002
    for _ in range(40):
        y = y1 - back
        if y <= proven:
            break
        guess, half, _ = restricted(y, y2, size - y - y2, level, probit, pearson, guess)
        if half < 0.5 * z * z * (1.0 - 1e-12) - 1e-13 * size:
            proven = y
            break
        back = 2.0 * back + 0.001
    return proven, guess


@apart
def fill_boundary(
    n: int,
    seen1: int,
    seen2: int,
    level: float,
    param: float,
    z: float,
    pseudo: float,
    probit: bool,
    pearson: bool,
    first: int,
    boundary: NDArray[np.int64],
) -> None:
    """Boundary of (a superset of) R_level for x2 = first, first + 1, ...

    Not every x2 is solved for. Where what lies outside is convex, the chord between two solved
    points does. Elsewhere the boundary still rises with x2: at the nearest null point q the ratio
    y2/q2 is below y3/q3 (Lagrange, as the margin falls in q2), so what y2 takes from y3 brings
    an outcome nearer to the null, by likelihood and by score. Between two
    x2 with the same first outcome inside, it is the same.
    """
    size = n + 3.0 * pseudo
    convex = level >= 0.0 or not probit
    last = first + boundary.size - 1
    # Nodes from the observed x2 outwards; between nodes the boundary is a straight line.
    for side in range(2):
        guess = param
        y1 = seen1 + pseudo
        slope = 1.0
        x2 = min(max(seen2, first), last)
        previous_x2, previous = x2, 0.0
        started = False
        beyond = last + 1
        while True:
            room = size - pseudo - (x2 + pseudo)
            proven, guess = _proven_outside(
                y1, x2 + pseudo, size, room, level, z, probit, pearson, guess
            )
            value = proven - pseudo
            if proven >= room * (1.0 - 1e-12):
                value = n - x2 + 0.5
                if side == 1 and started:
                    # Nothing is inside from here on. A line to here would end too late.
                    beyond = x2
                    if x2 - previous_x2 > 1:
                        x2 = previous_x2 + (x2 - previous_x2) // 2
                        y1 = previous + pseudo + slope * (x2 - previous_x2)
                        continue
                    boundary[beyond - first :] = n + 1
                    break
            inside = _first_inside(value, x2, n)
            if started and abs(x2 - previous_x2) > 1:
                low, high = min(x2, previous_x2), max(x2, previous_x2)
                if not convex and (
                    inside != _first_inside(previous, previous_x2, n) or inside >= n - high
                ):
                    # It steps up somewhere in between.
                    x2 = previous_x2 + (x2 - previous_x2) // 2
                    y1 = previous + pseudo + slope * (x2 - previous_x2)
                    continue
                for j in range(low + 1, high):
                    if convex:
                        line = (value - previous) * (j - previous_x2) / (x2 - previous_x2)
                        boundary[j - first] = _first_inside(previous + line - 1e-7, j, n)
                    else:
                        boundary[j - first] = inside
            boundary[x2 - first] = inside
            if started:
                slope = (value - previous) / (x2 - previous_x2)
            else:
                started = True
            previous_x2, previous = x2, value
            if (side == 0 and x2 <= first) or (side == 1 and x2 >= last):
                break
            stride = max(1, int(0.4 * math.sqrt(x2 + 1.0) * math.sqrt(1.0 - x2 / (n + 1.0))))
            if not convex:
                stride = max(1, min(stride, int(0.5 / max(slope, 1e-6))))
            if beyond <= last:
                if beyond - x2 <= 1:
                    boundary[beyond - first :] = n + 1
                    break
                half = (beyond - x2) // 2
                stride = half if convex else min(stride, max(half, 1))
            following_x2 = max(x2 - stride, first) if side == 0 else min(x2 + stride, last)
            y1 = proven + slope * (following_x2 - x2)
            x2 = following_x2
    for j in range(first, last + 1):
        if boundary[j - first] > n - j:
            boundary[j - first] = n + 1
    close_boundary(seen1, seen2, first, boundary)


@part
def wald_pseudo(z: float) -> float:
    """Pseudo-count per cell with which the Wald limit is monotone in both counts.

    z |dV/dp_i| sqrt(1/(4 N V)) <= dg/dp_i is all that is needed, on the side where V works
    against g. As N >= a/min p, a >= C z^2 is enough with C the supremum over the simplex of
    (dV/dp_i / dg/dp_i)^2 min(p)/(4 V): 9/16 on the linear scale (at d near -+1), below 1/4 on
    the probit scale (interval arithmetic, in the tests).
    """
    return max(1.0, 9.0 * z * z / 16.0)


@apart
def wald_limit(n: int, x1: int, x2: int, z: float, probit: bool) -> float:
    """Wald lower limit of the margin with pseudo-counts."""
    a = wald_pseudo(z)
    size = n + 3.0 * a
    p1, p2 = (x1 + a) / size, (x2 + a) / size
    if not probit:
        return p1 - p2 - z * math.sqrt((p1 + p2 - (p1 - p2) ** 2) / size)
    rest1, rest2 = (n - x1 + 2.0 * a) / size, (n - x2 + 2.0 * a) / size
    y1 = normal_quantile(p1) if p1 <= 0.5 else -normal_quantile(rest1)
    y2 = normal_quantile(p2) if p2 <= 0.5 else -normal_quantile(rest2)
    f1, f2 = _phi(y1), _phi(y2)
    variance = p1 * rest1 / (f1 * f1) + p2 * rest2 / (f2 * f2) + 2.0 * p1 * p2 / (f1 * f2)
    return y1 - y2 - z * math.sqrt(variance / size)


@apart
def fill_wald(
    n: int,
    seen1: int,
    seen2: int,
    z: float,
    probit: bool,
    first: int,
    boundary: NDArray[np.int64],
) -> None:
    """Boundary of {Wald limit >= that of what was seen}.

    It rises with x2, so each search starts at the last.
    """
    limit = wald_limit(n, seen1, seen2, z, probit)
    # Rounding of the limit, of quantiles and densities included.
    limit -= 1e-11 * (1.0 + abs(limit))
    outside, stride = -1, max(seen1 // 2, 1)
    for j in range(boundary.size):
        x2 = first + j
        inside = n - x2 + 1
        while outside + stride < inside:
            if wald_limit(n, outside + stride, x2, z, probit) >= limit:
                inside = outside + stride
            else:
                outside += stride
                stride *= 2
        while inside - outside > 1:
            middle = (inside + outside) // 2
            if wald_limit(n, middle, x2, z, probit) >= limit:
                inside = middle
            else:
                outside = middle
        if inside > n - x2:
            boundary[j:] = n + 1
            break
        boundary[j] = inside
        stride = max(inside - boundary[j - 1], 1) if j > 0 else 1
        outside = inside - 1
    close_boundary(seen1, seen2, first, boundary)


@apart
def close_boundary(seen1: int, seen2: int, first: int, boundary: NDArray[np.int64]) -> None:
    """Enlarge the region to one that contains the observed point and is monotone."""
    last = first + boundary.size - 1
    for j in range(min(seen2, last), first - 1, -1):
        boundary[j - first] = min(boundary[j - first], seen1)
    for j in range(boundary.size - 2, -1, -1):
        boundary[j] = min(boundary[j], boundary[j + 1])


@apart
def _least_votes(n: int, p: float, rest: float, log_share: float, start: int, most: int) -> int:
    # Smallest y1 with P(Bin(n, p) >= y1) <= exp(log_share), or most + 1: the Clopper-Pearson
    # lower limit of y1 is at least p. From ``start``, one vote at a time.
    if p >= 1.0 or rest <= 0.0:
        return most + 1
    if p <= 0.0:
        return 0
    y1 = min(max(start, 1), most + 1)
    while y1 <= most and upper_tail(float(y1), float(n), p, rest)[0] > log_share + 1e-8:
        y1 += 1
    while y1 > 1 and upper_tail(float(y1 - 1), float(n), p, rest)[0] <= log_share + 1e-8:
        y1 -= 1
    return y1


@apart
def fill_runner_up(
    n: int,
    seen1: int,
    level: float,
    alpha: float,
    share: float,
    probit: bool,
    seen2: int,
    first: int,
    boundary: NDArray[np.int64],
) -> None:
    """Boundary of {runner-up bound >= level} at the given split of alpha.

    The bound is g(lower, min(upper, 1 - lower)), Clopper-Pearson limits both: an outcome
    belongs to the region by its upper limit, or by ``enough`` votes for the top class.
    """
    log_share = math.log(share * alpha)
    if probit:
        p, q = 0.5 * math.erfc(-0.5 * level * ROOT_HALF), 0.5 * math.erfc(0.5 * level * ROOT_HALF)
    else:
        p, q = 0.5 * (1.0 + level), 0.5 * (1.0 - level)
    enough = _least_votes(n, p, q, log_share, seen1, n)
    y1 = seen1
    for j in range(boundary.size):
        y2 = first + j
        q, p = proportion_lower(float(n - y2), float(n), (1.0 - share) * alpha)
        if probit:
            x = (normal_quantile(p) if p <= 0.5 else -normal_quantile(q)) + level
            need, rest = 0.5 * math.erfc(-x * ROOT_HALF), 0.5 * math.erfc(x * ROOT_HALF)
        else:
            need = p + level
            rest = 1.0 - need
        y1 = min(_least_votes(n, need, rest, log_share, y1, n - y2), enough)
        boundary[j] = y1 if y1 <= n - y2 else n + 1
    close_boundary(seen1, seen2, first, boundary)
