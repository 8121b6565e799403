"""Where to look for a hyperplane between two regions; what is found proves nothing by itself.

For sets A and B whose centres are v apart, the largest t such that t A does not meet B is

    max over w of (w . v - h_B(w)) / h_A(w),        h the support functions,

the distance of B from A's centre in A's own gauge; a direction w that attains it separates A
from B wherever they can be separated. It is closed for balls in one norm, a search over one
number for ellipsoids (w solves (B + mu A) w = v with w^T B w = 1, which is the maximiser of
s(1-s) v^T ((1-s) A + s B)^-1 v where A and B touch), and piecewise linear in one number for
cross-polytopes. Where kinds are mixed, candidates are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rsbounds.regions._base import Region

Numbers = NDArray[np.float64]

#: Steps of Newton's method; it gains digits from the first, and is done in five to twelve.
_STEPS = 40


def candidates(a: Region, b: Region, v: Numbers) -> list[Numbers]:
    """(B, d) directions, one of which separates the regions where they can be separated.

    Parameters
    ----------
    a, b : Region
        One region or B; the second's centres are v from the first's.
    v : (B, d) float64
    """
    norms = {a.norm, b.norm}
    with np.errstate(all="ignore"):
        size_a, size_b = (_size(region)[:, None] for region in (a, b))
        if norms == {"linf"}:
            return [_largest(v)]
        if a._turned(v.shape[1]) or b._turned(v.shape[1]):
            found = [_general(a, b, v)]
            return found if norms == {"l2"} else [*found, v, np.sign(v), _largest(v)]
        axes_a = size_a * a._shape(v.shape[1]).axes
        axes_b = size_b * b._shape(v.shape[1]).axes
        if norms == {"l1"}:
            return [_cross(axes_a, axes_b, v)]
        found = [_diagonal(axes_a, axes_b, v)]
        return found if norms == {"l2"} else [*found, v, np.sign(v), _largest(v)]


def _size(region: Region) -> Numbers:
    # An empty set meets nothing: any size will do in the search.
    return np.where(region.radius > 0, region.radius, 1.0)


def _largest(v: Numbers) -> Numbers:
    """The coordinate in which two balls of l_inf are farthest apart."""
    found = np.zeros_like(v)
    rows = np.arange(len(v))
    largest = np.abs(v).argmax(axis=1)
    found[rows, largest] = np.sign(v[rows, largest])
    return found


def _cross(axes_a: Numbers, axes_b: Numbers, v: Numbers) -> Numbers:
    """Cross-polytopes: |w_i| = min(1/a_i, k/b_i) for the best k.

    In k the sum of |v_i| min(1/a_i, k/b_i) - k is concave and piecewise linear; its slope
    falls below 0 at one of the b_i/a_i.
    """
    ends = np.broadcast_to(axes_b / axes_a, v.shape)
    order = np.argsort(-ends, axis=1)
    slope = np.cumsum(np.take_along_axis(np.abs(v) / axes_b, order, axis=1), axis=1)
    where = np.take_along_axis(order, np.argmax(slope >= 1.0, axis=1)[:, None], axis=1)
    best = np.take_along_axis(ends, where, axis=1)
    return np.asarray(np.sign(v) * np.minimum(1.0 / axes_a, best / axes_b))


def _diagonal(axes_a: Numbers, axes_b: Numbers, v: Numbers) -> Numbers:
    """Ellipsoids along the coordinates: w_i = v_i / (b_i^2 + mu a_i^2) with ||b w|| = 1.

    1/||b w|| is concave in mu, so that Newton's method climbs to the root from mu = 0.
    """
    u, rho = v / axes_b, (axes_a / axes_b) ** 2
    mu = np.zeros((len(v), 1))
    for _ in range(_STEPS):
        part = (u / (1.0 + rho * mu)) ** 2
        size = np.sqrt(part.sum(axis=1, keepdims=True))
        slope = (part * rho / (1.0 + rho * mu)).sum(axis=1, keepdims=True) / size**3
        step = (1.0 - 1.0 / size) / slope
        # A row whose centre lies in the other set has no root; mu = 0 is as good as any.
        step = np.where(np.isfinite(step) & (step > 0), step, 0.0)
        mu += step
        # The bound is flat at its maximum: the square of this is lost.
        if not (step > 1e-9 * mu).any():
            break
    return np.asarray(u / axes_b / (1.0 + rho * mu))


def _general(a: Region, b: Region, v: Numbers) -> Numbers:
    """The same for ellipsoids of any axes, pair by pair."""
    found = np.empty_like(v)
    for row, offset in enumerate(v):
        one_a, one_b = (region[min(row, len(region) - 1)] for region in (a, b))
        found[row] = _pair(one_a, one_b, offset)
    return found


def _pair(a: Region, b: Region, v: Numbers) -> Numbers:
    forms = _Forms(a, b, len(v))
    mu, w = 0.0, v
    try:
        for _ in range(_STEPS):
            solve = forms.solver(mu)
            w = solve(v)
            bw = forms.times_b(w)
            size = np.sqrt(max(float(w @ bw), 0.0))
            slope = float(solve(forms.times_a(w)) @ bw) / size**3
            step = (1.0 - 1.0 / size) / slope
            if not (np.isfinite(step) and step > 1e-9 * mu):
                break
            mu += step
    except np.linalg.LinAlgError:
        # Axes too far apart for floats: the last direction is a direction.
        pass
    return w


class _Forms:
    """The matrices of two ellipsoids, and solutions of (B + mu A) y = v.

    O(d k^2) where both are diagonal plus k directions, O(d^3) where they are dense.
    """

    def __init__(self, a: Region, b: Region, d: int) -> None:
        self._a, self._b = a._shape(d).one(0), b._shape(d).one(0)
        self._square_a, self._square_b = float(_size(a)[0]) ** 2, float(_size(b)[0]) ** 2
        directions = self._a[1].shape[1] + self._b[1].shape[1]
        diagonal = self._a[0].min() > 0 and self._b[0].min() > 0
        self._dense = not diagonal or 2 * directions > d

    def times_a(self, w: Numbers) -> Numbers:
        return _times(self._a, w) * self._square_a

    def times_b(self, w: Numbers) -> Numbers:
        return _times(self._b, w) * self._square_b

    def solver(self, mu: float) -> Callable[[Numbers], Numbers]:
        diagonal = self._square_b * self._b[0] + mu * self._square_a * self._a[0]
        factors = np.hstack([self._b[1], self._a[1]])
        # Here, since every law imports the regions and few need this.
        import scipy.linalg

        core = scipy.linalg.block_diag(
            self._square_b * self._b[2], mu * self._square_a * self._a[2]
        )
        if self._dense:
            whole = np.diag(diagonal) + factors @ core @ factors.T
            held = scipy.linalg.cho_factor(whole, check_finite=False)
            return lambda rhs: np.asarray(scipy.linalg.cho_solve(held, rhs, check_finite=False))
        # Woodbury, in the form that needs no inverse of the core.
        shares = factors / diagonal[:, None]
        inner = np.eye(len(core)) + core @ (factors.T @ shares)

        def solve(rhs: Numbers) -> Numbers:
            inside = np.linalg.solve(inner, core @ (shares.T @ rhs))
            return np.asarray(rhs / diagonal - shares @ inside)

        return solve


def _times(form: tuple[Numbers, ...], w: Numbers) -> Numbers:
    diagonal, factors, core = form
    return np.asarray(diagonal * w + factors @ (core @ (factors.T @ w)))
