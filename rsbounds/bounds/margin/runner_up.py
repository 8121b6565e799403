"""Separate bounds on the top class and on the largest other count, at a chosen split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._kernels import apart, kernel
from rsbounds._numerics import margin_down, proportion_lower
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem
from rsbounds.bounds.margin._rows import largest_other
from rsbounds.bounds.margin._top_k import planned_levels, top_k_rows
from rsbounds.claims import Claim, Top, TopK

#: Shares of alpha tried for p_A where the split is planned or optimised.
FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
#: Pseudo-counts of the expected counts that a split is planned for.
PSEUDO = (0.5, 0.05, 0.005)


@apart
def separate_bound(
    x_a: float, x_b: float, n: float, alpha: float, fraction: float, probit: bool
) -> tuple[float, float, float]:
    """(margin, lower p_A, upper p_B) with ``fraction`` of alpha for p_A, the rest for p_B."""
    p_a, q_a = proportion_lower(x_a, n, fraction * alpha)
    # p_B <= 1 - p_A holds at no cost; what alpha is left may buy a smaller bound on p_B.
    p_b, q_b = q_a, p_a
    # (1 - fraction) is rounded down, so that the two shares never exceed alpha together.
    rest = (1.0 - fraction) * (1.0 - 4e-16) * alpha
    if rest >= 1e-300:
        second_q, second_p = proportion_lower(n - x_b, n, rest)
        if second_p < p_b:
            p_b, q_b = second_p, second_q
    return margin_down(p_a, q_a, p_b, q_b, probit), p_a, p_b


@apart
def _planned_fraction(
    x_a: float,
    x_b: float,
    n0: float,
    n: float,
    alpha: float,
    fractions: NDArray[np.float64],
    probit: bool,
) -> float:
    """Fraction with the best bound at the counts that the selection counts let expect.

    Classes that a small selection missed still exist, with an unknown order of magnitude:
    the expected counts are formed with several pseudo-counts and the bounds are averaged.
    """
    total = np.zeros(fractions.size)
    for pseudo in PSEUDO:
        size = n0 + 3.0 * pseudo
        expected_b = math.floor(n * (x_b + pseudo) / size + 0.5)
        expected_rest = math.floor(n * (n0 - x_a - x_b + pseudo) / size + 0.5)
        expected_a = max(n - expected_b - expected_rest, 0.0)
        for j in range(fractions.size):
            value, _, _ = separate_bound(expected_a, expected_b, n, alpha, fractions[j], probit)
            total[j] += max(value, -10.0)
    return float(fractions[np.argmax(total)])


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    selection: NDArray[np.int64],
    planned: bool,
    alpha: float,
    fractions: NDArray[np.float64],
    probit: bool,
    lower: NDArray[np.float64],
    p_a: NDArray[np.float64],
    p_b: NDArray[np.float64],
    used: NDArray[np.float64],
) -> None:
    for i in range(n.size):
        x_a = float(counts[i, top[i]])
        x_b = float(largest_other(counts[i], top[i]))
        total = float(n[i])
        if planned:
            seen = selection[i]
            fraction = _planned_fraction(
                float(seen[top[i]]),
                float(largest_other(seen, top[i])),
                float(seen.sum()),
                total,
                alpha,
                fractions,
                probit,
            )
            lower[i], p_a[i], p_b[i] = separate_bound(x_a, x_b, total, alpha, fraction, probit)
            used[i] = fraction
            continue
        for j in range(fractions.size):
            value, a, b = separate_bound(x_a, x_b, total, alpha, fractions[j], probit)
            if j == 0 or value > lower[i]:
                lower[i], p_a[i], p_b[i], used[i] = value, a, b, fractions[j]


@dataclass(frozen=True)
class RunnerUp(MarginMethod):
    """Clopper-Pearson on the top class at f alpha and on the largest other count at (1-f) alpha.

    With probability at least 1 - alpha both bounds hold, the second for whichever class is
    the true runner-up (intersection-union: the runner-up is a fixed class c*, its own bound
    is valid, and the bound at the largest count is never below it), and p_B <= 1 - p_A.
    Source: Proposition 1 of T-Certify with the class sum dropped; exact-margin-bound, fact 1.
    Proven for a fixed split and for a split planned from selection counts.
    ``split="optimal"`` takes the best split for the observed counts, as T-Certify does; that
    is validated by enumeration and not proven.

    Of a `TopK` claim, k classes would have to be above A: their bounds and those of their sums
    share the rest of alpha, and no class gets less than alpha/K, so that the bound is never below
    that of ``bonferroni`` over all classes (`rsbounds.bounds.margin._top_k` has the proof).

    Parameters
    ----------
    split : float, "selection" or "optimal"
        Share f of alpha given to p_A, in (0, 1]; or planned for each row from the selection
        counts; or the best of ``fractions`` for the observed counts.
    fractions : tuple of float
        Shares tried by "selection" and "optimal".
    """

    split: float | Literal["selection", "optimal"] = 0.9
    fractions: tuple[float, ...] = FRACTIONS

    name: ClassVar[str] = "runner-up"
    source: ClassVar[str] = "T-Certify, Proposition 1, without the class sum (intersection-union)"
    cost: ClassVar[str] = "two tail inversions per row and fraction"
    choose: ClassVar[str] = "for very long tables (a microsecond per row), or very large n"

    claims: ClassVar[tuple[type[Claim], ...]] = (Top, TopK)
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"split": "optimal"})

    def __post_init__(self) -> None:
        if isinstance(self.split, str):
            if self.split not in ("selection", "optimal"):
                raise ValueError(
                    f"split is {self.split!r}; allowed: a number in (0, 1], 'selection', 'optimal'"
                )
        else:
            _validate.number(
                "split",
                self.split,
                "a number in (0, 1], 'selection', 'optimal'",
                lambda v: 0 < v <= 1,
            )
        object.__setattr__(self, "fractions", checked_fractions(self.fractions))

    @property
    def guarantee(self) -> Guarantee:
        return "enumerated" if self.split == "optimal" else "proven"

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        counts, top, n = problem.counts, problem.top, problem.n
        if isinstance(problem.claim, TopK):
            if isinstance(self.split, str):
                raise ValueError(
                    f"split is {self.split!r}; allowed for a claim of kind TopK: a number in (0, 1]"
                )
            levels = planned_levels(problem.alpha, self.split, problem.claim.k, counts.shape[1])
            return top_k_rows(problem, levels)
        if self.split == "selection" and problem.selection is None:
            raise ValueError(
                "split is 'selection' but top carries no selection counts; allowed: "
                "top=select_top(counts of an independent selection sample)"
            )
        tried = self.fractions if isinstance(self.split, str) else (float(self.split),)
        lower, p_a, p_b, used = (np.empty(n.size) for _ in range(4))
        _kernel(
            counts,
            top,
            n,
            counts if problem.selection is None else problem.selection,
            self.split == "selection",
            problem.alpha,
            np.array(tried),
            problem.probit,
            lower,
            p_a,
            p_b,
            used,
        )
        return {"lower": lower, "p_a_lower": p_a, "p_b_upper": p_b, "fraction": used}


def checked_fractions(fractions: Any) -> tuple[float, ...]:
    """Ascending distinct numbers in (0, 1], at least one."""
    allowed = "one or more numbers in (0, 1]"
    try:
        values = sorted({float(f) for f in fractions})
    except (TypeError, ValueError):
        raise ValueError(f"fractions is {fractions!r}; allowed: {allowed}") from None
    if not values or not all(0 < f <= 1 for f in values):
        raise ValueError(f"fractions is {fractions!r}; allowed: {allowed}")
    return tuple(values)
