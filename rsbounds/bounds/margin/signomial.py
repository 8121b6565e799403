"""The paper's bound with a signomial program as its inner solver (extra ``solvers``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem
from rsbounds.bounds.margin._inner import Found, columns, searched
from rsbounds.bounds.margin._rows import largest_other
from rsbounds.bounds.margin.runner_up import separate_bound
from rsbounds.solvers import Window
from rsbounds.solvers.signomial import Signomial


@dataclass(frozen=True)
class SignomialMargin(MarginMethod):
    """Plug-in margin inverted with successive geometric programs.

    With probability at least 1 - alpha the margin is at least the bound, where every
    accepted level was proven by branch and bound (``certify=True``); a local optimum alone
    proves nothing, and without the proof ``certified`` says so. Source:
    optimal-certified-radius, (7)-(11) and Lemma 2, with the observed value inside the tail.

    Linear scale: as it is. Probit scale: Phi^-1 becomes its Taylor polynomial at 1/2, whose
    margin is at most the probit margin where p_A >= 1/2 >= p_B. Clopper-Pearson tests
    p_A >= 1/2 at ``share`` of alpha. Where the test passes, the program is solved over
    q1 >= 1/2 at ``share`` of alpha, and what is proven of an accepted level is the probit
    statement. Where it fails, the answer is the Bonferroni bound with ``share`` of alpha for
    p_A and the rest for p_B (``fallback``). Together they err with probability at most
    alpha: if p_A < 1/2, passing is part of the event that the bound on p_A fails; if
    p_A >= 1/2, that event is impossible in the fallback, which then errs only with p_B's
    rest. With ``share=0.5`` the fallback is `bonferroni`.

    A row costs a few inner solves of about 30 ms each, at every n; it is a table of many
    rows that the method is not made for. Beyond n = 10,000 nothing was checked, and it is
    refused.

    Parameters
    ----------
    certify : bool
        Accept a level only with branch and bound's proof.
    starts : int
        Starting points of each program.
    order : int
        Odd order M of the polynomial (probit scale); a low one costs tightness near p_A = 1.
    share : float
        Share of alpha for the test and the program (probit scale), in (0, 1).
    tolerance : float
        Width at which the search over L stops.

    Examples
    --------
    >>> import rsbounds
    >>> bound = rsbounds.margin_lower_bound(  # doctest: +SKIP
    ...     [[9, 1, 0]], 0, alpha=0.05, scale="linear", method="signomial")
    """

    certify: bool = True
    starts: int = 3
    order: int = 31
    share: float = 0.9
    tolerance: float = 1e-3

    name: ClassVar[str] = "signomial"
    source: ClassVar[str] = "optimal-certified-radius, section 4 and Lemma 2, corrected"
    cost: ClassVar[str] = "about 0.1 s per row, certificate included"
    choose: ClassVar[str] = "to reproduce the paper; exact is faster and mostly tighter"
    chunk: ClassVar[int] = 1
    seconds_per_row: ClassVar[float] = 0.05
    max_n: ClassVar[int | None] = 10_000

    def __post_init__(self) -> None:
        if not isinstance(self.certify, bool):
            raise ValueError(f"certify is {self.certify!r}; allowed: True, False")
        _validate.integer("starts", self.starts, low=1)
        _validate.integer("order", self.order, low=1, high=201)
        if self.order % 2 == 0:
            raise ValueError(f"order is {self.order}; allowed: an odd number from 1 to 201")
        _validate.number("share", self.share, "a number in (0, 1)", lambda v: 0 < v < 1)
        _validate.positive("tolerance", self.tolerance)

    @classmethod
    def usable(cls) -> bool:
        return find_spec("cvxpy") is not None

    @property
    def guarantee(self) -> Guarantee:
        return "proven" if self.certify else "none"

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        counts, top, n = problem.counts, problem.top, problem.n
        alpha, scale = problem.alpha, problem.scale
        found, fallback = [], np.zeros(n.size, dtype=bool)
        for i in range(n.size):
            x1, x2 = int(counts[i, top[i]]), int(largest_other(counts[i], top[i]))
            draws = int(n[i])
            level, order, window = alpha, 0, Window()
            if scale == "probit":
                bound, p_a, _ = separate_bound(
                    float(x1), float(x2), float(draws), alpha, self.share, True
                )
                if p_a < 0.5:
                    fallback[i] = True
                    # One step of a procedure that is proven only as a whole.
                    found.append(Found(bound, self.certify, alpha, 1.0, 0, False))
                    continue
                level, order, window = self.share * alpha, self.order, Window(0.5, 0.5)
            solver = Signomial(self.starts)
            row = searched(
                solver, self.certify, x1, x2, draws, level, scale, order, window, self.tolerance
            )
            found.append(row)
        return {**columns(found), "fallback": fallback}
