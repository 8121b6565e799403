"""A classifier whose smoothed answers are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate


@dataclass(frozen=True)
class LinearClassifier:
    """Class 1 where ``weights . x + offset > 0``, else class 0.

    Under Gaussian noise of standard deviation sigma, class 1 has the probability
    Phi((w . x + b)/(sigma |w|)), and the smoothed answer changes at the distance
    |w . x + b|/|w|, the largest radius that any sound certificate of its answer can give.

    Parameters
    ----------
    weights : tuple of float
        (d,) weights, not all zero.
    offset : float
        Added to the product.

    Examples
    --------
    >>> from rsbounds.testing import LinearClassifier
    >>> line = LinearClassifier((3.0, 4.0), -1.0)
    >>> line([[1.0, 1.0], [0.0, 0.0]]), line.distance([[1.0, 1.0]])
    (array([1, 0]), array([1.2]))
    >>> f"{line.smoothed_probability([[1.0, 1.0]], sigma=0.6)[0]:.4f}"
    '0.9772'
    """

    weights: tuple[float, ...]
    offset: float = 0.0

    def __post_init__(self) -> None:
        norm = math.hypot(*self.weights)
        if not (0.0 < norm < math.inf and math.isfinite(self.offset)):
            raise ValueError(
                f"weights and offset are {self.weights!r} and {self.offset!r}; allowed: finite "
                "numbers, the weights not all zero"
            )

    def _signed(self, x: ArrayLike) -> NDArray[np.float64]:
        w = np.array(self.weights)
        batch = np.atleast_1d(_validate.real_array("x", x))
        batch = batch.reshape(len(batch), -1)
        if batch.shape[1] != w.size:
            raise ValueError(
                f"x has {batch.shape[1]} numbers in an input; allowed: {w.size}, the weights"
            )
        return np.asarray((batch @ w + self.offset) / math.hypot(*self.weights))

    def __call__(self, batch: ArrayLike) -> NDArray[np.int64]:
        """(m, ...) inputs of d numbers to (m,) classes."""
        return np.asarray(self._signed(batch) > 0.0, dtype=np.int64)

    def distance(self, x: ArrayLike) -> NDArray[np.float64]:
        """(m,) l2 distances to the boundary."""
        return np.abs(self._signed(x))

    def smoothed_probability(self, x: ArrayLike, sigma: float) -> NDArray[np.float64]:
        """(m,) probabilities of class 1 under Gaussian noise."""
        from scipy.special import ndtr

        return np.asarray(ndtr(self._signed(x) / _validate.positive("sigma", sigma)))
