"""What of a region can be drawn: its slice or its shadow on a plane."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.regions._base import Region
from rsbounds.regions.ball import Ball
from rsbounds.regions.cross_polytope import CrossPolytope
from rsbounds.regions.ellipsoid import Ellipsoid
from rsbounds.regions.low_rank import LowRankEllipsoid


def outline(
    region: Region,
    row: int = 0,
    *,
    plane: ArrayLike = (0, 1),
    view: Literal["slice", "shadow"] = "slice",
    points: int = 360,
) -> NDArray[np.float64]:
    """Points around one region as it meets a plane through its centre, or as it falls on it.

    The slice is the set of perturbations in the plane that are certified; the shadow is the
    orthogonal projection of all that are, and holds the slice. Of ellipsoids along the
    coordinates, balls and cross-polytopes the two are the same on planes of coordinates. For
    pictures: the points are on the outline, and what is between them is convex.

    Parameters
    ----------
    region : Region
        A batch of regions.
    row : int
        Which of them.
    plane : (int, int) or (2, d) float array_like
        Two coordinates, or two orthonormal directions.
    view : {"slice", "shadow"}
        The slice, or the shadow.
    points : int
        Number of points, a multiple of 4 from 8 on.

    Returns
    -------
    (points, 2) ndarray
        Coordinates in the plane, counter-clockwise.

    Raises
    ------
    ValueError
        A plane that is none, or other arguments out of range.

    Examples
    --------
    >>> from rsbounds.regions import CrossPolytope, outline
    >>> outline(CrossPolytope([0.5], axes=[1.0, 4.0]), points=8).max(axis=0).round(3)
    array([0.5, 2. ])
    """
    _validate.integer("row", row, low=0, high=len(region) - 1)
    _validate.choice("view", view, ("slice", "shadow"))
    _validate.integer("points", points, low=8)
    if points % 4:
        raise ValueError(f"points is {points}; allowed: a multiple of 4")
    directions = plane_directions(plane, region.dimension)
    one = region[row]

    def size(unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gauge or support at radius 1, in some directions of the plane."""
        wide = unit @ directions
        largest = np.abs(wide).max(axis=1)
        wide = wide / largest[:, None]
        found = one._gauge_up(wide) if view == "slice" else one._unit_support_up(wide)
        return np.asarray(largest * found)

    angle = 2.0 * np.pi * np.arange(points) / points
    # Along the plane's own directions without rounding, so that corners there are sharp.
    unit = np.round(np.stack([np.cos(angle), np.sin(angle)], axis=1), 15)
    # In other units the set is about as long as wide: no part of its outline is passed over.
    stretch = _root_of_fit(unit, size(unit))
    if view == "slice":
        ways = unit @ np.linalg.inv(stretch)
        return np.asarray(one.radius * ways / size(ways)[:, None])
    # The support's slope says where a tangent touches.
    step = 1e-6
    across = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    turned = np.linalg.inv(stretch)
    height = size(unit @ turned)
    slope = (size((unit + step * across) @ turned) - size((unit - step * across) @ turned)) / 2
    touched = height[:, None] * unit + (slope / step)[:, None] * across
    return np.asarray(one.radius * touched @ stretch)


def _root_of_fit(unit: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """S with ||S u|| about the size in every direction u of the plane, exact of ellipses."""
    x, y = unit.T
    terms = np.stack([x**2, 2.0 * x * y, y**2], axis=1)
    (a, b, c), *_ = np.linalg.lstsq(terms, (size / size.max()) ** 2, rcond=None)
    values, vectors = np.linalg.eigh(np.array([[a, b], [b, c]]))
    values = np.maximum(values, 1e-12 * values.max())
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)


def half_widths(region: Region) -> NDArray[np.float64]:
    """(B, d) how far each region reaches along each coordinate, for pictures.

    Parameters
    ----------
    region : Region
        Balls, ellipsoids or cross-polytopes that know their dimension.

    Returns
    -------
    (B, d) ndarray

    Raises
    ------
    ValueError
        Another kind of region, or one without a dimension.

    Examples
    --------
    >>> from rsbounds.regions import Ellipsoid, half_widths
    >>> half_widths(Ellipsoid([0.5], axes=[1.0, 4.0]))
    array([[0.5, 2. ]])
    """
    d = region.dimension
    if d is None:
        raise ValueError("region has no dimension; allowed: one that has")
    if isinstance(region, Ball):
        axes = np.ones((1, d))
    elif isinstance(region, LowRankEllipsoid):
        # The lengths of the rows of C = D + U W U^T: entries on the diagonal and beside it.
        D, U = region.diagonal, region.factors
        weighted = U * region.weights[:, None]
        own = (weighted * U).sum(axis=2)
        square = ((weighted @ (np.swapaxes(U, 1, 2) @ U)) * weighted).sum(axis=2)
        axes = np.sqrt((D + own) ** 2 + np.maximum(square - own**2, 0.0))
    elif isinstance(region, Ellipsoid) and region.rotation is not None:
        axes = np.sqrt((region.rotation**2 * region.axes[:, None, :] ** 2).sum(axis=2))
    elif isinstance(region, (CrossPolytope, Ellipsoid)):
        axes = region.axes
    else:
        raise ValueError(f"region is a {type(region).__name__}; allowed: the kinds of this library")
    return np.asarray(region.radius[:, None] * axes)


def plane_directions(plane: ArrayLike, dimension: int | None) -> NDArray[np.float64]:
    """(2, d) orthonormal directions of a plane given by itself or by two coordinates."""
    given = np.asarray(plane)
    if given.shape == (2,) and given.dtype.kind in "iu":
        low, high = sorted(given.tolist())
        if 0 <= low < high and (dimension is None or high < dimension):
            return np.asarray(np.eye(high + 1 if dimension is None else dimension)[given])
    elif given.ndim == 2 and len(given) == 2 and given.dtype.kind in "iuf":
        wide = given.astype(np.float64)
        if dimension in (None, wide.shape[1]) and np.allclose(wide @ wide.T, np.eye(2), atol=1e-9):
            return wide
    d = "d" if dimension is None else dimension
    raise ValueError(
        f"plane is {plane!r}; allowed: two coordinates of {d}, or two orthonormal directions in a "
        f"(2, {d}) array"
    )
