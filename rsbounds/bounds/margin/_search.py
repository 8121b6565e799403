"""The exact bound for one competitor: the largest level whose p-value is proved small enough.

A level L is refused or proved by the supremum of P_q(region) over the null points of L, which
falls as L does. For each row (`exact_row`):

1. the confidence set of q, and the level that the observed outcome has in the ordering;
2. the region of the outcomes that rank as high (`_fill`);
3. L solved for at one point of the curve (`_solve_at_a_point`), then the curve proved cell by
   cell, L lowered where a cell asks for it (`_climb`, `_proof.prove`);
4. where that does not settle: bisection with full suprema (`_bisect`).

Everything returned was proved: a search that goes astray ends with a lower bound, not with a
wrong one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rsbounds._kernels import apart
from rsbounds._numerics import margin_down, normal_quantile, proportion_lower
from rsbounds.bounds.margin._many import LOSING, many_draws
from rsbounds.bounds.margin._orderings import (
    divergence_limit,
    fill_boundary,
    fill_runner_up,
    fill_wald,
    ranked_as,
)
from rsbounds.bounds.margin._proof import prove
from rsbounds.bounds.margin._rows import Found
from rsbounds.bounds.margin.runner_up import separate_bound
from rsbounds.solvers._large import Window
from rsbounds.solvers._sup import (
    Cells,
    Problem,
    certified_sup,
    curve_window,
    edge_share,
    log_p,
)
from rsbounds.solvers._trinomial import curve_point

LIKELIHOOD, SCORE, WALD, RUNNER_UP = 0, 1, 2, 3
#: Added to each cell by the orderings by likelihood and score, which rank zero counts too.
PSEUDO = 0.5
#: Cells to work with: more than any proof may keep waiting, or any bisection may split.
CELLS = 5004
#: Draws above which rows that certify nothing are given little work.
LABORIOUS = 20_000


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


class Task(NamedTuple):
    """A row before its search: where to begin, and what log P has to stay below.

    ``tested`` is the level that the observed outcome has in the ordering by likelihood (or
    score), ``at`` the parameter of the point nearest to it, ``rate`` about the slope of log P
    in the level there; ``z`` the normal quantile of alpha that all three belong to. ``slack`` is
    the option's, and ten times that for many draws where the margin is clearly negative: nothing
    is certified there, and the flat log P of such rows would take many cells.
    """

    tested: float
    at: float
    rate: float
    target: float
    z: float
    slack: float


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


@apart
def _keep(found: Found, level: float, log_upper: float, beta: float) -> None:
    """Keep a proved level and its p-value bound, if it is the largest so far."""
    # The parameters stand for exact points only up to rounding.
    level -= 1e-14 * (1.0 + abs(level))
    if level > found.lower:
        found.lower = level
        found.log_p = math.log(math.exp(log_upper) + beta)


@apart
def _climb(problem: Problem, task: Task, settings: Settings, found: Found, cells: Cells) -> None:
    """Prove levels until little is left between the p-value and alpha."""
    slack, target = task.slack, task.target
    level, rate, used = _solve_at_a_point(problem, task.tested, task.at, task.rate, target, slack)
    found.used += used
    aim = target - 0.5 * slack
    known, known_value = -math.inf, 0.0
    failed = False
    for attempt in range(5):
        left = settings.budget - found.used
        if left <= 0:
            found.short = True
            return
        proof = prove(problem, level, target, rate, slack, left, cells)
        found.cells += proof.cells
        found.used += proof.used
        if proof.done:
            _keep(found, proof.level, min(proof.largest, target), settings.beta)
            if proof.recent >= target - 1.5 * slack:
                found.settled = True
                return
            if failed:
                return
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
            found.short = found.short or proof.used >= left
            level = min(proof.level, level) - (attempt + 1.0) / rate
            slack = min(2.0 * slack, 0.5)
            if problem.probit and level < -60.0:
                return
        if not problem.probit:
            level = min(max(level, -1.0 + 1e-12), 1.0 - 1e-12)


@apart
def _bisect(problem: Problem, task: Task, settings: Settings, found: Found, cells: Cells) -> None:
    """For few draws, where log P is far from linear in the level.

    From the rate of the task: the one that was measured on the way led nowhere.
    """
    slack, rate = task.slack, task.rate
    low = found.lower if found.lower > -math.inf else -60.0
    high = max(task.tested, low) + 4.0 / rate
    if not problem.probit:
        high = min(high, 1.0)
    for _ in range(60):
        if high - low <= 0.3 * slack / rate:
            return
        # Each of its steps looks at all its cells: many in one go cost their square.
        left = min(settings.budget - found.used, 5000)
        if left <= 0:
            found.short = True
            return
        level = 0.5 * (low + high)
        upper, value, _, dip, used = certified_sup(
            problem, level, 0.25 * slack, 0.1 * slack / rate, task.target, left, cells
        )
        found.used += used
        if upper <= task.target:
            low = level
            _keep(found, level - dip, upper, settings.beta)
            if upper >= task.target - slack:
                return
        else:
            high = level
            if value <= task.target and used >= left:
                found.short = True


@apart
def _fill(x1: int, x2: int, problem: Problem, task: Task, settings: Settings, found: Found) -> None:
    """Fill in the region by the ordering asked for."""
    n, probit, first, boundary = problem.n, problem.probit, problem.first, problem.boundary
    if settings.ordering == LIKELIHOOD or settings.ordering == SCORE:
        pearson = settings.ordering == SCORE
        fill_boundary(
            n, x1, x2, task.tested, task.at, task.z, PSEUDO, probit, pearson, first, boundary
        )
    elif settings.ordering == WALD:
        fill_wald(n, x1, x2, task.z, probit, first, boundary)
    else:
        level, split = settings.alpha - settings.beta, settings.split
        base, _, _ = separate_bound(float(x1), float(x2), float(n), level, split, probit)
        fill_runner_up(n, x1, base, level, split, probit, x2, first, boundary)
        # Valid at alpha - beta by itself, and its own p-value bound is alpha.
        if base > found.lower:
            found.lower, found.log_p = base, math.log(settings.alpha)


@apart
def exact_row(
    x1: int, x2: int, n: int, probit: bool, settings: Settings, found: Found, cells: Cells
) -> None:
    """Bound for one competitor, into ``found``; ``cells``, `CELLS` of them, are to work with."""
    found.lower, found.log_p, found.cells, found.used = -math.inf if probit else -1.0, 0.0, 0, 0
    found.settled = found.short = found.exhausted = False
    if x1 == 0 and (probit or x2 == n):
        # Nothing ranks lower: the region is everything, at every level.
        return
    alpha, beta = settings.alpha, settings.beta
    a1, a1_rest, b2, b2_rest = 0.0, 1.0, 1.0, 0.0
    if beta > 0.0:
        a1, a1_rest = proportion_lower(float(x1), float(n), 0.5 * beta)
        b2_rest, b2 = proportion_lower(float(n - x2), float(n), 0.5 * beta)
        # Already valid at beta, whatever happens below.
        found.lower = margin_down(a1, a1_rest, b2, b2_rest, probit)
        found.log_p = math.log(beta)
    least, most = -math.inf, math.inf
    if n > settings.many and beta > 0.0:
        window = Window(n, x1, x2, settings.few, a1, a1_rest, b2, b2_rest, probit)
        left, least, most = many_draws(window, alpha, beta, settings.split, found)
        if not left:
            return
        if b2 > settings.few / n:
            b2, b2_rest = settings.few / n, 1.0 - settings.few / n
    z = max(-normal_quantile(alpha), 0.3)
    y1, y2, y3 = ranked_as(x1, x2, n - x1 - x2, PSEUDO)
    tested, at, slope = divergence_limit(y1, y2, y3, z, probit, settings.ordering == SCORE)
    if least > tested:
        found.lower, found.log_p = min(max(found.lower, least), most), math.log(alpha)
        return
    rate = (z + 1.0 / (z + 0.5)) * abs(slope)
    slack = settings.slack
    if tested < LOSING and n > LABORIOUS:
        slack = min(10.0 * slack, 0.5)
    task = Task(tested, at, rate, math.log(alpha - beta) - 1e-12, z, slack)
    share = edge_share(n, alpha)
    boundary = np.empty(0, np.int64)
    problem = Problem(n, boundary, 0, probit, a1, a1_rest, b2, b2_rest, share)
    first, last = _window_of_counts(problem, tested + 2.0 / rate, x2)
    boundary = np.empty(last - first + 1, np.int64)
    problem = Problem(n, boundary, first, probit, a1, a1_rest, b2, b2_rest, share)
    _fill(x1, x2, problem, task, settings, found)
    _climb(problem, task, settings, found, cells)
    if not found.settled:
        _bisect(problem, task, settings, found, cells)
    # What ran out of evaluations on the way and got there all the same has lost nothing.
    found.exhausted = found.short and found.log_p < task.target - 2.0 * slack
    if least > -math.inf:
        found.lower, found.log_p = min(max(found.lower, least), most), math.log(alpha)
