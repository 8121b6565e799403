"""Ellipsoids of a diagonal plus a few directions: the regions of low-rank Gaussian noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds.regions._base import EPS, Region, Shape, checked_radius, norm_up
from rsbounds.regions.ball import log_unit_volume

#: Diagonals, and factors times the roots of their weights, stay where their squares, ratios and
#: sums are floats.
_SMALLEST, _LARGEST = 1e-70, 1e70
#: Coordinates up to which all semi-axes are computed from the dense matrix.
DENSE = 4096
#: Where weights are below 0, C is proven to be at least this times its diagonal.
FLOOR = 1e-8

Numbers = NDArray[np.float64]


class LowRankEllipsoid(Region):
    """{delta : ||C^-1 delta||_2 < radius}, C = diag(diagonal) + factors diag(weights) factors^T.

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
    weights : (r,) or (B, r) float array_like, optional
        Numbers of either sign in [-1e70, 1e70]; a direction with a weight below 0 has an axis
        that is shorter than the diagonal's. 1 by default.

    Raises
    ------
    ValueError
        A radius that is negative or not finite, numbers outside their range (the factors times
        the roots of their weights too), shapes that do not fit, or weights below 0 with which C
        is not proven, in floating point, to be at least 1e-8 diag(diagonal).

    Examples
    --------
    >>> from rsbounds.regions import LowRankEllipsoid
    >>> region = LowRankEllipsoid(
    ...     [0.5], diagonal=[1.0, 1.0], factors=[[1.0, 0.0], [0.0, 1.0]], weights=[-0.75, 1.0])
    >>> region.semi_axes()
    array([[0.125, 1.   ]])
    >>> region.contains([[0.1, 0.5]]), region.contains([[0.2, 0.5]])
    (array([ True]), array([False]))
    """

    norm = "l2"
    _ARRAYS = ("radius", "diagonal", "factors", "weights", "_smallest")

    def __init__(
        self,
        radius: ArrayLike,
        *,
        diagonal: ArrayLike,
        factors: ArrayLike,
        weights: ArrayLike | None = None,
    ) -> None:
        self.radius = checked_radius(radius)
        self.diagonal = _checked("diagonal", diagonal, 1, len(self.radius))
        self.factors = _checked("factors", factors, 2, len(self.radius))
        self.dimension = self.diagonal.shape[1]
        rank = self.factors.shape[2]
        weights = np.ones(rank) if weights is None else weights
        self.weights = _checked("weights", weights, 1, len(self.radius))
        if self.factors.shape[1] != self.dimension:
            raise ValueError(
                f"factors have shape {np.shape(factors)}; allowed: {self.dimension} rows, one for "
                "each coordinate"
            )
        if self.weights.shape[1] != rank:
            raise ValueError(
                f"weights have shape {np.shape(weights)}; allowed: {rank} numbers, one for each "
                "column of the factors"
            )
        if not (self.diagonal >= _SMALLEST).all():
            raise ValueError(
                f"diagonal holds {self.diagonal.min()}; allowed: numbers from {_SMALLEST:g} to "
                f"{_LARGEST:g}"
            )
        rooted, _ = _rooted(self.factors, self.weights)
        if not (np.abs(rooted) <= _LARGEST).all():
            raise ValueError(
                f"factors times the roots of their weights reach {np.abs(rooted).max():g}; "
                f"allowed: up to {_LARGEST:g}"
            )
        #: Smallest eigenvalues of C, rounded down.
        self._smallest = np.array([smallest_axis_down(*part) for part in self._parts()])
        if not (self._smallest > 0).all():
            raise ValueError(
                f"weights hold {self.weights.min():g}, with which the matrix is not proven to be "
                f"positive definite (at least {FLOOR:g} times its diagonal); allowed: weights "
                "with which it is"
            )

    def _parts(self) -> list[tuple[Numbers, Numbers, Numbers]]:
        """(diagonal, factors, weights) of each region; one triple where all are the same."""
        held = self.diagonal, self.factors, self.weights
        count = max(map(len, held))
        return [
            (held[0][b % len(held[0])], held[1][b % len(held[1])], held[2][b % len(held[2])])
            for b in range(count)
        ]

    def _gauge_up(self, delta: Numbers) -> Numbers:
        parts = self._parts()
        if len(parts) == 1:
            return _gauge_up(delta, *parts[0], self._smallest[0])
        each = zip(delta, parts, self._smallest, strict=True)
        return np.concatenate(
            [_gauge_up(point[None], *part, smallest) for point, part, smallest in each]
        )

    def _unit_support_up(self, w: Numbers) -> Numbers:
        # C w, and what rounding may have moved it by.
        def product(factors: Numbers, weights: Numbers, v: Numbers) -> Numbers:
            inner = np.einsum("bik,bi->bk", factors, v) * weights
            return np.asarray(self.diagonal * v + np.einsum("bik,bk->bi", factors, inner))

        d, rank = self.factors.shape[1:]
        found = norm_up(product(self.factors, self.weights, w), "l2")
        size = norm_up(product(np.abs(self.factors), np.abs(self.weights), np.abs(w)), "l2")
        return np.asarray((found + size * EPS * (d + rank + 16)) * (1.0 + 4.0 * EPS))

    def _shape(self, dimension: int) -> Shape:
        # C^2 = D^2 + U (W U^T U W) U^T + (U W) (D U)^T + (D U) (U W)^T.
        U = self.factors
        inner = self.weights[:, :, None] * (np.swapaxes(U, 1, 2) @ U) * self.weights[:, None]
        one = np.eye(U.shape[2]) * self.weights[:, None]
        one, inner = np.broadcast_arrays(one, inner)
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
        # Weights below 0 make no axis longer.
        U, signs = _rooted(self.factors, self.weights)
        U = U * (signs > 0)[:, None]
        inner = np.swapaxes(U, 1, 2) @ U
        d, rank = U.shape[1:]
        trace = np.trace(inner, axis1=1, axis2=2)
        # The largest eigenvalue of U^T U, whose entries and spectrum are rounded.
        largest = np.linalg.eigvalsh(inner)[:, -1] + trace * EPS * (d + 64.0 * rank + 64.0)
        return np.asarray((self.diagonal.max(axis=1) + largest) * (1.0 + 8.0 * EPS))

    def _log_semi_axes(self) -> Numbers:
        found = np.array([_eigenvalues(*part) for part in self._parts()])
        return np.asarray(np.log(np.maximum(found, self._smallest[:, None])))

    def _log_unit_volume(self, dimension: int) -> float:
        return log_unit_volume(dimension, "l2")

    @cached_property
    def _log_determinants(self) -> tuple[Numbers, Numbers]:
        """Logarithms of det C, rounded to nearest and rounded down; one where all are the same."""
        both = np.array([log_determinant(*part) for part in self._parts()])
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


def _checked(name: str, values: ArrayLike, ndim: int, regions: int) -> Numbers:
    """(1, ...) or (B, ...) read-only numbers, with ``ndim`` dimensions for each region."""
    array = np.array(np.asarray(values, dtype=np.float64))
    if array.ndim == ndim:
        array = array[None]
    if array.ndim != ndim + 1 or array.shape[0] not in (1, regions) or array.size == 0:
        one = {"diagonal": "(d,)", "weights": "(r,)"}.get(name, "(d, r)")
        raise ValueError(
            f"{name} have shape {np.shape(values)}; allowed: {one}, or one for each of {regions} "
            "regions"
        )
    if not (np.abs(array) <= _LARGEST).all():
        raise ValueError(f"{name} hold a number beyond {_LARGEST:g}; allowed: smaller ones")
    array.flags.writeable = False
    return array


def _rooted(factors: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """V and signs J with factors diag(weights) factors^T = V J V^T."""
    return factors * np.sqrt(np.abs(weights))[..., None, :], np.where(weights < 0, -1.0, 1.0)


def solver(diagonal: Numbers, factors: Numbers, weights: Numbers) -> Callable[[Numbers], Numbers]:
    """C^-1 v of (m, d) rows v by Woodbury's formula, in O(d r) each, to about its condition."""
    V, signs = _rooted(factors, weights)
    shares = V / diagonal[:, None]
    values, vectors, size = _inner(V.T @ shares, signs)
    scaled = vectors / np.sqrt(size)[:, None]
    # 0 but for rounding where C has no inverse.
    values = np.where(np.abs(values) < EPS, np.copysign(EPS, values), values)
    inner = (scaled / values) @ scaled.T

    def solved(v: Numbers) -> Numbers:
        return np.asarray(v / diagonal - ((v @ shares) @ inner) @ shares.T)

    return solved


