"""What follows from a law's curve by bisection, and multiples, rounded to the safe side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate

#: Error allowed for in what a curve returns.
_ERROR = 1e-14

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = float(np.finfo(np.float64).max)
#: Below this, products of numbers lose the accuracy that rounding down counts on.
_SMALLEST = 1e-290

Curve = Callable[[Any, Any], NDArray[np.float64]]


class Law(Protocol):
    """What is asked of a noise law here."""

    @property
    def unions(self) -> bool: ...

    @property
    def batch_shape(self) -> tuple[int, ...]: ...

    def roc(self, r: ArrayLike, b: ArrayLike) -> NDArray[np.float64]: ...

    def check_rows(self, rows: int) -> None: ...


def multiples(values: NDArray[np.float64], unit: ArrayLike) -> NDArray[np.float64]:
    """So many units, rounded down and finite; 0 where values are not above 0, or below 1e-290."""
    size = np.minimum(unit, _LARGEST)
    with np.errstate(over="ignore", under="ignore"):
        found = np.clip(values, 0.0, _LARGEST) * (size * (1.0 - 4.0 * _EPS))
    found = np.where(size >= _SMALLEST, np.minimum(found, _LARGEST), 0.0)
    return np.where(found >= _SMALLEST, found, 0.0)


def probabilities(
    p_a: ArrayLike, p_b: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds on p_A and on the others, checked and broadcast together."""
    low, high = np.broadcast_arrays(
        _validate.real_array("p_a", p_a), _validate.real_array("p_b", p_b)
    )
    for name, values in (("p_a", low), ("p_b", high)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} is {values!r}; allowed: probabilities from 0 to 1")
    return low, high


def pair_of_margin(
    margin: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shares around 1/2 with a margin p_A - p_c, the first rounded down, the other up."""
    high = np.minimum(0.5 * (1.0 - np.clip(margin, 0.0, 1.0)) * (1.0 + 2.0 * _EPS), 0.5)
    return np.nextafter(1.0 - high, 0.0), high


def inverse(roc: Curve, r: ArrayLike, c: ArrayLike) -> NDArray[np.float64]:
    """Largest b with roc(r, b) <= c, rounded down; 0 where there is none."""
    distance, level = np.broadcast_arrays(
        np.asarray(r, dtype=np.float64), np.asarray(c, dtype=np.float64)
    )
    shape = np.shape(roc(distance, level))

    def inside(b: NDArray[np.float64]) -> NDArray[np.bool_]:
        return roc(distance, b) <= level - _ERROR

    return _bisected(inside, np.zeros(shape), np.ones(shape))


def radius_of_pair(
    roc: Curve,
    p_a: NDArray[np.float64],
    p_b: NDArray[np.float64],
    batch_shape: tuple[int, ...],
    size: int = 1,
) -> NDArray[np.float64]:
    """Largest r with size roc(r, 1 - p_a) + roc(r, p_b) < size, rounded down; 0 where none."""

    def inside(r: NDArray[np.float64]) -> NDArray[np.bool_]:
        return size * roc(r, 1.0 - p_a) + roc(r, p_b) < size * (1.0 - _ERROR)

    start = np.zeros(np.broadcast_shapes(p_a.shape, batch_shape))
    far = np.ones_like(start)
    # Radii beyond 2^60 units are cut there.
    for _ in range(60):
        further = inside(far)
        if not further.any():
            break
        far = np.where(further, 2.0 * far, far)
    near = _bisected(inside, start, far)
    return np.where(inside(near), near, 0.0)


def radius_of_unions(
    law: Law, p_a: NDArray[np.float64], p_t: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(B,) largest r at which, for some t, one of t classes that have p_t together has less than A.

    ``p_t`` is (B, k), for t from 1 to k; of a law whose curve is about single classes, t is 1.
    """
    law.check_rows(len(p_a))
    sizes = range(1, p_t.shape[1] + 1 if law.unions else 2)
    found = [radius_of_pair(law.roc, p_a, p_t[:, t - 1], law.batch_shape, t) for t in sizes]
    return np.asarray(np.max(found, axis=0))


def _bisected(
    inside: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The end of where ``inside`` holds, from below: it holds at the result, or at ``low``."""
    for _ in range(200):
        middle = 0.5 * (low + high)
        if ((middle <= low) | (middle >= high)).all():
            break
        holds = inside(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low
