"""Riemannian ascent on a full matrix per input (Labarbarie et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds_torch.optimizers import _spd
from rsbounds_torch.optimizers._axes import SURVEY
from rsbounds_torch.optimizers._base import OPTIMIZERS, NoiseOptimizer, NoiseProblem
from rsbounds_torch.optimizers._soft import SoftModel
from rsbounds_torch.optimizers.ddrs import check_settings
from rsbounds_torch.optimizers.rotated import full_law, full_start, start_matrices

#: What the running averages of the answers and of the gradient keep of themselves at each step.
_KEPT, _KEPT_SLOPE = 0.9, 0.8
#: Largest weight of the margin, and how fast it follows the inscribed radius.
_HEAVIEST, _FOLLOW = 1e3, 5.0
#: Parts of the geodesic from the start to the end that are judged.
_WAY = (1.0, 0.5)


@dataclass(frozen=True, eq=False)
class RddrsState:
    """Where each input's ascent is.

    Attributes
    ----------
    matrix : (B, d, d) float64 tensor
        C, symmetric positive definite.
    at : Eigen
        The decomposition of C.
    slope : (B, d, d) float64 tensor
        Running average of the Euclidean gradient of the margin.
    shares : (B, K + 1) float64
        Running average of the answers' shares.
    floor : (B,) float64
        Smallest eigenvalue of the start.
    needed : (B,) float64
        Smallest eigenvalue times margin that is to be kept.
    weight : (B,) float64
        Weight of the logarithm of the margin.
    number : int
        Steps done.
    """

    matrix: torch.Tensor
    at: _spd.Eigen
    slope: torch.Tensor
    shares: NDArray[np.float64]
    floor: NDArray[np.float64]
    needed: NDArray[np.float64]
    weight: NDArray[np.float64]
    number: int


@dataclass(frozen=True)
class Rddrs(NoiseOptimizer[RddrsState]):
    """Ascends the log proxy radius along the manifold of positive definite matrices.

    Objective (5) of Labarbarie et al. (2022) in logarithms, log margin + mean log eigenvalue,
    with the d-th root of the product, noise C z, and kappa as the weight of the inscribed
    radius; steps by the exponential map (6). Both classes' gradients come from one backward
    pass, are averaged over steps, and no step changes C by more than ``longest`` in the
    manifold's own length along any direction: eigenvalues neither vanish nor run away.

    Parameters
    ----------
    draws, steps : int
        Noisy copies per step, and steps.
    rate : float
        Growth per step, in the logarithm, of a direction that the margin does not feel.
    longest : float
        Largest change of the logarithm of C in any direction and step.
    kappa : float
        Weight of the inscribed radius to begin with, as in `rsbounds_torch.optimizers.ancer`.
    slack : float
        Part of the isotropic region's radius that may be given up.
    metric : {"affine-invariant", "log-euclidean"}
        Geometry of the step.
    first : {"low-rank", "rotated", "search", "ddrs"} or None
        What finds the start; None takes it as it is. After "low-rank", whose complement has the
        coordinates' axes, the region is largest; the others know nothing of coordinates.
    antithetic, scores, temperature
        As in `rsbounds_torch.optimizers.ancer.Ancer`.
    """

    judge_draws: ClassVar[int] = 2000

    draws: int = 400
    steps: int = 20
    rate: float = 0.05
    longest: float = 0.1
    kappa: float = 2.0
    slack: float = 0.02
    metric: str = "affine-invariant"
    first: str | None = "low-rank"
    antithetic: bool = True
    scores: str | None = "softmax"
    temperature: float = 1.0

    name: ClassVar[str] = "rddrs"
    source: ClassVar[str] = "Labarbarie et al. 2022, eq. 5 and 6"
    cost: ClassVar[str] = (
        "low-rank, then steps x draws passes and 2 x steps eigenproblems of size d"
    )
    choose: ClassVar[str] = "a full matrix where the directions themselves are to be improved"
    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_settings(self)
        _validate.positive("longest", self.longest)
        _validate.non_negative("kappa", self.kappa)
        _validate.number("slack", self.slack, "0 <= slack < 1", lambda v: 0 <= v < 1)
        _validate.choice("metric", self.metric, _spd.METRICS)
        if self.first is not None:
            _validate.choice("first", self.first, ("low-rank", "rotated", "search", "ddrs"))

    def before(self) -> NoiseOptimizer[object] | None:
        return None if self.first is None else OPTIMIZERS[self.first]()

    def start(self, law: Noise, shape: tuple[int, ...]) -> Noise:
        return full_start(self.name, law, shape)

    def init(self, problem: NoiseProblem) -> RddrsState:
        matrix = start_matrices(problem)
        model = self._model(problem)
        if self.steps:
            model.check([matrix])
        shares, _ = replace(model, draws=SURVEY * self.draws).answers([matrix], 0)
        margin, _ = problem.foretold.margin(shares, problem.top)
        at = _spd.eigen(matrix)
        floor = at.values[:, 0].cpu().numpy()
        needed = floor * np.maximum(margin, 1e-12) * (1.0 - self.slack)
        weight = np.full(len(problem), 1.0 + self.kappa)
        return RddrsState(matrix, at, torch.zeros_like(matrix), shares, floor, needed, weight, 0)

    def step(self, problem: NoiseProblem, state: RddrsState) -> RddrsState:
        foretold = problem.foretold
        _, weights = foretold.margin(state.shares, problem.top)
        number = state.number + 1
        first = (state.number + SURVEY) * self.draws
        seen, (found,) = self._model(problem).answers([state.matrix], first, weights)
        shares = _KEPT * state.shares + (1.0 - _KEPT) * seen
        margin, _ = foretold.margin(shares, problem.top)
        slope = _KEPT_SLOPE * state.slope + (1.0 - _KEPT_SLOPE) * 0.5 * (found + found.mT)
        pull = slope / (1.0 - _KEPT_SLOPE**number)
        pull = pull * _cube(problem, state.weight * foretold.log_slope(margin))
        at = state.at
        d = at.values.shape[1]
        step = _spd.ascent_direction(at, pull, self.metric)
        # The gradient of the mean log eigenvalue is the identity over d, in either metric.
        step = self.rate * (d * step + torch.eye(d, dtype=step.dtype, device=step.device))
        new = _spd.eigen(_spd.moved(at, step, self.longest, self.metric))
        lowest = np.minimum(state.floor, state.needed / np.maximum(margin, 1e-12))
        reach = problem.foretold.largest * np.asarray(problem.start.radius_per_margin)
        highest = max(min(problem.diameter, 1e70) / max(float(reach), 1e-70), 0.0)
        top = torch.maximum(at.values[:, -1:], torch.full_like(at.values[:, :1], highest))
        values = torch.minimum(new.values, top)
        values = torch.maximum(values, _cube(problem, lowest)[:, 0])
        missing = np.log(state.needed / np.maximum(margin, 1e-12))
        missing = missing - np.log(values[:, 0].cpu().numpy())
        grown = state.weight * np.exp(np.clip(_FOLLOW * missing, -0.05, 0.5))
        matrix = _spd.composed(values, new.vectors)
        # What is not a number is not taken: the input stays where it is.
        whole = torch.isfinite(matrix).all(dim=2).all(dim=1)[:, None, None]
        matrix, slope, vectors = (
            torch.where(whole, now, old)
            for now, old in (
                (matrix, state.matrix), (slope, state.slope), (new.vectors, at.vectors)
            )
        )  # fmt: skip
        reached = _spd.Eigen(torch.where(whole[:, 0], values, at.values), vectors)
        weight = np.clip(grown, 1.0, _HEAVIEST)
        return RddrsState(matrix, reached, slope, shares, state.floor, state.needed, weight, number)

    def done(self, state: RddrsState) -> NDArray[np.bool_]:
        return np.full(len(state.matrix), state.number >= self.steps)

    def law(self, problem: NoiseProblem, state: RddrsState) -> Noise:
        return full_law(problem, state.matrix)

    def candidates(self, problem: NoiseProblem, state: RddrsState) -> list[Noise]:
        start = start_matrices(problem)
        return [full_law(problem, _spd.between(start, state.matrix, part)) for part in _WAY]

    def _model(self, problem: NoiseProblem) -> SoftModel:
        def spread(base: torch.Tensor, rows: range, matrix: torch.Tensor) -> torch.Tensor:
            return base @ matrix

        return SoftModel(
            problem, spread, self.draws, self.antithetic, self.scores, self.temperature
        )


def _cube(problem: NoiseProblem, values: NDArray[np.float64]) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=problem.x.device)[:, None, None]
