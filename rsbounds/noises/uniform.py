"""Uniform noise on a cube, and its l1 radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import Scale
from rsbounds.noises._lattice import LatticeLaw
from rsbounds.noises._parameters import one_number, parameter, scale_factor
from rsbounds.streams import Table, uniform_table


@dataclass(frozen=True, eq=False, repr=False)
class Uniform(LatticeLaw):
    """Noise uniform on [-half_width, half_width]^d; l1 radius half_width (p_A - p_B).

    Two such cubes a shift delta apart differ in total variation by at most
    ||delta||_1 / (2 half_width), so p_A falls and p_c rises by at most that (Yang et al. 2020,
    "Randomized smoothing of all shapes and sizes", uniform distribution against l1).

    Parameters
    ----------
    half_width : float or (B,) float array_like
        Half of the cube's side, in units of the raw input (its standard deviation is
        half_width / sqrt(3)); one for all inputs, or one for each of B.
    lattice : float or "auto", optional
        As in `rsbounds.Gaussian`; the half width need be no multiple of it.

    Raises
    ------
    ValueError
        A half width that is not finite and above 0, or a lattice too coarse (above the half
        width) or too fine (more than 65,536 cells) for it.

    See Also
    --------
    rsbounds.Gaussian : The l2 norm.
    rsbounds.noises.DiagonalUniform : A width for each coordinate.

    References
    ----------
    .. [1] G. Yang et al., "Randomized smoothing of all shapes and sizes", ICML 2020.

    Examples
    --------
    >>> import rsbounds
    >>> print(f"{rsbounds.Uniform(half_width=0.5).radius(0.8):.2f}")
    0.40
    """

    half_width: float | NDArray[np.float64]
    lattice: float | Literal["auto"] | None = None  # type: ignore[assignment]

    name: ClassVar[str] = "uniform"
    scale: ClassVar[Scale] = "linear"
    norm: ClassVar[str] = "l1"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"half_width": 0.5},
        {"half_width": (0.5, 2.0)},
        {"half_width": 0.5, "lattice": 1 / 512},
    )
    _size: ClassVar[str] = "half_width"
    _reach: ClassVar[float] = 1.0
    _coarsest: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "half_width", parameter("half_width", self.half_width))
        object.__setattr__(self, "lattice", self._check_lattice(self.lattice))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return np.shape(self.half_width)

    @property
    def base(self) -> str:
        return "uniform"

    @property
    def radius_per_margin(self) -> float | NDArray[np.float64]:
        return self.half_width

    def scaled(self, factor: ArrayLike) -> Uniform:
        return Uniform(self.half_width * scale_factor(factor, self.batch_shape), self.lattice)

    def table(self) -> Table | None:
        if self.spacing is None:
            return None
        return uniform_table(one_number("half_width", self.half_width), self.spacing)

    def multiplier(self, *, half_width: Any = None) -> Any:  # type: ignore[override]
        return self.half_width if half_width is None else half_width

    def log_density(self, delta: Any) -> Any:
        inside = (np.abs(np.asarray(delta)) <= self.half_width).all(axis=-1)
        return np.where(inside, 0.0, -np.inf)
