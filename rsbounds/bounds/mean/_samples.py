"""Samples in [a, b]: what they may be, and the way to the unit interval and back."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate

Side = Literal["lower", "upper", "both"]
SIDES = ("lower", "upper", "both")

_EPS = float(np.finfo(np.float64).eps)


def checked_cap(name: str, value: Any) -> float:
    """A share of the largest bet: above 0, at most 0.999 (rounding errors grow beyond)."""
    return _validate.number(
        name, value, "a number with 0 < value <= 0.999", lambda v: 0 < v <= 0.999
    )


def checked_caps(caps: Any, weights: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Caps in (0, 0.999] and as many positive weights that add to 1."""
    try:
        chosen = tuple(checked_cap("caps", c) for c in caps)
        shares = tuple(_validate.positive("weights", w) for w in weights)
    except TypeError:
        raise ValueError(
            f"caps and weights are {caps!r} and {weights!r}; allowed: two sequences of numbers"
        ) from None
    if not chosen or len(chosen) != len(shares) or abs(math.fsum(shares) - 1.0) > 1e-9:
        raise ValueError(
            f"weights is {weights!r} for {len(chosen)} caps; allowed: one positive number for "
            "each cap, adding to 1"
        )
    return chosen, shares


def checked_support(support: Any) -> tuple[float, float]:
    """A finite interval (a, b) with a < b."""
    try:
        a, b = (float(v) for v in support)
    except (TypeError, ValueError):
        a, b = math.nan, math.nan
    if not (math.isfinite(a) and math.isfinite(b) and a < b and math.isfinite(b - a)):
        raise ValueError(f"support is {support!r}; allowed: (a, b) with a < b, both finite")
    return a, b


def checked_samples(
    samples: ArrayLike, support: tuple[float, float], name: str = "samples"
) -> tuple[NDArray[np.float64], float]:
    """(B, n) float64 samples inside the support, and how far some may have been moved.

    A single row comes back as (1, n). Samples of a smaller floating-point type are compared
    in that type, in which the ends of the support are other numbers: whatever equals one
    becomes that end exactly. The second value is the largest such move; 0 for float64.
    """
    table = _validate.array(name, samples)
    if table.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {table.dtype}; allowed: real numbers")
    if table.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {table.shape}; allowed: (n,) or (B, n)")
    shape = table.shape
    if 0 in shape:
        raise ValueError(f"{name} is empty (shape {shape}); allowed: at least one sample per row")
    low, high = support
    if table.dtype.kind == "f" and table.dtype.itemsize < 8:
        with np.errstate(over="ignore"):
            low, high = (float(table.dtype.type(v)) for v in support)
    rows = np.atleast_2d(np.ascontiguousarray(table, dtype=np.float64))
    outside = ~((rows >= low) & (rows <= high)).reshape(shape)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        value = table[where]
        raise ValueError(
            f"{name}[{', '.join(map(str, where))}] is {value}; allowed: numbers in "
            f"[{support[0]:g}, {support[1]:g}]"
        )
    if (low, high) == support:
        return rows, 0.0
    moved = np.where(rows == low, support[0], np.where(rows == high, support[1], rows))
    return moved, max(abs(low - support[0]), abs(high - support[1]))


def checked_ends(
    table: NDArray[np.float64],
    support: tuple[float, float],
    name: str,
    single: bool = False,
    method: str = "",
) -> None:
    """Refuse validated samples that are neither end of the support."""
    inside = (table != support[0]) & (table != support[1])
    if inside.any():
        where = tuple(int(i) for i in np.argwhere(inside)[0])
        shown = where[-1:] if single else where
        with_method = f" with method {method}" if method else ""
        raise ValueError(
            f"{name}[{', '.join(map(str, shown))}] is {table[where]}; allowed{with_method}: "
            f"{support[0]:g} and {support[1]:g} only"
        )


def to_unit(table: NDArray[np.float64], support: tuple[float, float]) -> NDArray[np.float64]:
    """(x - a)/(b - a) in [0, 1], off by at most 2 EPS; exact for the support [0, 1]."""
    a, b = support
    if (a, b) == (0.0, 1.0):
        return table
    return np.asarray(np.clip((table - a) / (b - a), 0.0, 1.0))


def from_unit(
    value: NDArray[np.float64], support: tuple[float, float], reflected: bool, gap: float = 0.0
) -> NDArray[np.float64]:
    """A lower bound on the unit scale, back on the support and rounded outward.

    ``reflected`` says that it bounds the mean of 1 - y, so that an upper bound comes back;
    ``gap`` is how far a sample may have been moved on the support.
    """
    a, b = support
    if (a, b) == (0.0, 1.0) and not reflected:
        return value
    # 1 - y and the map to [0, 1] moved each sample, and so the mean, by at most 4 EPS.
    safe = np.maximum(value - 4.0 * _EPS, 0.0)
    slack = 4.0 * _EPS * (abs(a) + abs(b)) + gap
    if reflected:
        upper = np.minimum(b - (b - a) * safe + slack, b)
        return np.asarray(np.where(value > 4.0 * _EPS, upper, b))
    lower = np.maximum(a + (b - a) * safe - slack, a)
    return np.asarray(np.where(value > 4.0 * _EPS, lower, a))
