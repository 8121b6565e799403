"""Generalised cross-polytopes: the regions of uniform noise with axes of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds.regions._base import EPS, Region, Shape, checked_axes, checked_radius, norm_up
from rsbounds.regions.ball import log_unit_volume


class CrossPolytope(Region):
    """{delta : sum_i |delta_i| / axes_i < radius}; its vertices are radius axes_i e_i.

    Parameters
    ----------
    radius : (B,) float array_like
        Radii >= 0, without a unit.
    axes : (d,) or (B, d) float array_like
        Axes, in units of the raw input.

    Raises
    ------
    ValueError
        A radius that is negative or not finite, axes outside [1e-150, 1e150], or for another
        number of regions.

    Examples
    --------
    >>> from rsbounds.regions import CrossPolytope
    >>> region = CrossPolytope([0.5], axes=[1.0, 4.0])
    >>> region.contains([[0.2, 1.1]]), region.contains([[0.2, 1.3]])
    (array([ True]), array([False]))
    >>> print(f"{region.proxy_radius()[0]:.3f}")
    1.000
    """

    norm = "l1"
    _ARRAYS = ("radius", "axes")

    def __init__(self, radius: ArrayLike, *, axes: ArrayLike) -> None:
        self.radius = checked_radius(radius)
        self.axes = checked_axes(axes, len(self.radius))
        self.dimension = self.axes.shape[1]

    def _gauge_up(self, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        return norm_up(delta / self.axes, "l1") * (1.0 + 4.0 * EPS)

    def _unit_support_up(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        return norm_up(w * self.axes, "linf") * (1.0 + 4.0 * EPS)

    def _shape(self, dimension: int) -> Shape:
        return Shape(self.axes)

    def _unit_circumscribed_up(self, dimension: int) -> NDArray[np.float64]:
        return np.asarray(self.axes.max(axis=1))

    def _log_semi_axes(self) -> NDArray[np.float64]:
        return np.asarray(np.log(self.axes))

    def _log_unit_volume(self, dimension: int) -> float:
        return log_unit_volume(dimension, "l1")
