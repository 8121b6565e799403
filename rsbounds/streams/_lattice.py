"""Lattice noise on the CPU: integers from a table, added to the input's, and then turned to floats.

The words are those of the base draw "bits". Whether a column keeps its cell is decided by the
rest of the word; where that equals the first bits of the threshold, which is rare, 128 further
bits decide, from a counter of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rsbounds._kernels import kernel
from rsbounds.streams._cells import FURTHER
from rsbounds.streams._philox import _CHUNK, _LOW, philox_words

_u32, _i32, _u64 = np.uint32, np.int32, np.uint64


@kernel
def _integers(w: Any, e: Any, count: int, packed: Any, bits: int) -> bool:
    """``e`` = columns drawn by the words ``w``; True where some need further bits."""
    shift, cells = _u32(32 - bits), _u32((1 << bits) - 1)
    inside, wide = _u32((1 << (32 - bits)) - 1), _u32(bits)
    equal = _u32(0)
    for lane in range(4):
        for i in range(count):
            word = w[lane, i]
            column = _u32(word >> shift)
            held = packed[column]
            part, threshold = _u32(word & inside), _u32(held >> wide)
            keeps = _u32(part < threshold)
            # Arithmetic in place of a branch, which would be taken at random.
            other = _u32(held & cells)
            e[lane, i] = _i32(other ^ _u32(_u32(column ^ other) & _u32(_u32(0) - keeps)))
            equal |= _u32(part == threshold)
    return bool(equal != _u32(0))


@kernel
def _settle(
    w: Any, e: Any, count: int, packed: Any, rest: Any, bits: int, at: int, columns: int,
    draw: int, index: int, key: Any,
) -> None:  # fmt: skip
    """Decide by further bits where the first ones are equal."""
    shift, inside = _u32(32 - bits), _u32((1 << (32 - bits)) - 1)
    more = np.empty((4, 1), np.uint32)
    for lane in range(4):
        for i in range(count):
            word = w[lane, i]
            column = _u32(word >> shift)
            if _u32(word & inside) == _u32(packed[column] >> _u32(bits)):
                number = lane * columns + at + i
                further = (draw >> 32) | FURTHER
                philox_words(more, 1, number, draw & _LOW, index, further, key)
                high = (_u64(more[0, 0]) << _u64(32)) | _u64(more[1, 0])
                low = (_u64(more[2, 0]) << _u64(32)) | _u64(more[3, 0])
                if high < rest[column, 0] or (high == rest[column, 0] and low < rest[column, 1]):
                    e[lane, i] = _i32(column)


@kernel
def _write(out: Any, x: Any, e: Any, spacing: Any) -> None:
    # In two steps, for numba widens what it adds: an integer that the type holds, and its product.
    for i in range(out.size):
        out[i] = _i32(x[i] + e[i])
    for i in range(out.size):
        out[i] *= spacing


@kernel
def fill_lattice(
    out: Any, x: Any, packed: Any, rest: Any, bits: int, spacing: Any, first: int,
    index: int, key: Any,
) -> None:  # fmt: skip
    """``out[r] = spacing * (x + (lattice draw first + r of input index))``.

    Parameters
    ----------
    out : (m, d) float32, float64 or int32
        Written.
    x : (d,) int32
        The input, in spacings, less the table's reach.
    packed, rest, bits
        Of the `Table`.
    spacing : float32, float64 or int32
        Of ``out``'s type.
    first, index : int
        First draw, and the input's stream number below 2^32.
    key : (2,) uint32
        Key of the seed and role.
    """
    width = out.shape[1]
    columns = (width + 3) // 4
    w = np.empty((4, _CHUNK), np.uint32)
    e = np.empty((4, _CHUNK), np.int32)
    for row in range(out.shape[0]):
        draw = first + row
        for at in range(0, columns, _CHUNK):
            count = min(_CHUNK, columns - at)
            philox_words(w, count, at, draw & _LOW, index, draw >> 32, key)
            if _integers(w, e, count, packed, bits):
                _settle(w, e, count, packed, rest, bits, at, columns, draw, index, key)
            for lane in range(4):
                start = lane * columns + at
                stop = min(start + count, width)
                if stop > start:
                    _write(out[row, start:stop], x[start:stop], e[lane, : stop - start], spacing)
