"""Upper bounds on singular values by Gram iteration, rounding errors included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPS = float(np.finfo(np.float64).eps)


def up(value: float, steps: int = 1) -> float:
    """A number some floats above ``value``."""
    for _ in range(steps):
        value = math.nextafter(value, math.inf)
    return value


def spectral_norm_upper(matrices: NDArray[Any], error: float = 0.0) -> float:
    """Upper bound on the largest singular value of any of some matrices.

    Gram iteration in float64: with G_0 = W* W scaled to Frobenius norm 1 and G_{t+1} = G_t^2,
    scaled again, ||G_t||_2 <= sqrt(scale ||G_{t+1}||_2 + rounding), and the last 2-norm is at
    most the Frobenius norm. A product of k x k matrices rounds by at most
    (k + 4) eps ||A||_F ||B||_F (Higham 2002, section 3.5, complex entries included).

    Parameters
    ----------
    matrices : (..., m, k) float64 or complex128 array
        Finite numbers.
    error : float
        Bound on the 2-norm of what was lost when they were computed.

    Returns
    -------
    float
        At least the largest singular value; above it by a factor below 1.0001.

    Examples
    --------
    >>> import numpy as np
    >>> 2.0 <= spectral_norm_upper(np.diag([2.0, 1.0])) < 2.001
    True
    """
    w = np.asarray(matrices)
    w = w.reshape(-1, *w.shape[-2:])
    largest = float(np.abs(w).max(initial=0.0))
    if largest == 0.0:
        return error
    # A power of two, so that nothing is rounded and no square over- or underflows.
    unit = 2.0 ** math.floor(math.log2(largest))
    w = w / unit
    if w.shape[1] < w.shape[2]:
        w = w.conj().swapaxes(1, 2)
    inner, side = w.shape[1], w.shape[2]
    slack = 8.0 * EPS
    gram = w.conj().swapaxes(1, 2) @ w
    squares = (np.abs(w) ** 2).sum(axis=(1, 2)) * (1.0 + (inner * side + 8) * EPS)
    lost = [(inner + 8) * EPS * squares]
    scales = [np.ones(len(w))]
    # rank^(1 / 2^(t+1)) - 1 below 1e-4.
    rounds = max(math.ceil(math.log2(max(math.log(side), 1e-9) / 1e-4)), 1)
    norm = _frobenius(gram)
    settled = 0.0
    for done in range(rounds):
        safe = np.where(norm > 0, norm, 1.0)
        scales.append(safe)
        gram = gram / safe[:, None, None]
        gram = gram @ gram
        # The matrix was scaled to norm 1, up to rounding of the division.
        lost.append(np.full(len(gram), (side + 16) * EPS))
        norm = _frobenius(gram)
        # Each bound is within this factor of its singular value: matrices that cannot be the
        # largest need no further squarings, and their bounds so far are kept.
        upper = _down_the_ladder(norm, scales, lost)
        keep = upper * side ** (0.5 ** (done + 2)) >= upper.max()
        settled = max(settled, float(upper[~keep].max(initial=0.0)))
        gram, norm, upper = gram[keep], norm[keep], upper[keep]
        scales = [scale[keep] for scale in scales]
        lost = [part[keep] for part in lost]
    result = max(settled, float(upper.max()))
    return up(math.sqrt(result * (1.0 + slack)) * unit * (1.0 + slack) + error, 2)


def _down_the_ladder(
    norm: NDArray[np.float64], scales: list[NDArray[np.float64]], lost: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Bounds on ||G_0|| from the Frobenius norms of the last G: ||G_t||^2 = ||G_t^2||."""
    upper = norm + lost[-1]
    for t in range(len(lost) - 1, 0, -1):
        upper = np.sqrt(upper) * scales[t] * (1.0 + 8.0 * EPS) + lost[t - 1]
    return upper


def _frobenius(gram: NDArray[Any]) -> NDArray[np.float64]:
    """Upper bounds on the Frobenius norms."""
    side = gram.shape[-1]
    squares = (gram.real**2 + gram.imag**2).sum(axis=(1, 2))
    return np.asarray(np.sqrt(squares) * (1.0 + (side * side + 8) * EPS))
