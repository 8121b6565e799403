"""Supremum of P_q(region) over the null points of one level, proved cell by cell.

The null set is {q : g(q) <= level, q1 >= a1, q2 <= b2}. Raising q1 and lowering q2 raises P
and stays in the set until g = level, so the curve g = level is enough, from q1 = a1 to
q2 = b2; cut at q3 = 0, and at q2 = 0 where the curve has no point above. Each cell of the
curve is covered by a segment of natural parameters on which g >= level (minus a bounded
dip): the segment has a point with the same q2 and at least the same q1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import apart, kernel
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


@kernel
def edge_share(n: int, alpha: float) -> float:
    """Probability of a cell that is so small that n draws do not notice it."""
    return 1e-5 * min(alpha * 100.0, 1.0) / n


@kernel
def log_p(problem: Problem, at: float, level: float) -> float:
    """Log of P(region), rounded up, at a parameter of the curve g = level."""
    q1, q2, q3 = curve_point(at, level, problem.probit)
    return log_tail_upper(problem.n, q1, q2, q3, problem.boundary, problem.first)


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
def edge_value(problem: Problem, param: float, level: float, at_end: bool) -> float:
    """Corner bound on the edge cell beyond an inner point: its largest q1, its smallest q2."""
    n, boundary, first, probit = problem.n, problem.boundary, problem.first, problem.probit
    q1, q2, _q3 = curve_point(param, level, probit)
    if at_end:
        if not probit:
            q1 = 0.5 * (1.0 + level)
            rest = 0.5 * (1.0 - level) - q2
        else:
            # q2 or q1 is close to one where the level is far from zero: only what is small
            # is subtracted.
            q1 = 0.5 * math.erfc(-0.5 * level * ROOT_HALF)
            if param <= 0.0:
                rest = 0.5 * math.erfc(0.5 * level * ROOT_HALF) - q2
            else:
                rest = 0.5 * math.erfc(param * ROOT_HALF) - q1
        return log_tail_upper(n, q1, q2, max(rest, 0.0), boundary, first)
    low = 0.0 if probit else max(0.0, -level)
    return log_tail_upper(n, q1, low, max(1.0 - q1 - low, 0.0), boundary, first)


@apart
def certified_sup(
    problem: Problem, level: float, gap: float, fine: float, enough: float, budget: int
) -> tuple[float, float, float, float, int]:
    """(log upper bound, log value, parameter of the value, dip in g, evaluations).

    Bisects the cell with the largest bound until bound and best value are within ``gap`` of
    each other (in logs), then the cells that dip by more than ``fine``; stops where the value
    exceeds ``enough`` or ``budget`` evaluations are spent.
    The bound holds for every level' <= level - dip.
    """
    n, probit = problem.n, problem.probit
    start, end, start_edge, end_edge = curve_window(problem, level)
    if start > end and not start_edge and not end_edge:
        return -math.inf, -math.inf, start, 0.0, 0
    start = min(start, end)
    size = budget + 4
    left = np.empty(size)
    right = np.empty(size)
    v_left = np.empty(size)
    v_right = np.empty(size)
    bound = np.empty(size)
    dips = np.empty(size)
    best, best_at, used = -math.inf, start, 0
    edges = -math.inf
    if start_edge:
        edges = edge_value(problem, start, level, False)
        used += 1
    if end_edge:
        edges = max(edges, edge_value(problem, end, level, True))
        used += 1
    cells = min(8, max(budget // 2, 1))
    previous = 0.0
    for i in range(cells + 1):
        at = start + (end - start) * i / cells
        value = log_p(problem, at, level)
        used += 1
        if value > best:
            best, best_at = value, at
        if i > 0:
            left[i - 1], right[i - 1] = right[i - 2] if i > 1 else start, at
            v_left[i - 1], v_right[i - 1] = previous, value
        previous = value
    for i in range(cells):
        bound[i], dips[i] = _cell(n, left[i], v_left[i], right[i], v_right[i], level, probit, fine)
    while True:
        worst = 0
        for i in range(1, cells):
            if bound[i] > bound[worst]:
                worst = i
        top = max(bound[worst], edges)
        if best > enough or used >= budget:
            break
        if top - best <= gap or edges >= bound[worst]:
            worst = int(np.argmax(dips[:cells]))
            if dips[worst] <= fine:
                break
        at = middle_of(left[worst], right[worst], level, probit)
        if not left[worst] < at < right[worst]:
            break
        value = log_p(problem, at, level)
        used += 1
        if value > best:
            best, best_at = value, at
        left[cells], right[cells] = at, right[worst]
        v_left[cells], v_right[cells] = value, v_right[worst]
        right[worst], v_right[worst] = at, value
        for i in (worst, cells):
            bound[i], dips[i] = _cell(
                n, left[i], v_left[i], right[i], v_right[i], level, probit, fine
            )
        cells += 1
    dip = 0.0
    for i in range(cells):
        dip = max(dip, dips[i])
    return max(bound[:cells].max(), edges), best, best_at, dip, used


@kernel
def _cell(
    n: int, u: float, log_u: float, v: float, log_v: float, level: float, probit: bool, fine: float
) -> tuple[float, float]:
    if v <= u:
        return max(log_u, log_v), 0.0
    a1, a2, a3 = curve_point(u, level, probit)
    b1, b2, b3 = curve_point(v, level, probit)
    upper = chord_upper(n, a1, a2, a3, log_u, b1, b2, b3, log_v)
    if not probit and level >= 0.0:
        # {g >= level} is {eta1 >= log of a sum of exponentials in eta2}: a convex set.
        return upper, 0.0
    return upper, chord_dip(a1, a2, a3, b1, b2, b3, probit, fine)
