"""Balls in the l1, l2 and l_inf norms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.regions._base import EPS, Region, Shape, checked_radius, norm_up

#: The norm of directions that goes with each norm of perturbations.
DUAL = {"l1": "linf", "l2": "l2", "linf": "l1"}


class Ball(Region):
    """{delta : ||delta|| < radius}.

    Parameters
    ----------
    radius : (B,) float array_like
        Radii >= 0.
    norm : {"l1", "l2", "linf"}
        The norm.
    dimension : int, optional
        Number of coordinates, for volumes.

    Raises
    ------
    ValueError
        A radius that is negative or not finite, another norm, a dimension below 1.

    Examples
    --------
    >>> from rsbounds.regions import Ball
    >>> print(f"{Ball([2.0], norm='l1', dimension=2).log_volume()[0]:.4f}")  # log 8
    2.0794
    """

    _ARRAYS = ("radius",)
    _WORDS = ("norm",)

    def __init__(self, radius: ArrayLike, *, norm: str, dimension: int | None = None) -> None:
        self.radius = checked_radius(radius)
        self.norm = _validate.choice("norm", norm, ("l1", "l2", "linf"))
        if dimension is not None:
            dimension = _validate.integer("dimension", dimension, low=1)
        self.dimension = dimension

    def proxy_radius(self) -> NDArray[np.float64]:
        return self.radius

    def inscribed_radius(self) -> NDArray[np.float64]:
        return self.radius

    def _gauge_up(self, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        return norm_up(delta, self.norm)

    def _unit_support_up(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        return norm_up(w, DUAL[self.norm])

    def _shape(self, dimension: int) -> Shape:
        return Shape(np.full((1, dimension), self._around(dimension)))

    def _unit_circumscribed_up(self, dimension: int) -> NDArray[np.float64]:
        return np.array([self._around(dimension) * (1.0 + 2.0 * EPS)])

    def _around(self, dimension: int) -> float:
        return math.sqrt(dimension) if self.norm == "linf" else 1.0

    def _log_semi_axes(self) -> NDArray[np.float64]:
        return np.zeros((1, self._known()))

    def _log_unit_volume(self, dimension: int) -> float:
        return log_unit_volume(dimension, self.norm)


def log_unit_volume(dimension: int, norm: str) -> float:
    """Log volume of a norm's unit ball."""
    if norm == "linf":
        return dimension * math.log(2.0)
    if norm == "l1":
        return dimension * math.log(2.0) - math.lgamma(dimension + 1)
    return 0.5 * dimension * math.log(math.pi) - math.lgamma(0.5 * dimension + 1)
