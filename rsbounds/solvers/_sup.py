"""Supremum of P_q(region) over the null points of one level, proved cell by cell.

The null set is {q : g(q) <= level, q1 >= a1, q2 <= b2}. Raising q1 and lowering q2 raises P
and stays in the set until g = level, so the curve g = level is enough, from q1 = a1 to
q2 = b2; cut at q3 = 0, and at q2 = 0 where the curve has no point above. Each cell of the
curve is covered by a segment of natural parameters on which g >= level (minus a bounded
dip): the segment has a point with the same q2 and at least the same q1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._numerics import kernel, normal_quantile
from rsbounds.solvers._trinomial import (
    chord_dip,
    chord_upper,
    curve_point,
    log_tail_upper,
    middle_of,
)


@kernel
def edge_share(n: int, alpha: float) -> float:
    """Probability of a cell that is so small that n draws do not notice it."""
    return 1e-5 * min(alpha * 100.0, 1.0) / n


@kernel
def curve_window(
    a1: float, a1_rest: float, b2: float, b2_rest: float, level: float, probit: bool, share: float
) -> tuple[float, float, bool, bool]:
    """Parameters of the first and last inner point, and whether an edge cell lies beyond.

    ``a1_rest`` is 1 - a1 and ``b2_rest`` 1 - b2. An edge cell runs to q2 = 0 or q1 = 0 at
    the start, and to q3 = 0 at the end.
    """
    start_edge, end_edge = False, False
    if probit:
        least = normal_quantile(share) - max(level, 0.0)
        start = least
        if a1 > 0.0:
            x = normal_quantile(a1) if a1 <= 0.5 else -normal_quantile(a1_rest)
            start = x - level
        if start <= least:
            start, start_edge = least, True
        # q2 + q3 = 1 - q1 at the end: q3 = share there.
        most = -0.5 * level
        end = most
        if b2_rest > 0.0:
            end = normal_quantile(b2) if b2 <= 0.5 else -normal_quantile(b2_rest)
        if end >= most:
            density = 0.3989422804014327 * math.exp(-0.5 * most * most)
            end, end_edge = most - 0.5 * share / density, True
            if end >= most:
                end = most - 1e-15 * (1.0 + abs(most))
    else:
        least = max(share, share - level)
        start = a1 - level
        if start <= least:
            start, start_edge = least, True
        end = b2
        most = 0.5 * (1.0 - level)
        if end >= most - 0.5 * share:
            end, end_edge = most - 0.5 * share, True
    return start, end, start_edge, end_edge


@kernel
def edge_value(
    n: int,
    param: float,
    level: float,
    probit: bool,
    at_end: bool,
    boundary: NDArray[np.int64],
    first: int,
) -> float:
    """Corner bound on the edge cell beyond an inner point: its largest q1, its smallest q2."""
    q1, q2, _q3 = curve_point(param, level, probit)
    if at_end:
        top = 0.5 * math.erfc(-0.5 * level * 0.7071067811865476) if probit else 0.5 * (1.0 + level)
        rest = max(1.0 - top - q2, 0.0)
        q1 = min(top, 1.0 - q2 - rest) if rest > 0.0 else 1.0 - q2
        return log_tail_upper(n, q1, q2, rest, boundary, first)
    low = 0.0 if probit else max(0.0, -level)
    return log_tail_upper(n, q1, low, max(1.0 - q1 - low, 0.0), boundary, first)


@kernel
def certified_sup(
    n: int,
    boundary: NDArray[np.int64],
    first: int,
    level: float,
    probit: bool,
    a1: float,
    a1_rest: float,
    b2: float,
    b2_rest: float,
    share: float,
    gap: float,
    fine: float,
    enough: float,
    budget: int,
) -> tuple[float, float, float, float, int]:
    """(log upper bound, log value, parameter of the value, dip in g, evaluations).

    Bisects the cell with the largest bound until bound and best value are within ``gap`` of
    each other (in logs), then the cells that dip by more than ``fine``; stops where the value
    exceeds ``enough`` or ``budget`` evaluations are spent.
    The bound holds for every level' <= level - dip.
    """
    start, end, start_edge, end_edge = curve_window(a1, a1_rest, b2, b2_rest, level, probit, share)
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
        edges = edge_value(n, start, level, probit, False, boundary, first)
        used += 1
    if end_edge:
        edges = max(edges, edge_value(n, end, level, probit, True, boundary, first))
        used += 1
    cells = min(8, max(budget // 2, 1))
    previous = 0.0
    for i in range(cells + 1):
        at = start + (end - start) * i / cells
        q1, q2, q3 = curve_point(at, level, probit)
        value = log_tail_upper(n, q1, q2, q3, boundary, first)
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
        q1, q2, q3 = curve_point(at, level, probit)
        value = log_tail_upper(n, q1, q2, q3, boundary, first)
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
