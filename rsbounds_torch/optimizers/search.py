"""A search for one scale per input, without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds_torch.optimizers._base import NoiseOptimizer, NoiseProblem
from rsbounds_torch.optimizers._curve import STEP, Votes, best_log, best_node

#: Scales lie on a lattice in the logarithm, up to a factor of about 3,000 from the start.
_FURTHEST = 58
#: Nodes from one scale to the next while both ends are looked for, growing.
_STRIDES = (4, 4, 4, 6, 6, 8, 8, 12)
#: Where the draws go once both ends are known: the best node and those beside it, in turn.
_BESIDE = (0, 1, -1, 2)
#: Where the scale above is worth less than this part of the best, the best is not further up.
_ENOUGH = 0.6
#: Parts of the way from the start to the end that are judged.
_WAY = (1.0, 0.5)


@dataclass(frozen=True, eq=False)
class SearchState:
    """Where each input's search is.

    Attributes
    ----------
    votes : Votes
        What was seen at every scale.
    node : (B,) int64
        The scale that is tried next.
    tries : (B,) int64
        Scales that were tried.
    refined : (B,) int64
        Scales that were chosen with both ends known, the next one with them.
    """

    votes: Votes
    node: NDArray[np.int64]
    tries: NDArray[np.int64]
    refined: NDArray[np.int64]


@dataclass(frozen=True)
class Search(NoiseOptimizer[SearchState]):
    """Tries scales, draws a smooth curve through all their votes, and tries where it is best.

    The objective is the radius that a certificate of ``n`` draws can be expected to give: the
    problem of data-dependent smoothing (Alfarra et al. 2022, eq. 2) for one scale per input.
    Few votes say little about the rare failures that decide the radius; those at larger scales,
    where failures are many, tell them by the curve (a smoothing spline of the probit of the
    failures over the logarithm of the scale). No theorem says that the curve is right: the judge
    has the last word.

    Parameters
    ----------
    draws : int
        Noisy copies per scale that is tried, each time others.
    refine : int
        Scales that are tried once both ends are known.
    steps : int
        No more scales than this are tried, the start's not counted.
    """

    draws: int = 150
    refine: int = 8
    steps: int = 18

    name: ClassVar[str] = "search"
    source: ClassVar[str] = "Alfarra et al. 2022, eq. 2; a smoothing spline over the scale"
    cost: ClassVar[str] = "about (refine + 4) x draws forward passes per input, no gradients"
    choose: ClassVar[str] = "one sigma per input, for any model"
    needs_gradients: ClassVar[bool] = False
    judge_draws: ClassVar[int] = 500

    def __post_init__(self) -> None:
        _validate.integer("draws", self.draws, low=1)
        _validate.integer("refine", self.refine, low=1)
        _validate.integer("steps", self.steps, low=0)

    def init(self, problem: NoiseProblem) -> SearchState:
        rows = np.arange(len(problem))
        counts = problem.votes(problem.start, self.draws)
        plural = 2 * counts[rows, problem.top] <= self.draws
        nothing, none = np.zeros((len(rows), 2 * _FURTHEST + 1)), np.zeros_like(rows)
        highest = np.log(problem.largest_factor())
        votes = Votes(nothing, nothing, nothing, plural, highest, _FURTHEST)
        votes = votes.adding(rows, none + _FURTHEST, counts, problem.top, self.draws)
        return self._next(problem, SearchState(votes, none, none, none), rows, votes)

    def step(self, problem: NoiseProblem, state: SearchState) -> SearchState:
        rows = np.flatnonzero(~self.done(state))
        some, nodes = problem.at(rows), state.node[rows]
        factor = np.exp(np.minimum(STEP * (nodes - _FURTHEST), state.votes.highest[rows]))
        first = state.tries[rows] * self.draws
        counts = some.votes(some.start.scaled(factor), self.draws, first=first)
        votes = state.votes.adding(rows, nodes, counts, some.top, self.draws)
        return self._next(problem, state, rows, votes)

    def done(self, state: SearchState) -> NDArray[np.bool_]:
        return np.asarray(state.refined > self.refine)

    def law(self, problem: NoiseProblem, state: SearchState) -> Noise:
        return problem.start.scaled(np.exp(best_log(state.votes, problem.foretold)))

    def candidates(self, problem: NoiseProblem, state: SearchState) -> list[Noise]:
        # Half of the way, in the logarithm, where the end promised more than it keeps.
        log = best_log(state.votes, problem.foretold)
        return [problem.start.scaled(np.exp(part * log)) for part in _WAY]

    def _next(
        self, problem: NoiseProblem, state: SearchState, rows: NDArray[np.int64], votes: Votes
    ) -> SearchState:
        """Where each of ``rows`` is tried next."""
        part = votes.at(rows)
        worth = part.worth(problem.foretold)
        low, high = part.tried()
        best = worth.argmax(axis=1)
        tries = state.tries[rows] + 1
        stride = np.asarray(_STRIDES)[np.minimum(tries - 1, len(_STRIDES) - 1)]
        # The lattice's last node that is allowed: of the cap, or of the draws without an answer.
        top = np.clip(np.floor(part.highest / STEP).astype(int) + _FURTHEST, 0, 2 * _FURTHEST)
        place = np.arange(len(rows))
        most, end = worth[place, best], worth[place, high]
        up = (most > 0) & (end >= _ENOUGH * most) & (high < top)
        down = ~up & (low > 0) & ((most == 0) | ((best == low) & (part.against[place, low] > 0)))
        beside = np.asarray(_BESIDE)[state.refined[rows] % len(_BESIDE)]
        refined = np.clip(best_node(part, problem.foretold) + beside, low, np.minimum(high, top))
        node = np.where(up, np.minimum(high + stride, top), refined)
        node = np.where(down, np.maximum(low - stride, 0), node)
        every, count, finer = state.node.copy(), state.tries.copy(), state.refined.copy()
        every[rows], count[rows] = node, tries
        finer[rows] += ~(up | down)
        return SearchState(votes, every, count, finer)
