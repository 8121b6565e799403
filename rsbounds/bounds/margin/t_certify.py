"""T-Certify: a bound on p_A, and one on p_B from a sum of tails over the other classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import (
    EPS,
    deviance,
    margin_down,
    normal_quantile,
    polish_proportion_lower,
    proportion_lower,
    upper_tail,
)
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem
from rsbounds.bounds.margin.runner_up import checked_fractions


@kernel
def _log_tail_sum(others: NDArray[np.int64], n: float, p: float, q: float) -> tuple[float, float]:
    """Upper bound on log sum_c P(Bin(n, p) <= N_c), and its derivative in q = 1 - p.

    ``others`` descends. The terms descend with it, so what follows the last one evaluated is
    at most that term times the number of classes left; it is added once that is negligible, and
    equal counts are evaluated once.
    """
    total = 0.0
    weighted = 0.0
    j = 0
    while j < others.size:
        same = 1
        while j + same < others.size and others[j + same] == others[j]:
            same += 1
        if others[j] >= n:
            return math.inf, 0.0
        log_tail, slope, error = upper_tail(n - others[j], n, q, p)
        term = math.exp(log_tail + error) * (1.0 + 4.0 * EPS * (1.0 - log_tail))
        total += same * term
        weighted += same * term * slope
        j += same
        left = others.size - j
        if left * term <= 1e-15 * total:
            total += left * term
            break
    total *= 1.0 + 2.0 * EPS * others.size
    if total <= 0.0:
        return -math.inf, 0.0
    return math.log(total), weighted / total


@kernel
def _others_upper(
    others: NDArray[np.int64], n: float, log_share: float, q: float, p: float
) -> tuple[float, float]:
    """A proven p with sum_c P(Bin(n, p) <= N_c) <= share, as the pair (p up, q down).

    ``(q, p)`` is the answer for the largest count alone, which the sum can only worsen. The
    sum is not log-concave, so each step of Newton's method aims a little below the share
    and only an evaluation of the sum accepts a point; but where a Chernoff bound shows the classes
    behind the first to be negligible, the start (which aims 1e-13 below) is the answer.
    """
    if others.size == 1:
        return p, q
    exponent = deviance(n - others[1], n * q)
    if others[1] > 0:
        exponent += deviance(others[1], n * p)
    else:
        exponent += n * p
    if others[1] < n * p and math.log(others.size - 1.0) - exponent < log_share - 32.0:
        return p, q
    safe_p, safe_q = 1.0, 0.0
    for _ in range(100):
        value, slope = _log_tail_sum(others, n, p, q)
        if value <= log_share:
            safe_p, safe_q = p, q
            if log_share - value <= 1e-10:
                break
        step = (log_share - 5e-11 - value) / slope
        if q <= 0.5:
            q *= math.exp(min(max(step / q, -1.0), 1.0)) * (1.0 - 8.0 * EPS)
            p = min((1.0 - q) * (1.0 + EPS), 1.0)
        else:
            p = min((p - step) * (1.0 + 8.0 * EPS), 0.5 * (p + 1.0))
            q = (1.0 - p) * (1.0 - EPS)
    return safe_p, safe_q


@kernel
def _next_lower(
    k: float,
    n: float,
    level: float,
    z: NDArray[np.float64],
    j: int,
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    extrapolate: bool,
) -> None:
    """proportion_lower at the j-th of several levels, from the answers before it.

    The bound is a smooth function of the normal quantile z of its level, so extrapolation
    leaves one step of Newton's method to do.
    """
    if extrapolate and j >= 2 and 1 < k < n:
        first = max(j - 3, 0)
        start_p, start_q = 0.0, 0.0
        for i in range(first, j):
            weight = 1.0
            for other in range(first, j):
                if other != i:
                    weight *= (z[j] - z[other]) / (z[i] - z[other])
            start_p += weight * p[i]
            start_q += weight * q[i]
        if start_p > 1e-300 and start_q > 1e-300:
            p[j], q[j] = polish_proportion_lower(k, n, math.log(level), start_p, start_q)
            return
    p[j], q[j] = proportion_lower(k, n, level)


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: float,
    fractions: NDArray[np.float64],
    majority: bool,
    probit: bool,
    lower: NDArray[np.float64],
    p_a: NDArray[np.float64],
    p_b: NDArray[np.float64],
    used: NDArray[np.float64],
) -> None:
    classes = counts.shape[1]
    others = np.empty(classes - 1, dtype=np.int64)
    levels = fractions.size
    z_a, z_b = np.empty(levels), np.empty(levels)
    # What is left for the other classes, rounded down: the two shares never exceed alpha.
    rests = (1.0 - fractions) * (1.0 - 4e-16) * alpha
    for j in range(levels):
        z_a[j] = normal_quantile(fractions[j] * alpha)
        z_b[j] = normal_quantile(rests[j]) if rests[j] > 0.0 else 0.0
    pa, qa = np.empty(levels), np.empty(levels)
    pb, qb = np.empty(levels), np.empty(levels)
    for i in range(n.size):
        position = 0
        for c in range(classes):
            if c != top[i]:
                others[position] = -counts[i, c]
                position += 1
        others.sort()
        for c in range(classes - 1):
            others[c] = -others[c]
        x_a, total = float(counts[i, top[i]]), float(n[i])
        lower[i] = -math.inf if probit else -1.0
        p_a[i], p_b[i], used[i] = 0.0, 1.0, fractions[-1]
        for j in range(levels):
            # At the fraction 1 the answer is Cohen's to the last bit.
            warm = fractions[j] < 1.0
            _next_lower(x_a, total, fractions[j] * alpha, z_a, j, pa, qa, warm)
            if rests[j] >= 1e-300:
                # The level that proportion_lower is asked for leaves room for the roundings
                # of the sum, so that the sum accepts at once where one class dominates.
                log_share = math.log(rests[j])
                log_share -= 8.0 * EPS * (1.0 - log_share)
                _next_lower(
                    total - others[0], total, rests[j] * (1.0 - 2e-13), z_b, j, qb, pb, True
                )
            if majority and pa[j] <= 0.5:
                continue
            upper_p, upper_q = qa[j], pa[j]
            if fractions[j] < 1.0:
                if rests[j] < 1e-300 or qb[j] <= 0.0:
                    continue
                upper_p, upper_q = _others_upper(others, total, log_share, qb[j], pb[j])
            value = margin_down(pa[j], qa[j], upper_p, upper_q, probit)
            if value > lower[i]:
                lower[i], p_a[i], p_b[i], used[i] = value, pa[j], upper_p, fractions[j]


@dataclass(frozen=True)
class TCertify(MarginMethod):
    """T-Certify as published: p_A at a fraction of alpha, p_B from the class sum of eq. 14.

    With probability at least 1 - alpha the bound holds for one fraction fixed in advance
    (Feng et al. 2020, Proposition 1, with the error event's bars the right way round). The
    maximum over several fractions is claimed by the paper's Theorem 1, whose proof does not
    cover it: no violation was found by enumeration, and ``guarantee`` says so.

    Parameters
    ----------
    fractions : tuple of float
        Fractions of alpha given to p_A; at 1.0 the result is Cohen's (p_B = 1 - p_A).
    require_majority : bool
        The paper's rule that a bound on p_A of at most 1/2 certifies nothing. Not needed for
        validity.
    """

    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    require_majority: bool = False

    name: ClassVar[str] = "t-certify"
    source: ClassVar[str] = "Feng et al. 2020, eq. 14 and Algorithm 2"
    cost: ClassVar[str] = "two tail inversions per row and fraction"
    choose: ClassVar[str] = "to reproduce the paper; runner-up is at least as tight at each split"

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"require_majority": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", checked_fractions(self.fractions))
        if not isinstance(self.require_majority, bool):
            raise ValueError(f"require_majority is {self.require_majority!r}; allowed: True, False")

    @property
    def guarantee(self) -> Guarantee:
        return "proven" if len(self.fractions) == 1 else "enumerated"

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        counts, top, n = problem.counts, problem.top, problem.n
        lower, p_a, p_b, used = (np.empty(n.size) for _ in range(4))
        _kernel(
            counts,
            top,
            n,
            problem.alpha,
            np.array(self.fractions),
            self.require_majority,
            problem.probit,
            lower,
            p_a,
            p_b,
            used,
        )
        return {"lower": lower, "p_a_lower": p_a, "p_b_upper": p_b, "fraction": used}
