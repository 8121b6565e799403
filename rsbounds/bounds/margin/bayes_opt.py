"""The paper's bound with Bayesian optimisation as its inner solver (extra ``solvers``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._numerics import proportion_lower
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem
from rsbounds.bounds.margin._inner import columns, searched
from rsbounds.bounds.margin._rows import largest_other
from rsbounds.solvers import Window
from rsbounds.solvers.bayes_opt import BayesOpt


@dataclass(frozen=True)
class BayesOptMargin(MarginMethod):
    """Plug-in margin inverted with Lemma 1's early-stopped Bayesian search.

    With probability at least 1 - alpha the margin is at least the bound, where every
    accepted level was proven by branch and bound (``certify=True``); without it nothing is
    proven and ``certified`` says so. Source: optimal-certified-radius, (7)-(9) and Lemma 1,
    with the observed value inside the tail. The search needs no polynomial: the probit
    margin is used as it is, with half a pseudo-count in the statistic, and only null points
    in a Clopper-Pearson confidence set of level 1 - ``beta`` alpha count (Berger and Boos
    1994), without which two vanishing classes make every level trivial.

    One to three seconds per row at every n, nearly all of it the Gaussian process: for
    single rows. Beyond n = 10,000 nothing was checked, and it is refused. `exact` is the
    method to use.

    Parameters
    ----------
    certify : bool
        Accept a level only with branch and bound's proof.
    calls, seed : int
        Evaluations per level and seed of the search.
    beta : float
        Share of alpha spent on the confidence set (probit scale), in (0, 1).
    tolerance : float
        Width at which the search over L stops.

    Examples
    --------
    >>> import rsbounds
    >>> bound = rsbounds.margin_lower_bound(  # doctest: +SKIP
    ...     [[9, 1, 0]], 0, alpha=0.05, scale="linear", method="bayes-opt")
    """

    certify: bool = True
    calls: int = 12
    seed: int = 0
    beta: float = 1e-3
    tolerance: float = 1e-3

    name: ClassVar[str] = "bayes-opt"
    source: ClassVar[str] = "optimal-certified-radius, Lemma 1, corrected"
    cost: ClassVar[str] = "one to three seconds per row, certificate included"
    choose: ClassVar[str] = "to reproduce the paper; exact is far faster and mostly tighter"
    chunk: ClassVar[int] = 1
    seconds_per_row: ClassVar[float] = 1.0
    max_n: ClassVar[int | None] = 10_000

    def __post_init__(self) -> None:
        if not isinstance(self.certify, bool):
            raise ValueError(f"certify is {self.certify!r}; allowed: True, False")
        _validate.integer("calls", self.calls, low=10)
        _validate.integer("seed", self.seed, low=0)
        _validate.number("beta", self.beta, "a number in (0, 1)", lambda v: 0 < v < 1)
        _validate.positive("tolerance", self.tolerance)

    @classmethod
    def usable(cls) -> bool:
        return find_spec("skopt") is not None

    @property
    def guarantee(self) -> Guarantee:
        return "proven" if self.certify else "none"

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        counts, top, n = problem.counts, problem.top, problem.n
        alpha, scale = problem.alpha, problem.scale
        solver = BayesOpt(self.calls, self.seed)
        found = []
        for i in range(n.size):
            x1, x2 = int(counts[i, top[i]]), int(largest_other(counts[i], top[i]))
            draws = int(n[i])
            spent, window = 0.0, Window()
            if scale == "probit":
                spent = self.beta * alpha
                a1, _ = proportion_lower(float(x1), float(draws), 0.5 * spent)
                _, b2 = proportion_lower(float(draws - x2), float(draws), 0.5 * spent)
                window = Window(a1, b2)
            level = (alpha - spent) * (1.0 - 4e-16)
            row = searched(
                solver, self.certify, x1, x2, draws, level, scale, 0, window, self.tolerance
            )
            found.append(row._replace(p_value=min(row.p_value + spent, 1.0)))
        return columns(found)
