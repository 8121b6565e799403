"""Gaussian noise, and the l2 radius of Cohen et al., or what it says in other norms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Scale
from rsbounds.noises._lattice import LatticeLaw
from rsbounds.noises._parameters import one_number, parameter, scale_factor
from rsbounds.streams import GAUSSIAN_REACH, Table, gaussian_table


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(LatticeLaw):
    """Noise N(0, sigma^2 I); l2 radius sigma/2 (Phi^-1(p_A) - Phi^-1(p_B)).

    The smoothed classifier's answer does not change within that radius (Cohen et al. 2019,
    Theorem 1), and no larger radius holds for every classifier. In d dimensions the largest l_inf
    ball in an l2 ball of radius r has the radius r / sqrt(d), and the largest l1 ball r: those are
    the radii in these norms, and no larger ones hold either. The norm belongs to the law, for a
    store, a file and a region are about one norm each: no radius is read in another than its own.

    Parameters
    ----------
    sigma : float or (B,) float array_like
        Standard deviation of each coordinate, in units of the raw input; one for all inputs, or
        one for each of B.
    lattice : float or "auto", optional
        Draw the noise on a lattice of that spacing, exactly (see `rsbounds.noises`): a certificate
        then holds in floating point, for any model. "auto" is 1/(255 2^j), on which 8-bit pictures
        are, as fine as is fast (a power of two where sigma is too large for pixels from 0 to 1).
        None draws floats: a certificate is then proven in real arithmetic.
    norm : {"l2", "linf", "l1"}
        Norm of radii and regions. The draws are the same, and so counts serve every norm.
    dimension : int, optional
        How many numbers an input has, which ``norm="linf"`` needs; inputs of another size are
        refused where noise is drawn.

    Raises
    ------
    ValueError
        A sigma that is not finite and above 0, a lattice too coarse (above sigma/2) or too
        fine (more than 65,536 cells within 13 sigma) for it, or ``linf`` without a dimension.

    See Also
    --------
    rsbounds.Uniform : The l1 norm.
    rsbounds.noises.DiagonalGaussian : A sigma for each coordinate.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.

    Examples
    --------
    >>> import rsbounds
    >>> print(f"{rsbounds.Gaussian(sigma=0.25).radius(2.0):.3f}")
    0.250
    >>> law = rsbounds.Gaussian(sigma=[0.25, 0.5])
    >>> len(law), law[1]
    (2, Gaussian(sigma=0.5))
    >>> print(rsbounds.Gaussian(sigma=0.25, lattice="auto"))
    gaussian(sigma=0.25, lattice=1/2040)
    >>> law = rsbounds.Gaussian(sigma=0.25, norm="linf", dimension=784)
    >>> print(f"{law.radius(2.0):.5f} {law}")
    0.00893 gaussian(sigma=0.25, norm=linf, dimension=784)
    """

    sigma: float | NDArray[np.float64]
    lattice: float | Literal["auto"] | None = None  # type: ignore[assignment]
    # Unsaid in texts and plain values where it is l2, the norm of all stores before there was it.
    norm: Literal["l2", "linf", "l1"] = dataclasses.field(  # type: ignore[misc]
        default="l2", metadata={"unsaid": True}
    )
    dimension: int | None = None

    name: ClassVar[str] = "gaussian"
    scale: ClassVar[Scale] = "probit"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"sigma": 0.25},
        {"sigma": (0.25, 1.0, 3.0)},
        {"sigma": 0.25, "lattice": "auto"},
        {"sigma": 0.25, "norm": "linf", "dimension": 3},
        {"sigma": (0.25, 1.0), "norm": "l1"},
    )
    _size: ClassVar[str] = "sigma"
    _reach: ClassVar[float] = GAUSSIAN_REACH
    _coarsest: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", parameter("sigma", self.sigma))
        object.__setattr__(self, "lattice", self._check_lattice(self.lattice))
        _validate.choice("norm", self.norm, ("l2", "linf", "l1"))
        if self.norm == "linf" and self.dimension is None:
            raise ValueError(
                "dimension is not given, and norm is 'linf'; allowed: how many numbers an input has"
            )
        if self.dimension is not None:
            if self.norm != "linf":
                raise ValueError(
                    f"dimension is {self.dimension!r}, and norm is {self.norm!r}; allowed: with "
                    "norm='linf'"
                )
            whole = _validate.integer("dimension", self.dimension, low=1)
            object.__setattr__(self, "dimension", whole)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return np.shape(self.sigma)

    @property
    def radius_per_margin(self) -> float | NDArray[np.float64]:
        return self.sigma / 2 / math.sqrt(self.dimension or 1)

    def scaled(self, factor: ArrayLike) -> Gaussian:
        sigma = self.sigma * scale_factor(factor, self.batch_shape)
        return dataclasses.replace(self, sigma=sigma)

    def table(self) -> Table | None:
        if self.spacing is None:
            return None
        return gaussian_table(one_number("sigma", self.sigma), self.spacing)

    def multiplier(self, *, sigma: Any = None) -> Any:  # type: ignore[override]
        return self.sigma if sigma is None else sigma

    def log_density(self, delta: Any) -> Any:
        return -0.5 * np.sum((np.asarray(delta) / self.sigma) ** 2, axis=-1)
