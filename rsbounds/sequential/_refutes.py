"""Capital against "the radius is at least r", for the class and one fixed competitor.

The statement is p_A >= h(p_c), a set that is not convex. Votes come in two steps: for one of the
pair A, c or not, with chance s = p_A + p_c, and then for c with the share x = p_c / s. h is
nondecreasing and h(b) / b nonincreasing (h is concave and h(0) >= 0), so where s is at most
h(b) + b the statement makes p_c <= b and x <= b / (h(b) + b). Cut s into pieces
at some b: on each piece the product of a capital against "s is in the piece" and one against
that bound on x is a nonnegative supermartingale, because the two are bets on different steps.
The statement's p lies in one of the pieces, so that the least of their capitals is an e-process.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from rsbounds.bounds.mean._one_sided import log_capital

#: Places of the cuts, in units of the largest b.
_CUTS = np.exp(-np.geomspace(0.1, 10.0, 11))
#: Parts of the capital against a piece: none, "s is larger", "s is smaller"; and of that against
#: the share that is not staked.
_PARTS = (0.8, 0.1, 0.1)
_KEPT = 0.05

Prior = tuple[float, float]


class Pieces:
    """The pieces of each of B statements.

    Parameters
    ----------
    margin : (B,) float64
        The margin of the statement, rounded down; laws with a margin scale.
    end : (2, B) float64
        (1 - b, b) at the end of the curve, where the rest is empty, both rounded up.
    probit : bool
        Whether the margin is on the probit scale.
    """

    def __init__(self, margin: NDArray[np.float64], end: NDArray[np.float64], probit: bool) -> None:
        b = np.maximum(end[1] * _CUTS[:, None], 1e-300)
        if probit:
            a = ndtr(ndtri(b) * (1.0 + 1e-12) + np.minimum(margin, 1e9)) * (1.0 - 1e-12)
        else:
            a = b + margin * (1.0 - 1e-15)
        a, up = a * (1.0 - 1e-12), 1.0 + 1e-12
        # Shares of c and of A in the pair: largest b first.
        self._share = np.concatenate([end[None, 1], np.minimum(b / (a + b) * up, 1.0)])
        self._own = np.concatenate([end[None, 0], np.minimum(a / (a + b) * up, 1.0)])
        # Sums that part the pieces, rounded down.
        self._sum = np.minimum((a + b) * (1.0 - 1e-12), 1.0)

    def refuted(
        self, own: NDArray[np.int64], rival: NDArray[np.int64], n: NDArray[np.int64],
        rows: NDArray[np.int64], level: NDArray[np.float64], prior: Prior,
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Whether the capitals of all pieces reach e^level, for some rows."""
        pieces = len(self._share)
        pair = own + rival
        at = (self._sum[:, rows] * n > pair).sum(axis=0)
        reached = np.ones(len(rows), dtype=bool)
        for turn in range(pieces):
            # First the piece that the votes are in, which is the hardest to refute.
            left = np.flatnonzero(reached)
            if left.size == 0:
                break
            k, row = (at[left] + turn) % pieces, rows[left]
            share = log_capital(
                rival[left], own[left], self._share[k, row], self._own[k, row], prior
            )
            share = np.logaddexp(math.log(_KEPT), math.log(1.0 - _KEPT) + share)
            found = share + self._outside(k, row, pair[left], n[left])
            reached[left] = found >= level[left] * (1.0 + 1e-15)
        return reached

    def _outside(
        self, k: NDArray[np.int64], row: NDArray[np.int64], pair: NDArray[np.int64],
        n: NDArray[np.int64],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Log capital against "s is in piece k"."""
        last, even = len(self._sum), (0.5, 0.5)
        above = self._sum[np.maximum(k - 1, 0), row]
        below = self._sum[np.minimum(k, last - 1), row]
        up = log_capital(pair, n - pair, above, (1.0 - above) + 2.0**-52, even)
        down = log_capital(n - pair, pair, (1.0 - below) + 2.0**-52, below, even)
        parts = [
            np.full(len(k), math.log(_PARTS[0])),
            np.where(k > 0, math.log(_PARTS[1]) + up, -math.inf),
            np.where(k < last, math.log(_PARTS[2]) + down, -math.inf),
        ]
        return np.asarray(np.logaddexp.reduce(parts, axis=0)) - 1e-12
