"""Bounded samples from files: which way the draws lie, and what is refused."""

from __future__ import annotations

import array
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._reading import TextTable, arrays, is_number, opened


def read_samples(
    path: str | os.PathLike[str], *, axis: int | None = None
) -> tuple[NDArray[Any], list[str]]:
    """Read bounded samples, and the names of the quantities.

    Parameters
    ----------
    path : str or path
        One draw per row in every format, one quantity per column. ``.npy``: an (n,) or (n, B)
        array; ``.npz``: such an array named ``samples``; text (``.tsv``, ``.csv``, ``.txt``,
        also with ``.gz``; ``-`` is standard input): a header line if there is one. A column
        without a name, as pandas writes an index, is left out.
    axis : {0, 1}, optional
        Where the draws lie: 0 down, 1 across. Needed where there are fewer rows than columns.

    Returns
    -------
    (B, n) array and list of str
        Samples, not yet validated against their support, and B names.

    Raises
    ------
    ValueError
        A file that is missing, mixed in width, or not of one of these forms; a table that is
        wider than it is long, without ``axis``.
    """
    names: list[str] | None = None
    with opened(path) as (kind, stream, name):
        if kind == "text":
            table, names = _samples_of_text(TextTable(stream, name, ()))
        else:
            held = arrays(stream, kind, name)
            key = "samples" if kind == "npz" else ""
            if key not in held:
                raise ValueError(
                    f"{name} holds arrays {sorted(held)}; allowed: one named 'samples'"
                )
            table = np.asarray(held[key])
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2:
        raise ValueError(f"{name} holds shape {table.shape}; allowed: (n,) or (n, B)")
    rows, columns = table.shape
    if axis is None and rows < columns:
        raise ValueError(
            f"{name} has {rows} rows of {columns} columns: {rows} draws of {columns} quantities, "
            "if draws are rows; allowed: --axis 0 if they are, --axis 1 if they are columns"
        )
    if axis == 1:
        return table, [str(i) for i in range(rows)]
    return table.T, names if names is not None else [str(i) for i in range(columns)]


def _samples_of_text(text: TextTable) -> tuple[NDArray[np.float64], list[str]]:
    try:
        header = text.header or [str(i) for i in range(text.width)]
        kept = [i for i, column in enumerate(header) if column]
        if not kept:
            raise ValueError(f"{text.name} names no column; allowed: one quantity per column")
        values = array.array("d")
        for number, row in enumerate(text.rows()):
            for i in kept:
                if not is_number(row[i]):
                    raise ValueError(
                        f"{text.name} row {number}, column {header[i]!r} is {row[i]!r}; allowed: "
                        "numbers"
                    )
                values.append(float(row[i]))
    finally:
        text.close()
    return np.frombuffer(values).reshape(-1, len(kept)), [header[i] for i in kept]
