"""Proof of a level: the curve g = level covered by cells, each with a bound on the p-value.

A cell that cannot be proved lowers the level for itself and for the cells still to come, so
one walk along the curve ends with a level that is proved, a little below the one asked for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from rsbounds._kernels import apart
from rsbounds.solvers._sup import (
    Cells,
    Node,
    Problem,
    bound_cell,
    curve_window,
    edge_value,
    log_p,
)
from rsbounds.solvers._trinomial import middle_of

#: Cells that a proof starts with, and that may wait at most.
FIRST, MOST = 8, 4040
#: Stands for a log P that is not known: larger than any, so that it is computed when needed.
UNKNOWN = 1.0


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
    edge, trial = 0, 0
    while True:
        start, end, start_edge, end_edge = curve_window(problem, level)
        value = -math.inf
        if start_edge if edge == 0 else end_edge:
            at = min(start, end) if edge == 0 else end
            value = edge_value(problem, at, level, edge == 1)
            used += 1
            if value <= target:
                cells += 1
        if value <= target:
            largest = max(largest, value)
            edge, trial = edge + 1, 0
            if edge == 2:
                return level, end, largest, cells, used, True
            continue
        level -= (value - aim) / rate * 1.2**trial
        trial += 1
        if not problem.probit and level <= -1.0:
            return -1.0, end, value, cells, used, False
        if trial == 60 or used >= budget:
            return level, end, value, cells, used, False


@apart
def _first_look(
    problem: Problem,
    level: float,
    target: float,
    rate: float,
    slack: float,
    end: float,
    waiting: Cells,
) -> tuple[float, int]:
    """Eight cells, and the level lowered until the peak is below the target: (level, used).

    The cells are put in ``waiting``, the likeliest last.
    """
    aim = target - 0.5 * slack
    start, _, _, _ = curve_window(problem, level)
    start = min(start, end)
    # The nodes, for the time being the left ends of cells behind those that will be filled.
    nodes = waiting[FIRST:]
    peak = 0
    for i in range(FIRST + 1):
        node = nodes[i]
        node.u = start + (end - start) * i / FIRST
        node.log_u, node.level_u = log_p(problem, node.u, level), level
        if node.log_u > nodes[peak].log_u:
            peak = i
    used = FIRST + 1
    node = nodes[peak]
    top = node.log_u
    if 0 < peak < FIRST:
        # Where the parabola through the three highest puts the maximum.
        rise, fall = top - nodes[peak - 1].log_u, top - nodes[peak + 1].log_u
        if rise + fall > 0.0:
            top += 0.125 * (rise - fall) ** 2 / (rise + fall)
    for _ in range(6):
        if top <= target - 0.1 * slack:
            break
        level -= (top - aim) / rate
        # At a lower level the curve enters the window later: what lies before does not count.
        begin, _, _, _ = curve_window(problem, level)
        if peak < FIRST and begin >= nodes[peak + 1].u:
            break
        node.u = max(node.u, begin)
        top = log_p(problem, node.u, level)
        node.log_u, node.level_u = top, level
        used += 1
    for i in range(FIRST):
        # Insertion by the sum of the two values.
        left, right = nodes[i], nodes[i + 1]
        k = i
        while k > 0 and waiting[k - 1].log_u + waiting[k - 1].log_v > left.log_u + right.log_u:
            _wait(
                waiting,
                k,
                Node(waiting[k - 1].u, waiting[k - 1].log_u, waiting[k - 1].level_u),
                Node(waiting[k - 1].v, waiting[k - 1].log_v, waiting[k - 1].level_v),
            )
            k -= 1
        _wait(
            waiting,
            k,
            Node(left.u, left.log_u, left.level_u),
            Node(right.u, right.log_u, right.level_u),
        )
    return level, used


@apart
def _wait(waiting: Cells, i: int, left: Node, right: Node) -> None:
    cell = waiting[i]
    cell.u, cell.log_u, cell.level_u = left
    cell.v, cell.log_v, cell.level_v = right


@apart
def prove(
    problem: Problem,
    level: float,
    target: float,
    rate: float,
    slack: float,
    budget: int,
    waiting: Cells,
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
    # Cells still to prove, the next one last.
    level, looked = _first_look(problem, level, target, rate, slack, end, waiting)
    size = min(budget + 40, MOST, waiting.size)
    used += looked
    count = FIRST
    result = level
    recent, recent_level = -math.inf, asked
    begin, begin_level = -math.inf, math.inf
    while count > 0:
        count -= 1
        cell = waiting[count]
        left = Node(cell.u, cell.log_u, cell.level_u)
        right = Node(cell.v, cell.log_v, cell.level_v)
        while True:
            if used >= budget or count == size:
                return Proof(level, largest, recent, proved, used, False)
            if not problem.probit and level <= -1.0:
                return Proof(-1.0, largest, recent, proved, used, False)
            if level < recent_level:
                recent -= (recent_level - level) * rate
                recent_level = level
            if level < begin_level:
                begin, _, _, _ = curve_window(problem, level)
                begin_level = level
            if right.at <= begin:
                # At this level the curve begins after the cell.
                break
            if left.at < begin:
                left = Node(begin, UNKNOWN, left.level)
            # A value found at a lower level than the present one says nothing about it, and
            # one above the target may be below it at the present level.
            if left.log_p > target or left.level < level:
                left = Node(left.at, log_p(problem, left.at, level), level)
                used += 1
                if left.log_p > target:
                    level -= (left.log_p - aim) / rate
                    continue
            if right.log_p > target or right.level < level:
                right = Node(right.at, log_p(problem, right.at, level), level)
                used += 1
                if right.log_p > target:
                    level -= (right.log_p - aim) / rate
                    continue
            upper, dip = bound_cell(problem, left, right, target, tolerance)
            lower = min(left.level, right.level)
            if upper <= target and lower - dip >= level - tolerance:
                result = min(result, lower - dip)
                largest = max(largest, upper)
                if (left.level - level) * rate <= 4.0 * slack:
                    recent = max(recent, left.log_p - (left.level - level) * rate)
                if (right.level - level) * rate <= 4.0 * slack:
                    recent = max(recent, right.log_p - (right.level - level) * rate)
                proved += 1
                break
            middle = middle_of(left.at, right.at, level, problem.probit)
            # A bound within half the slack of its ends' values gains little from a split.
            close = upper - max(left.log_p, right.log_p) <= 0.5 * slack and lower <= level
            if upper > target and close:
                level -= (upper - aim) / rate
            elif not left.at < middle < right.at:
                level -= slack / rate
            else:
                node = Node(middle, log_p(problem, middle, level), level)
                used += 1
                # The left half waits; the right half is next.
                _wait(waiting, count, left, node)
                count += 1
                left = node
                continue
            left = Node(left.at, UNKNOWN, left.level)
            right = Node(right.at, UNKNOWN, right.level)
    return Proof(min(result, level), largest, recent, proved, used, True)
