"""Checks on arguments: every refusal names the argument, its value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Largest number of draws per row: counts stay exact in float64 with room to spare.
MAX_N = 10**12


def number(name: str, value: Any, allowed: str, ok: Callable[[float], bool]) -> float:
    """``value`` as a float that satisfies ``ok``; ``allowed`` says so in words."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(value) != 0:
            raise TypeError
        result = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}") from None
    if math.isnan(result) or not ok(result):
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
    return result


def alpha(value: Any, name: str = "alpha") -> float:
    """An error probability strictly between 0 and 1."""
    return number(name, value, "a number with 1e-300 <= value < 1", lambda v: 1e-300 <= v < 1)


def positive(name: str, value: Any) -> float:
    """A finite number above zero."""
    return number(name, value, "a finite number > 0", lambda v: 0 < v < math.inf)


def non_negative(name: str, value: Any) -> float:
    """A finite number, zero or above."""
    return number(name, value, "a finite number >= 0", lambda v: 0 <= v < math.inf)


def integer(name: str, value: Any, *, low: int, high: int | None = None) -> int:
    """A whole number in ``[low, high]``."""
    allowed = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
    return int(value)


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """One of a few words."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(words)}")
    return value


def known_options(owner: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse option names that ``owner`` does not have."""
    names = sorted(known)
    for name in given:
        if name not in names:
            has = ", ".join(names) if names else "none"
            raise ValueError(f"{name} is not an option of {owner}; its options: {has}")


def unmasked(name: str, values: Any) -> None:
    """Refuse masked arrays, also as rows of a list: numpy drops the mask and keeps the values."""
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"{name} is a masked array, or holds one; allowed: plain arrays (leave masked entries "
            "out, or fill them, before)"
        )
    if isinstance(values, (list, tuple)):
        for value in values:
            if isinstance(value, (list, tuple, np.ma.MaskedArray)):
                unmasked(name, value)


def array(name: str, values: Any) -> NDArray[Any]:
    """``values`` as a numpy array, or a sentence that says why it is none.

    Masked entries are refused; tensors of PyTorch are read where that is plain; columns of
    pandas with nullable integers are read where no entry is missing.
    """
    unmasked(name, values)
    _plain_tensor(name, values)
    try:
        table = np.asarray(values)
    except ValueError:
        if hasattr(values, "__array__"):
            raise  # The error of an array-like object names its own reason.
        raise ValueError(f"{name} has rows of different lengths; allowed: a table") from None
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be read as an array ({error})") from None
    return _plain_numbers(name, table) if table.dtype.kind == "O" else table


def real_array(name: str, values: Any) -> NDArray[np.float64]:
    """``values`` as float64; refuses what `array` refuses, and what are no real numbers."""
    table = array(name, values)
    if table.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {table.dtype}; allowed: real numbers")
    return table.astype(np.float64)


def _plain_tensor(name: str, values: Any) -> None:
    if isinstance(values, (list, tuple)):
        for value in values:
            if isinstance(value, (list, tuple)) or hasattr(value, "requires_grad"):
                _plain_tensor(name, value)
    # By its attributes, since nothing here imports PyTorch.
    if not (hasattr(values, "requires_grad") and hasattr(values, "layout")):
        return
    for found, what, remedy in (
        (values.requires_grad, "requires gradients", "detach()"),
        (str(values.layout) != "torch.strided", f"has layout {values.layout}", "to_dense()"),
        (str(values.dtype) == "torch.bfloat16", "has type bfloat16", "float()"),
        (str(values.device) != "cpu", f"is on device {values.device}", "cpu()"),
    ):
        if found:
            raise ValueError(f"{name} is a tensor that {what}; allowed: {name}.{remedy}")


def _plain_numbers(name: str, table: NDArray[Any]) -> NDArray[Any]:
    """Objects that are all whole numbers, or all real ones, as such an array."""
    flat = table.ravel().tolist()
    for i, value in enumerate(flat):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            where = ", ".join(str(int(j)) for j in np.unravel_index(i, table.shape))
            raise ValueError(f"{name}[{where}] is {value!r}; allowed: numbers")
    try:
        return np.array(flat).reshape(table.shape)
    except OverflowError:
        raise ValueError(f"{name} holds numbers beyond 64 bits; allowed: counts") from None


def count_table(values: ArrayLike, name: str = "counts") -> NDArray[Any]:
    """The shape and type of a count table, (B, K) or (K,), without touching its entries.

    A single row comes back as (1, K). Nothing is copied when ``values`` is an array, so a
    table can be larger than half of the memory; `count_rows` checks entries chunk by chunk.
    """
    table = array(name, values)
    if table.ndim == 1:
        table = table[None, :]
    if table.ndim != 2:
        raise ValueError(f"{name} has shape {table.shape}; allowed: (K,) or (B, K)")
    if table.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} has type {table.dtype}; allowed: integers (or floats with integer values)"
        )
    if table.shape[0] == 0:
        raise ValueError(f"{name} has no rows; allowed: at least one row")
    if table.shape[1] < 2:
        raise ValueError(
            f"{name} has {table.shape[1]} column(s); allowed: at least 2 classes (K >= 2)"
        )
    return table


def count_rows(
    rows: NDArray[Any], first_row: int = 0, name: str = "counts"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries of some rows as int64, and their sums n; errors give the row in the table."""

    def refuse(bad: NDArray[np.bool_], what: str) -> None:
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name}[{first_row + row}, {column}] is {rows[row, column]}; allowed: {what}"
        )

    if rows.dtype.kind == "f":
        whole = np.isfinite(rows) & (np.floor(rows) == rows)
        if not whole.all():
            refuse(~whole, "whole numbers >= 0 (no NaN, no fractions)")
        # Smaller floats cannot be compared with the largest n.
        rows = rows.astype(np.float64)
    if rows.dtype.kind != "u" and rows.min() < 0:
        refuse(rows < 0, "whole numbers >= 0")
    if rows.max() > MAX_N:
        refuse(rows > MAX_N, f"whole numbers up to {MAX_N:.0e}")
    # A copy, so that kernels see one type of array whatever the caller's flags.
    counts = np.array(rows, dtype=np.int64, order="C")
    n = counts.sum(axis=1)
    if n.min() <= 0:
        raise ValueError(
            f"{name} row {first_row + int(np.argmin(n))} sums to 0; allowed: n >= 1 draws per row"
        )
    if n.max() > MAX_N:
        row = int(np.argmax(n))
        raise ValueError(
            f"{name} row {first_row + row} sums to {n[row]}; allowed: at most {MAX_N:.0e} draws"
        )
    return counts, n


def class_indices(
    values: ArrayLike, rows: int, classes: int, name: str = "top"
) -> NDArray[np.int64]:
    """(B,) class indices in ``[0, classes)``; a scalar serves every row."""
    indices = array(name, values)
    if indices.dtype.kind not in "iuf" or indices.ndim > 1:
        raise ValueError(
            f"{name} is {values!r}; allowed: a class index, or one for each of {rows} rows"
        )
    if indices.ndim == 0:
        indices = np.broadcast_to(indices, (rows,))
    if indices.shape[0] != rows:
        raise ValueError(
            f"{name} has {indices.shape[0]} entries; allowed: {rows}, one for each row"
        )
    if indices.dtype.kind == "f":
        indices = indices.astype(np.float64)
    bad = ~((indices >= 0) & (indices < classes))
    if indices.dtype.kind == "f":
        bad |= np.floor(indices) != indices
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name}[{row}] is {indices[row]}; allowed: a class index from 0 to {classes - 1}"
        )
    return indices.astype(np.int64)
