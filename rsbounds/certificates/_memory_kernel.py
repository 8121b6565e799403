"""Which of very many points are far from one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel


@kernel
def farther(
    points: NDArray[Any],
    rows: NDArray[np.int64],
    point: NDArray[np.float64],
    limit: NDArray[np.float64],
    pieces: NDArray[np.int64],
    far: NDArray[np.bool_],
) -> None:
    """Whether squared distances are above limits, by partial sums."""
    for k in range(len(rows)):
        row, total = rows[k], 0.0
        for piece in pieces:
            for j in range(piece, min(piece + 128, len(point))):
                gap = point[j] - points[row, j]
                total += gap * gap
            # The limits are a millionth too large, the sums off by less.
            if total > limit[k] and total < 1e300 and limit[k] > 1e-290:
                far[k] = True
                break
