"""The paper's route: a signomial program by successive geometric programs."""

from __future__ import annotations

import math
import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds.solvers._base import Region, Solution, Window, curve_range, on_curve, polished
from rsbounds.solvers._taylor import coefficients
from rsbounds.solvers._trinomial import FLOOR, log_tail_upper

#: Smallest q2, u and v of a program: logs of zero have no place in it.
TINY = 1e-30


class Condensed:
    """P_q(region) as the monomial that touches it.

    P has about n^2/2 monomials, but of them only the sum and its gradient enter, and both
    are tails: dP/dlog q_i = n q_i P_{n-1}(region - e_i). So nothing grows with the table.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        n, boundary = region.n, region.boundary
        self._less1 = np.maximum(boundary[:n] - 1, 0)
        self._less2 = np.minimum(boundary[1:], n)

    def log_value(self, q: NDArray[np.float64]) -> float:
        """Log of P."""
        return float(log_tail_upper(self.region.n, q[0], q[1], q[2], self.region.boundary, 0))

    def shares(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Exponents of the tangent monomial, divided by n: E[X / n] in the region."""
        n, log_p = self.region.n, self.log_value(q)
        if n == 1:
            tails = [float(self.region.boundary[0] <= 1), float(self.region.boundary[1] <= 0)]
            share = q[:2] * np.array(tails) / math.exp(log_p)
        else:
            logs = [
                log_tail_upper(n - 1, q[0], q[1], q[2], b, 0) - log_p
                for b in (self._less1, self._less2)
            ]
            share = q[:2] * np.exp(np.minimum(logs, 700.0))
        share = np.clip(share, 0.0, 1.0)
        share /= max(float(share.sum()), 1.0)
        return np.array([share[0], share[1], max(1.0 - share[0] - share[1], 0.0)])


@lru_cache(maxsize=8)
def _program(kind: str, order: int) -> tuple[Any, ...]:
    """The condensed program in logs, compiled once and re-solved with parameters."""
    try:
        import cvxpy
    except ImportError:
        raise ImportError("solver 'signomial' needs cvxpy; install rsbounds[solvers]") from None
    # cvxpy's own exports are not all declared to type checkers.
    cp: Any = cvxpy
    y = cp.Variable(3)
    slope, limits = cp.Parameter(3, nonneg=True), cp.Parameter(2)
    constraints = [cp.log_sum_exp(y) <= 0, y >= math.log(TINY)]
    constraints += [y[0] >= limits[0], y[1] <= limits[1]]
    weight, offset = cp.Parameter(2, nonneg=True), cp.Parameter(3)
    if kind == "negative":
        # q1 - L <= q2: already posynomial <= monomial.
        constraints.append(cp.log_sum_exp(cp.hstack([y[0], offset[0]])) <= y[1])
    elif kind == "positive":
        # q1 <= q2 + L, the right side condensed to its tangent monomial.
        constraints.append(y[0] <= weight[0] * y[1] + offset[0])
    else:
        # q1 = 1/2 + u, q2 = 1/2 - v: the polynomial's margin is a posynomial in u and v.
        z = cp.Variable(2)
        logs, powers = np.log(coefficients(order)), np.arange(1.0, order + 1.0, 2.0)
        terms = cp.hstack([logs + powers * z[0], logs + powers * z[1]])
        constraints += [
            cp.log_sum_exp(terms) <= offset[0],
            y[0] <= weight[0] * z[0] + offset[1],
            (1 - weight[1]) * y[1] + weight[1] * z[1] + offset[2] >= math.log(0.5),
            z >= math.log(TINY),
        ]
    problem = cp.Problem(cp.Maximize(slope @ y), constraints)
    return problem, y, slope, limits, weight, offset


