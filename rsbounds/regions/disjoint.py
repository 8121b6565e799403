"""Proofs that two regions do not meet, and regions made smaller until there is one.

A proof is a hyperplane: a direction w with h_A(w) + h_B(w) < w . v, where v leads from A's centre
to B's and h_A(w) is the largest w . delta over A. Then no point is in both sets, nor on the border
of both. The inequality is checked with every rounding on the safe side, so it does not matter how
w was found. For ellipsoids with matrices A and B it says the same as
s(1-s) v^T ((1-s) A + s B)^-1 v > 1 with s = h_A(w) / (h_A(w) + h_B(w)): by Cauchy and Schwarz
(w . v)^2 / (h_A + h_B)^2 is at most that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.regions._base import EPS, Region, norm_up
from rsbounds.regions._directions import candidates

Numbers = NDArray[np.float64]


#: Below this, products of numbers lose the accuracy that rounding counts on.
_SMALLEST = 1e-290


@dataclass(frozen=True, eq=False)
class Separation:
    """Whether pairs of regions are proven not to meet, and what proves it.

    Attributes
    ----------
    proven : (B,) bool
        True only where there is a proof. An empty region meets none.
    direction : (B, d) float64
        Normals w of hyperplanes between the two, from the first region to the second; the largest
        number of each is 1 in size. The best that were found where nothing is proven.
    s : (B,) float64
        For two ellipsoids, a number in [0, 1] with s(1-s) v^T ((1-s) A + s B)^-1 v > 1 where
        it is proven, A and B the matrices of the two, v between their centres.
    scale : (B,) float64
        The first region times this is still proven not to meet the second, rounded down; inf
        where one is empty.
    """

    proven: NDArray[np.bool_]
    direction: Numbers
    s: Numbers
    scale: Numbers

    def __len__(self) -> int:
        return len(self.proven)


def disjoint(a: Region, centre_a: ArrayLike, b: Region, centre_b: ArrayLike) -> Separation:
    """Whether pairs of regions around their centres are proven not to meet.

    ``proven`` is never wrong, in floating point, for any input. It is True up to rounding wherever
    it is the case for balls in one norm, for cross-polytopes and l1 balls, and for ellipsoids and
    l2 balls; regions of different norms may be disjoint without a proof being found.

    Parameters
    ----------
    a, b : Region
        One region or B each.
    centre_a, centre_b : (d,), (1, d) or (B, d) float array_like
        Where they are, finite numbers; for one region or B.

    Returns
    -------
    Separation
        One entry per pair.

    Raises
    ------
    ValueError
        Centres with a NaN or an infinity, or shapes that do not fit.

    References
    ----------
    .. [1] I. Gilitschenski and U. D. Hanebeck, "A robust computational test for overlap of two
       arbitrary-dimensional ellipsoids in fault-detection of Kalman filters", FUSION 2012.

    Examples
    --------
    >>> from rsbounds.regions import Ball, Ellipsoid, disjoint
    >>> ball, two = Ball([1.0], norm="l2"), Ball([1.0, 0.9], norm="l2")
    >>> found = disjoint(ball, [0.0, 0.0], two, [2.0, 0.0])
    >>> found.proven, found.scale.round(6)
    (array([False,  True]), array([1. , 1.1]))
    >>> disjoint(Ellipsoid([1.0], axes=[3.0, 0.5]), [0, 0], ball, [0, 2]).proven
    array([ True])
    """
    at_a, at_b, rows = placed((a, centre_a), (b, centre_b))
    with np.errstate(over="ignore"):
        v = np.broadcast_to(at_b - at_a, (rows, at_a.shape[1]))
    best = _checked(a, b, v, np.zeros_like(v))
    if not np.isfinite(v).all():
        return best
    for w in candidates(a, b, v):
        one = _checked(a, b, v, _normal(w))
        better = one.scale > best.scale
        best = Separation(
            one.proven | best.proven,
            np.where(better[:, None], one.direction, best.direction),
            np.where(better, one.s, best.s),
            np.maximum(one.scale, best.scale),
        )
    return best


def placed(
    *pairs: tuple[Region, ArrayLike],
) -> tuple[Numbers, Numbers, int]:
    """Centres of two regions as (1, d) or (B, d), and B."""
    centres = []
    for name, (region, given) in zip(("centre_a", "centre_b"), pairs, strict=True):
        if not isinstance(region, Region):
            raise ValueError(f"region is {region!r}; allowed: a region such as Ball([0.5], ...)")
        centre = _validate.real_array(name, given)
        centre = centre[None] if centre.ndim == 1 else centre
        if centre.ndim != 2 or not np.isfinite(centre).all():
            raise ValueError(f"{name} is {given!r}; allowed: (d,) or (B, d) finite numbers")
        if region.dimension not in (None, centre.shape[1]):
            raise ValueError(
                f"{name} has {centre.shape[1]} coordinates; allowed: {region.dimension}, those of "
                "its region"
            )
        centres.append(centre)
    sizes = {len(pairs[0][0]), len(pairs[1][0]), len(centres[0]), len(centres[1])} - {1}
    if len(sizes) > 1 or centres[0].shape[1] != centres[1].shape[1]:
        raise ValueError(
            f"{len(pairs[0][0])} and {len(pairs[1][0])} regions have centres of shapes "
            f"{centres[0].shape} and {centres[1].shape}; allowed: one or B, of the same d"
        )
    return centres[0], centres[1], max([*sizes, 1]) if 0 not in sizes else 0


def _normal(w: Numbers) -> Numbers:
    """Directions whose largest number is 1 in size; of zeros where there is none."""
    with np.errstate(all="ignore"):
        found = w / np.abs(w).max(axis=1, keepdims=True)
    return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, 0.0)


def _checked(a: Region, b: Region, v: Numbers, w: Numbers) -> Separation:
    """What directions prove; ``v`` is the difference of two floats, rounded once."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        terms = w * v
        error = np.abs(terms).sum(axis=1) * (EPS * (v.shape[1] + 8)) + _SMALLEST
        apart = terms.sum(axis=1) - error
        reach_a = a.radius * a._unit_support_up(w) * (1.0 + 4.0 * EPS) + _SMALLEST
        reach_b = b.radius * b._unit_support_up(w) * (1.0 + 4.0 * EPS) + _SMALLEST
        empty = (a.radius == 0) | (b.radius == 0)
        proven = empty | (apart > (reach_a + reach_b) * (1.0 + 2.0 * EPS))
        room = (apart - reach_b - EPS * (np.abs(apart) + reach_b)) / reach_a * (1.0 - 8.0 * EPS)
        scale = np.where(room > 0, room, 0.0)
        s = reach_a / (reach_a + reach_b)
    rows = len(v)
    return Separation(
        np.broadcast_to(proven, (rows,)),
        w,
        np.broadcast_to(np.where(np.isfinite(s), s, 0.5), (rows,)),
        np.broadcast_to(np.where(empty, np.inf, scale), (rows,)),
    )


