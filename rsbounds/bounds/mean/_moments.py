"""Running moments that a bet may rest on: those of the samples before its own."""

from __future__ import annotations

from rsbounds._kernels import part


@part
def took(
    x: float, weight: float, total: float, squares: float, cubes: float
) -> tuple[float, float, float]:
    """Total, and sums of squares and cubes of the deviations, once x was seen.

    Each sample deviates from the mean that has seen it, total/weight, where ``weight`` counts
    x and what stood for samples before the first: with 1/2 at a weight of 1, and 1/4 for the
    squares, squares/weight is the V_t of Waudby-Smith and Ramdas 2023.
    """
    total += x
    step = x - total / weight
    return total, squares + step * step, cubes + step * step * step
