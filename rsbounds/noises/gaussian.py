"""Gaussian noise, and the l2 radius of Cohen et al."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.noises._base import Noise


@dataclass(frozen=True)
class Gaussian(Noise):
    """Noise N(0, sigma^2 I); l2 radius sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)).

    The smoothed classifier's answer does not change within that radius (Cohen et al. 2019,
    Theorem 1), and no larger radius holds for every classifier.

    Parameters
    ----------
    sigma : float
        Standard deviation of each coordinate, in units of the raw input.

    Examples
    --------
    >>> import rsbounds
    >>> print(f"{rsbounds.Gaussian(sigma=0.25).radius(2.0):.3f}")
    0.250
    """

    sigma: float

    name: ClassVar[str] = "gaussian"
    scale: ClassVar[Scale] = "probit"
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", _validate.positive("sigma", self.sigma))

    @property
    def radius_per_margin(self) -> float:
        return self.sigma / 2

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        noise = rng.standard_normal(shape, dtype=dtype)
        noise *= noise.dtype.type(self.sigma)
        return noise

    def __str__(self) -> str:
        return f"gaussian(sigma={self.sigma:g})"
