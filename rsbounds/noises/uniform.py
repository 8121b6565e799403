"""Uniform noise on a cube, and its l1 radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.noises._base import Noise


@dataclass(frozen=True)
class Uniform(Noise):
    """Noise uniform on [-half_width, half_width]^d; l1 radius half_width (p_A - p_B).

    Two such cubes a shift delta apart differ in total variation by at most
    ||delta||_1 / (2 half_width), so p_A falls and p_c rises by at most that (Yang et al. 2020,
    "Randomized smoothing of all shapes and sizes", uniform distribution against l1).

    Parameters
    ----------
    half_width : float
        Half of the cube's side, in units of the raw input (its standard deviation is
        half_width / sqrt(3)).

    Examples
    --------
    >>> import rsbounds
    >>> print(f"{rsbounds.Uniform(half_width=0.5).radius(0.8):.2f}")
    0.40
    """

    half_width: float

    name: ClassVar[str] = "uniform"
    scale: ClassVar[Scale] = "linear"
    norm: ClassVar[str] = "l1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "half_width", _validate.positive("half_width", self.half_width))

    @property
    def radius_per_margin(self) -> float:
        return self.half_width

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        noise = rng.random(shape, dtype=dtype)
        noise -= noise.dtype.type(0.5)
        noise *= noise.dtype.type(2 * self.half_width)
        return noise

    def __str__(self) -> str:
        return f"uniform(half_width={self.half_width:g})"
