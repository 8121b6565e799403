"""Products of a matrix with many draws, the same bits whatever the batch and the machine.

A library's product of matrices sums in an order that depends on the number of rows, on its
threads and on the processor; counts would depend on the batch size with it. Here every number
is one sum from its first term to its last, in float64, without contraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel

#: Columns, and draws, that share a pass: what they need stays in the second-level cache.
_COLUMNS, _DRAWS = 1024, 16


@kernel
def _add_one(out: Any, row: Any, z: float) -> None:
    for j in range(out.size):
        out[j] = out[j] + z * row[j]


@kernel
def _add_four(out: Any, one: Any, two: Any, three: Any, four: Any, z: Any) -> None:
    a, b, c, d = z[0], z[1], z[2], z[3]
    for j in range(out.size):
        out[j] = (((out[j] + a * one[j]) + b * two[j]) + c * three[j]) + d * four[j]


@kernel
def _add_four_twice(
    out: Any, other: Any, one: Any, two: Any, three: Any, four: Any, z: Any, y: Any
) -> None:
    """`_add_four` for two draws, which share what is read of the rows."""
    a, b, c, d = z[0], z[1], z[2], z[3]
    e, f, g, h = y[0], y[1], y[2], y[3]
    for j in range(out.size):
        p, q, r, s = one[j], two[j], three[j], four[j]
        out[j] = (((out[j] + a * p) + b * q) + c * r) + d * s
        other[j] = (((other[j] + e * p) + f * q) + g * r) + h * s


@kernel
def _add_product(
    out: Any, to: int, left: int, z: Any, of: int, draws: int, rows: Any, at: int, width: int
) -> None:
    """``out[to:, left:] += z[of:] @ rows[:, at:]`` for some draws and columns, term by term.

    Slices of one row are contiguous; slices of a block would not be.
    """
    end, stop, terms = left + width, at + width, z.shape[1]
    whole = terms - terms % 4
    for k in range(0, whole, 4):
        one, two = rows[k, at:stop], rows[k + 1, at:stop]
        three, four = rows[k + 2, at:stop], rows[k + 3, at:stop]
        for i in range(0, draws - 1, 2):
            _add_four_twice(
                out[to + i, left:end], out[to + i + 1, left:end], one, two, three, four,
                z[of + i, k : k + 4], z[of + i + 1, k : k + 4],
            )  # fmt: skip
        if draws % 2:
            last = draws - 1
            _add_four(out[to + last, left:end], one, two, three, four, z[of + last, k : k + 4])
    for k in range(whole, terms):
        for i in range(draws):
            _add_one(out[to + i, left:end], rows[k, at:stop], z[of + i, k])


@kernel
def fill_dense(out: Any, z: Any, matrix: Any) -> None:
    """``out = z @ matrix``, for (m, d) draws and a (d, d) matrix."""
    draws, d = z.shape
    out[:] = 0.0
    for start in range(0, draws, _DRAWS):
        count = min(_DRAWS, draws - start)
        for left in range(0, d, _COLUMNS):
            width = min(_COLUMNS, d - left)
            _add_product(out, start, left, z, start, count, matrix, left, width)


@kernel
def _add_inner(inner: Any, z: Any, of: int, draws: int, factors: Any) -> None:
    """``inner += z[of:] @ factors`` for some draws; few columns, so that four draws share a row."""
    d, rank = factors.shape
    flat = factors.reshape(-1)
    whole = draws - draws % 4
    for i in range(0, whole, 4):
        one, two, three, four = inner[i], inner[i + 1], inner[i + 2], inner[i + 3]
        a, b, c, e = z[of + i], z[of + i + 1], z[of + i + 2], z[of + i + 3]
        for k in range(d):
            p, q, r, s = a[k], b[k], c[k], e[k]
            start = k * rank
            for j in range(rank):
                value = flat[start + j]
                one[j] += p * value
                two[j] += q * value
                three[j] += r * value
                four[j] += s * value
    for i in range(whole, draws):
        one, a = inner[i], z[of + i]
        for k in range(d):
            for j in range(rank):
                one[j] += a[k] * factors[k, j]


@kernel
def fill_low_rank(out: Any, z: Any, diagonal: Any, factors: Any, weights: Any) -> None:
    """``out = diagonal * z + ((z @ factors) * weights) @ factors.T``, for (m, d) draws."""
    draws, d = z.shape
    rank = factors.shape[1]
    inner = np.empty((_DRAWS, rank))
    turned = np.empty((rank, _COLUMNS))
    for start in range(0, draws, _DRAWS):
        count = min(_DRAWS, draws - start)
        inner[:] = 0.0
        _add_inner(inner, z, start, count, factors)
        inner *= weights
        for left in range(0, d, _COLUMNS):
            width = min(_COLUMNS, d - left)
            for k in range(width):
                for j in range(rank):
                    turned[j, k] = factors[left + k, j]
            for i in range(start, start + count):
                for k in range(left, left + width):
                    out[i, k] = diagonal[k] * z[i, k]
            _add_product(out, start, left, inner, 0, count, turned, 0, width)


def dense(z: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """``z @ matrix`` in float64, for (m, d) draws of any float type."""
    # A kernel checks no bounds.
    if matrix.shape != (z.shape[1], z.shape[1]):
        raise ValueError(f"matrix has shape {matrix.shape} for draws of {z.shape[1]} numbers")
    out = np.empty(z.shape)
    fill_dense(out, _own(z), _fixed(matrix))
    return out


def low_rank(
    z: NDArray[Any],
    diagonal: NDArray[np.float64],
    factors: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``diagonal * z + ((z @ factors) * weights) @ factors.T`` in float64, for (m, d) draws."""
    d = z.shape[1]
    if diagonal.shape != (d,) or factors.shape != (d, weights.size) or weights.ndim != 1:
        raise ValueError(
            f"diagonal, factors and weights have shapes {diagonal.shape}, {factors.shape} and "
            f"{weights.shape} for draws of {d} numbers"
        )
    out = np.empty(z.shape)
    fill_low_rank(out, _own(z), _fixed(diagonal), _fixed(factors), _fixed(weights))
    return out


def _own(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64, order="C")


def _fixed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A read-only view: a kernel is compiled for arrays that can be written again."""
    view = np.ascontiguousarray(values, dtype=np.float64).view()
    view.flags.writeable = False
    return view
