"""Regions made smaller until a proof says that they avoid others, or lie in another."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds.regions._base import EPS, Region
from rsbounds.regions.ball import Ball
from rsbounds.regions.disjoint import disjoint, offset_gauge_up, placed

Numbers = NDArray[np.float64]
R = TypeVar("R", bound=Region)


def shrink_to_avoid(
    region: R, centre: ArrayLike, others: Region, other_centres: ArrayLike
) -> tuple[R, int | None]:
    """The largest multiple of a region that is proven to meet none of some others.

    Parameters
    ----------
    region : Region
        One region.
    centre : (d,) float array_like
        Where it is.
    others : Region
        B regions to avoid.
    other_centres : (B, d) float array_like
        Where they are.

    Returns
    -------
    Region
        The region at its radius or a smaller one, rounded down; radius 0 (the empty set) where no
        size has a proof. It is proven disjoint from every other one at this very radius.
    int or None
        Which of the others stands nearest in the way; None where it was not made smaller.

    Raises
    ------
    ValueError
        More than one region, or as `disjoint`.

    Examples
    --------
    >>> from rsbounds.regions import Ball, shrink_to_avoid
    >>> others = Ball([0.5, 1.0], norm="l2")
    >>> found, which = shrink_to_avoid(
    ...     Ball([3.0], norm="l2"), [0.0, 0.0], others, [[2.0, 0.0], [0.0, 4.0]])
    >>> bool(1.5 - 1e-12 < found.radius[0] < 1.5), which
    (True, 0)
    """
    if len(region) != 1:
        raise ValueError(f"region has {len(region)} sets; allowed: one")
    if len(others) == 0:
        placed((region, centre), (region, centre))
        return region, None
    found = disjoint(region, centre, others, other_centres)
    if found.proven.all():
        return region, None
    nearest = int(np.argmin(np.where(found.proven, np.inf, found.scale)))
    radius = float(region.radius[0])
    # Those that the region meets; the others stay proven, whatever smaller size it gets.
    meets = np.flatnonzero(~found.proven)
    rows = meets if len(others) > 1 else slice(None)
    held = np.asarray(other_centres, dtype=np.float64).reshape(-1, found.direction.shape[1])
    at = held[meets] if len(held) > 1 else held
    factor = float(found.scale[meets].min())
    for attempt in range(8):
        # A product of floats: a few steps down until the check itself agrees.
        smaller = radius * min(factor, 1.0) * (1.0 - EPS * 4.0**attempt)
        if smaller < 1e-280:
            break
        shrunk = region.with_radius([smaller])
        if disjoint(shrunk, centre, others[rows], at).proven.all():
            return shrunk, nearest
    return region.with_radius([0.0]), nearest


def shrink_into(region: R, centre: ArrayLike, host: Region, host_centre: ArrayLike) -> R:
    """The largest multiples found of regions that are proven to lie in others.

    It is the largest of all, up to rounding, for balls in one norm, cross-polytopes and l1 balls,
    and ellipsoids along the coordinates; for other kinds the ball around the region is made to
    fit in the room that the host leaves around its centre.

    Parameters
    ----------
    region, host : Region
        One region or B each.
    centre, host_centre : (d,), (1, d) or (B, d) float array_like
        Where they are.

    Returns
    -------
    Region
        B regions at their radii or smaller ones, rounded down; radius 0 where the centre is not
        proven to lie in the host.

    Raises
    ------
    ValueError
        As `disjoint`.

    Examples
    --------
    >>> from rsbounds.regions import Ball, shrink_into
    >>> found = shrink_into(Ball([1.0], norm="l2"), [0.5, 0.0], Ball([1.2], norm="l2"), [0.0, 0.0])
    >>> bool(0.7 - 1e-12 < found.radius[0] < 0.7)
    True
    """
    at, host_at, rows = placed((region, centre), (host, host_centre))
    d = at.shape[1]
    with np.errstate(all="ignore"):
        gauge = offset_gauge_up(host, host_at, at)
        room = (host.radius - gauge) * (1.0 - 4.0 * EPS)
        alike = region.norm == host.norm and not (region._turned(d) or host._turned(d))
        factor = _by_room(region, host, room, d, alike)
        if alike and region.norm == "l2" and not _balls(region, host):
            delta = np.broadcast_to(at - host_at, (rows, d))
            axes, host_axes = (r.radius[:, None] * r._shape(d).axes for r in (region, host))
            factor = np.maximum(factor, _by_search(axes, host_axes, delta))
        factor = np.where((room > 0) & np.isfinite(factor), np.minimum(factor, 1.0), 0.0)
        radius = region.radius * factor
    radius = np.broadcast_to(np.where(factor < 1.0, radius * (1.0 - 4.0 * EPS), radius), (rows,))
    radius = np.where(radius > 1e-280, radius, 0.0)
    many = region[np.zeros(rows, dtype=np.intp)] if len(region) == 1 else region
    return many.with_radius(radius)


def _balls(a: Region, b: Region) -> bool:
    return isinstance(a, Ball) and isinstance(b, Ball)


def _by_room(region: Region, host: Region, room: Numbers, d: int, alike: bool) -> Numbers:
    """Factors at which the region's own size, in the host's gauge, fills the room.

    The triangle inequality, which is exact where the region touches the host's border in the
    direction of the centre: for balls in one norm and for cross-polytopes.
    """
    if alike:
        # The largest gauge over the region: where its longest semi-axis is against the host's.
        size = (region._shape(d).axes / host._shape(d).axes).max(axis=1) * (1.0 + 2.0 * EPS)
    else:
        least = host.with_radius(np.ones(len(host))).inscribed_radius()
        if host.norm == "l1":
            least = least / math.sqrt(d) * (1.0 - 4.0 * EPS)
        size = region._unit_circumscribed_up(d) / least * (1.0 + 2.0 * EPS)
    return np.asarray(room / (region.radius * size) * (1.0 - 8.0 * EPS))


def _by_search(axes: Numbers, host_axes: Numbers, delta: Numbers) -> Numbers:
    """Factors t for ellipsoids along the coordinates, by Lagrange duality, rounded down.

    For any k with k (a_i/b_i)^2 < 1, t^2 = k (1 - sum (delta_i/b_i)^2 / (1 - k (a_i/b_i)^2)) will
    do, and the largest of these, a concave function of k, is the largest that there is.
    """
    rho = (axes / host_axes) ** 2 * (1.0 + 8.0 * EPS) + 1e-300
    q = (delta / host_axes) ** 2 * (1.0 + 12.0 * EPS) + 1e-300

    def square(k: Numbers) -> Numbers:
        left = 1.0 - k * rho * (1.0 + 2.0 * EPS) - 4.0 * EPS
        total = (q / left * (1.0 + 4.0 * EPS)).sum(axis=1, keepdims=True)
        total = total * (1.0 + EPS * (delta.shape[1] + 8))
        found = k * (1.0 - total - 4.0 * EPS) * (1.0 - 8.0 * EPS)
        return np.where((left > 0).all(axis=1, keepdims=True) & (found > 0), found, 0.0)

    low = np.zeros((len(delta), 1))
    high = np.broadcast_to(1.0 / rho.max(axis=1, keepdims=True), low.shape)
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    best = low
    for _ in range(60):
        one, two = high - golden * (high - low), low + golden * (high - low)
        at_one, at_two = square(one), square(two)
        best = np.maximum(best, np.maximum(at_one, at_two))
        left = at_one >= at_two
        low, high = np.where(left, low, one), np.where(left, two, high)
    return np.asarray(np.sqrt(best[:, 0]) * (1.0 - 4.0 * EPS))