def inside(region: Region, centre: ArrayLike, point: ArrayLike) -> NDArray[np.bool_]:
    """Whether points are proven to lie in regions around their centres.

    Unlike `Region.contains` it takes the two places and answers for the rounding of their
    difference.

    Parameters
    ----------
    region : Region
        One region or B.
    centre, point : (d,), (1, d) or (B, d) float array_like
        Where they are.

    Returns
    -------
    (B,) bool ndarray

    Raises
    ------
    ValueError
        As `disjoint`.

    Examples
    --------
    >>> from rsbounds.regions import Ball, inside
    >>> inside(Ball([1.0, 2.0], norm="l2"), [[0.0, 0.0], [3.0, 0.0]], [1.5, 0.0])
    array([False,  True])
    """
    at, other, rows = placed((region, centre), (region[:1], point))
    gauge = offset_gauge_up(region, at, other)
    return np.asarray(np.broadcast_to(gauge < region.radius, (rows,)))


def offset_gauge_up(region: Region, centre: Numbers, point: Numbers) -> Numbers:
    """(B,) gauges of points seen from centres, rounded up; inf beyond floats."""
    with np.errstate(over="ignore"):
        delta = point - centre
    rows = max(len(delta), len(region))
    delta = np.broadcast_to(delta, (rows, delta.shape[1]))
    finite = np.asarray(np.isfinite(delta).all(axis=1))
    delta = np.where(finite[:, None], delta, 0.0)
    with np.errstate(over="ignore"):
        gauge = region._gauge_up(delta) * (1.0 + 4.0 * EPS)
        if region._turned(delta.shape[1]):
            # Where axes are turned, the rounding of one coordinate is felt in others.
            smallest = region.with_radius(np.ones(len(region))).inscribed_radius()
            gauge = gauge + 2.0 * EPS * norm_up(delta, "l2") / smallest * (1.0 + 8.0 * EPS)
    return np.where(finite, gauge, np.inf)
