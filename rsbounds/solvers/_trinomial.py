"""Three cells (q1, q2, q3): the probability of a monotone region, and how it can move.

A region is monotone if it keeps (x1 + 1, x2) and (x1, x2 - 1) with every (x1, x2); it is
stored as its boundary: (x1, x2) is inside where x1 >= boundary(x2). P_q(region) is then
nondecreasing in q1 at fixed q2 and nonincreasing in q2 at fixed q1.

The margin g is q1 - q2 (linear) or Phi^-1(q1) - Phi^-1(q2) (probit). A point of the curve
g = level is found from one parameter that fixes q2 alone: q2 itself, or Phi^-1(q2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import apart, part
from rsbounds._numerics import EPS, log_binom_pmf, normal_quantile, upper_tail

ROOT_HALF = 0.7071067811865476
ROOT_TWO_PI = 2.5066282746310002
#: Below this, logs of probabilities are not told apart: exp would soon leave the range.
FLOOR = -600.0


@part
def curve_point(param: float, level: float, probit: bool) -> tuple[float, float, float]:
    """(q1, q2, q3) with g(q1, q2) = level, each to a few ulps where that is possible."""
    if probit:
        q1 = 0.5 * math.erfc(-(param + level) * ROOT_HALF)
        q2 = 0.5 * math.erfc(-param * ROOT_HALF)
        if param <= 0.0:
            q3 = 0.5 * math.erfc((param + level) * ROOT_HALF) - q2
        else:
            q3 = 0.5 * math.erfc(param * ROOT_HALF) - q1
    else:
        q1 = max(param + level, 0.0)
        q2 = param
        q3 = 1.0 - 2.0 * param - level
    return q1, q2, max(q3, 0.0)


@part
def _log_error(log_mass: float, n: float, off: float) -> float:
    # As in rsbounds._numerics: n p is rounded, and logs cost a few ulps of their size.
    return EPS * (30.0 + 3.0 * math.log(n + 1.0) + 6.0 * abs(log_mass) + 3.0 * abs(off))


@apart
def _start(k: float, size: float, r: float, s: float) -> tuple[float, float, float, float]:
    # Tail P(Bin(size, r) >= k), mass at k - 1, log of the tail, error of either log.
    if k <= 0.0:
        return 1.0, 0.0, 0.0, 0.0
    log_tail, _, error = upper_tail(k, size, r, s)
    log_mass = log_binom_pmf(k - 1.0, size, r, s)
    error = max(error, _log_error(log_mass, size, k - 1.0 - size * r))
    if log_mass < -690.0 and log_tail > -1.0:
        # The boundary is so deep in the bulk that the tail is one to within rounding.
        return 1.0, 0.0, 0.0, error
    return math.exp(log_tail), math.exp(log_mass), log_tail, error


@apart
def _two_cells(
    n: int, q1: float, q2: float, q3: float, boundary: NDArray[np.int64], first: int
) -> float:
    # q2 = 0: x2 is 0. q3 = 0: x1 = n - x2, and the region is {x1 >= k} for some k.
    if q2 <= 0.0:
        k = float(boundary[0]) if first == 0 else 0.0
        r, s = q1, q3
    else:
        last = boundary.size - 1
        j = last
        while j >= 0 and boundary[j] > n - first - j:
            j -= 1
        k = float(n - first - j) if j >= 0 else float(n - first + 1)
        if j == last:
            k = min(k, float(boundary[last]))
        r, s = q1, q2
    if k <= 0.0:
        return 0.0
    if k > n:
        return FLOOR
    if s <= 0.0:
        return 0.0
    value, _, error = upper_tail(k, float(n), r, s)
    return float(max(min(value + error + 8.0 * n * EPS, 0.0), FLOOR))


@apart
def _none_of_the_first(
    n: int, q2: float, q3: float, boundary: NDArray[np.int64], first: int
) -> float:
    # q1 = 0: x1 is 0, and the region is {x2 <= last_inside}.
    inside, outside = first - 1, first + boundary.size
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if boundary[middle - first] <= 0:
            inside = middle
        else:
            outside = middle
    if inside < 0:
        return FLOOR
    if inside >= n or outside == first + boundary.size or q2 <= 0.0:
        # Nothing is known above the boundary's last entry.
        return 0.0
    if q3 <= 0.0:
        return FLOOR
    value, _, error = upper_tail(float(n - inside), float(n), q3, q2)
    return float(max(min(value + error + 8.0 * n * EPS, 0.0), FLOOR))


@apart
def log_tail_upper(
    n: int,
    q1: float,
    q2: float,
    q3: float,
    boundary: NDArray[np.int64],
    first: int,
) -> float:
    """Upper bound on log P_q(x1 >= boundary(x2)), tight to about 1e-7.

    ``boundary[j]`` belongs to x2 = first + j, is nondecreasing, and may be smaller than the
    region's own; at other x2 the region is only known to be monotone. P is the sum over x2
    of P(X2 = x2) P(Bin(n - x2, r) >= b(x2)), r = q1/(1 - q2). The sweep goes down in x2,
    where the tail and the masses change by positive additions and multiplications only, so
    relative errors add up and never grow: their total, the errors of the starting values,
    and bounds on what lies outside the sweep (above it, P(X2 > x2) times the largest tail
    there; below it, P(X2 < x2); both by geometric series) are added to the answer.
    """
    last = first + boundary.size - 1
    if q1 <= 0.0:
        return _none_of_the_first(n, q2, q3, boundary, first)
    if q2 <= 0.0 or q3 <= 0.0:
        return _two_cells(n, q1, q2, q3, boundary, first)
    p_rest = q1 + q3
    r = q1 / p_rest
    s = q3 / p_rest
    odds = s / r
    back = p_rest / q2
    mean = n * q2
    spread = math.sqrt(mean * p_rest)
    reach = 4.5
    total, above, below, rounding = 0.0, 0.0, 0.0, 0.0
    for _attempt in range(3):
        hi = min(last, int(mean + reach * spread + 0.5 * reach * reach))
        wanted = hi
        while hi >= first and boundary[hi - first] > n - hi:
            hi -= 1
        # A monotone region that has no point at hi + 1 has none above it.
        ended = hi < wanted
        if hi < first:
            # Nothing is known below ``first``; without anything below, the region is empty.
            return FLOOR if first == 0 else 0.0
        log_weight = log_binom_pmf(float(hi), float(n), q2, p_rest)
        while log_weight < FLOOR and hi > mean and hi > first:
            hi = max((hi + int(mean)) // 2, first)
            ended = False
            log_weight = log_binom_pmf(float(hi), float(n), q2, p_rest)
        found = hi
        step = max(int(0.5 * spread), 1)
        tail, mass, log_tail, error = _start(float(boundary[hi - first]), float(n - hi), r, s)
        beyond = hi
        while log_tail < FLOOR and hi > first:
            beyond = hi
            hi = max(hi - step, first)
            tail, mass, log_tail, error = _start(float(boundary[hi - first]), float(n - hi), r, s)
        # Where q3 is small the tail rises from nothing to one within a step: not that far down.
        while log_tail > -100.0 and beyond - hi > 1:
            middle = (hi + beyond) // 2
            start = _start(float(boundary[middle - first]), float(n - middle), r, s)
            if start[2] < FLOOR:
                beyond = middle
            else:
                hi = middle
                tail, mass, log_tail, error = start
        if log_tail < FLOOR:
            tail = math.exp(FLOOR)
            mass = max(mass, math.exp(FLOOR - 90.0))
        if hi < found:
            log_weight = log_binom_pmf(float(hi), float(n), q2, p_rest)
        if log_weight < FLOOR:
            if hi > mean:
                # P(X2 >= first) is at most (n + 1) times its largest term.
                if first > 0:
                    return 0.0
                return min(FLOOR + math.log(n + 1.0), 0.0)
            if ended and hi == found:
                tail = 0.0
            return min(math.log(tail + (n + 1.0) * math.exp(FLOOR)) + error, 0.0)
        error += _log_error(log_weight, float(n), hi - mean)
        weight = math.exp(log_weight)
        above = tail
        if hi == n or (ended and hi == found):
            above = 0.0
        else:
            ratio = (n - hi - 1.0) / ((hi + 2.0) * back)
            if ratio < 1.0:
                following = weight * (n - hi) / ((hi + 1.0) * back)
                above = tail * min(1.0, following / (1.0 - ratio))
        total = weight * min(tail, 1.0)
        below = 0.0
        x2 = hi
        b = boundary[hi - first]
        size = float(n - hi)
        steps = 0
        while x2 > first:
            if (x2 & 15) == 15 and x2 < mean:
                ratio = x2 * back / (n - x2 + 1.0)
                if ratio < 1.0 and weight * ratio <= 1e-7 * total * (1.0 - ratio):
                    break
            weight *= x2 * back / (n - x2 + 1.0)
            x2 -= 1
            steps += 1
            if b > 0:
                tail += r * mass
                mass *= (size + 1.0) * s / (size + 2.0 - b)
                size += 1.0
                lower = boundary[x2 - first]
                while b > lower:
                    tail += mass
                    b -= 1
                    mass *= b * odds / (size - b + 1.0)
                    steps += 1
                if b == 0:
                    tail = 1.0
            total += weight * min(tail, 1.0)
        if x2 > 0:
            ratio = x2 * back / (n - x2 + 1.0)
            below = weight * ratio / (1.0 - ratio) if ratio < 1.0 else 1.0
        # At most eight roundings a step in each of three factors; r and s carry two each
        # into powers of at most n.
        rounding = EPS * (24.0 * steps + 64.0 + 8.0 * n) + error
        if above <= 1e-7 * total or hi == last or hi < found:
            break
        reach *= 2.0
    return max(min(math.log(total + above + below) + rounding, 0.0), FLOOR)


@apart
def middle_of(u: float, v: float, level: float, probit: bool) -> float:
    """Where to split the curve between two parameters.

    Halfway, except where a cell of the table changes by a large factor: there at the
    geometric mean of its two values, because lengths are measured in logs.
    """
    _, u2, u3 = curve_point(u, level, probit)
    _, v2, v3 = curve_point(v, level, probit)
    if v3 > 0.0 and u3 > 4.0 * v3:
        share = (math.sqrt(u3 * v3) - v3) / (u3 - v3)
        return v - (v - u) * share
    if not probit and u2 > 0.0 and v2 > 4.0 * u2:
        return math.sqrt(u * v)
    return 0.5 * (u + v)


@apart
def chord_upper(
    n: int,
    a1: float,
    a2: float,
    a3: float,
    log_a: float,
    b1: float,
    b2: float,
    b3: float,
    log_b: float,
) -> float:
    """Upper bound on log P along the segment of natural parameters from a to b.

    With eta_i = log(q_i/q3), log P_q(R) = K(eta) + n log q3 where K, the log of a sum of
    exponentials of linear functions, is convex. So the chord of K between the ends is an
    upper bound whatever R is; what it loses is of second order in the length. The bound is
    concave along the segment: a tangent at a near-maximum covers what the search left.
    """
    if a1 <= 0.0 or a2 <= 0.0 or a3 <= 0.0 or b1 <= 0.0 or b2 <= 0.0 or b3 <= 0.0:
        return 0.0
    d3 = math.log(b3 / a3)
    d1 = math.log(b1 / a1) - d3
    d2 = math.log(b2 / a2) - d3
    t = 0.5
    value = 0.0
    for attempt in range(8):
        e1 = a1 * math.exp(t * d1)
        e2 = a2 * math.exp(t * d2)
        z = a3 + e1 + e2
        mean = (e1 * d1 + e2 * d2) / z
        variance = (e1 * d1 * d1 + e2 * d2 * d2) / z - mean * mean
        value = (1.0 - t) * log_a + t * log_b - n * (t * d3 + math.log(z))
        slope = log_b - log_a - n * (d3 + mean)
        left = max(slope * (1.0 - t), -slope * t)
        following = min(max(t + slope / max(n * variance, 1e-300), 0.0), 1.0)
        if left <= 1e-7 or attempt == 7 or following == t:
            value += left
            break
        t = following
    size = abs(d1) + abs(d2) + abs(d3) + 1.0
    return value + 8.0 * EPS * (n * size + abs(log_a) + abs(log_b))


@apart
def chord_dip(
    a1: float,
    a2: float,
    a3: float,
    b1: float,
    b2: float,
    b3: float,
    probit: bool,
    fine: float,
) -> float:
    """How far g can fall, along that segment, below the smaller of its two end values.

    A function with second derivative at most M on [0, 1] lies at most M/8 below its chord,
    and M/(8 k^2) below its values at k + 1 equidistant points. M is bounded term by term
    over the ranges that the cells have on the segment. (With c_i = eta_i' - E[eta'] and
    V = Var[eta']: q_i' = q_i c_i, q_i'' = q_i (c_i^2 - V).)
    """
    if a1 <= 0.0 or a2 <= 0.0 or a3 <= 0.0 or b1 <= 0.0 or b2 <= 0.0 or b3 <= 0.0:
        return math.inf
    d3 = math.log(b3 / a3)
    d1 = math.log(b1 / a1) - d3
    d2 = math.log(b2 / a2) - d3
    # |log q_i'| is at most the range of (d1, d2, 0), log q_i is concave (smallest at an
    # end), and no point is further than 1/2 from an end.
    grow = math.exp(0.5 * (max(d1, d2, 0.0) - min(d1, d2, 0.0)))
    low1, low2, low3 = min(a1, b1), min(a2, b2), min(a3, b3)
    # What the other two cells leave; as 1 - low2 from the small cells, because q2 (or q1) can
    # be one to within rounding.
    fuzz = 1.0 + 8.0 * EPS
    rest1, rest2 = max(a2 + a3, b2 + b3) * fuzz, max(a1 + a3, b1 + b3) * fuzz
    high1 = min(max(a1, b1) * grow, max(rest2 - low3, max(a1, b1)))
    high2 = min(max(a2, b2) * grow, max(rest1 - low3, max(a2, b2)))
    high3 = max(a3, b3)
    s1, s2 = d1, d2
    d1, d2, between = abs(s1), abs(s2), abs(s1 - s2)
    if between > max(d1, d2):
        high3 = min(high3 * grow, max(rest1 - low2, high3))
        c1 = d1 * (high2 + high3) + d2 * high2
        c2 = d2 * (high1 + high3) + d1 * high1
    else:
        c1 = max(d1 * (high2 + high3), d2 * high2)
        c2 = max(d2 * (high1 + high3), d1 * high1)
        # c_1 = d1 q3 + (d1 - d2) q2: little where q3 alone changes by a large factor.
        c1 = min(c1, d1 * high3 + between * high2)
        c2 = min(c2, d2 * high3 + between * high1)
    variance = high1 * high2 * between * between + high3 * (high1 * d1 * d1 + high2 * d2 * d2)
    if min(low1, low2) < 1e-300 and probit:
        # Below that Phi^-1 is not computed.
        return math.inf
    if not probit:
        bend, sag = high1 * c1 * c1, high2 * variance
    else:
        # The density phi(Phi^-1(q)) is concave in q: smallest at an end of the range.
        x_low = normal_quantile(low1) if low1 < 0.5 else -normal_quantile(rest1)
        x_high = normal_quantile(high1) if high1 < 0.5 else -normal_quantile(low2 + low3)
        move = high1 * c1 * ROOT_TWO_PI * math.exp(0.5 * max(x_low * x_low, x_high * x_high))
        bend = move * c1 + max(x_high, 0.0) * move * move
        x_low = normal_quantile(low2) if low2 < 0.5 else -normal_quantile(rest2)
        x_high = normal_quantile(high2) if high2 < 0.5 else -normal_quantile(low1 + low3)
        inverse = ROOT_TWO_PI * math.exp(0.5 * max(x_low * x_low, x_high * x_high))
        move = high2 * c2 * inverse
        sag = high2 * variance * inverse + max(-x_low, 0.0) * move * move
    crude = 0.125 * (bend + sag) * (1.0 + 1e-9)
    if not crude < math.inf:
        return math.inf
    if crude <= fine:
        return crude
    if crude > 1024.0 * fine:
        # More points than a split costs.
        return crude
    pieces = int(min(math.sqrt(2.0 * crude / fine), 31.0)) + 1
    end = margin_of(a1, a2, a3, probit)
    end = min(end, margin_of(b1, b2, b3, probit))
    dip = 0.0
    for j in range(1, pieces):
        t = j / pieces
        e1 = a1 * math.exp(t * s1)
        e2 = a2 * math.exp(t * s2)
        z = a3 + e1 + e2
        dip = max(dip, end - margin_of(e1 / z, e2 / z, a3 / z, probit))
    return dip + crude / (pieces * pieces) + 1e-14 * (1.0 + abs(end))


@part
def margin_of(q1: float, q2: float, q3: float, probit: bool) -> float:
    """Margin g(q1, q2), to a few ulps."""
    if probit:
        high = normal_quantile(q1) if q1 < 0.5 else -normal_quantile(q2 + q3)
        low = normal_quantile(q2) if q2 < 0.5 else -normal_quantile(q1 + q3)
        return high - low
    return q1 - q2
