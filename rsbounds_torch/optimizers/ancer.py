"""Anisotropic noise along the coordinates, for the volume of the region (Eiras et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds.noises import DiagonalGaussian, DiagonalUniform, Gaussian, Noise, Uniform
from rsbounds_torch.optimizers._axes import AxesAscent, AxesState
from rsbounds_torch.optimizers._base import NoiseProblem
from rsbounds_torch.optimizers._soft import SoftModel


@dataclass(frozen=True)
class Ancer(AxesAscent):
    """Finds an axis for each coordinate, so that the region's volume is large.

    Maximises the logarithm of the proxy radius, log margin + mean log axis (Eiras et al. 2022,
    section 5, with the d-th root of the product and in logarithms), by Adam. Gaussian noise
    gives ellipsoids, uniform noise cross-polytopes. The best isotropic region stays inside:
    what is kept from below is axis times margin, where the authors' code keeps the axis alone
    and lets the margin fall.

    Parameters
    ----------
    draws : int
        Noisy copies per step.
    steps : int
        Steps.
    rate : float
        Adam's step, in the logarithms of the axes.
    kappa : float
        Weight of the inscribed radius beside the volume's, to begin with; it grows for an input
        as long as its inscribed radius is too small, and falls while there is room.
    slack : float
        Part of the isotropic region's radius that may be given up.
    first : {"search", "ddrs"} or None
        What finds the isotropic region; None takes the start as it is.
    antithetic : bool
        Copies come in pairs with opposite noise.
    scores : {"softmax", "sparsemax"} or None
        From logits to probabilities; None for a model that returns probabilities.
    temperature : float
        Logits are divided by it first.
    """

    name: ClassVar[str] = "ancer"
    source: ClassVar[str] = "Eiras et al. 2022, section 5"
    cost: ClassVar[str] = "steps x draws forward and backward passes per input, after search"
    choose: ClassVar[str] = "a large volume where some coordinates matter less than others"
    needs_gradients: ClassVar[bool] = True

    def start(self, law: Noise, shape: tuple[int, ...]) -> Noise:
        if isinstance(law, (DiagonalGaussian, DiagonalUniform)):
            return law
        if isinstance(law, Gaussian):
            return DiagonalGaussian(_everywhere(law.sigma, shape), batched=True)
        if isinstance(law, Uniform):
            return DiagonalUniform(_everywhere(law.half_width, shape), batched=True)
        raise ValueError(
            f"noise0 is {law}; allowed with ancer: gaussian, uniform, diagonal-gaussian, "
            "diagonal-uniform"
        )

    def init(self, problem: NoiseProblem) -> AxesState:
        law = cast(DiagonalGaussian, problem.start)
        axes = torch.tensor(law.axes.reshape(len(law), -1), device=problem.x.device)
        return self._survey(problem, None, axes)

    def _law(self, problem: NoiseProblem, basis: torch.Tensor | None, axes: torch.Tensor) -> Noise:
        law = cast(DiagonalGaussian, problem.start)
        return type(law)(axes.cpu().numpy().reshape(law.axes.shape), batched=True)

    def _model(self, problem: NoiseProblem, basis: torch.Tensor | None) -> SoftModel:
        return self._soft(problem, lambda base, rows, axes: base * axes[:, None])


def _everywhere(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """(B, ...) one number per input at every coordinate."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, *(1 for _ in shape))
    return np.broadcast_to(column, (len(column), *shape))
