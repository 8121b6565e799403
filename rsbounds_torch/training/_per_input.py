"""Noise of its own for each input that is trained on (Alfarra et al. 2022, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds.noises import Noise
from rsbounds_torch._ranks import gather
from rsbounds_torch._sampler import NoisyModel
from rsbounds_torch.optimizers import OPTIMIZERS, NoiseOptimizer
from rsbounds_torch.optimizers._ascent import ascend, chosen_optimizer, noise_problem
from rsbounds_torch.training._seeds import derived

#: The certificate whose radius is to grow.
_N, _ALPHA = 100_000, 0.001
#: A factor on the law that was given, or one over it, above which no input's goes.
WIDEST = 4.0
#: Settings for training, where the optimizer has them: the paper takes one step on one to eight
#: draws before each step of the training, and the next epoch goes on from there. A search that
#: tries one scale would only ever try a larger one.
_STEP = {"steps": 1, "draws": 4}
_USUAL = {"search": {"steps": 4, "draws": 16, "refine": 1}}
#: Draws that tell the class whose region is to grow, where the optimizer does not say.
_DRAWS = 4


class InputNoise:
    """A factor on one law for each input, grown by an optimizer a little in every epoch.

    Attributes
    ----------
    factor : (N,) float64
        By index of the data; 1 at first.
    """

    def __init__(self, law: Noise, method: NoiseOptimizer[Any], size: int, seed: int) -> None:
        self.law, self.method, self._seed = law, method, seed
        self.factor: NDArray[np.float64] = np.ones(size)

    def update(
        self, model: NoisyModel, x: torch.Tensor, rows: NDArray[np.int64], epoch: int
    ) -> Noise:
        """The law of each input of a batch, one ascent later; ``rows`` are their indices."""
        start = self.law.scaled(self.factor[rows])
        problem = noise_problem(
            model, x, start, n=_N, alpha=_ALPHA, seed=derived(self._seed, "smoothing", epoch),
            streams=rows.tolist(), draws=getattr(self.method, "draws", _DRAWS),
        )  # fmt: skip
        found = self.method.law(problem, ascend(self.method, problem, progress=False))
        ones = np.ones(len(rows))
        grown = found.region(ones).proxy_radius() / start.region(ones).proxy_radius()
        self.factor[rows] = np.clip(self.factor[rows] * grown, 1.0 / WIDEST, WIDEST)
        return self.law.scaled(self.factor[rows])

    def share(self, mine: NDArray[np.int64]) -> None:
        """Give the ranks each other's factors; ``mine`` are the inputs of this one."""
        for rows, values in gather((mine, self.factor[mine])):
            self.factor[rows] = values


def input_noise(
    smoothing: str | NoiseOptimizer[Any] | None,
    options: Mapping[str, Any] | None,
    law: Noise,
    shape: tuple[int, ...],
    size: int,
    seed: int,
) -> InputNoise | None:
    """What finds the noise of each input, where something does.

    Raises
    ------
    ValueError
        No such method, settings that it does not have, or one that finds more than one scale.
    """
    if smoothing is None:
        if options:
            raise ValueError(f"smoothing_options is {options!r} without smoothing; allowed: both")
        return None
    if isinstance(smoothing, NoiseOptimizer):
        method = chosen_optimizer(smoothing, options or {})
    else:
        if smoothing not in OPTIMIZERS:
            raise ValueError(f"smoothing is {smoothing!r}; allowed: {', '.join(OPTIMIZERS)}")
        fields = getattr(OPTIMIZERS[smoothing], "__dataclass_fields__", {})
        wanted = _USUAL.get(smoothing, _STEP)
        usual = {key: value for key, value in wanted.items() if key in fields}
        method = chosen_optimizer(smoothing, {**usual, **(options or {})})
    each = law.scaled(np.ones(1))
    if method.before() is not None or method.start(each, shape) != each:
        raise ValueError(
            f"smoothing is {method.name!r}, which finds more than one number for an input; "
            "allowed: ddrs, search, or another that scales the law"
        )
    return InputNoise(law, method, size, seed)
