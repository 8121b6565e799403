"""Supremum of P_q(region) over the null points of one level, proved cell by cell.

The null set is {q : g(q) <= level, q1 >= a1, q2 <= b2}. Raising q1 and lowering q2 raises P
and stays in the set until g = level, so the curve g = level is enough, from q1 = a1 to
q2 = b2; cut at q3 = 0, and at q2 = 0 where the curve has no point above. Each cell of the
curve is covered by a segment of natural parameters on which g >= level (minus a bounded
dip): the segment has a point with the same q2 and at least the same q1.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import apart, part
from rsbounds._numerics import normal_quantile
from rsbounds.solvers._trinomial import (
    ROOT_HALF,
    ROOT_TWO_PI,
    chord_dip,
    chord_upper,
    curve_point,
    log_tail_upper,
    middle_of,
)


class Problem(NamedTuple):
    """A monotone region, and the confidence set that its null points must lie in.

    The region is {x1 >= boundary[x2 - first]}; the set is {q1 >= a1, q2 <= b2}, with
    ``a1_rest`` = 1 - a1 and ``b2_rest`` = 1 - b2. ``share``: see `edge_share`.
    """

    n: int
    boundary: NDArray[np.int64]
    first: int
    probit: bool
    a1: float
    a1_rest: float
    b2: float
    b2_rest: float
    share: float


class Node(NamedTuple):
    """A point of the curve g = ``level`` at parameter ``at``, and log P there."""

    at: float
    log_p: float
    level: float


#: A cell of the curve between two nodes, and what bounds it (see `bound_cell`).
CELL = np.dtype(
    [
        (name, np.float64)
        for name in ("u", "log_u", "level_u", "v", "log_v", "level_v", "bound", "dip")
    ],
    align=True,
)
Cells = Annotated[NDArray[Any], CELL]


@part
def edge_share(n: int, alpha: float) -> float:
    """Probability of a cell that is so small that n draws do not notice it."""
    return 1e-5 * min(alpha * 100.0, 1.0) / n


@apart
def curve_window(problem: Problem, level: float) -> tuple[float, float, bool, bool]:
    """Parameters of the first and last inner point, and whether an edge cell lies beyond.

    An edge cell runs to q2 = 0 or q1 = 0 at the start, and to q3 = 0 at the end.
    """
    share = problem.share
    start_edge, end_edge = False, False
    if problem.probit:
        least = normal_quantile(share) - max(level, 0.0)
        start = least
        if problem.a1 > 0.0:
            half = problem.a1 <= 0.5
            x = normal_quantile(problem.a1) if half else -normal_quantile(problem.a1_rest)
            start = x - level
        if start <= least:
            start, start_edge = least, True
        # q2 + q3 = 1 - q1 at the end: q3 = share there.
        most = -0.5 * level
        end = most
        if problem.b2_rest > 0.0:
            half = problem.b2 <= 0.5
            end = normal_quantile(problem.b2) if half else -normal_quantile(problem.b2_rest)
        if end >= most:
            # Where q1 and q3 are smaller than the share there is nothing to tell apart.
            density = math.exp(-0.5 * most * most) / ROOT_TWO_PI
            end, end_edge = most - min(0.5 * share / density, 1e-3), True
            if end >= most:
                end = most - 1e-15 * (1.0 + abs(most))
    else:
        least = max(share, share - level)
        start = problem.a1 - level
        if start <= least:
            start, start_edge = least, True
        end = problem.b2
        most = 0.5 * (1.0 - level)
        if end >= most - 0.5 * share:
            end, end_edge = most - 0.5 * share, True
    return start, end, start_edge, end_edge


@apart
def log_p(problem: Problem, at: float, level: float) -> float:
    """Log of P(region), rounded up, at a parameter of the curve g = level."""
    q1, q2, q3 = curve_point(at, level, problem.probit)
    return log_tail_upper(problem.n, q1, q2, q3, problem.boundary, problem.first)


@apart
def edge_value(problem: Problem, at: float, level: float, at_end: bool) -> float:
    """Corner bound on the edge cell beyond an inner point: its largest q1, its smallest q2."""
    probit = problem.probit
    q1, q2, _ = curve_point(at, level, probit)
    if not at_end:
        q2 = 0.0 if probit else max(0.0, -level)
        rest = 1.0 - q1 - q2
    elif not probit:
        q1 = 0.5 * (1.0 + level)
        rest = 0.5 * (1.0 - level) - q2
    else:
        # q2 or q1 is close to one where the level is far from zero: only what is small is
        # subtracted.
        q1 = 0.5 * math.erfc(-0.5 * level * ROOT_HALF)
        if at <= 0.0:
            rest = 0.5 * math.erfc(0.5 * level * ROOT_HALF) - q2
        else:
            rest = 0.5 * math.erfc(at * ROOT_HALF) - q1
    return log_tail_upper(problem.n, q1, q2, max(rest, 0.0), problem.boundary, problem.first)


@apart
def bound_cell(
    problem: Problem, left: Node, right: Node, worth: float, fine: float
) -> tuple[float, float]:
    """(Bound on log P over the cell, dip of its segment below the lower of its two levels).

    The dip is looked at only where the bound is at most ``worth``, and no finer than ``fine``.
    """
    if right.at <= left.at:
        return max(left.log_p, right.log_p), 0.0
    probit = problem.probit
    a1, a2, a3 = curve_point(left.at, left.level, probit)
    b1, b2, b3 = curve_point(right.at, right.level, probit)
    upper = chord_upper(problem.n, a1, a2, a3, left.log_p, b1, b2, b3, right.log_p)
    # {g >= level} is {eta1 >= log of a sum of exponentials in eta2}: a convex set.
    convex = not probit and min(left.level, right.level) >= 0.0
    if convex or upper > worth:
        return upper, 0.0
    return upper, chord_dip(a1, a2, a3, b1, b2, b3, probit, fine)


@apart
def certified_sup(
    problem: Problem,
    level: float,
    gap: float,
    fine: float,
    enough: float,
    budget: int,
    cells: Cells,
) -> tuple[float, float, float, float, int]:
    """(log upper bound, log value, parameter of the value, dip in g, evaluations).

    Bisects the cell with the largest bound until bound and best value are within ``gap`` of
    each other (in logs), then the cells that dip by more than ``fine``; stops where the value
    exceeds ``enough``, ``budget`` evaluations are spent or ``cells`` (9 or more) are used up.
    The bound holds for every level' <= level - dip.
    """
    start, end, start_edge, end_edge = curve_window(problem, level)
    if start > end and not start_edge and not end_edge:
        return -math.inf, -math.inf, start, 0.0, 0
    start = min(start, end)
    best, best_at, used = -math.inf, start, 0
    edges = -math.inf
    for edge in range(2):
        if start_edge if edge == 0 else end_edge:
            at = start if edge == 0 else end
            edges = max(edges, edge_value(problem, at, level, edge == 1))
            used += 1
    count = min(8, max(budget // 2, 1))
    previous = Node(start, 0.0, level)
    for i in range(count + 1):
        at = start + (end - start) * i / count
        node = Node(at, log_p(problem, at, level), level)
        used += 1
        if node.log_p > best:
            best, best_at = node.log_p, at
        if i > 0:
            _put(problem, cells, i - 1, previous, node, fine)
        previous = node
    while True:
        worst, deepest = 0, 0
        for i in range(1, count):
            if cells[i].bound > cells[worst].bound:
                worst = i
            if cells[i].dip > cells[deepest].dip:
                deepest = i
        top = max(cells[worst].bound, edges)
        dip = cells[deepest].dip
        if best > enough or used >= budget or count == cells.size:
            break
        if top - best <= gap or edges >= cells[worst].bound:
            if dip <= fine:
                break
            worst = deepest
        cell = cells[worst]
        left, right = Node(cell.u, cell.log_u, level), Node(cell.v, cell.log_v, level)
        at = middle_of(left.at, right.at, level, problem.probit)
        if not left.at < at < right.at:
            break
        node = Node(at, log_p(problem, at, level), level)
        used += 1
        if node.log_p > best:
            best, best_at = node.log_p, at
        _put(problem, cells, worst, left, node, fine)
        _put(problem, cells, count, node, right, fine)
        count += 1
    return top, best, best_at, dip, used


@apart
def _put(problem: Problem, cells: Cells, i: int, left: Node, right: Node, fine: float) -> None:
    # The cell between two nodes of one level, and its bounds, as number i.
    cell = cells[i]
    cell.u, cell.log_u = left.at, left.log_p
    cell.v, cell.log_v = right.at, right.log_p
    cell.bound, cell.dip = bound_cell(problem, left, right, math.inf, fine)
