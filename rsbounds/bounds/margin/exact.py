"""The exact bound: a p-value for every margin, its supremum over the nuisance proved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._kernels import kernel, records
from rsbounds._numerics import margin_down, proportion_lower
from rsbounds._types import Guarantee
from rsbounds.bounds.margin._base import MarginMethod, Problem
from rsbounds.bounds.margin._rows import FOUND, largest_other
from rsbounds.bounds.margin._search import (
    CELLS,
    LIKELIHOOD,
    RUNNER_UP,
    SCORE,
    WALD,
    Settings,
    exact_row,
)
from rsbounds.solvers._sup import CELL

ORDERINGS = {
    "auto": LIKELIHOOD,
    "likelihood": LIKELIHOOD,
    "score": SCORE,
    "wald": WALD,
    "runner-up": RUNNER_UP,
}

#: Bounds that a method object remembers: inputs of few draws have the same counts again and again.
_HELD = 1 << 16
#: More draws than this, and ``statistic="auto"`` tests by half-planes all points with at least
#: ``FEW`` expected votes for the other class: the ordering costs O(sqrt n) for each of many sums.
MANY = 100_000
FEW = 30_000.0


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    probit: bool,
    settings: Settings,
    found: NDArray[Any],
    cells: NDArray[Any],
) -> None:
    for i in range(n.size):
        x1, row = counts[i, top[i]], found[i]
        if counts.shape[1] == 2:
            # Two classes: p_c = 1 - p_A, and Clopper-Pearson is the exact bound.
            p, q = proportion_lower(float(x1), float(n[i]), settings.alpha)
            row.lower, row.log_p = margin_down(p, q, q, p, probit), math.log(settings.alpha)
            row.cells, row.used, row.exhausted = 0, 0, False
            continue
        best = largest_other(counts[i], top[i])
        exact_row(x1, best, n[i], probit, settings, row, cells)


@dataclass(frozen=True)
class Exact(MarginMethod):
    """Lower limit of an exact test: largest margin whose p-value, proved, is at most alpha.

    With probability at least 1 - alpha the margin of the top class against every other class
    is at least the bound. For one competitor the p-value of a margin L is beta + the supremum
    of P_q(R(x)) over all q with g(q) <= L in a confidence set of level 1 - beta, R(x) the
    outcomes that a fixed ordering ranks at least as high as x; the competitor with the
    largest count gives the smallest bound (intersection-union). The supremum is proved cell
    by cell, so no bound rests on a heuristic optimum: what is not proved in ``budget``
    evaluations lowers the bound. Source: Buehler 1957; Berger and Boos 1994; the inner
    program of optimal-certified-radius, section 4, solved exactly.

    The confidence set is {p_A >= a, p_c <= b}, a and b Clopper-Pearson bounds at beta/2
    each. Unlike an interval for p_A + p_c it only shrinks as X_A grows and as X_c falls, and
    so do the regions R(x): the p-value itself, and with it the largest margin that it allows,
    is monotone in the counts. That is why the largest other count is enough: what is returned
    is at most the exact limit there, which is at most that of the true runner-up's count.
    (What is returned may lie below by what ``slack`` leaves, and need not be monotone.)

    Parameters
    ----------
    statistic : {"auto", "likelihood", "score", "wald", "runner-up"}
        The ordering; it decides how tight the bound is and never whether it is valid.
        ``likelihood``: profile-likelihood lower limits. ``score``: lower limits of the score
        test, which is Pearson's chi-square at the restricted estimate, here the one that
        makes it smallest (so that the ordering is monotone in the counts on both scales).
        ``wald``: normal (delta method) lower limits with max(1, 9 z^2/16) pseudo-counts per
        cell, z the normal quantile of alpha.
        ``runner-up``: the runner-up bound at ``split`` and level alpha - beta, p_c <= 1 - p_A
        included, which the result is never below (with ``beta=0``: the runner-up bound at
        alpha). ``auto``: likelihood, up to 100,000 draws; beyond, and with beta > 0, each q of
        the confidence set has a test of its own, whose cost does not grow with n: a half-plane
        where 30,000 or more votes for the other class are expected, with a proven bound on its
        tail (Berry-Esseen, within 0.1 % of the half-width at millions of votes, 1 % at 30,000);
        likelihood where fewer are; the runner-up bound at ``split`` for margins below -0.1, and
        below 0 where few votes are expected. The result is the smallest margin that is left.
    beta : float
        Share of alpha spent on the confidence set, in [0, 1); 0 is Buehler's bound, slow for
        large n.
    split : float
        Share of the level given to p_A by ``statistic="runner-up"``, in (0, 1).
    slack : float
        Gap in the log of the p-value that the certificate may leave unused, in (0, 0.5]; with
        over 20,000 draws ten times as much (at most 0.5) where the margin is below -0.1.
    budget : int
        Evaluations of a tail probability for a row, after which no new search is begun. Where
        they run out the bound is lower, still proven, and ``exhausted`` says so.

    Examples
    --------
    >>> import rsbounds
    >>> bound = rsbounds.margin_lower_bound(
    ...     [[990, 8, 2]], 0, alpha=0.001, scale="probit", method="exact")
    >>> bool(4.0 < bound.lower[0] < 4.1), bool(bound.details["p_value"][0] <= 0.001)
    (True, True)
    """

    statistic: Literal["auto", "likelihood", "score", "wald", "runner-up"] = "auto"
    beta: float = 1e-3
    split: float = 0.9
    slack: float = 2e-3
    budget: int = 20_000

    # What this object has bounded; no field, for fields are options.
    _held: ClassVar[dict[tuple[Any, ...], tuple[Any, ...]]]

    name: ClassVar[str] = "exact"
    guarantee: ClassVar[Guarantee] = "proven"
    source: ClassVar[str] = "Buehler 1957, Berger and Boos 1994; optimal-certified-radius, (7)-(11)"
    cost: ClassVar[str] = "about 1 ms per row at n = 100,000, at most that beyond, proof included"
    choose: ClassVar[str] = "when draws are dear: the efficiency limit at every n, proven"
    chunk: ClassVar[int] = 64
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"statistic": "runner-up"},
    )

    def __post_init__(self) -> None:
        _validate.choice("statistic", self.statistic, tuple(ORDERINGS))
        _validate.number("beta", self.beta, "a number in [0, 1)", lambda v: 0 <= v < 1)
        _validate.number("split", self.split, "a number in (0, 1)", lambda v: 0 < v < 1)
        _validate.number("slack", self.slack, "a number in (0, 0.5]", lambda v: 0 < v <= 0.5)
        _validate.integer("budget", self.budget, low=1)
        object.__setattr__(self, "_held", {})

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        settings = Settings(
            float(problem.alpha),
            float(self.beta * problem.alpha),
            ORDERINGS[self.statistic],
            float(self.split),
            float(self.slack),
            int(self.budget),
            MANY if self.statistic == "auto" else np.iinfo(np.int64).max,
            FEW,
        )
        keys, first, which = _unlike(problem)
        held = self._held
        unlike = np.empty(len(keys), FOUND)
        new = []
        for i, key in enumerate(keys):
            values = held.get(key)
            if values is None:
                new.append(i)
            else:
                unlike[i] = values
        fresh, cells = records(len(new), FOUND), records(CELLS, CELL)
        at = first[new]
        counts, top, n = problem.counts[at], problem.top[at], problem.n[at]
        _kernel(counts, top, n, problem.probit, settings, fresh, cells)
        unlike[new] = fresh
        for i, values in zip(new, fresh.tolist(), strict=True):
            if len(held) < _HELD:
                held[keys[i]] = values
        found = unlike[which]
        return {
            "lower": found["lower"].copy(),
            "p_value": np.minimum(np.exp(found["log_p"]) * (1.0 + 1e-12), 1.0),
            "cells": found["cells"].copy(),
            "evaluations": found["used"].copy(),
            "exhausted": found["exhausted"].copy(),
        }


def _unlike(
    problem: Problem,
) -> tuple[list[tuple[Any, ...]], NDArray[np.intp], NDArray[np.intp]]:
    """What bounds rest on, a row that has each, and which of them each row has.

    A bound rests on alpha, the scale, the votes for the top class, the largest other count, n,
    and on whether there are only two classes.
    """
    counts, top = problem.counts, problem.top
    every = np.arange(len(top))
    others = counts.copy()
    others[every, top] = -1
    table = np.column_stack([counts[every, top], others.max(axis=1), problem.n])
    different, first, which = np.unique(table, axis=0, return_index=True, return_inverse=True)
    shared = float(problem.alpha), problem.probit, counts.shape[1] == 2
    keys = [(*shared, *row) for row in different.tolist()]
    return keys, first, which.reshape(-1)
