"""The p-value of PREDICT."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel
from rsbounds._numerics import EPS, upper_tail


@kernel
def _kernel(first: NDArray[np.int64], second: NDArray[np.int64], p: NDArray[np.float64]) -> None:
    for i in range(first.size):
        if first[i] == second[i]:
            p[i] = 1.0
            continue
        log_tail, _, error = upper_tail(float(first[i]), float(first[i] + second[i]), 0.5, 0.5)
        p[i] = min(2.0 * math.exp(log_tail + error) * (1.0 + 4.0 * EPS * (1.0 - log_tail)), 1.0)


def two_sided_p_values(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """P(|X - Y| at least as large) for X + Y = first + second fair coin flips, rounded up."""
    p = np.empty(first.size)
    _kernel(np.ascontiguousarray(first), np.ascontiguousarray(second), p)
    return p
