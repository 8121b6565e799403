"""Margins of `rsbounds.claims.TopK` from bounds on a class and on sums of the others.

Let S* be k most probable classes other than A, a set that the smoothed classifier fixes, and
V_t the sum of the t smallest probabilities in it. The margin is max over t of m_t(p_A, V_t), which
rises in p_A and falls in V_t, so that a lower bound on p_A and upper bounds on V_1 .. V_k that hold
together with probability 1 - alpha give a lower bound on it. Only statements about S* have to hold,
whatever S* is (intersection-union): the other K - 1 - k classes cost nothing. They are

- p_A >= L, at level ``a``;
- p_c <= U(X_c) for each c in S*, at level ``each`` (k statements);
- p_T <= U(X_T) for each T in S* of t >= 2 classes, at level ``sums`` / (C(k, t) times the number of
  such t), so at ``sums`` for all of them; at t = k it is one statement.

In all a + k each + sums <= alpha (union bound). S* is not known, but its bounds are: of the t
classes of S* with the fewest votes, y_1 <= .. <= y_t, each y_j is at most x_j, the j-th smallest of
the k largest counts of all other classes. U rises in its count, so V_t <= p_T <= U(y_1) + .. +
U(y_t) <= U(x_1) + .. + U(x_t), and V_t <= U(y_1 + .. + y_t) <= U(x_1 + .. + x_t). Besides,
V_t <= p_S* <= 1 - p_A <= 1 - L. The observed order needs no correction, since the statements are
about every class and every T of S*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import apart, kernel
from rsbounds._numerics import EPS, margin_down, probit_down, probit_up, proportion_lower
from rsbounds.bounds.margin._base import Problem
from rsbounds.claims import TopK


class Levels(NamedTuple):
    """Error probabilities of the statements about A, each of k classes, and their sums."""

    a: float
    each: float
    sums: float


def planned_levels(alpha: float, split: float, k: int, classes: int) -> Levels:
    """About ``split`` of alpha for A; at least alpha/K for A and for each class.

    The classes and their sums get half of the rest each, where alpha/K allows it.
    """
    half = 0.5 * (1.0 - split)
    if half / k >= 1.0 / classes:
        each, left, spare = half / k, 1.0 - half, 1.0 - half - 1.0 / classes
    else:
        # From whole numbers: where k = K - 1 nothing is to spare.
        each, left = 1.0 / classes, (classes - k) / classes
        spare = (classes - k - 1) / classes
    sums = min(half, spare)
    # Rounded down, so that the levels never exceed alpha together.
    return Levels((left - sums) * (1.0 - 4e-16) * alpha, each * alpha, sums * alpha)


@apart
def _phi(x: float) -> float:
    return 0.5 * math.erfc(-0.7071067811865476 * x)


@apart
def union_margin(
    p_a: float, q_a: float, p_t: float, q_t: float, size: float, probit: bool
) -> float:
    """The largest m with size P(A) > P(T) after shifts of m/2, rounded down; q = 1 - p.

    For p_A rounded down and P(T) of ``size`` classes rounded up.
    """
    if size == 1.0:
        return margin_down(p_a, q_a, p_t, q_t, probit)
    if not probit:
        value = 2.0 * (size * p_a - p_t) / (size + 1.0)
        return max(value - 8.0 * EPS * (size * p_a + p_t), -1.0)
    a, b = probit_down(p_a, q_a), probit_up(p_t, q_t)
    if a == -math.inf:
        return -math.inf
    # Where P(T) may be one it stays there, and the shift ends where P(A) is 1/size.
    low, high = (a - 40.0, a + 40.0) if b == math.inf else (0.5 * (a - b), a + 40.0)
    for _ in range(100):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        down, up = a - middle, b + middle
        # Arguments are rounded, by EPS |x|, which tails feel |x| times as much.
        slack = 1.0 - EPS * (16.0 + 4.0 * down * down + 4.0 * min(up * up, 1600.0))
        if size * _phi(down) * slack > _phi(up):
            low = middle
        else:
            high = middle
    return 2.0 * (low - 4.0 * EPS * (1.0 + abs(low)))


@kernel
def _kernel(
    ranked: NDArray[np.int64],
    x_a: NDArray[np.int64],
    n: NDArray[np.int64],
    a: float,
    each: float,
    sums: NDArray[np.float64],
    unions: bool,
    probit: bool,
    lower: NDArray[np.float64],
    p_a: NDArray[np.float64],
    p_t: NDArray[np.float64],
    size: NDArray[np.int64],
) -> None:
    k = ranked.shape[1]
    for i in range(n.size):
        total = float(n[i])
        pa, qa = proportion_lower(float(x_a[i]), total, a)
        p_a[i] = pa
        added, votes = 0.0, 0.0
        lower[i] = -math.inf if probit else -1.0
        size[i] = 1
        for t in range(1, k + 1):
            count = float(ranked[i, k - t])
            votes += count
            one = proportion_lower(total - count, total, each)[1]
            added = min((added + one) * (1.0 + EPS), 1.0) if t > 1 else one
            # At no cost: the classes have what A has not.
            p, q = (added, 1.0 - added) if added < qa else (qa, pa)
            if t > 1 and sums[t - 1] >= 1e-300:
                left, most = proportion_lower(total - votes, total, sums[t - 1])
                if most < p:
                    p, q = most, left
            p_t[i, t - 1] = p
            if t == 1 or unions:
                margin = union_margin(pa, qa, p, q, float(t), probit)
                if margin > lower[i]:
                    lower[i], size[i] = margin, t


def top_k_rows(problem: Problem, levels: Levels) -> Mapping[str, NDArray[Any]]:
    """The bound of `rsbounds.claims.TopK` at given levels; see the module's text.

    Returns
    -------
    mapping
        ``lower``; ``p_a_lower``; ``p_t_upper``, (b, k) bounds on V_1 .. V_k; and ``size``, the t
        that gave the bound.
    """
    claim = problem.claim
    assert isinstance(claim, TopK)
    if min(levels.a, levels.each) < 1e-300:
        raise ValueError(
            f"alpha is {problem.alpha:g}, the smallest share {min(levels.a, levels.each):g}; "
            "allowed: >= 1e-300 each"
        )
    b, k = len(problem.n), claim.k
    others = problem.counts.copy()
    others[np.arange(b), problem.top] = -1
    ranked = np.ascontiguousarray(-np.sort(-others, axis=1)[:, :k])
    # The last of them, S* itself, costs nothing where it is all other classes.
    sizes = range(2, k + 1 if k < problem.counts.shape[1] - 1 else k)
    share = levels.sums / max(len(sizes), 1) * (1.0 - 4e-16)
    sums = np.zeros(k)
    for t in sizes:
        log_level = math.log(share) - _log_subsets(k, t) if share > 0 else -math.inf
        sums[t - 1] = math.exp(log_level) * (1.0 - 1e-13) if log_level > -690.0 else 0.0
    lower, p_a, p_t = np.empty(b), np.empty(b), np.empty((b, k))
    size = np.empty(b, dtype=np.int64)
    _kernel(
        ranked, problem.top_counts, problem.n, levels.a, levels.each, sums, claim.unions,
        problem.probit, lower, p_a, p_t, size,
    )  # fmt: skip
    return {"lower": lower, "p_a_lower": p_a, "p_t_upper": p_t, "size": size}


def _log_subsets(k: int, t: int) -> float:
    """Log of how many sets of t there are among k, rounded up."""
    return math.log(math.comb(k, t)) * (1.0 + 4.0 * EPS)
