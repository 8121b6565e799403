"""The Lipschitz radius: any noise, and a constant that the user vouches for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.noises._base import Noise


@dataclass(frozen=True)
class Lipschitz(Noise):
    """Any noise law with the l2 radius R1 = (p_A - p_B) / (sqrt(2) L).

    Valid if the smoothed class probabilities, as a vector in the l2 norm, are Lipschitz in
    the input's l2 norm with constant L (optimal-certified-radius, Proposition 1 and eq. 2:
    two coordinates of the vector move apart by at most sqrt(2) L ||delta||). Whether they are
    is the user's claim: for votes it is about the smoothed votes, for scores the constant of
    the soft classifier serves.

    Parameters
    ----------
    constant : float
        The Lipschitz constant L.
    noise : Noise
        The law that the samples are drawn from.

    Examples
    --------
    >>> import rsbounds
    >>> law = rsbounds.Lipschitz(constant=2.0, noise=rsbounds.Gaussian(sigma=0.25))
    >>> bool(0.17677 < law.radius(0.5) < 0.17678)
    True
    """

    constant: float
    noise: Noise

    name: ClassVar[str] = "lipschitz"
    scale: ClassVar[Scale] = "linear"
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        object.__setattr__(self, "constant", _validate.positive("constant", self.constant))
        if not isinstance(self.noise, Noise) or isinstance(self.noise, Lipschitz):
            raise ValueError(f"noise is {self.noise!r}; allowed: a law to sample from")

    @property
    def radius_per_margin(self) -> float:
        # In this order no product of the constant is rounded where floats have no digits left.
        most = float(np.finfo(np.float64).max)
        return math.sqrt(0.5) / self.constant if self.constant > 1.0 / most else most

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        return self.noise.sample(rng, shape, dtype)

    def __str__(self) -> str:
        return f"lipschitz(constant={self.constant:g}, noise={self.noise})"


def lipschitz_radius(margin: ArrayLike, constant: float) -> NDArray[np.float64]:
    """R1 = margin / (sqrt(2) L) for lower bounds on the linear margin, rounded down.

    Parameters
    ----------
    margin : (B,) float array_like
        Lower bounds on p_A - p_c for every other class c.
    constant : float
        Lipschitz constant L of the smoothed class probabilities, l2 to l2.

    Returns
    -------
    (B,) ndarray
        Radii; 0 where the margin is not above 0. Valid wherever the margin bound is
        (optimal-certified-radius, Proposition 1).

    Raises
    ------
    ValueError
        The constant is not above 0, or a margin is NaN.

    Examples
    --------
    >>> import rsbounds
    >>> bool(0.35355 < rsbounds.lipschitz_radius(0.5, constant=1.0) < 0.35356)
    True
    """
    from rsbounds.noises.gaussian import Gaussian

    return Lipschitz(constant, Gaussian(1.0)).radius(margin)
