"""Laplace noise, and its l1 radius."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds.noises._curve import multiples
from rsbounds.noises._lattice import LatticeLaw
from rsbounds.noises._parameters import namespace, one_number, parameter, scale_factor
from rsbounds.streams import LAPLACE_REACH, Table, laplace_table

_EPS = float(np.finfo(np.float64).eps)
#: Radii, in widths, end here: no draws tell shares from 0 and 1 so well.
_LARGEST = 745.0
#: The largest |u| that noise is made of: finite whatever a device's generator returns.
_INSIDE = 1.0 - 2.0**-24


@dataclass(frozen=True, eq=False, repr=False)
class Laplace(LatticeLaw):
    """Noise with density exp(-||delta||_1 / width); l1 radius width/2 (G(p_A) - G(p_c)).

    G is the quantile function of the Laplace distribution: log(2p) up to p = 1/2 and
    -log(2 - 2p) beyond. So it is width/2 log(p_A / p_c) up to p_A = 1/2, and
    -width/2 log(4 (1 - p_A) p_c) beyond (Teng et al. 2020; Yang et al. 2020, Laplace distribution
    against l1); with p_c = 1 - p_A that is -width log(2 - 2 p_A). A shift along one axis has a
    monotone likelihood ratio, so that half-spaces are its worst sets and no larger radius holds.

    A bound on the margin p_A - p_c alone gives the radius of the two shares around 1/2 with that
    margin, -width log(1 - margin), which is less where neither share is near 1/2: methods that
    bound both shares give more (``runner-up``, the default with this law).

    Parameters
    ----------
    width : float or (B,) float array_like
        Scale of each coordinate, the mean of its absolute value, in units of the raw input (its
        standard deviation is sqrt(2) width); one for all inputs, or one for each of B.
    lattice : float or "auto", optional
        As in `rsbounds.Gaussian`.

    Raises
    ------
    ValueError
        A width that is not finite and above 0, or a lattice too coarse (above the width) or too
        fine (more than 65,536 cells within 88 widths) for it.

    See Also
    --------
    rsbounds.Uniform : The same norm; larger radii where p_A is below about 0.9.

    References
    ----------
    .. [1] J. Teng, G.-H. Lee and Y. Yuan, "l1 adversarial robustness certificates: a randomized
       smoothing approach", 2020.
    .. [2] G. Yang et al., "Randomized smoothing of all shapes and sizes", ICML 2020.

    Examples
    --------
    >>> import rsbounds
    >>> law = rsbounds.Laplace(width=0.5)
    >>> print(f"{law.radius_of_pair(0.9, 0.1):.3f} {law.radius_of_pair(0.9, 0.05):.3f}")
    0.805 0.978
    >>> found = rsbounds.certify([900, 80, 20], 0, noise=law)
    >>> print(f"{found.radius[0]:.3f} {found.norm} {found.method}")
    0.695 l1 runner-up
    """

    width: float | NDArray[np.float64]
    lattice: float | Literal["auto"] | None = None  # type: ignore[assignment]

    name: ClassVar[str] = "laplace"
    norm: ClassVar[str] = "l1"
    curve_only: ClassVar[bool] = True
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"width": 0.5},
        {"width": (0.25, 2.0)},
        {"width": 0.5, "lattice": "auto"},
    )
    _size: ClassVar[str] = "width"
    _reach: ClassVar[float] = LAPLACE_REACH
    _coarsest: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", parameter("width", self.width))
        object.__setattr__(self, "lattice", self._check_lattice(self.lattice))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return np.shape(self.width)

    @property
    def base(self) -> str:
        return "uniform"

    def scaled(self, factor: ArrayLike) -> Laplace:
        return Laplace(self.width * scale_factor(factor, self.batch_shape), self.lattice)

    def table(self) -> Table | None:
        if self.spacing is None:
            return None
        return laplace_table(one_number("width", self.width), self.spacing)

    def transform(self, base: Any, *, width: Any = None) -> Any:  # type: ignore[override]
        library = namespace(base)
        size = library.log1p(-abs(base).clip(0.0, _INSIDE))
        return library.sign(base) * size * -(self.width if width is None else width)

    def log_density(self, delta: Any) -> Any:
        return -np.abs(np.asarray(delta)).sum(axis=-1) / self.width

    def roc(self, r: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
        shift = np.minimum(np.asarray(r, dtype=np.float64) / self.width, _LARGEST)
        p = np.asarray(b, dtype=np.float64)
        down = np.exp(-shift)
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = 1.0 - down / (4.0 * p)
            found = np.where(p <= 0.5, middle, 1.0 - down * (1.0 - p))
            return np.asarray(np.where(p <= 0.5 * down, p / down, found))

    def _radius_of_pair(
        self, p_a: NDArray[np.float64], p_b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        high = np.minimum(_quantile(p_a), 2.0 * _LARGEST)
        low = np.maximum(_quantile(p_b), -2.0 * _LARGEST)
        # The logarithms are of exact numbers, and within a few ulp.
        margin = high - low - 16.0 * _EPS * (np.abs(high) + np.abs(low))
        return multiples(np.minimum(0.5 * margin, _LARGEST), self.width)


def _quantile(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """G(p), in widths."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(p <= 0.5, np.log(2.0 * p), -np.log(2.0 * (1.0 - p))))
