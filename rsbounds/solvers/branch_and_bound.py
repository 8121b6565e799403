"""The supremum with a proof: bisect the curve, bound each cell by a chord."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsbounds.solvers._base import Region, Solution, Window


@dataclass(frozen=True)
class BranchAndBound:
    """Branch and bound along the curve g = level; `upper` is proven for that level.

    Parameters
    ----------
    gap : float
        Gap between value and proven bound, in logs, at which to stop.
    budget : int
        Evaluations of the tail probability.
    """

    gap: float = 1e-5
    budget: int = 4000

    def __call__(self, region: Region, level: float, window: Window, enough: float) -> Solution:
        from rsbounds._kernels import records
        from rsbounds.solvers._sup import CELL, Problem, certified_sup, edge_share
        from rsbounds.solvers._trinomial import curve_point

        probit = region.scale == "probit"
        if region.order and window.a1 < 0.5:
            # Only there is g at least the polynomial's margin, and a proof for g enough.
            raise ValueError(
                f"window.a1 is {window.a1} with a Taylor margin; allowed: at least 0.5"
            )
        problem = Problem(
            region.n,
            region.boundary,
            0,
            probit,
            float(window.a1),
            1.0 - window.a1,
            float(window.b2),
            1.0 - window.b2,
            edge_share(region.n, 1e-3),
        )
        limit = math.log(enough) if enough < 1.0 else 1.0
        # The chords may dip below their level by ``dip``: prove a level that much higher.
        raised = level
        cells = records(self.budget + 4, CELL)
        for _ in range(4):
            upper, value, at, dip, used = certified_sup(
                problem, raised, self.gap, 1e-7, limit, self.budget, cells
            )
            if raised - dip >= level:
                break
            raised = level + 1.5 * dip
        point = curve_point(at, raised, probit)
        proven = math.exp(upper) if raised - dip >= level else math.inf
        return Solution(math.exp(value), point, proven, used)
