"""A search for one scale per input, without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds_torch.optimizers._base import NoiseOptimizer, NoiseProblem

#: No scale further from its start than a factor of about 3,000 is tried.
_WIDEST = 8.0


@dataclass(frozen=True, eq=False)
class SearchState:
    """Where each input's search is.

    Attributes
    ----------
    log_scale, value : (B,) float64
        Logarithm of the factor on the start's parameters, and what it is worth.
    width : (B,) float64
        Step of the search, in the logarithm.
    """

    log_scale: NDArray[np.float64]
    value: NDArray[np.float64]
    width: NDArray[np.float64]


@dataclass(frozen=True)
class Search(NoiseOptimizer[SearchState]):
    """Looks up and down for a better scale, by steps that halve where neither is better.

    The objective is the radius that a certificate of ``n`` draws can be expected to give, from
    the same draws at every scale (common random numbers), so that two scales are compared
    without the noise between samples. It is the problem of data-dependent smoothing (Alfarra
    et al. 2022, eq. 2) for one scale per input; no theorem says that a maximum found is the
    largest.

    Parameters
    ----------
    draws : int
        Noisy copies per scale that is tried.
    width : float
        First step, in the logarithm of the scale.
    tolerance : float
        The search ends for an input where its step is below this.
    steps : int
        Steps after which it ends in any case; each tries two scales.
    """

    draws: int = 200
    width: float = 0.5
    tolerance: float = 0.04
    steps: int = 12

    name: ClassVar[str] = "search"
    source: ClassVar[str] = "Alfarra et al. 2022, eq. 2; compass search"
    cost: ClassVar[str] = "2 x steps x draws forward passes per input, no gradients"
    choose: ClassVar[str] = "one sigma per input, for any model"
    needs_gradients: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.integer("draws", self.draws, low=1)
        _validate.positive("width", self.width)
        _validate.positive("tolerance", self.tolerance)
        _validate.integer("steps", self.steps, low=0)

    def init(self, problem: NoiseProblem) -> SearchState:
        value = problem.value(problem.start, self.draws)
        return SearchState(np.zeros(len(problem)), value, np.full(len(problem), self.width))

    def step(self, problem: NoiseProblem, state: SearchState) -> SearchState:
        best, value = state.log_scale, state.value
        highest = np.log(problem.largest_factor())
        for direction in (1.0, -1.0):
            tried = np.minimum(state.log_scale + direction * state.width, highest)
            worth = problem.value(problem.start.scaled(np.exp(tried)), self.draws)
            better = worth > value
            best, value = np.where(better, tried, best), np.where(better, worth, value)
        moved = best != state.log_scale
        # Where nothing is certified on either side, further away there may be something.
        narrow = np.where(value > 0, 0.5 * state.width, 2.0 * state.width)
        return SearchState(best, value, np.where(moved, state.width, narrow))

    def done(self, state: SearchState) -> NDArray[np.bool_]:
        return np.asarray((state.width < self.tolerance) | (state.width > _WIDEST))

    def law(self, problem: NoiseProblem, state: SearchState) -> Noise:
        return problem.start.scaled(np.exp(state.log_scale))
