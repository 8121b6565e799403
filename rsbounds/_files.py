"""Counts and samples from files: TSV, CSV, NPY, NPZ. Nothing is evaluated or unpickled."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate


@dataclass(frozen=True)
class CountFile:
    """What a file of counts held.

    Attributes
    ----------
    counts : (B, K) array
        Estimation counts.
    label : (B,) array or None
        True classes.
    select : (B, K) array or None
        Selection counts.
    """

    counts: NDArray[Any]
    label: NDArray[Any] | None
    select: NDArray[Any] | None


def read_counts(
    path: str | os.PathLike[str],
    *,
    counts: str = "class_",
    label: str = "label",
    select: str = "select_",
) -> CountFile:
    """Read a table of counts.

    Parameters
    ----------
    path : str or path
        ``.tsv``/``.csv``: a header line, one input per line. ``.npy``: a (B, K) array.
        ``.npz``: arrays ``counts`` and optionally ``label`` and ``select``.
    counts, select : str
        Prefix of the columns with estimation and selection counts, in class order. A text
        table without a header, or without such columns, is counts throughout except for the
        label and selection columns.
    label : str
        Column of true classes.

    Returns
    -------
    CountFile
        Arrays, not yet validated as counts.

    Raises
    ------
    ValueError
        A file that is missing, mixed in width, or not of one of these forms.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"FILE is {str(path)!r}; allowed: a file that exists")
    suffix = file.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _read_numpy(file, suffix)
    if suffix not in (".tsv", ".csv", ".txt"):
        raise ValueError(f"FILE is {str(path)!r}; allowed endings: .tsv, .csv, .txt, .npy, .npz")
    return _read_text(file, counts, label, select)


def _read_numpy(file: Path, suffix: str) -> CountFile:
    try:
        if suffix == ".npy":
            return CountFile(np.load(file, mmap_mode="r", allow_pickle=False), None, None)
        with np.load(file, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise ValueError(f"FILE {file.name} cannot be read as {suffix}: {error}") from None
    if "counts" not in held:
        raise ValueError(
            f"FILE {file.name} holds arrays {sorted(held)}; allowed: one named 'counts', "
            "optionally 'label' and 'select'"
        )
    return CountFile(held["counts"], held.get("label"), held.get("select"))


def _read_text(file: Path, counts: str, label: str, select: str) -> CountFile:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"FILE {file.name} is not UTF-8 text; allowed: TSV or CSV") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError(f"FILE {file.name} is empty; allowed: a header line and rows of counts")
    delimiter = "\t" if "\t" in lines[0] else ","
    cells = list(csv.reader(lines, delimiter=delimiter))
    if all(_is_number(cell) for cell in cells[0]):
        header = [f"{counts}{i}" for i in range(len(cells[0]))]
    else:
        header, cells = [name.strip() for name in cells[0]], cells[1:]
    if not cells:
        raise ValueError(f"FILE {file.name} has a header only; allowed: rows of counts")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise ValueError(f"FILE {file.name} names column {sorted(repeated)[0]!r} twice")
    for number, row in enumerate(cells):
        if len(row) != len(header):
            raise ValueError(
                f"FILE {file.name} row {number} has {len(row)} cells; allowed: {len(header)}, "
                "as in the header"
            )
    columns = {name: [row[i] for row in cells] for i, name in enumerate(header)}
    chosen = [name for name in header if name.startswith(counts)]
    selected = [name for name in header if name.startswith(select)]
    if not chosen:
        raise ValueError(
            f"FILE {file.name} has columns {', '.join(header)}; allowed: count columns whose "
            f"names start with {counts!r} (--counts PREFIX names another prefix)"
        )
    return CountFile(
        _numbers(file.name, columns, chosen),
        _numbers(file.name, columns, [label])[:, 0] if label in columns else None,
        _numbers(file.name, columns, selected) if selected else None,
    )


def read_samples(path: str | os.PathLike[str]) -> tuple[NDArray[Any], list[str]]:
    """Read bounded samples, one row per quantity, and the names of the quantities.

    Parameters
    ----------
    path : str or path
        ``.npy``: an (n,) or (B, n) array, one quantity per row. ``.npz``: such an array named
        ``samples``, or the only one. ``.tsv``/``.csv``/``.txt``: one draw per line, one
        quantity per column, a header line if there is one.

    Returns
    -------
    (B, n) array and list of str
        Samples, not yet validated against their support, and B names.

    Raises
    ------
    ValueError
        A file that is missing, mixed in width, or not of one of these forms.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"FILE is {str(path)!r}; allowed: a file that exists")
    suffix = file.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _samples_numpy(file, suffix)
    if suffix not in (".tsv", ".csv", ".txt"):
        raise ValueError(f"FILE is {str(path)!r}; allowed endings: .tsv, .csv, .txt, .npy, .npz")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"FILE {file.name} is not UTF-8 text; allowed: TSV or CSV") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError(f"FILE {file.name} is empty; allowed: one draw per line")
    cells = list(csv.reader(lines, delimiter="\t" if "\t" in lines[0] else ","))
    names = [str(i) for i in range(len(cells[0]))]
    if not all(_is_number(cell) for cell in cells[0]):
        names, cells = [name.strip() for name in cells[0]], cells[1:]
    if not cells:
        raise ValueError(f"FILE {file.name} has a header only; allowed: one draw per line")
    table = np.empty((len(names), len(cells)))
    for i, row in enumerate(cells):
        if len(row) != len(names):
            raise ValueError(
                f"FILE {file.name} row {i} has {len(row)} cells; allowed: {len(names)}, as in the "
                "first line"
            )
        for j, cell in enumerate(row):
            if not _is_number(cell):
                raise ValueError(
                    f"FILE {file.name} row {i}, column {names[j]!r} is {cell!r}; allowed: numbers"
                )
            table[j, i] = float(cell)
    return table, names


def _samples_numpy(file: Path, suffix: str) -> tuple[NDArray[Any], list[str]]:
    try:
        held = np.load(file, allow_pickle=False)
        if suffix == ".npz":
            with held:
                key = "samples" if "samples" in held.files else held.files[0]
                if key != "samples" and len(held.files) > 1:
                    raise ValueError(f"it holds arrays {sorted(held.files)}, none named 'samples'")
                held = held[key]
    except (ValueError, OSError, EOFError, KeyError, IndexError) as error:
        raise ValueError(f"FILE {file.name} cannot be read as {suffix}: {error}") from None
    table = np.atleast_2d(held)
    return table, [str(i) for i in range(len(table))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(name: str, columns: dict[str, list[str]], wanted: list[str]) -> NDArray[Any]:
    out = np.empty((len(columns[wanted[0]]), len(wanted)), dtype=np.int64)
    for j, column in enumerate(wanted):
        for i, cell in enumerate(columns[column]):
            try:
                value = int(cell) if cell.strip().lstrip("+-").isdigit() else float(cell)
                if value != int(value) or abs(value) > _validate.MAX_N:
                    raise ValueError
            except (ValueError, OverflowError):
                raise ValueError(
                    f"FILE {name} row {i}, column {column!r} is {cell!r}; allowed: whole numbers"
                ) from None
            out[i, j] = int(value)
    return out
