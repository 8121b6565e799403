"""Stochastic gradient ascent on one scale per input (Alfarra et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds_torch.optimizers._base import NoiseOptimizer, NoiseProblem
from rsbounds_torch.optimizers._soft import SoftModel

#: A step changes the logarithm of a scale by no more than this.
_LARGEST_STEP = 0.1
#: What the running average of the answers keeps of itself at each step.
_KEPT = 0.8


@dataclass(frozen=True, eq=False)
class DdrsState:
    """Where each input's ascent is.

    Attributes
    ----------
    factor : (B,) float64
        On the start's parameters.
    shares : (B, K + 1) float64
        Running average of the answers' shares.
    number : int
        Steps done.
    """

    factor: NDArray[np.float64]
    shares: NDArray[np.float64]
    number: int


@dataclass(frozen=True)
class Ddrs(NoiseOptimizer[DdrsState]):
    """Ascends the certified radius in the scale, with gradients through the noise.

    Algorithm 1 of Alfarra et al. (2022), and the same for uniform noise and the l1 radius
    (section 4.4), or for any law that has a scale. Three things differ from the text. The radius
    is the one that the certificate of ``n`` draws is expected to give: the text's has no end
    where all the samples agree, and its usual clamp pulls the scale on without the votes' having
    a say. The answers are averaged over steps before they are judged, because the radius is not
    linear in them. And the step is in units of the start: ``rate`` is the text's step size
    divided by twice the start's sigma, falling to zero over the steps.

    Parameters
    ----------
    draws : int
        Noisy copies per step.
    steps : int
        Steps.
    rate : float
        Step size.
    antithetic : bool
        Copies come in pairs with opposite noise.
    scores : {"softmax", "sparsemax"} or None
        From logits to probabilities; None for a model that returns probabilities.
    temperature : float
        Logits are divided by it first.
    """

    draws: int = 100
    steps: int = 90
    rate: float = 0.02
    antithetic: bool = True
    scores: str | None = "softmax"
    temperature: float = 1.0

    name: ClassVar[str] = "ddrs"
    source: ClassVar[str] = "Alfarra et al. 2022, Algorithm 1 and section 4.4"
    cost: ClassVar[str] = "steps x draws forward and backward passes per input"
    choose: ClassVar[str] = "one sigma per input as the paper finds it; search is cheaper"
    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_settings(self)

    def init(self, problem: NoiseProblem) -> DdrsState:
        model = self._model(problem)
        factor = np.ones(len(problem))
        if self.steps:
            model.check(_tensors(problem, factor))
        shares, _ = model.answers(_tensors(problem, factor), 0)
        return DdrsState(factor, shares, 0)

    def step(self, problem: NoiseProblem, state: DdrsState) -> DdrsState:
        margin, weights = problem.foretold.margin(state.shares, problem.top)
        first = (state.number + 1) * self.draws
        seen, (slope,) = self._model(problem).answers(
            _tensors(problem, state.factor), first, weights
        )
        # The radius is factor x margin, in units of the start's radius for a margin of one.
        slopes = margin + state.factor * slope.cpu().numpy()
        rate = self.rate * (1.0 - state.number / self.steps)
        step = np.clip(rate * slopes / state.factor, -_LARGEST_STEP, _LARGEST_STEP)
        factor = np.minimum(state.factor * np.exp(step), problem.largest_factor())
        return DdrsState(factor, _KEPT * state.shares + (1 - _KEPT) * seen, state.number + 1)

    def done(self, state: DdrsState) -> NDArray[np.bool_]:
        return np.full(len(state.factor), state.number >= self.steps)

    def law(self, problem: NoiseProblem, state: DdrsState) -> Noise:
        return problem.start.scaled(state.factor)

    def _model(self, problem: NoiseProblem) -> SoftModel:
        shape = tuple(problem.x.shape[1:])

        def spread(base: torch.Tensor, rows: range, factor: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                units = [
                    problem.start[row].transform(_shaped(drawn, shape)).reshape(len(drawn), -1)
                    for row, drawn in zip(rows, base, strict=True)
                ]
            return torch.stack(units) * factor[:, None, None]

        return SoftModel(
            problem, spread, self.draws, self.antithetic, self.scores, self.temperature,
            problem.start.base_size(shape),
        )  # fmt: skip


def _shaped(drawn: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return drawn.reshape(-1, *shape) if drawn.shape[1] == np.prod(shape) else drawn


def _tensors(problem: NoiseProblem, factor: NDArray[np.float64]) -> list[torch.Tensor]:
    return [torch.as_tensor(factor, device=problem.x.device)]


def check_settings(given: object) -> None:
    """Raise ValueError for a setting that the optimizers with gradients share and that is bad."""
    settings = vars(given)
    _validate.integer("draws", settings["draws"], low=1)
    _validate.integer("steps", settings["steps"], low=0)
    _validate.positive("rate", settings["rate"])
    _validate.positive("temperature", settings["temperature"])
    if not isinstance(settings["antithetic"], bool):
        raise ValueError(f"antithetic is {settings['antithetic']!r}; allowed: True, False")
    if settings["scores"] is not None:
        _validate.choice("scores", settings["scores"], ("softmax", "sparsemax"))
