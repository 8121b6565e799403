"""Gaussian and uniform noise with an axis of its own for each coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import MarginBound, Scale
from rsbounds.noises._base import Noise
from rsbounds.noises._parameters import positive_array, scale_factor
from rsbounds.regions import CrossPolytope, Ellipsoid, Region

#: Numbers of the input's shape: too many to be spelled on a command line.
Axes: TypeAlias = NDArray[np.float64]


class _Diagonal(Noise):
    """What the two laws share: axes times a base draw."""

    axes: Axes
    batched: bool

    _region: ClassVar[type[CrossPolytope | Ellipsoid]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", positive_array("axes", self.axes))
        if not isinstance(self.batched, bool):
            raise ValueError(f"batched is {self.batched!r}; allowed: True, False")
        if self.axes.ndim < 1 + self.batched:
            raise ValueError(
                f"axes have shape {self.axes.shape}; allowed: the input's shape"
                f"{', after the number of inputs' if self.batched else ''}"
            )
        # A region's semi-axes and a product of them stay within what floats hold.
        if not ((self.axes >= 1e-150) & (self.axes <= 1e150)).all():
            raise ValueError("axes hold a number outside [1e-150, 1e150]; allowed: numbers in it")

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.axes.shape[:1] if self.batched else ()

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.axes.shape[1:] if self.batched else self.axes.shape

    def _rows(self, rows: Any) -> Any:
        chosen = self.axes[rows]
        return type(self)(chosen, chosen.ndim == self.axes.ndim)  # type: ignore[call-arg]

    def scaled(self, factor: ArrayLike) -> Any:
        times = scale_factor(factor, self.batch_shape)
        wide = times.reshape(times.shape + (1,) * len(self.event_shape))
        return type(self)(wide * self.axes, self.batched or times.ndim > 0)  # type: ignore[call-arg]

    def multiplier(self, *, axes: Any = None) -> Any:  # type: ignore[override]
        return self.axes if axes is None else axes

    def region(self, bound: MarginBound | ArrayLike) -> Region:
        flat = self.axes.reshape(*self.batch_shape, -1)
        return self._region(self._radii(bound), axes=flat)


@dataclass(frozen=True, eq=False)
class DiagonalGaussian(_Diagonal):
    """Noise axes_i z_i, z standard normal; the certified region is an ellipsoid.

    In the coordinates delta_i / axes_i the noise is N(0, I), so that the smoothed classifier's
    answer does not change while ||delta / axes||_2 < 1/2 (Phi^-1(p_A) - Phi^-1(p_B)) (Eiras et
    al. 2022, "ANCER: anisotropic certification via sample-wise volume maximization").

    Parameters
    ----------
    axes : (...) or (B, ...) float array_like
        Standard deviation of each coordinate, in the input's shape and raw units.
    batched : bool
        The first dimension of ``axes`` runs over B inputs.

    Raises
    ------
    ValueError
        A number outside [1e-150, 1e150], or a shape that leaves none for the input.

    See Also
    --------
    rsbounds.Gaussian : One sigma for all coordinates.

    References
    ----------
    .. [1] F. Eiras et al., "ANCER: anisotropic certification via sample-wise volume maximization",
       Transactions on Machine Learning Research (2022).

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import DiagonalGaussian
    >>> law = DiagonalGaussian(axes=[0.2, 0.8])
    >>> certificates = rsbounds.certify([990, 8, 2], 0, noise=law)
    >>> region = law.region(certificates.margin_lower)
    >>> region.semi_axes().round(3), region.proxy_radius().round(3)
    (array([[0.404, 1.617]]), array([0.808]))
    """

    axes: Axes
    batched: bool = False

    name: ClassVar[str] = "diagonal-gaussian"
    scale: ClassVar[Scale] = "probit"
    norm: ClassVar[str] = "scaled l2"
    _region = Ellipsoid
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"axes": ((0.2, 0.8, 1.0), (0.5, 0.5, 2.0))},
        {"axes": ((0.2, 0.8), (0.5, 2.0), (1.0, 1.0)), "batched": True},
    )

    @property
    def radius_per_margin(self) -> float:
        return 0.5

    def log_density(self, delta: Any) -> Any:
        return -0.5 * np.sum((np.asarray(delta) / self.axes.ravel()) ** 2, axis=-1)


@dataclass(frozen=True, eq=False)
class DiagonalUniform(_Diagonal):
    """Noise uniform on a box with half-widths axes_i; the region is a cross-polytope.

    In the coordinates delta_i / axes_i the noise is uniform on [-1, 1]^d, so that the smoothed
    classifier's answer does not change while sum |delta_i| / axes_i < p_A - p_B (Eiras et al.
    2022).

    Parameters
    ----------
    axes : (...) or (B, ...) float array_like
        Half-width of each coordinate, in the input's shape and raw units.
    batched : bool
        The first dimension of ``axes`` runs over B inputs.

    Raises
    ------
    ValueError
        As in `DiagonalGaussian`.

    See Also
    --------
    rsbounds.Uniform : One width for all coordinates.

    References
    ----------
    .. [1] F. Eiras et al., "ANCER: anisotropic certification via sample-wise volume maximization",
       Transactions on Machine Learning Research (2022).

    Examples
    --------
    >>> from rsbounds.noises import DiagonalUniform
    >>> DiagonalUniform(axes=[0.2, 0.8]).region([0.5]).semi_axes().round(3)
    array([[0.1, 0.4]])
    """

    axes: Axes
    batched: bool = False

    name: ClassVar[str] = "diagonal-uniform"
    scale: ClassVar[Scale] = "linear"
    norm: ClassVar[str] = "scaled l1"
    _region = CrossPolytope
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = DiagonalGaussian.variants

    @property
    def base(self) -> str:
        return "uniform"

    @property
    def radius_per_margin(self) -> float:
        return 1.0

    def log_density(self, delta: Any) -> Any:
        inside = (np.abs(np.asarray(delta)) <= self.axes.ravel()).all(axis=-1)
        return np.where(inside, 0.0, -np.inf)
