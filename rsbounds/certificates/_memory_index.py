"""Columns that grow, and which of very many stored regions a new one may meet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Bytes of a block of a column; nothing that is stored moves again.
_BLOCK_BYTES = 1 << 24
#: Above so many coordinates, two numbers stand for each of so many groups of them.
_GROUPS = 32
#: Rows of a block of what every search reads, and coordinates of a piece.
_ROWS, _PIECE = 65536, 128
#: Sizes whose squares are far from the ends of single precision.
_SMALL, _LARGE = 1e-15, 1e15


class Column:
    """An array that grows at its end, in blocks.

    Parameters
    ----------
    shape : tuple of int
        Shape of an entry.
    dtype : numpy type
        Type of its numbers.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, rows: int | None = None) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._rows = int(np.clip(_BLOCK_BYTES // max(size, 1), 16, 65536)) if rows is None else rows
        self._shape, self.dtype = shape, np.dtype(dtype)
        self._blocks: list[NDArray[Any]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, value: Any) -> None:
        block, row = divmod(self._count, self._rows)
        if block == len(self._blocks):
            self._blocks.append(np.empty((self._rows, *self._shape), dtype=self.dtype))
        self._blocks[block][row] = value
        self._count += 1

    def __getitem__(self, rows: Rows) -> NDArray[Any]:
        found = np.empty((len(rows), *self._shape), dtype=self.dtype)
        blocks, at = np.divmod(rows, self._rows)
        for block in np.unique(blocks):
            here = blocks == block
            found[here] = self._blocks[block][at[here]]
        return found

    def wider(self) -> Column:
        """The same in double precision."""
        wide = Column(self._shape, np.float64)
        for block in self.filled():
            for value in block:
                wide.append(value)
        return wide

    def farther(
        self, rows: Rows, point: Numbers, limit: Numbers, pieces: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether rows are proven to be farther from a point than roots of the limits."""
        from rsbounds.certificates._memory_kernel import farther

        far = np.zeros(len(rows), dtype=np.bool_)
        blocks, at = np.divmod(rows, self._rows)
        for block in np.unique(blocks):
            here = np.flatnonzero(blocks == block)
            found = np.zeros(len(here), dtype=np.bool_)
            farther(self._blocks[block], at[here], point, limit[here], pieces, found)
            far[here] = found
        return far

    def filled(self) -> list[NDArray[Any]]:
        """The blocks, as far as they are filled."""
        return [
            block[: self._count - start * self._rows] for start, block in enumerate(self._blocks)
        ]


class Index:
    """Stored points with l2 reaches: which of them may be within reach of a new one.

    Points are mapped to a few numbers such that distances never grow: in each group of
    coordinates the mean (times the root of their number) and the length of what is left. Where
    two maps are farther apart than the two reaches, so are the points. The maps are compared in
    single precision, and the bound on its error is taken off. What is left is looked at piece by
    piece, until the squares of the differences alone are more than the reaches.

    Parameters
    ----------
    dimension : int
        d.

    Attributes
    ----------
    points : Column
        The points; float32 while that holds them all.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._groups = _GROUPS if dimension > 2 * _GROUPS else 0
        width = 2 * self._groups or dimension
        self.points = Column((dimension,), np.float32)
        self._maps = Column((width,), np.float32, _ROWS)
        self._lengths = Column((), np.float64, _ROWS)
        self._reaches = Column((), np.float64, _ROWS)
        self._error = 2.0**-22 * (width + 8)
        self._origin: Numbers | None = None
        pieces = np.arange(-(-dimension // _PIECE))
        # Neighbouring pieces are alike (the border of a picture): take them far apart.
        self._pieces = np.argsort((pieces * 0.6180339887498949) % 1.0) * _PIECE

    def append(self, point: Numbers, reach: float) -> None:
        """Store a point; a negative reach is never met."""
        if self._origin is None:
            self._origin = point.copy()
        with np.errstate(all="ignore"):
            found = self._map(point)
            self._maps.append(found)
            self._lengths.append(np.sqrt((found**2).sum()))
            if self.points.dtype == np.float32 and (point.astype(np.float32) != point).any():
                self.points = self.points.wider()
        self._reaches.append(reach)
        self.points.append(point)

    def near(self, point: Numbers, reach: float) -> Rows:
        """Rows whose distance from a point is not proven to be above the sum of the reaches."""
        if self._origin is None:
            return np.zeros(0, dtype=np.intp)
        with np.errstate(all="ignore"):
            rows = self._near_maps(point, reach)
            if not self._groups:
                return rows
            limit = ((self._reaches[rows] + reach) * 1.000001) ** 2
        return rows[~self.points.farther(rows, point, limit, self._pieces)]

    def _near_maps(self, point: Numbers, reach: float) -> Rows:
        found = self._map(point)
        single, length = found.astype(np.float32), np.sqrt((found**2).sum())
        parts = zip(
            self._maps.filled(), self._lengths.filled(), self._reaches.filled(), strict=True
        )
        start, rows = 0, []
        for maps, lengths, reaches in parts:
            size = lengths + length
            square = lengths**2 + length**2 - 2.0 * (maps @ single).astype(np.float64)
            # What rounding to single precision does to the maps and to their product.
            far = square - self._error * size**2 > ((reaches + reach) * 1.000001) ** 2
            far &= (size > _SMALL) & (size < _LARGE)
            # Comparisons with a NaN are False: what cannot be told is near.
            rows.append(np.flatnonzero(~(far | (reaches < 0))) + start)
            start += len(maps)
        return np.concatenate(rows)

    def _map(self, point: Numbers) -> Numbers:
        away = point - (0.0 if self._origin is None else self._origin)
        if not self._groups:
            return np.asarray(away)
        size = -(-self._dimension // self._groups)
        table = np.zeros((self._groups, size))
        table.reshape(-1)[: self._dimension] = away
        mean = table.mean(axis=1)
        rest = np.sqrt(((table - mean[:, None]) ** 2).sum(axis=1))
        return np.concatenate([mean * np.sqrt(size), rest])
