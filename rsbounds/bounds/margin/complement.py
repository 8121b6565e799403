"""Cohen's bound: p_B is at most one minus the lower bound on p_A."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import margin_down, proportion_lower
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    alpha: float,
    probit: bool,
    lower: NDArray[np.float64],
    p_a: NDArray[np.float64],
    p_b: NDArray[np.float64],
) -> None:
    for i in range(n.size):
        p, q = proportion_lower(float(counts[i, top[i]]), float(n[i]), alpha)
        p_a[i], p_b[i] = p, q
        lower[i] = margin_down(p, q, q, p, probit)


@dataclass(frozen=True)
class Complement(MarginMethod):
    """Clopper-Pearson on the top class at alpha, and p_B <= 1 - p_A.

    With probability at least 1 - alpha, every p_c is at most 1 - p_A, which is at most one
    minus the bound on p_A. Source: Cohen et al. 2019, Proposition 1 and CERTIFY.
    """

    name: ClassVar[str] = "complement"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Cohen et al. 2019, CERTIFY"
    cost: ClassVar[str] = "one tail inversion per row"
    choose: ClassVar[str] = "to reproduce published radii; loose once a third class gets votes"

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        counts, top, n = problem.counts, problem.top, problem.n
        lower, p_a, p_b = np.empty(n.size), np.empty(n.size), np.empty(n.size)
        _kernel(counts, top, n, problem.alpha, problem.probit, lower, p_a, p_b)
        return {"lower": lower, "p_a_lower": p_a, "p_b_upper": p_b}