def _inner(gram: Numbers, signs: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Eigenvalues and -vectors of J + gram scaled to a diagonal of at most 1, and the scales."""
    size = 1.0 + np.diag(gram)
    root = np.sqrt(size)
    values, vectors = np.linalg.eigh((np.diag(signs) + gram) / root / root[:, None])
    return values, vectors, size


def _gauge_up(
    delta: Numbers, diagonal: Numbers, factors: Numbers, weights: Numbers, smallest: float
) -> Numbers:
    """||C^-1 delta|| of (m, d) points, rounded up.

    Whatever y is, C^-1 delta = y + C^-1 (delta - C y): y comes from Woodbury's formula with one
    step of refinement, and what is left over is added, with the rounding of its own computation,
    over the smallest eigenvalue of C.
    """
    d, rank = factors.shape
    # A power of two, so that nothing is rounded, and nothing vanishes but next to the largest.
    scale = np.ldexp(1.0, np.frexp(np.abs(delta).max(axis=1))[1].clip(-1000, 1000))[:, None]
    point = delta / scale
    solved = solver(diagonal, factors, weights)

    def left(y: Numbers) -> Numbers:
        return np.asarray(point - (diagonal * y + ((y @ factors) * weights) @ factors.T))

    y = solved(point)
    y = y + solved(left(y))
    length = norm_up(y, "l2")
    size = diagonal.max() + 2.0 * (factors**2 * np.abs(weights)).sum()
    error = EPS * (d + rank + 16) * (norm_up(point, "l2") + size * length) + 1e-300
    rest = (norm_up(left(y), "l2") + error) / smallest
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.nextafter((length + rest) * scale[:, 0] * (1.0 + 8.0 * EPS), np.inf)
    return np.where(np.isnan(found), np.inf, np.where((delta == 0).all(axis=1), 0.0, found))


def _eigenvalues(diagonal: Numbers, factors: Numbers, weights: Numbers) -> Numbers:
    """(d,) eigenvalues of C in rising order."""
    d, rank = factors.shape
    V, signs = _rooted(factors, weights)
    if rank < d and diagonal.min() == diagonal.max():
        R = np.linalg.qr(V)[1]
        own = np.linalg.eigvalsh((R * signs) @ R.T)
        return np.sort(diagonal[0] + np.concatenate([np.zeros(d - rank), own]))
    if d > DENSE:
        raise ValueError(
            f"semi-axes of {d} coordinates are too many to compute; allowed: up to {DENSE}, or a "
            "diagonal of equal numbers (inscribed_radius and log_volume need neither)"
        )
    return np.asarray(np.linalg.eigvalsh(np.diag(diagonal) + (V * signs) @ V.T))


def log_determinant(diagonal: Numbers, factors: Numbers, weights: Numbers) -> tuple[float, float]:
    """The logarithm of det C by the determinant lemma, and a lower bound on it.

    With C = D + V J V^T and J of signs, det C = det D |det(J + V^T D^-1 V)|.
    """
    d, rank = factors.shape
    V, signs = _rooted(factors, weights)
    logs = np.log(diagonal)
    # With a unit diagonal each entry is within ``error`` of the exact one's.
    values, _, size = _inner(V.T @ (V / diagonal[:, None]), signs)
    values = np.abs(values)
    error = 4.0 * EPS * rank * (d + rank + 32)
    found = float(logs.sum())
    down = found - 4.0 * EPS * (8.0 + float(np.abs(logs).sum()) * max(1, d).bit_length())
    # C is never below its diagonal, or `FLOOR` of it in as many directions as signs are below 0.
    least = float(np.log(FLOOR)) * int((signs < 0).sum())
    near = np.log(np.maximum(values, EPS)), np.log(size)
    if values.min() > 4.0 * error:
        # The float in `size` is what was divided by.
        terms = np.concatenate([np.log(values - error), near[1]])
        slack = 8.0 * EPS * (8.0 + rank + float(np.abs(terms).sum()))
        down += max(least, float(terms.sum()) - slack)
    else:
        down += least
    return found + max(float(near[0].sum() + near[1].sum()), least), down


def smallest_axis_down(diagonal: Numbers, factors: Numbers, weights: Numbers) -> float:
    """A lower bound on the smallest eigenvalue of C, close to it; 0 where there is no proof.

    The largest number t at which C - t is proven positive definite (`_proof`) is searched for.
    Positive terms of rank p lift the smallest eigenvalue to no more than the (p+1)-th entry of
    the diagonal, so that only coordinates with a small entry can be below t.
    """
    d, rank = factors.shape
    V, signs = _rooted(factors, weights)
    positive = int((signs > 0).sum())
    ends = float(diagonal.min()), float(diagonal.max())
    low = ends[0]
    if positive < rank:
        # A millionth more than the floor, for the rounding of 1 - FLOOR.
        gap = diagonal * (1.0 - 1.000001 * FLOOR)
        if not _proof(gap[:0], V[:0], V.T @ (V / gap[:, None]), d, signs) > 0:
            return 0.0
        low = FLOOR * ends[0]
    order = np.argpartition(diagonal, min(2 * positive + 16, d) - 1)
    few, many = order[: 2 * positive + 16], order[2 * positive + 16 :]
    entries = np.sort(diagonal[few])
    if positive < d:
        high = float(entries[positive])
        if low == high:
            return low
    else:
        high = ends[1] + float((V**2).sum())
    rest_diagonal, rest = diagonal[many], V[many]
    if len(many):
        high = min(high, float(rest_diagonal.min()) * (1.0 - 1e-9))
    whole = rest.T @ rest if len(many) and ends[0] == ends[1] else None

    def proof(t: float) -> float:
        if whole is None:
            gram = rest.T @ (rest / (rest_diagonal - t)[:, None])
        else:
            gram = whole / (ends[0] - t)
        return _proof(diagonal[few] - t, V[few], gram, d, signs)

    return _largest_proven(proof, low, high)


def _largest_proven(proof: Callable[[float], float], low: float, high: float) -> float:
    """The largest t from ``low`` to ``high`` found with a proof above 0; ``low`` has one.

    By the rule of false position as "Illinois" has it, and bisection where it is slow.
    """
    if high <= low:
        return low
    above = proof(high)
    if above > 0:
        return high
    below = max(proof(low), -above * 1e-3, 1e-300)
    last = 0
    for turn in range(100):
        # Steps that fall on an end go a little inside of it: the other end comes close too.
        least = 4e-12 * high
        if high - low <= 2.5 * least:
            break
        t = low + (high - low) * below / (below - above)
        if turn % 3 == 2 or not low < t < high:
            t = 0.5 * (low + high) if high < 4.0 * low else float(np.sqrt(low * high))
        t = min(max(t, low + least), high - least)
        found = proof(t)
        if found > 0:
            low, below, above = t, found, above * (0.5 if last > 0 else 1.0)
        else:
            high, above, below = t, found, below * (0.5 if last < 0 else 1.0)
        last = 1 if found > 0 else -1
    return low


def _proof(few_gap: Numbers, few: Numbers, gram: Numbers, d: int, signs: Numbers) -> float:
    """Above 0 only where E + V J V^T is positive definite, E diagonal and J = diag(signs).

    E is given as some entries of any sign, with their rows of V, and by V^T E^-1 V of all the
    others, which are above 0. The matrix [[E, V], [V^T, -J^-1]] has as many positive eigenvalues
    as E + V J V^T has, and those of -J; eliminating the others' coordinates from it leaves
    [[E_few, V_few], [V_few^T, -J - gram]], whose positive eigenvalues are counted. More of
    ``gram`` lowers them all, so that it is rounded up; scaling rows and columns alike keeps signs.
    """
    rank, size = len(signs), len(few) + len(signs)
    positive = int((signs > 0).sum())
    if size == positive:
        return 1.0
    more = np.diag(gram) * (EPS * rank * (d + 64))
    by = 1.0 / np.sqrt(1.0 + np.diag(gram))
    own = few * by
    rows = np.abs(few_gap) + (own**2).sum(axis=1)
    to = 1.0 / np.sqrt(np.where(rows > 0, rows, 1.0))
    whole = np.empty((size, size))
    whole[: len(few), : len(few)] = np.diag(few_gap * to**2)
    whole[: len(few), len(few) :] = own * to[:, None]
    whole[len(few) :, : len(few)] = whole[: len(few), len(few) :].T
    whole[len(few) :, len(few) :] = -(np.diag(signs + more) + gram) * by * by[:, None]
    return float(np.linalg.eigvalsh(whole)[positive] - 16.0 * EPS * size * (size + 8))
