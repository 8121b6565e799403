"""One axis per direction: what ANCER and its rotated form share."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds_torch.optimizers._base import OPTIMIZERS, NoiseOptimizer, NoiseProblem
from rsbounds_torch.optimizers._filling import filled
from rsbounds_torch.optimizers._soft import SoftModel, Spread
from rsbounds_torch.optimizers.ddrs import check_settings

#: Decay of Adam's averages of the gradient and of its square, and what keeps 0/0 from it.
_ADAM = (0.9, 0.99)
_TINY = 1e-12
#: What the running average of the answers keeps of itself at each step.
_KEPT = 0.95
#: Times as many draws as a step has tell what the start's answers are.
SURVEY = 20
#: Shares of the variance that are tried for a beginning, each with times a step's draws.
_BUDGETS, _TRIED = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8), 5
#: No axis begins further from the largest of the start than this.
_FURTHEST = 20.0
#: Largest weight of the margin, and how fast it follows the inscribed radius.
_HEAVIEST, _FOLLOW = 1e3, 5.0
#: Parts of the way from the start to the end, in the logarithms of the axes, that are judged.
_WAY = (1.0, 0.65, 0.3)


@dataclass(frozen=True, eq=False)
class AxesState:
    """Where each input's ascent is.

    Attributes
    ----------
    basis : (B, d, r) tensor or None
        Directions of the axes; None for the coordinates.
    log_axes : (B, r) float64 tensor
        Logarithms of the axes, and those of the start.
    log_start : (B, r) float64 tensor
        Those of the start.
    slope, square : (B, r) float64 tensors
        Adam's averages.
    shares : (B, K + 1) float64
        Running average of the answers' shares.
    needed : (B,) float64
        Logarithm of axis times margin that the smallest axis is to keep.
    weight : (B,) float64
        Weight of the logarithm of the margin.
    number : int
        Steps done.
    """

    basis: torch.Tensor | None
    log_axes: torch.Tensor
    log_start: torch.Tensor
    slope: torch.Tensor
    square: torch.Tensor
    shares: NDArray[np.float64]
    needed: NDArray[np.float64]
    weight: NDArray[np.float64]
    number: int


@dataclass(frozen=True)
class AxesAscent(NoiseOptimizer[AxesState]):
    """Adam on the logarithms of axes; see `rsbounds_torch.optimizers.ancer.Ancer`."""

    judge_draws: ClassVar[int] = 2000

    draws: int = 100
    steps: int = 100
    rate: float = 0.08
    kappa: float = 2.0
    slack: float = 0.02
    first: str | None = "search"
    antithetic: bool = True
    scores: str | None = "softmax"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_settings(self)
        _validate.non_negative("kappa", self.kappa)
        _validate.number("slack", self.slack, "0 <= slack < 1", lambda v: 0 <= v < 1)
        if self.first is not None:
            _validate.choice("first", self.first, ("search", "ddrs"))

    def before(self) -> NoiseOptimizer[object] | None:
        return None if self.first is None else OPTIMIZERS[self.first]()

    def _survey(
        self,
        problem: NoiseProblem,
        basis: torch.Tensor | None,
        axes: torch.Tensor,
        felt: torch.Tensor | None = None,
    ) -> AxesState:
        """The state at the start, with what its answers are.

        With (B, r) ``felt``, how much what each axis stretches is felt, the axes begin where they
        fill what room that leaves; see `rsbounds_torch.optimizers._filling`.
        """
        log_axes = torch.log(axes)
        model = self._model(problem, basis)
        if self.steps:
            model.check([axes])
        many = replace(model, draws=SURVEY * self.draws)
        shares, _ = many.answers([axes], 0)
        margin, _ = problem.foretold.margin(shares, problem.top)
        smallest = log_axes.amin(dim=1).cpu().numpy()
        needed = smallest + np.log(np.maximum(margin, 1e-12)) + np.log1p(-self.slack)
        nothing = torch.zeros_like(log_axes)
        begin = log_axes
        if felt is not None and self.steps:
            begin, shares = self._begin(problem, basis, axes, felt, margin, shares)
        return AxesState(
            basis, begin, log_axes, nothing, nothing, shares, needed,
            np.full(len(problem), 1.0 + self.kappa), 0,
        )  # fmt: skip

    def _begin(
        self, problem: NoiseProblem, basis: torch.Tensor | None, axes: torch.Tensor,
        felt: torch.Tensor, margin: NDArray[np.float64], shares: NDArray[np.float64],
    ) -> tuple[torch.Tensor, NDArray[np.float64]]:  # fmt: skip
        """Logarithms of the axes to begin with, and the answers' shares there."""
        given, w = axes.detach().cpu().numpy(), felt.cpu().numpy()
        best, worth, seen = given, np.zeros(len(given)), shares
        volume = self._volume_slope(basis, axes)
        part = np.broadcast_to(torch.as_tensor(volume).cpu().numpy(), given.shape)
        highest = np.minimum(self._largest(problem), _FURTHEST * given.max(axis=1))
        trial = replace(self._model(problem, basis), draws=_TRIED * self.draws)
        for budget in _BUDGETS:
            tried = filled(given, w, part, budget, highest)
            answers, _ = trial.answers([torch.as_tensor(tried, device=axes.device)], 0)
            kept = problem.foretold.margin(answers, problem.top)[0] / np.maximum(margin, 1e-12)
            gain = (part * np.log(tried / given)).sum(axis=1) + np.log(np.maximum(kept, 1e-12))
            better = (kept >= 1.0 - self.slack) & (gain > worth)
            best, worth = np.where(better[:, None], tried, best), np.where(better, gain, worth)
            seen = np.where(better[:, None], answers, seen)
        return torch.log(torch.as_tensor(best, device=axes.device)), seen

    def step(self, problem: NoiseProblem, state: AxesState) -> AxesState:
        foretold = problem.foretold
        _, weights = foretold.margin(state.shares, problem.top)
        axes = torch.exp(state.log_axes)
        model = self._model(problem, state.basis)
        seen, (slope,) = model.answers([axes], (state.number + SURVEY) * self.draws, weights)
        shares = _KEPT * state.shares + (1.0 - _KEPT) * seen
        margin, _ = foretold.margin(shares, problem.top)
        pull = slope * axes * self._column(problem, state.weight * foretold.log_slope(margin))
        pull = pull + self._volume_slope(state.basis, axes)
        number = state.number + 1
        kept, kept_square = _ADAM
        mean = kept * state.slope + (1.0 - kept) * pull
        square = kept_square * state.square + (1.0 - kept_square) * pull**2
        unbiased = mean / (1.0 - kept**number)
        size = torch.sqrt(square / (1.0 - kept_square**number)) + _TINY
        rate = self.rate * (1.0 - state.number / self.steps)
        moved = state.log_axes + rate * unbiased / size
        # The isotropic region stays inside where every axis times the margin is large enough;
        # an axis that is as large as the start's smallest is never asked to grow.
        with np.errstate(divide="ignore"):
            size_log = np.log(np.maximum(margin, 1e-12))
        lowest = np.minimum(state.log_start.amin(dim=1).cpu().numpy(), state.needed - size_log)
        highest = torch.log(self._column(problem, self._largest(problem)))
        moved = torch.minimum(moved, torch.maximum(highest, state.log_start))
        moved = torch.maximum(moved, self._column(problem, lowest))
        missing = state.needed - size_log - moved.amin(dim=1).cpu().numpy()
        grown = state.weight * np.exp(np.clip(_FOLLOW * missing, -0.05, 0.5))
        weight = np.clip(grown, 1.0, _HEAVIEST)
        return AxesState(
            state.basis, moved, state.log_start, mean, square, shares, state.needed, weight, number
        )

    def done(self, state: AxesState) -> NDArray[np.bool_]:
        return np.full(len(state.log_axes), state.number >= self.steps)

    def law(self, problem: NoiseProblem, state: AxesState) -> Noise:
        return self._law(problem, state.basis, torch.exp(state.log_axes))

    def candidates(self, problem: NoiseProblem, state: AxesState) -> list[Noise]:
        change = state.log_axes - state.log_start
        return [
            self._law(problem, state.basis, torch.exp(state.log_start + part * change))
            for part in _WAY
        ]

    # -- what differs between the forms ----------------------------------------------------

    @abc.abstractmethod
    def _law(self, problem: NoiseProblem, basis: torch.Tensor | None, axes: torch.Tensor) -> Noise:
        """The law with these axes, (B, r)."""

    @abc.abstractmethod
    def _model(self, problem: NoiseProblem, basis: torch.Tensor | None) -> SoftModel:
        """Answers under noise with axes in a basis."""

    def _volume_slope(self, basis: torch.Tensor | None, axes: torch.Tensor) -> torch.Tensor | float:
        """Derivatives of the log proxy radius of the law at radius 1 in the log axes, (B, r)."""
        return 1.0 / axes.shape[1]

    def _soft(self, problem: NoiseProblem, spread: Spread, numbers: int | None = None) -> SoftModel:
        return SoftModel(
            problem, spread, self.draws, self.antithetic, self.scores, self.temperature, numbers
        )

    # -- helpers ----------------------------------------------------------------------------

    @staticmethod
    def _column(problem: NoiseProblem, values: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=problem.x.device)[:, None]

    @staticmethod
    def _largest(problem: NoiseProblem) -> NDArray[np.float64]:
        """(B,) axis at which a certificate of n votes of n has the diameter as a semi-axis."""
        reach = problem.foretold.largest * np.asarray(problem.start.radius_per_margin)
        longest = min(problem.diameter, 1e140) / np.maximum(reach, 1e-140)
        return np.full(len(problem), longest)
