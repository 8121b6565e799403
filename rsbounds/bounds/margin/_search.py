"""The exact bound for one competitor: the largest level whose p-value is proved small enough.

A level L is refused or proved by the supremum of P_q(region) over the null points of L, which
falls as L does. The search solves for L at one point of the curve (`_solve_at_a_point`), then
proves the curve cell by cell, lowering L where a cell asks for it (`prove`); where that does
not settle, it bisects with full suprema (`_bisect`). Everything returned was proved: a search
that goes astray ends with a lower bound, not with a wrong one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import apart, kernel
from rsbounds._numerics import margin_down, normal_quantile, proportion_lower
from rsbounds.bounds.margin._many import many_draws
from rsbounds.bounds.margin._orderings import (
    divergence_limit,
    fill_boundary,
    fill_runner_up,
    fill_wald,
    ranked_as,
    wald_limit,
)
from rsbounds.bounds.margin.runner_up import separate_bound
from rsbounds.solvers._large import Window
from rsbounds.solvers._sup import (
    Problem,
    certified_sup,
    curve_window,
    edge_share,
    edge_value,
    log_p,
)
from rsbounds.solvers._trinomial import chord_dip, chord_upper, curve_point, middle_of

LIKELIHOOD, SCORE, WALD, RUNNER_UP = 0, 1, 2, 3
#: Added to each cell by the orderings by likelihood and score, which rank zero counts too.
PSEUDO = 0.5


class Settings(NamedTuple):
    """Options of the exact bound; ``beta`` is the part of alpha spent on the confidence set.

    With more than ``many`` draws, points q with n q2 >= ``few`` are tested by half-planes.
    """

    alpha: float
    beta: float
    ordering: int
    split: float
    slack: float
    budget: int
    many: int
    few: float


class Proof(NamedTuple):
    """What `prove` returns.

    ``largest`` bounds log P over every null point of ``level``. ``recent`` is the largest log P
    that was found near ``level``, carried over to it with the slope ``rate`` (bounds, and what
    was found at much higher levels, say little about how much is left). ``done`` is False where
    the search gave up; ``level`` is then a guess.
    """

    level: float
    largest: float
    recent: float
    cells: int
    used: int
    done: bool


@apart
def _prove_edges(
    problem: Problem, level: float, aim: float, target: float, rate: float, budget: int
) -> tuple[float, float, float, int, int, bool]:
    """Lower ``level`` until the edge cells are proved: (level, end, largest, cells, used, done).

    ``end`` is the parameter that the curve must still be proved up to. Each trial takes the
    edge of its own level: a start that was cut at a higher level has a smaller q1 on the lower
    curve, and would leave a gap before the point where the lower curve is cut.
    """
    largest, cells, used = -math.inf, 0, 0
    for edge in range(2):
        for trial in range(60):
            start, end, start_edge, end_edge = curve_window(problem, level)
            if not (start_edge if edge == 0 else end_edge):
                break
            at = min(start, end) if edge == 0 else end
            value = edge_value(problem, at, level, edge == 1)
            used += 1
            if value <= target:
                largest = max(largest, value)
                cells += 1
                break
            level -= (value - aim) / rate * 1.2**trial
            if not problem.probit and level <= -1.0:
                return -1.0, end, value, cells, used, False
            if trial == 59 or used >= budget:
                return level, end, value, cells, used, False
    _, end, _, _ = curve_window(problem, level)
    return level, end, largest, cells, used, True


@apart
def prove(
    problem: Problem, level: float, target: float, rate: float, slack: float, budget: int
) -> Proof:
    """Lower ``level`` as little as needed until sup log P <= target is proved.

    Cells are proved one by one; a cell that cannot be proved lowers the level for itself and
    for the cells still to come. What is proved at one level holds at every lower one, because
    each piece stands for a set of null points that a lower level only makes smaller:

    * the start edge, proved at level E: every null point of a level <= E with q1 at most that
      of the start of E's curve; on lower curves the start has no larger q1;
    * a cell from u to v, proved at its floor F (what its segment stays above): every null point
      of a level <= F with q2 between those of u and v, as the segment has a point with the
      same q2 and at least the same q1;
    * the end edge, proved at level E with its inner point at ``end``: every null point of a
      level <= E with q2 at least that of ``end``, however far the curve of a lower level runs.

    Parameters fix q2 and do not depend on the level, so cells from the start of the last level
    to ``end``, the largest parameter that the end edge was not proved for, leave no gap. Cells
    before the start of a later, lower level are dropped: their points lie in the start edge or
    outside the confidence set. The level returned is at most every floor.
    """
    n, probit = problem.n, problem.probit
    start, end, start_edge, end_edge = curve_window(problem, level)
    if start > end and not start_edge and not end_edge:
        return Proof(level, -math.inf, -math.inf, 0, 0, True)
    asked = level
    aim = target - 0.5 * slack
    tolerance = 0.25 * slack / rate
    level, end, largest, proved, used, done = _prove_edges(
        problem, level, aim, target, rate, budget
    )
    if not done:
        return Proof(level, largest, largest, proved, used, False)
    start, _, _, _ = curve_window(problem, level)
    start = min(start, end)
    # A first look at the curve, and the level lowered until its peak is below the target.
    cells = 8
    nodes = np.empty(cells + 1)
    value_at = np.empty(cells + 1)
    peak = 0
    for i in range(cells + 1):
        nodes[i] = start + (end - start) * i / cells
        value_at[i] = log_p(problem, nodes[i], level)
        used += 1
        if value_at[i] > value_at[peak]:
            peak = i
    level_at = np.full(cells + 1, level)
    top = value_at[peak]
    if 0 < peak < cells:
        # Where the parabola through the three highest puts the maximum.
        rise, fall = top - value_at[peak - 1], top - value_at[peak + 1]
        if rise + fall > 0.0:
            top += 0.125 * (rise - fall) ** 2 / (rise + fall)
    for _attempt in range(6):
        if top <= target - 0.1 * slack:
            break
        level -= (top - aim) / rate
        # At a lower level the curve enters the window later: what lies before does not count.
        begin, _, _, _ = curve_window(problem, level)
        if peak < cells and begin >= nodes[peak + 1]:
            break
        nodes[peak] = max(nodes[peak], begin)
        top = log_p(problem, nodes[peak], level)
        value_at[peak] = top
        level_at[peak] = level
        used += 1
    # Depth first, the likeliest cells first: values and the levels that they were found at.
    span = min(budget, 4000) + 40
    left, right = np.empty(span), np.empty(span)
    v_left, v_right = np.empty(span), np.empty(span)
    l_left, l_right = np.empty(span), np.empty(span)
    order = np.argsort(value_at[:cells] + value_at[1:])
    for k in range(cells):
        i = order[k]
        left[k], right[k] = nodes[i], nodes[i + 1]
        v_left[k], v_right[k] = value_at[i], value_at[i + 1]
        l_left[k], l_right[k] = level_at[i], level_at[i + 1]
    stack = cells
    result = level
    recent, recent_level = -math.inf, asked
    begin, _, _, _ = curve_window(problem, level)
    begin_level = level
    while stack > 0:
        stack -= 1
        u, v = left[stack], right[stack]
        log_u, log_v = v_left[stack], v_right[stack]
        level_u, level_v = l_left[stack], l_right[stack]
        while True:
            if used >= budget or stack == span:
                return Proof(level, largest, recent, proved, used, False)
            if not probit and level <= -1.0:
                return Proof(-1.0, largest, recent, proved, used, False)
            if level < recent_level:
                recent -= (recent_level - level) * rate
                recent_level = level
            if level < begin_level:
                begin, _, _, _ = curve_window(problem, level)
                begin_level = level
            if v <= begin:
                break
            if u < begin:
                u, log_u = begin, 1.0
            if log_u > target or level_u < level:
                log_u, level_u = log_p(problem, u, level), level
                used += 1
                if log_u > target:
                    level -= (log_u - aim) / rate
                    continue
            if log_v > target or level_v < level:
                log_v, level_v = log_p(problem, v, level), level
                used += 1
                if log_v > target:
                    level -= (log_v - aim) / rate
                    continue
            a1, a2, a3 = curve_point(u, level_u, probit)
            b1, b2, b3 = curve_point(v, level_v, probit)
            upper = chord_upper(n, a1, a2, a3, log_u, b1, b2, b3, log_v)
            if v <= u:
                upper = max(log_u, log_v)
            dip = 0.0
            convex = not probit and min(level_u, level_v) >= 0.0
            if v > u and not convex and upper <= target:
                dip = chord_dip(a1, a2, a3, b1, b2, b3, probit, tolerance)
            floor = min(level_u, level_v) - dip
            if upper <= target and floor >= level - tolerance:
                result = min(result, floor)
                largest = max(largest, upper)
                if (level_u - level) * rate <= 4.0 * slack:
                    recent = max(recent, log_u - (level_u - level) * rate)
                if (level_v - level) * rate <= 4.0 * slack:
                    recent = max(recent, log_v - (level_v - level) * rate)
                proved += 1
                break
            close = upper - max(log_u, log_v) <= 0.5 * slack and min(level_u, level_v) <= level
            if upper > target and close:
                level -= (upper - aim) / rate
                log_u, log_v = 1.0, 1.0
                continue
            middle = middle_of(u, v, level, probit)
            if not u < middle < v:
                level -= slack / rate
                log_u, log_v = 1.0, 1.0
                continue
            log_m, level_m = log_p(problem, middle, level), level
            used += 1
            left[stack], right[stack] = u, middle
            v_left[stack], v_right[stack] = log_u, log_m
            l_left[stack], l_right[stack] = level_u, level_m
            stack += 1
            u, log_u, level_u = middle, log_m, level_m
    return Proof(min(result, level), largest, recent, proved, used, True)


@apart
def _window_of_counts(problem: Problem, level: float, x2: int) -> tuple[int, int]:
    """What x2 the sweeps will visit: the window of q2, and what the draws add to it."""
    n = problem.n
    start, end, _, _ = curve_window(problem, level)
    _, low, _ = curve_point(min(start, end), 0.0, problem.probit)
    _, high, _ = curve_point(max(start, end), 0.0, problem.probit)
    low, high = min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)
    if (problem.a1 <= 0.0 and problem.b2_rest <= 0.0) or not low <= high:
        low, high = 0.0, 1.0
    first = int(max(n * low - 9.0 * math.sqrt(n * low) - 40.0, 0.0))
    last = int(min(n * high + 7.0 * math.sqrt(n * high) + 40.0, float(n)))
    return min(first, x2), max(last, x2)


@apart
def _solve_at_a_point(
    problem: Problem, level: float, at: float, rate: float, target: float, slack: float
) -> tuple[float, float, int]:
    """Level at which log P at one parameter is just below target: (level, rate, evaluations).

    ``rate`` is the slope of log P in the level, measured on the way.
    """
    aim = target - 0.5 * slack
    low, high = -math.inf, math.inf
    previous, previous_level = 0.0, math.inf
    used = 0
    for _ in range(12):
        start, end, _start_edge, end_edge = curve_window(problem, level)
        if start > end and not end_edge:
            # No null point is left at this level: it can only be too low.
            low = level
            level += 1.0 / rate
            continue
        value = log_p(problem, min(max(at, start), end), level)
        used += 1
        if value > target:
            high = level
        else:
            low = level
        if abs(aim - value) <= 0.4 * slack:
            break
        following = level + min(max((aim - value) / rate, -4.0 / rate), 4.0 / rate)
        bounded = following
        if previous_level < math.inf and level != previous_level:
            change = (value - previous) / (level - previous_level)
            if change > 0.1 * rate and change < 10.0 * rate:
                step = following - level
                rate = change
                following = level + (aim - value) / rate
                bounded = level + step
        if not low < following < high:
            both = low > -math.inf and high < math.inf
            following = 0.5 * (low + high) if both else bounded
        previous, previous_level = value, level
        if not problem.probit:
            following = min(max(following, -1.0 + 1e-12), 1.0 - 1e-12)
        level = following
    return level, rate, used


@kernel
def _keep(out: NDArray[np.float64], level: float, log_upper: float, settings: Settings) -> None:
    """Keep a proved level and its p-value bound, if it is the largest so far."""
    # The parameters stand for exact points only up to rounding.
    level -= 1e-14 * (1.0 + abs(level))
    if level > out[0]:
        out[0] = level
        out[1] = math.log(math.exp(log_upper) + settings.beta)


@apart
def _climb(
    problem: Problem,
    level: float,
    rate: float,
    target: float,
    settings: Settings,
    out: NDArray[np.float64],
) -> tuple[bool, bool]:
    """Prove levels until little is left between the p-value and alpha: (settled, short)."""
    slack = settings.slack
    aim = target - 0.5 * slack
    known, known_value = -math.inf, 0.0
    failed, short = False, False
    for attempt in range(5):
        left = settings.budget - int(out[3])
        if left <= 0:
            return False, True
        proof = prove(problem, level, target, rate, slack, left)
        out[2] += proof.cells
        out[3] += proof.used
        if proof.done:
            _keep(out, proof.level, min(proof.largest, target), settings)
            if proof.recent >= target - 1.5 * slack:
                return True, short
            if failed:
                break
            # Far from where the rate was measured, measure it again.
            gained, value = proof.level - known, proof.recent
            if known > -math.inf and gained > 0.0 and value > known_value:
                rate = min(max((value - known_value) / gained, 0.2 * rate), 5.0 * rate)
            elif known > -math.inf and attempt > 2:
                rate *= 2.0
            if gained > 0.0:
                known, known_value = proof.level, value
            level = known + min(max(aim - value, 0.5 * slack), 3.0) / rate
        else:
            failed = True
            short = short or proof.used >= left
            level = min(proof.level, level) - (attempt + 1.0) / rate
            slack = min(2.0 * slack, 0.5)
            if problem.probit and level < -60.0:
                break
        if not problem.probit:
            level = min(max(level, -1.0 + 1e-12), 1.0 - 1e-12)
    return False, short


@apart
def _bisect(
    problem: Problem,
    high: float,
    rate: float,
    target: float,
    settings: Settings,
    out: NDArray[np.float64],
) -> bool:
    """For few draws, where log P is far from linear in the level; True: a level wanted budget."""
    slack = settings.slack
    low = out[0] if out[0] > -math.inf else -60.0
    high = max(high, low) + 4.0 / rate
    if not problem.probit:
        high = min(high, 1.0)
    short = False
    for _ in range(60):
        if high - low <= 0.3 * slack / rate:
            break
        # Each of its steps looks at all its cells: many in one go cost their square.
        left = min(settings.budget - int(out[3]), 5000)
        if left <= 0:
            return True
        level = 0.5 * (low + high)
        upper, value, _, dip, used = certified_sup(
            problem, level, 0.25 * slack, 0.1 * slack / rate, target, left
        )
        out[3] += used
        if upper <= target:
            low = level
            _keep(out, level - dip, upper, settings)
            if upper >= target - slack:
                break
        else:
            high = level
            if value <= target and used >= left:
                short = True
    return short


@apart
def exact_row(
    x1: int, x2: int, n: int, probit: bool, settings: Settings, out: NDArray[np.float64]
) -> None:
    """Bound for one competitor; out = (lower, log p-value bound, cells, evaluations, status)."""
    out[0], out[1], out[2], out[3], out[4] = -math.inf if probit else -1.0, 0.0, 0.0, 0.0, 1.0
    if x1 == 0 and (probit or x2 == n):
        # Nothing ranks lower: the region is everything, at every level.
        return
    alpha, beta = settings.alpha, settings.beta
    a1, a1_rest, b2, b2_rest = 0.0, 1.0, 1.0, 0.0
    if beta > 0.0:
        a1, a1_rest = proportion_lower(float(x1), float(n), 0.5 * beta)
        b2_rest, b2 = proportion_lower(float(n - x2), float(n), 0.5 * beta)
        # Already valid at beta, whatever happens below.
        out[0] = margin_down(a1, a1_rest, b2, b2_rest, probit)
        out[1] = math.log(beta)
    least, most = -math.inf, math.inf
    if n > settings.many and beta > 0.0:
        window = Window(n, x1, x2, settings.few, a1, a1_rest, b2, b2_rest, probit)
        left, least, most = many_draws(window, alpha, beta, settings.split, out)
        if not left:
            return
        if b2 > settings.few / n:
            b2, b2_rest = settings.few / n, 1.0 - settings.few / n
    target = math.log(alpha - beta) - 1e-12
    z = max(-normal_quantile(alpha), 0.3)
    pearson = settings.ordering == SCORE
    y1, y2, y3 = ranked_as(x1, x2, n - x1 - x2, PSEUDO)
    tested, at, slope = divergence_limit(y1, y2, y3, z, probit, pearson)
    if least > tested:
        out[0], out[1] = min(max(out[0], least), most), math.log(alpha)
        return
    rate = (z + 1.0 / (z + 0.5)) * abs(slope)
    share = edge_share(n, alpha)
    nothing = np.empty(0, dtype=np.int64)
    problem = Problem(n, nothing, 0, probit, a1, a1_rest, b2, b2_rest, share)
    first, last = _window_of_counts(problem, tested + 2.0 / rate, x2)
    boundary = np.empty(last - first + 1, dtype=np.int64)
    if settings.ordering == LIKELIHOOD or settings.ordering == SCORE:
        fill_boundary(n, x1, x2, tested, at, z, PSEUDO, probit, pearson, first, boundary)
    elif settings.ordering == WALD:
        limit = wald_limit(n, x1, x2, z, probit)
        fill_wald(n, x1, x2, limit, z, probit, first, boundary)
    else:
        level, split = alpha - beta, settings.split
        base, _, _ = separate_bound(float(x1), float(x2), float(n), level, split, probit)
        fill_runner_up(n, x1, base, level, split, probit, x2, first, boundary)
        # Valid at alpha - beta by itself, and its own p-value bound is alpha.
        if base > out[0]:
            out[0], out[1] = base, math.log(alpha)
    problem = Problem(n, boundary, first, probit, a1, a1_rest, b2, b2_rest, share)
    level, slope, used = _solve_at_a_point(problem, tested, at, rate, target, settings.slack)
    out[3] += used
    settled, short = _climb(problem, level, slope, target, settings, out)
    if not settled:
        short = _bisect(problem, tested, rate, target, settings, out) or short
    # What ran out of evaluations on the way and got there all the same has lost nothing.
    if short and out[1] < target - 2.0 * settings.slack:
        out[4] = 0.0
    if least > -math.inf:
        out[0], out[1] = min(max(out[0], least), most), math.log(alpha)
