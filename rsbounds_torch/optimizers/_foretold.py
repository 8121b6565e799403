"""What a certificate of many draws can be expected to say, from the shares of a few."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import betaincinv, ndtri


class Foretold:
    """The margin that a certificate of n draws can be expected to have.

    Parameters
    ----------
    n, alpha : int, float
        Draws of the certificate and its error probability.
    scale : {"probit", "linear"}
        Scale of the margin.
    """

    def __init__(self, n: int, alpha: float, scale: str) -> None:
        self.n = n
        # Where a share q of n draws is no vote, at most u(q) are (Clopper and Pearson).
        grid = np.linspace(0.0, np.log1p(0.999 * n), 1025)
        k = np.expm1(grid)
        # Of few draws the bound rounds to 1, whose quantile is no number.
        u = np.minimum(betaincinv(k + 1.0, n - k, 1.0 - alpha), 1.0 - 2.0**-53)
        self._end = float(grid[-1])
        self._curve = PchipInterpolator(grid, -ndtri(u) if scale == "probit" else 0.5 - u)
        self._slope = self._curve.derivative()
        #: The margin of n votes of n, and one that is small beside it.
        self.largest = 2.0 * float(self._curve(0.0))
        self.small = 0.04 * abs(self.largest)

    def part(self, q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(B,) what a share q of other answers leaves of the margin, and its derivative."""
        k = self.n * np.clip(q, 0.0, 1.0)
        at = np.minimum(np.log1p(k), self._end)
        return self._curve(at), self._slope(at) * self.n / (1.0 + k)

    def margin(
        self, shares: NDArray[np.float64], top: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(B,) margins at (B, K + 1) shares of the answers, and (B, K + 1) derivatives.

        The last share is that of draws that are no answer. The margin is between the class
        ``top`` and the largest of the others; only differences between shares matter.
        """
        rows = np.arange(len(shares))
        others = shares.copy()
        others[rows, top] = 0.0
        second = others.argmax(axis=1)
        lost, slope = self.part(others.sum(axis=1))
        taken, slope_b = self.part(others[rows, second])
        weights = np.broadcast_to(slope[:, None], shares.shape).copy()
        weights[rows, second] += slope_b
        weights[rows, top] = 0.0
        return lost + taken, weights

    def of_votes(
        self, counts: NDArray[np.int64], top: NDArray[np.int64], draws: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(B,) margins that (B, K) votes of few draws foretell, and their relative errors.

        There is half a vote more against the class ``top``, and a draw that is no vote is one.
        The error is the margin's standard error as a part of it, by the delta method.
        """
        rows = np.arange(len(counts))
        others = counts.copy()
        others[rows, top] = 0
        against = np.stack([draws - counts[rows, top], others.max(axis=1)])
        shares = (against + 0.5) / (draws + 1.0)
        parts, slopes = self.part(shares)
        errors = np.abs(slopes) * np.sqrt(shares * (1.0 - shares) / draws)
        margin = parts.sum(axis=0)
        # Where one class has all votes against, both parts move together.
        return margin, errors.sum(axis=0) / np.maximum(margin, self.small)

    def log_slope(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B,) derivative of the logarithm of the margin, continued by a line where it is small."""
        return np.asarray(1.0 / np.maximum(margin, self.small))


#: The curve for n, alpha and a scale, computed once.
foretold = lru_cache(maxsize=8)(Foretold)
