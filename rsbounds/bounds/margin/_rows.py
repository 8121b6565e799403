"""Kernels that several margin methods share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel


@kernel
def largest_other(row: NDArray[np.int64], top: int) -> int:
    """The largest count of a class other than ``top``."""
    best = -1
    for c in range(row.size):
        if c != top and row[c] > best:
            best = row[c]
    return best
