"""Axes along the directions that the classifier feels: a full matrix for d numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from rsbounds import _validate
from rsbounds.noises import FullGaussian, Gaussian, LowRankGaussian, Noise
from rsbounds_torch.optimizers._axes import AxesAscent, AxesState
from rsbounds_torch.optimizers._base import NoiseProblem
from rsbounds_torch.optimizers._soft import GapModel, SoftModel, Spread

#: The draws that tell the directions begin here, behind those of any number of steps.
_FIRST_DRAW = 1 << 30
#: How much directions are felt is averaged over this part of them.
_NEIGHBOURS = 50


@dataclass(frozen=True)
class Rotated(AxesAscent):
    """Finds axes as `ancer` does, in the eigenbasis of the mean outer product of gradients.

    With M = E[g g^T] = V diag(w) V^T, g the gradient of the log-probability gap between the two
    leading classes under noise, the noise is V diag(axes) z. V turns with the inputs, so that
    the region does not depend on how the coordinates lie. The axes begin where they fill what room
    the sensitivities diag(w) leave (`rsbounds_torch.optimizers._filling`), and go on as in ANCER,
    with as many numbers and as little variance. It aims at what RDDRS aims at (Labarbarie et al.
    2022) without a noisy d x d gradient. The matrix of the law is V diag(axes) V^T.

    Parameters
    ----------
    gradients : int
        Gradients that tell the directions, one half, and how much they are felt, the other.
    draws, steps, rate, kappa, slack, first, antithetic, scores, temperature
        As in `rsbounds_torch.optimizers.ancer.Ancer`.
    """

    steps: int = 30
    slack: float = 0.01
    gradients: int = 2000

    name: ClassVar[str] = "rotated"
    source: ClassVar[str] = "axes of Eiras et al. 2022 in the eigenbasis of E[g g^T]"
    cost: ClassVar[str] = (
        "as ancer in fewer steps, gradients more passes, one eigenproblem of size d"
    )
    choose: ClassVar[str] = "regions that turn with the inputs, up to a few thousand coordinates"
    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.integer("gradients", self.gradients, low=1)

    def start(self, law: Noise, shape: tuple[int, ...]) -> Noise:
        return full_start(self.name, law, shape)

    def init(self, problem: NoiseProblem) -> AxesState:
        return self._survey(problem, *self._turned(problem))

    def _turned(self, problem: NoiseProblem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Bases (B, d, d), the start's axes in them, and how much each is felt."""
        matrices = start_matrices(problem)
        basis, felt = directions(self, problem, matrices, self.gradients)
        # For a start that is not isotropic: what its matrix has on the diagonal in the basis.
        axes = torch.einsum("bij,bik,bkj->bj", basis, matrices, basis)
        return basis, axes, felt

    def _law(self, problem: NoiseProblem, basis: torch.Tensor | None, axes: torch.Tensor) -> Noise:
        assert basis is not None
        matrix = (basis * axes[:, None]) @ basis.mT
        return full_law(problem, matrix)

    def _model(self, problem: NoiseProblem, basis: torch.Tensor | None) -> SoftModel:
        assert basis is not None
        turned = basis.to(problem.x.dtype).mT

        def spread(base: torch.Tensor, rows: range, axes: torch.Tensor) -> torch.Tensor:
            return (base * axes[:, None]) @ turned[rows.start : rows.stop]

        return self._soft(problem, spread)


def full_start(name: str, law: Noise, shape: tuple[int, ...]) -> Noise:
    """A Gaussian law as one with a full matrix."""
    if isinstance(law, FullGaussian):
        return law
    if isinstance(law, Gaussian):
        sigma = np.asarray(law.sigma, dtype=np.float64)
        return FullGaussian(sigma[:, None, None] * np.eye(int(np.prod(shape))), shape)
    if isinstance(law, LowRankGaussian):
        flat = law.diagonal.reshape(len(law), -1)
        matrix = (law.factors * law.weights[:, None]) @ law.factors.swapaxes(1, 2)
        matrix = 0.5 * (matrix + matrix.swapaxes(1, 2))
        return FullGaussian(matrix + flat[:, None] * np.eye(flat.shape[1]), shape)
    raise ValueError(
        f"noise0 is {law}; allowed with {name}: gaussian, full-gaussian, low-rank-gaussian"
    )


def start_matrices(problem: NoiseProblem) -> torch.Tensor:
    """(B, d, d) float64 matrices of the start."""
    assert isinstance(problem.start, FullGaussian)
    return torch.tensor(problem.start.matrix, device=problem.x.device)


def full_law(problem: NoiseProblem, matrix: torch.Tensor) -> Noise:
    """The law with these matrices, symmetric but for rounding."""
    return FullGaussian((0.5 * (matrix + matrix.mT)).cpu().numpy(), problem.x.shape[1:])


def directions(
    settings: AxesAscent, problem: NoiseProblem, matrices: torch.Tensor, gradients: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, d, d) eigenvectors of the mean of g g^T, and (B, d) mean squares along them.

    The directions felt least come first. How much one is felt is said by half of the gradients
    and its direction by the others: among the directions that few gradients find, those that
    happened to be felt least look as if they were not felt at all.
    """
    start = matrices.to(problem.x.dtype)

    def spread(base: torch.Tensor, rows: range) -> torch.Tensor:
        return base @ start[rows.start : rows.stop]

    found, felt = [], []
    for row in range(len(problem)):
        half = (gradients + 1) // 2
        slopes = _of_size_one(gap_gradients(settings, problem, spread, row, 0, half))
        others = _of_size_one(gap_gradients(settings, problem, spread, row, half, half))
        basis = torch.linalg.eigh(slopes.mT @ slopes)[1]
        found.append(basis)
        felt.append(_levelled((others @ basis).square().mean(dim=0)))
    return torch.stack(found), torch.stack(felt)


def _of_size_one(slopes: torch.Tensor) -> torch.Tensor:
    """Gradients on a scale of their own, which keeps products from over- and underflow."""
    return slopes / slopes.abs().amax().clamp_min(1e-300)


def _levelled(along: torch.Tensor) -> torch.Tensor:
    """(d,) mean squares as a rising curve, the mean over neighbours: those of a few are noise."""
    width = max(1, len(along) // _NEIGHBOURS) | 1
    padded = torch.nn.functional.pad(along[None, None], (width // 2, width // 2), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, width, stride=1)[0, 0]
    return least_felt(smooth)


def least_felt(along: torch.Tensor) -> torch.Tensor:
    """Mean squares, none of them zero."""
    return along.clamp_min(1e-12 * float(along.max()) + 1e-300)


def gap_gradients(
    settings: AxesAscent, problem: NoiseProblem, spread: Spread, row: int, first: int, count: int
) -> torch.Tensor:
    """(count, d) gradients of the gap between the leading classes, at copies of one input.

    ``spread`` makes noise of the start's law from base draws and rows; ``first`` is the number
    of gradients that were taken before.
    """
    model = GapModel(
        problem, spread, count, settings.antithetic, settings.scores, settings.temperature
    )
    rows, at = range(row, row + 1), _FIRST_DRAW + first
    weights = np.zeros((1, problem.model.num_classes + 1))
    weights[0, problem.top[row]] = 1.0
    noisy = problem.x[row].reshape(1, 1, -1) + spread(model.base(rows, at), rows)
    _, found = model.row_answers(noisy, rows, at, weights)
    assert found is not None
    return found[0].double()
