"""The Lipschitz radius: any noise, and a constant that the user vouches for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import Scale
from rsbounds.noises._base import Noise
from rsbounds.noises._parameters import parameter
from rsbounds.noises.gaussian import Gaussian
from rsbounds.noises.uniform import Uniform
from rsbounds.streams import Table


@dataclass(frozen=True, eq=False)
class Lipschitz(Noise):
    """Any noise law with the l2 radius R1 = (p_A - p_B) / (sqrt(2) L).

    Valid if the smoothed class probabilities, as a vector in the l2 norm, are Lipschitz in
    the input's l2 norm with constant L (optimal-certified-radius, Proposition 1 and eq. 2:
    two coordinates of the vector move apart by at most sqrt(2) L ||delta||). Whether they are
    is the user's claim: for votes it is about the smoothed votes, for scores the constant of
    the soft classifier serves.

    Parameters
    ----------
    constant : float or (B,) float array_like
        The Lipschitz constant L; one for all inputs, or one for each of B.
    noise : Noise
        The law that the samples are drawn from.

    Raises
    ------
    ValueError
        A constant that is not finite and above 0, ``noise`` that is no law to sample from, or
        the two for different numbers of inputs.

    See Also
    --------
    rsbounds.lipschitz_radius : The formula on its own.
    rsbounds.soft_lipschitz : The constant of a network and a simplex map.

    Examples
    --------
    >>> import rsbounds
    >>> law = rsbounds.Lipschitz(constant=2.0, noise=rsbounds.Gaussian(sigma=0.25))
    >>> bool(0.17677 < law.radius(0.5) < 0.17678)
    True
    """

    constant: float | NDArray[np.float64]
    noise: Noise

    name: ClassVar[str] = "lipschitz"
    scale: ClassVar[Scale] = "linear"
    norm: ClassVar[str] = "l2"
    tight: ClassVar[bool] = False
    unions: ClassVar[bool] = False
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"constant": 2.0, "noise": Gaussian(0.25)},
        {"constant": (2.0, 3.0), "noise": Uniform(np.array([0.5, 2.0]))},
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "constant", parameter("constant", self.constant))
        if not isinstance(self.noise, Noise) or isinstance(self.noise, Lipschitz):
            raise ValueError(f"noise is {self.noise!r}; allowed: a law to sample from")
        if self.noise.batch_shape and np.ndim(self.constant):
            self.noise.check_rows(len(np.atleast_1d(self.constant)))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return np.shape(self.constant) or self.noise.batch_shape

    @property
    def radius_per_margin(self) -> float | NDArray[np.float64]:
        with np.errstate(over="ignore"):
            return 1.0 / (math.sqrt(2.0) * self.constant)

    def roc(self, r: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
        """As in `Noise.roc`: one probability moves by at most L r.

        The radius is larger than this curve alone gives, because two probabilities together
        move apart by at most sqrt(2) L r.
        """
        distance = np.asarray(r, dtype=np.float64) * self.constant
        return np.asarray(np.minimum(np.asarray(b, dtype=np.float64) + distance, 1.0))

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        return self.noise.event_shape

    @property
    def dimension(self) -> int | None:
        return self.noise.dimension

    @property
    def base(self) -> str:
        return self.noise.base

    @property
    def spacing(self) -> float | None:
        return self.noise.spacing

    def table(self) -> Table | None:
        return self.noise.table()

    @property
    def cells(self) -> int | None:
        return self.noise.cells

    def in_floats(self) -> Lipschitz:
        return Lipschitz(self.constant, self.noise.in_floats())

    def on_lattice(self, lattice: Any = "auto") -> Lipschitz:
        if lattice == "auto" and self.batch_shape:
            return self
        return Lipschitz(self.constant, self.noise.on_lattice(lattice))

    def base_size(self, shape: tuple[int, ...]) -> int:
        return self.noise.base_size(shape)

    def multiplier(self, **parameters: Any) -> Any:
        return self.noise.multiplier(**parameters)

    def transform(self, base: Any, **parameters: Any) -> Any:
        return self.noise.transform(base, **parameters)

    def perturb(self, x: Any, base: Any) -> Any:
        return self.noise.perturb(x, base)

    def log_density(self, delta: Any) -> Any:
        return self.noise.log_density(delta)


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

    See Also
    --------
    rsbounds.Lipschitz : The law with this radius, for `certify`.
    rsbounds.margin_lower_bound : Lower bounds on the margin.

    Examples
    --------
    >>> import rsbounds
    >>> bool(0.35355 < rsbounds.lipschitz_radius(0.5, constant=1.0) < 0.35356)
    True
    """
    return Lipschitz(constant, Gaussian(1.0)).radius(margin)
