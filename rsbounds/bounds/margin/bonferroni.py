"""Two Clopper-Pearson bounds at equal shares of alpha."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._kernels import kernel
from rsbounds._numerics import margin_down, proportion_lower
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem
from rsbounds.bounds.margin._rows import largest_other
from rsbounds.bounds.margin._top_k import Levels, top_k_rows
from rsbounds.claims import Claim, Top, TopK


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    share: float,
    probit: bool,
    lower: NDArray[np.float64],
    p_a: NDArray[np.float64],
    p_b: NDArray[np.float64],
) -> None:
    for i in range(n.size):
        pa, qa = proportion_lower(float(counts[i, top[i]]), float(n[i]), share)
        other = largest_other(counts[i], top[i])
        qb, pb = proportion_lower(float(n[i] - other), float(n[i]), share)
        p_a[i], p_b[i] = pa, pb
        lower[i] = margin_down(pa, qa, pb, qb, probit)


@dataclass(frozen=True)
class Bonferroni(MarginMethod):
    """Clopper-Pearson on the top class and on the largest other count, at equal levels.

    With probability at least 1 - alpha both bounds hold together, and the one at the largest
    other count covers the true runner-up whichever class it is (intersection-union: the
    bound at a fixed class's count is at most the bound at the largest). Source:
    optimal-certified-radius, eq. 4-6, whose stated reason does not hold; with
    ``over="classes"`` the simultaneous bounds at alpha/K.

    Of a `TopK` claim, ``over="pair"`` shares alpha over A and the k classes that would have to be
    above it, and ``over="classes"`` is the bound of Jia et al. 2020, Theorem 2.

    Parameters
    ----------
    over : {"pair", "classes"}
        Share alpha over the pair (alpha/2 each) or over all classes (alpha/K each).
    """

    over: Literal["pair", "classes"] = "pair"

    name: ClassVar[str] = "bonferroni"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Optimal certified radius estimation, eq. 4-6"
    cost: ClassVar[str] = "two tail inversions per row"
    choose: ClassVar[str] = "as the textbook baseline; runner-up with a fixed split is tighter"

    claims: ClassVar[tuple[type[Claim], ...]] = (Top, TopK)
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"over": "classes"})

    def __post_init__(self) -> None:
        _validate.choice("over", self.over, ("pair", "classes"))

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        counts, top, n = problem.counts, problem.top, problem.n
        if isinstance(problem.claim, TopK):
            bounds = problem.claim.k + 1 if self.over == "pair" else counts.shape[1]
            share = problem.alpha / bounds
            return top_k_rows(problem, Levels(share, share, 0.0))
        share = problem.alpha / (2 if self.over == "pair" else counts.shape[1])
        lower, p_a, p_b = np.empty(n.size), np.empty(n.size), np.empty(n.size)
        _kernel(counts, top, n, share, problem.probit, lower, p_a, p_b)
        return {"lower": lower, "p_a_lower": p_a, "p_b_upper": p_b}
