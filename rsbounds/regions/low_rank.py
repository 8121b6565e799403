"""Ellipsoids of a diagonal plus a few directions: the regions of low-rank Gaussian noise."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds.regions._base import EPS, Region, Shape, checked_radius, norm_up
from rsbounds.regions.ball import log_unit_volume

#: Diagonals and factors stay where their squares, ratios and sums are floats.
_SMALLEST, _LARGEST = 1e-70, 1e70
#: Coordinates up to which all semi-axes are computed, from the dense matrix.
DENSE = 4096

Numbers = NDArray[np.float64]


class LowRankEllipsoid(Region):
    """{delta : ||C^-1 delta||_2 < radius}, C = diag(diagonal) + factors factors^T.

    It is what Gaussian noise C z certifies. C is never formed: `contains`, volume, inscribed and
    proxy radius cost O(d r^2) or less.

    Parameters
    ----------
    radius : (B,) float array_like
        Radii >= 0, without a unit.
    diagonal : (d,) or (B, d) float array_like
        Numbers in [1e-70, 1e70], in units of the raw input.
    factors : (d, r) or (B, d, r) float array_like
        Numbers in [-1e70, 1e70]; r >= 1.

    Raises
    ------
    ValueError
        A radius that is negative or not finite, numbers outside their range, or shapes that do
        not fit.

    Examples
    --------
    >>> from rsbounds.regions import LowRankEllipsoid
    >>> region = LowRankEllipsoid([0.5], diagonal=[1.0, 1.0], factors=[[0.0], [1.0]])
    >>> region.semi_axes()
    array([[0.5, 1. ]])
    >>> region.contains([[0.3, 0.7]]), region.contains([[0.3, 0.9]])
    (array([ True]), array([False]))
    """

    norm = "l2"
    _ARRAYS = ("radius", "diagonal", "factors")

    def __init__(self, radius: ArrayLike, *, diagonal: ArrayLike, factors: ArrayLike) -> None:
        self.radius = checked_radius(radius)
        self.diagonal = _checked("diagonal", diagonal, 1, len(self.radius))
        self.factors = _checked("factors", factors, 2, len(self.radius))
        self.dimension = self.diagonal.shape[1]
        if self.factors.shape[1] != self.dimension:
            raise ValueError(
                f"factors have shape {np.shape(factors)}; allowed: {self.dimension} rows, one for "
                "each coordinate"
            )
        if not (self.diagonal >= _SMALLEST).all():
            raise ValueError(
                f"diagonal holds {self.diagonal.min()}; allowed: numbers from {_SMALLEST:g} to "
                f"{_LARGEST:g}"
            )

    def _parts(self) -> list[tuple[Numbers, Numbers]]:
        """(diagonal, factors) of each region; one pair where all are the same."""
        count = max(len(self.diagonal), len(self.factors))
        return [
            (self.diagonal[min(b, len(self.diagonal) - 1)],
             self.factors[min(b, len(self.factors) - 1)])
            for b in range(count)
        ]  # fmt: skip

    def _gauge_up(self, delta: Numbers) -> Numbers:
        parts = self._parts()
        if len(parts) == 1:
            return _gauge_up(delta, *parts[0])
        each = zip(delta, parts, strict=True)
        return np.concatenate([_gauge_up(point[None], *part) for point, part in each])

    def _unit_support_up(self, w: Numbers) -> Numbers:
        # C w, and what rounding may have moved it by.
        def product(diagonal: Numbers, factors: Numbers, v: Numbers) -> Numbers:
            inner = np.einsum("bik,bi->bk", factors, v)
            return np.asarray(diagonal * v + np.einsum("bik,bk->bi", factors, inner))

        d, rank = self.factors.shape[1:]
        found = norm_up(product(self.diagonal, self.factors, w), "l2")
        size = norm_up(product(self.diagonal, np.abs(self.factors), np.abs(w)), "l2")
        return np.asarray((found + size * EPS * (d + rank + 16)) * (1.0 + 4.0 * EPS))

    def _shape(self, dimension: int) -> Shape:
        # C^2 = D^2 + U (U^T U) U^T + U (D U)^T + (D U) U^T.
        U = self.factors
        inner = np.swapaxes(U, 1, 2) @ U
        one = np.broadcast_to(np.eye(U.shape[2]), inner.shape)
        core = np.concatenate(
            [
                np.concatenate([inner, one], axis=2),
                np.concatenate([one, np.zeros_like(one)], axis=2),
            ],
            axis=1,
        )
        many = np.broadcast_to(U, (max(len(U), len(self.diagonal)), *U.shape[1:]))
        return Shape(
            self.diagonal, np.concatenate([many, self.diagonal[:, :, None] * many], axis=2), core
        )

    def _turned(self, dimension: int) -> bool:
        return True

    def _unit_circumscribed_up(self, dimension: int) -> Numbers:
        inner = np.swapaxes(self.factors, 1, 2) @ self.factors
        d, rank = self.factors.shape[1:]
        trace = np.trace(inner, axis1=1, axis2=2)
        # The largest eigenvalue of U^T U, whose entries and spectrum are rounded.
        largest = np.linalg.eigvalsh(inner)[:, -1] + trace * EPS * (d + 64.0 * rank + 64.0)
        return np.asarray((self.diagonal.max(axis=1) + largest) * (1.0 + 8.0 * EPS))

    def _log_semi_axes(self) -> Numbers:
        d = self._known()
        if d > DENSE:
            raise ValueError(
                f"semi-axes of {d} coordinates are too many to compute; allowed: up to {DENSE} "
                "(inscribed_radius and log_volume need none)"
            )
        found = [np.linalg.eigvalsh(np.diag(D) + U @ U.T) for D, U in self._parts()]
        smallest = self.diagonal.min(axis=1)[:, None]
        return np.asarray(np.log(np.maximum(np.array(found), smallest)))

    def _log_unit_volume(self, dimension: int) -> float:
        return log_unit_volume(dimension, "l2")

    @cached_property
    def _log_determinants(self) -> tuple[Numbers, Numbers]:
        """Logarithms of det C, rounded to nearest and rounded down; one where all are the same."""
        both = np.array([log_determinant(D, U) for D, U in self._parts()])
        return both[:, 0], both[:, 1]

    def log_volume(self) -> Numbers:
        d = self._known()
        with np.errstate(divide="ignore"):
            size = d * np.log(self.radius)
        return np.asarray(self._log_unit_volume(d) + self._log_determinants[0] + size)

    def proxy_radius(self) -> Numbers:
        return self._times_down(self._log_determinants[1] / self._known())

    def inscribed_radius(self) -> Numbers:
        found = self.radius * self._smallest * (1.0 - 4.0 * EPS)
        return np.where(found >= 1e-290, found, 0.0)

    @cached_property
    def _smallest(self) -> Numbers:
        return np.array([smallest_axis_down(D, U) for D, U in self._parts()])


def _checked(name: str, values: ArrayLike, ndim: int, regions: int) -> Numbers:
    """(1, ...) or (B, ...) read-only numbers, with ``ndim`` dimensions for each region."""
    array = np.array(np.asarray(values, dtype=np.float64))
    if array.ndim == ndim:
        array = array[None]
    if array.ndim != ndim + 1 or array.shape[0] not in (1, regions) or array.size == 0:
        one = "(d,)" if ndim == 1 else "(d, r)"
        raise ValueError(
            f"{name} have shape {np.shape(values)}; allowed: {one}, or one for each of {regions} "
            "regions"
        )
    if not (np.abs(array) <= _LARGEST).all():
        raise ValueError(f"{name} hold a number beyond {_LARGEST:g}; allowed: smaller ones")
    array.flags.writeable = False
    return array


def _gauge_up(delta: Numbers, diagonal: Numbers, factors: Numbers) -> Numbers:
    """||C^-1 delta|| of (m, d) points, rounded up.

    Whatever y is, C^-1 delta = y + C^-1 (delta - C y), and the smallest eigenvalue of C is at
    least that of its diagonal: y comes from Woodbury's formula with one step of refinement, and
    what is left over is added, with the rounding of its own computation.
    """
    d, rank = factors.shape
    # A power of two, so that nothing is rounded, and nothing vanishes but next to the largest.
    scale = np.ldexp(1.0, np.frexp(np.abs(delta).max(axis=1))[1].clip(-1000, 1000))[:, None]
    point = delta / scale
    shares = factors / diagonal[:, None]
    values, vectors = np.linalg.eigh(np.eye(rank) + factors.T @ shares)
    # At least 1 but for rounding.
    inner = (vectors / np.maximum(values, 1.0)) @ vectors.T

    def solved(v: Numbers) -> Numbers:
        return np.asarray(v / diagonal - ((v @ shares) @ inner) @ shares.T)

    def left(y: Numbers) -> Numbers:
        return np.asarray(point - (diagonal * y + (y @ factors) @ factors.T))

    y = solved(point)
    y = y + solved(left(y))
    length = norm_up(y, "l2")
    size = diagonal.max() + 2.0 * (factors**2).sum()
    error = EPS * (d + rank + 16) * (norm_up(point, "l2") + size * length) + 1e-300
    rest = (norm_up(left(y), "l2") + error) / diagonal.min()
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.nextafter((length + rest) * scale[:, 0] * (1.0 + 8.0 * EPS), np.inf)
    return np.where(np.isnan(found), np.inf, np.where((delta == 0).all(axis=1), 0.0, found))


def log_determinant(diagonal: Numbers, factors: Numbers) -> tuple[float, float]:
    """The logarithm of det C by the determinant lemma, and a lower bound on it."""
    d, rank = factors.shape
    inner = np.eye(rank) + factors.T @ (factors / diagonal[:, None])
    logs = np.log(diagonal)
    # With a unit diagonal each entry is within ``error`` of the exact one's.
    unit = np.sqrt(np.diag(inner))
    values = np.linalg.eigvalsh(inner / np.outer(unit, unit))
    error = 4.0 * EPS * rank * (d + rank + 16)
    found = float(logs.sum())
    down = found - 4.0 * EPS * (8.0 + float(np.abs(logs).sum()) * max(1, d).bit_length())
    more = float(np.log(np.maximum(values, EPS)).sum() + 2.0 * np.log(unit).sum())
    if values[0] > 4.0 * error:
        slack = 2.0 * rank * error / float(values[0]) + 8.0 * EPS * (8.0 + rank + abs(more))
        # C is never smaller than its diagonal.
        down += max(0.0, more - slack)
    return found + max(more, 0.0), down


def smallest_axis_down(diagonal: Numbers, factors: Numbers) -> float:
    """A lower bound on the smallest eigenvalue of C, close to it.

    A positive term of rank r lifts the smallest eigenvalue to no more than the (r+1)-th entry of
    the diagonal, so that only coordinates S with a small entry matter. For a number t below the
    entries of all other coordinates N, C - s is positive definite for every s <= t at which
    D_S + U_S (1 + U_N^T (D_N - t)^-1 U_N)^-1 U_S^T - s is (a Schur complement, which grows as s
    falls): the smaller of t and that small matrix's smallest eigenvalue is a lower bound.
    """
    d, rank = factors.shape
    order = np.argpartition(diagonal, min(2 * rank + 16, d) - 1)
    few, many = order[: 2 * rank + 16], order[2 * rank + 16 :]
    entries = np.sort(diagonal[few])
    low, high = float(entries[0]), float(entries[min(rank, len(entries) - 1)])
    if low == high and d > rank:
        return low
    if len(many):
        high = min(high, float(diagonal[many].min()) * (1.0 - 1e-6))
    elif d <= rank:
        high = low + float((factors**2).sum())
    small = diagonal[few], factors[few], diagonal[many], factors[many]
    t = high
    for turn in range(40):
        found = _small_eigenvalue_down(*small, t)
        # The bound falls as t rises: none is above both t and what it gives there.
        low, high = max(low, min(t, found)), min(high, max(t, found))
        if low >= high * (1.0 - 1e-10):
            break
        # Where the other coordinates hardly matter, the answer is all but found at once.
        t = min(low * (1.0 + 1e-10), high) if turn % 2 == 0 else 0.5 * (low + high)
    return float(low)


def _small_eigenvalue_down(
    own_diagonal: Numbers, own: Numbers, rest_diagonal: Numbers, rest: Numbers, t: float
) -> float:
    """The smallest eigenvalue of the small matrix of `smallest_axis_down`, rounded down."""
    (few, rank), d = own.shape, len(own) + len(rest)
    outer = rest.T @ (rest / (rest_diagonal - t)[:, None])
    # What rounding may have left out, in the order of positive matrices; differences are not
    # below a millionth of what they come from.
    inner = np.eye(rank) + outer + np.diag(np.diag(outer)) * EPS * (rank * (d + 16) + 4e6)
    values = np.linalg.eigvalsh(inner)
    half = np.linalg.solve(np.linalg.cholesky(inner), own.T)
    small = np.diag(own_diagonal) + half.T @ half
    condition = float(values[-1]) / max(float(values[0]), 1.0)
    error = 16.0 * EPS * (few + rank + 8) * rank * condition * float(np.trace(small))
    return float(np.linalg.eigvalsh(small)[0] - error)
