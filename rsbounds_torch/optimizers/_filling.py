"""Axes from how much each direction is felt, without a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BISECTIONS = 100


def filled(
    axes: NDArray[np.float64],
    felt: NDArray[np.float64],
    part: NDArray[np.float64],
    budget: float,
    highest: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(B, r) axes of the largest volume within a budget, none below the given ones.

    To first order the margin falls with the variance sum axes^2 felt of the gap of scores along
    the directions. The volume, prod axes^part, is largest where that sum has grown by the share
    ``budget`` and each axis that grew has its part of it: axes^2 felt = level part, as water
    fills a vessel.

    Parameters
    ----------
    axes, felt : (B, r) float64
        Axes > 0, and sums > 0 of mean squares of the gap's derivative along the directions that
        each axis stretches.
    part : (B, r) float64
        The exponents >= 0 of the axes in the volume.
    budget : float
        Share of the variance that is added.
    highest : (B,) float64
        No axis grows beyond this.
    """
    # A coordinate that lies among the leading directions has no part of the volume.
    given, rate = axes**2, np.maximum(part, 1e-12) / felt
    top = np.maximum(highest[:, None] ** 2, given)
    wanted = (1.0 + budget) * (given * felt).sum(axis=1)
    low = np.log((given / rate).min(axis=1))
    high = np.log((top / rate).max(axis=1))
    for _ in range(_BISECTIONS):
        level = 0.5 * (low + high)
        spent = (np.clip(np.exp(level)[:, None] * rate, given, top) * felt).sum(axis=1)
        low, high = np.where(spent <= wanted, level, low), np.where(spent <= wanted, high, level)
    return np.asarray(np.sqrt(np.clip(np.exp(low)[:, None] * rate, given, top)))
