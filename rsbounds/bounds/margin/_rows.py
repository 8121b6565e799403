"""Kernels that several margin methods share."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import part

#: What is found for a row: the bound, the log of its p-value's bound, cells proved, evaluations,
#: and whether the search settled, came to its end for want of evaluations, and lost by that.
FOUND = np.dtype(
    [
        ("lower", np.float64),
        ("log_p", np.float64),
        ("cells", np.int64),
        ("used", np.int64),
        ("settled", np.bool_),
        ("short", np.bool_),
        ("exhausted", np.bool_),
    ],
    align=True,
)
Found = Annotated[Any, FOUND]


@part
def largest_other(row: NDArray[np.int64], top: int) -> int:
    """The largest count of a class other than ``top``."""
    best = -1
    for c in range(row.size):
        if c != top and row[c] > best:
            best = row[c]
    return best