# A compiled program holds the parameters of the solve in progress.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Signomial:
    """Successive condensation; proves nothing.

    max P_q(region) subject to g(q) <= L and q1 + q2 + q3 <= 1: P is replaced by the monomial
    that touches it (arithmetic-geometric means), so is every posynomial on the larger side
    of a constraint, and the geometric program that is left is solved in logs. Each is an
    inner approximation, so no step loses; each step is lengthened along the curve g = L as
    far as P grows. Linear margin as it is, probit margin by its Taylor polynomial
    (``region.order``), which is posynomial in q1 - 1/2 and 1/2 - q2. The best of several
    starts is a local optimum: an error to the unsound side. Source:
    optimal-certified-radius, sections 4.2 and 4.3.

    The program has three variables (five with the polynomial) whatever n is, for its
    gradient comes from tails and not from the n^2/2 monomials: about 10 ms per condensation
    and 0.1 s per level. What ends its use is the number of levels and rows, not n.

    Parameters
    ----------
    starts : int
        Starting points along the curve.
    steps : int
        Condensations per start.
    """

    starts: int = 3
    steps: int = 12

    def __call__(self, region: Region, level: float, window: Window, enough: float) -> Solution:
        if region.scale == "probit" and not region.order:
            raise ValueError(
                "region.order is 0 on the probit scale; allowed for solver 'signomial': an odd "
                "order of the Taylor polynomial (the probit margin is not a signomial)"
            )
        kind = "taylor" if region.order else "negative" if level <= 0.0 else "positive"
        with _LOCK:
            return self._solve(region, level, window, enough, kind)

    def _solve(
        self, region: Region, level: float, window: Window, enough: float, kind: str
    ) -> Solution:
        program = _program(kind, region.order)
        low, high = curve_range(region, level, window)
        low = max(low, TINY)
        high = max(high, low)
        first = on_curve(region, level, low)
        best, point, used = region.probability(first[0], first[1]), first, 0
        condensed = Condensed(region)
        if best > enough or high <= low * (1.0 + 1e-12):
            return Solution(best, point, math.inf, used)
        ends = math.log(low), math.log(high)
        for i in range(self.starts):
            # Cosine spacing: optima tend to lie at the ends of the curve.
            share = 0.5 * (1.0 - math.cos(math.pi * (i + 0.5) / self.starts))
            at = on_curve(region, level, low + (high - low) * share)
            value = region.probability(at[0], at[1])
            for _ in range(self.steps):
                if value <= math.exp(FLOOR + 1.0):
                    break
                following = self._step(
                    program, condensed, kind, level, window, np.maximum(at, [1e-200, 0.0, 0.0])
                )
                used += 1
                if following is None:
                    break
                here, there = (math.log(max(q, low)) for q in (at[1], following))
                there = min(max(there, ends[0]), ends[1])
                if abs(there - here) < 1e-7:
                    break
                reached, where, _ = self._lengthened(region, level, here, there, ends)
                gain = reached / value - 1.0
                if gain > 0.0:
                    at, value = where, reached
                if gain < 1e-6:
                    break
            if value > best:
                best, point = value, at
            if best > enough:
                break
        return Solution(best, point, math.inf, used)

    @staticmethod
    def _lengthened(
        region: Region, level: float, here: float, there: float, ends: tuple[float, float]
    ) -> tuple[float, tuple[float, float, float], int]:
        # Condensation alone takes steps that shrink as 1/n: double them while P grows.
        def value(log_q2: float) -> float:
            q1, q2, _ = on_curve(region, level, math.exp(log_q2))
            return region.probability(q1, q2)

        behind, middle, step = here, there, there - here
        best = value(middle)
        ahead = middle
        for _ in range(60):
            ahead = min(max(middle + step, ends[0]), ends[1])
            if ahead == middle:
                break
            further = value(ahead)
            if further <= best:
                break
            behind, middle, best, step = middle, ahead, further, 2.0 * step
        found = polished(region, level, min(behind, ahead), max(behind, ahead))
        if found[0] >= best:
            return found
        return best, on_curve(region, level, math.exp(middle)), 1

    @staticmethod
    def _step(
        program: tuple[Any, ...],
        condensed: Condensed,
        kind: str,
        level: float,
        window: Window,
        at: NDArray[np.float64],
    ) -> float | None:
        """q2 at the optimum of the program condensed at ``at``; None if it was not solved."""
        problem, y, slope, limits, weight, offset = program
        q = np.maximum(at, TINY)
        slope.value = condensed.shares(at)
        limits.value = np.log([max(window.a1, TINY), window.b2])
        if kind == "negative":
            weight.value, offset.value = np.zeros(2), np.full(3, math.log(max(-level, TINY)))
        elif kind == "positive":
            share = q[1] / (q[1] + level)
            weight.value = np.array([share, 0.0])
            offset.value = np.full(3, math.log(q[1] + level) - share * math.log(q[1]))
        else:
            u, v = max(q[0] - 0.5, TINY), max(0.5 - q[1], TINY)
            w1, w2 = u / (0.5 + u), v / (q[1] + v)
            weight.value = np.array([w1, w2])
            offset.value = np.array(
                [
                    math.log(max(level, TINY)),
                    math.log(0.5 + u) - w1 * math.log(u),
                    math.log(q[1] + v) - (1.0 - w2) * math.log(q[1]) - w2 * math.log(v),
                ]
            )
        with warnings.catch_warnings():
            # Inaccurate solves only cost a step: every value is evaluated afresh.
            warnings.simplefilter("ignore")
            try:
                # A cold start: the answer is not to depend on what was solved before.
                problem.solve(solver="CLARABEL", warm_start=False)
            except Exception:
                return None
        return None if y.value is None else float(np.exp(y.value[1]))
