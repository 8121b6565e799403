"""The paper's route: a signomial program by successive geometric programs."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from rsbounds.solvers._base import Region, Solution, Window


def _terms(region: Region) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exponents and log coefficients of the monomials of P_q(region)."""
    rows = [
        (x1, x2, region.n - x1 - x2)
        for x2 in range(region.n + 1)
        for x1 in range(int(region.boundary[x2]), region.n - x2 + 1)
    ]
    powers = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return powers, gammaln(region.n + 1.0) - gammaln(powers + 1.0).sum(axis=1)


@lru_cache(maxsize=4)
def _program(negative: bool) -> tuple[Any, ...]:
    """The condensed program in y = log q, compiled once and re-solved with parameters."""
    try:
        import cvxpy as cp
    except ImportError:
        raise ImportError("solver 'signomial' needs cvxpy; install rsbounds[solvers]") from None
    y = cp.Variable(3)
    slope = cp.Parameter(3)
    weight, offset = cp.Parameter(nonneg=True), cp.Parameter()
    near, reach = cp.Parameter(3), cp.Parameter(nonneg=True)
    limits = cp.Parameter(2)
    constraints = [cp.log_sum_exp(y) <= 0, cp.abs(y - near) <= reach]
    constraints += [y[0] >= limits[0], y[1] <= limits[1]]
    if negative:
        # q1 - L <= q2: already posynomial <= monomial.
        constraints.append(cp.log_sum_exp(cp.hstack([y[0], offset])) <= y[1])
    else:
        # q1 <= q2 + L, the right side condensed to its tangent monomial.
        constraints.append(y[0] <= weight * y[1] + offset)
    problem = cp.Problem(cp.Maximize(slope @ y), constraints)
    return problem, y, slope, weight, offset, near, reach, limits


@dataclass(frozen=True)
class Signomial:
    """Successive condensation, linear scale; proves nothing.

    max P_q(region) subject to q1 - q2 <= L and q1 + q2 + q3 <= 1: P is replaced by the
    monomial that touches it (arithmetic-geometric means), so is q2 + L, and the geometric
    program that is left, in logs, is solved within a trust region until nothing moves. The
    best of several starts is a local optimum, an error to the unsound side. P has about
    n^2/2 monomials, but condensed they are one: three variables, a few ms per step. Source:
    optimal-certified-radius, section 4.2.

    Parameters
    ----------
    starts : int
        Starting points along the curve.
    steps : int
        Condensations per start.
    """

    starts: int = 4
    steps: int = 60

    def __call__(self, region: Region, level: float, window: Window, enough: float) -> Solution:
        if region.scale != "linear":
            raise ValueError(
                "solver 'signomial' was asked for the probit scale; allowed: 'linear' (the "
                "probit margin is not a signomial)"
            )
        negative = level <= 0.0
        problem, y, slope, weight, offset, near, reach, limits = _program(negative)
        powers, logs = _terms(region)
        best, point, used = 0.0, (0.0, 0.0, 1.0), 0
        if not len(powers):
            return Solution(0.0, point, math.inf, 0)
        low, high = max(0.0, -level, window.a1 - level), min(window.b2, 0.5 * (1.0 - level))
        limits.value = np.log([max(window.a1, 1e-30), window.b2])
        for i in range(self.starts):
            # Cosine spacing: optima tend to lie at the ends of the curve.
            angle = math.pi * (i + 0.5) / self.starts
            q2 = low + (high - low) * 0.5 * (1.0 - math.cos(angle))
            q = np.array([q2 + level, q2, 1.0 - level - 2.0 * q2])
            radius = 0.5
            at = np.log(np.maximum(q, 1e-12))
            value = self._value(powers, logs, at)[0]
            for _ in range(self.steps):
                _, slope.value = self._value(powers, logs, at)
                if negative:
                    offset.value = math.log(max(-level, 1e-300))
                else:
                    share = math.exp(at[1]) / (math.exp(at[1]) + level)
                    weight.value = share
                    offset.value = math.log(math.exp(at[1]) + level) - share * at[1]
                near.value, reach.value = at, radius
                with warnings.catch_warnings():
                    # Inaccurate solves only cost a step: every value is evaluated afresh.
                    warnings.simplefilter("ignore")
                    problem.solve(solver="CLARABEL")
                used += 1
                if y.value is None:
                    break
                q = np.exp(y.value)
                # Back onto the curve and the simplex: the condensed set lies inside the true
                # one up to the solver's tolerance.
                q1 = min(q[0], q[1] + level, 1.0 - q[1])
                step = np.log(np.maximum([q1, q[1], 1.0 - q1 - q[1]], 1e-300))
                following = self._value(powers, logs, step)[0]
                if following <= value + 1e-10:
                    radius *= 0.25
                    if radius < 1e-6:
                        break
                    continue
                at, value = step, following
                radius = min(2.0 * radius, 4.0)
            if math.exp(value) > best:
                best = math.exp(value)
                point = (math.exp(at[0]), math.exp(at[1]), math.exp(at[2]))
            if best > enough:
                break
        return Solution(best, point, math.inf, used)

    @staticmethod
    def _value(
        powers: NDArray[np.float64], logs: NDArray[np.float64], at: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        # log P and its gradient in log q: the exponents of the tangent monomial.
        terms = logs + powers @ at
        top = float(terms.max())
        weights = np.exp(terms - top)
        total = float(weights.sum())
        return top + math.log(total), weights @ powers / total
