"""Axes from how much each direction is felt, without a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BISECTIONS = 100


def filled(
    axes: NDArray[np.float64],
    felt: NDArray[np.float64],
    budget: float,
    highest: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(B, r) axes of the largest product within a budget, none below the given ones.

    To first order the margin falls with the variance sum axes^2 felt of the gap of scores along
    the directions. The product of the axes is largest where that sum has grown by the share
    ``budget`` and what was given to each axis that grew is the same: axes^2 felt = level, as
    water fills a vessel.

    Parameters
    ----------
    axes, felt : (B, r) float64
        Axes > 0, and mean squares > 0 of the gap's derivative along each direction.
    budget : float
        Share of the variance that is added.
    highest : (B,) float64
        No axis grows beyond this.
    """
    given = axes**2
    top = np.maximum(highest[:, None] ** 2, given)
    wanted = (1.0 + budget) * (given * felt).sum(axis=1)
    low = np.log((given * felt).min(axis=1))
    high = np.log((top * felt).max(axis=1))
    for _ in range(_BISECTIONS):
        level = 0.5 * (low + high)
        spent = (np.clip(np.exp(level)[:, None] / felt, given, top) * felt).sum(axis=1)
        low, high = np.where(spent <= wanted, level, low), np.where(spent <= wanted, high, level)
    return np.asarray(np.sqrt(np.clip(np.exp(low)[:, None] / felt, given, top)))
