"""A margin from bounds on its two probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._kernels import kernel
from rsbounds._numerics import EPS, margin_down


@kernel
def _kernel(
    p_a: NDArray[np.float64], p_b: NDArray[np.float64], probit: bool, lower: NDArray[np.float64]
) -> None:
    for i in range(p_a.size):
        if probit:
            # The rounding of 1 - p is harmless: a tail above one half is not looked at.
            lower[i] = margin_down(p_a[i], 1.0 - p_a[i], p_b[i], 1.0 - p_b[i], True)
        else:
            value = p_a[i] - p_b[i]
            lower[i] = max(value - EPS * abs(value), -1.0)


def margin_of_pair(p_a: ArrayLike, p_b: ArrayLike, probit: bool) -> NDArray[np.float64]:
    """`Problem.margin`: g(p_a, p_b) rounded down, for (b,) numbers from 0 to 1."""
    low, high = np.broadcast_arrays(
        _validate.real_array("p_a", p_a), _validate.real_array("p_b", p_b)
    )
    for name, values in (("p_a", low), ("p_b", high)):
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"{name}[{i}] is {values.flat[i]}; allowed: 0 to 1")
    lower = np.empty(low.size)
    _kernel(np.ascontiguousarray(low), np.ascontiguousarray(high), probit, lower)
    return lower
