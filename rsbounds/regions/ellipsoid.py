"""Ellipsoids: the regions of Gaussian noise with axes of its own, rotated or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds.regions._base import EPS, Region, Shape, checked_axes, checked_radius, norm_up
from rsbounds.regions.ball import log_unit_volume


class Ellipsoid(Region):
    """{delta : ||diag(1/axes) V^T delta||_2 < radius}, V a rotation (or none).

    It is what Gaussian noise V diag(axes) z certifies: semi-axes radius axes_i along the
    columns of V.

    Parameters
    ----------
    radius : (B,) float array_like
        Radii >= 0, without a unit.
    axes : (d,) or (B, d) float array_like
        Axes, in units of the raw input.
    rotation : (d, d) or (B, d, d) float array_like, optional
        Orthogonal matrices; the axes are those of the coordinates without.

    Raises
    ------
    ValueError
        A radius that is negative or not finite, axes outside [1e-150, 1e150], a matrix that is
        not orthogonal to 1e-9, or shapes that do not fit.

    Examples
    --------
    >>> from rsbounds.regions import Ellipsoid
    >>> region = Ellipsoid([0.5], axes=[1.0, 4.0])
    >>> region.contains([[0.3, 1.5]]), region.contains([[0.3, 1.7]])
    (array([ True]), array([False]))
    >>> print(f"{region.inscribed_radius()[0]:.3f}, {region.proxy_radius()[0]:.3f}")
    0.500, 1.000
    """

    norm = "l2"
    _ARRAYS = ("radius", "axes", "rotation", "_defect")

    def __init__(
        self, radius: ArrayLike, *, axes: ArrayLike, rotation: ArrayLike | None = None
    ) -> None:
        self.radius = checked_radius(radius)
        self.axes = checked_axes(axes, len(self.radius))
        self.dimension = self.axes.shape[1]
        self.rotation: NDArray[np.float64] | None = None
        #: The norm of V^T V - 1, rounded up: how far each matrix is from a rotation.
        self._defect: NDArray[np.float64] | None = None
        if rotation is not None:
            self.rotation, self._defect = self._checked(rotation)

    def _checked(self, rotation: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = np.array(np.asarray(rotation, dtype=np.float64))
        if values.ndim == 2:
            values = values[None]
        d = self.axes.shape[1]
        if values.shape not in ((1, d, d), (len(self), d, d)):
            raise ValueError(
                f"rotation has shape {np.shape(rotation)}; allowed: ({d}, {d}), or one for each "
                f"of {len(self)} regions"
            )
        defect = values.transpose(0, 2, 1) @ values - np.eye(d)
        size = np.sqrt((defect**2).sum(axis=(1, 2))) + 4.0 * EPS * d * d
        if not (size <= 1e-9 + 4.0 * EPS * d * d).all():
            raise ValueError("rotation is not orthogonal; allowed: V with V^T V = 1 to 1e-9")
        values.flags.writeable = False
        return values, size

    def inscribed_radius(self) -> NDArray[np.float64]:
        found = super().inscribed_radius()
        return found if self._defect is None else found * (1.0 - self._defect)

    def _gauge_up(self, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.rotation is None or self._defect is None:
            return norm_up(delta / self.axes, "l2") * (1.0 + 4.0 * EPS)
        turned = np.einsum("bij,bi->bj", self.rotation, delta)
        # Rounding and the matrix's defect move each turned coordinate by less than this.
        off = norm_up(delta, "l2") * (self._defect + EPS * (delta.shape[1] + 8))
        moved = off * np.sqrt(float(delta.shape[1])) / self.axes.min(axis=1)
        gauge = norm_up(turned / self.axes, "l2") * (1.0 + 4.0 * EPS)
        return np.asarray((gauge + moved) * (1.0 + 4.0 * EPS))

    def _unit_support_up(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.rotation is None or self._defect is None:
            return norm_up(w * self.axes, "l2") * (1.0 + 4.0 * EPS)
        d = w.shape[1]
        # The set is V^-T diag(axes) times a ball; V^-1 w is V^T w but for rounding and defect.
        turned = np.einsum("bij,bi->bj", self.rotation, w)
        off = norm_up(w, "l2") * (1.01 * self._defect + np.sqrt(float(d)) * EPS * (d + 8))
        return np.asarray(
            (norm_up(turned * self.axes, "l2") + off * self.axes.max(axis=1)) * (1.0 + 4.0 * EPS)
        )

    def _shape(self, dimension: int) -> Shape:
        if self.rotation is None:
            return Shape(self.axes)
        core = np.eye(dimension) * (self.axes**2)[:, None, :]
        return Shape(np.zeros((1, dimension)), self.rotation, core)

    def _unit_circumscribed_up(self, dimension: int) -> NDArray[np.float64]:
        largest = np.asarray(self.axes.max(axis=1))
        return largest if self._defect is None else largest * (1.0 + self._defect)

    def _log_semi_axes(self) -> NDArray[np.float64]:
        return np.asarray(np.log(self.axes))

    def _log_unit_volume(self, dimension: int) -> float:
        return log_unit_volume(dimension, "l2")
