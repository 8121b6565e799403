"""Counts from files: which column means what, and what is refused."""

from __future__ import annotations

import array
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._reading import TextTable, arrays, is_number, listed, opened

#: What a total, a draw count, an identifier or a label is called, and no class.
_NO_CLASS = {"total", "sum", "all", "n", "n0", "count", "counts", "votes", "draws", "top", "argmax"}
_NO_CLASS |= {"id", "idx", "index", "row", "label", "labels", "target", "true", "predicted"}
#: Names that a column or an array has unless another is given; the plural serves too.
_LABELS = ("label", "labels")


@dataclass(frozen=True)
class CountFile:
    """What a file of counts held.

    Attributes
    ----------
    counts : (B, K) array
        Estimation counts.
    label : (B,) array or None
        True classes, as indices.
    select : (B, K) array or None
        Selection counts.
    id : list of str or None
        What identifies each row.
    classes : tuple of str or None
        Names of the K classes, where they have names.
    """

    counts: NDArray[Any]
    label: NDArray[Any] | None
    select: NDArray[Any] | None
    id: list[str] | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Names:
    """What was said about the columns; None where nothing was."""

    counts: str
    label: str | None
    select: str | None
    id: str | None
    classes: tuple[str, ...] | None


def read_counts(
    path: str | os.PathLike[str],
    *,
    counts: str = "class_",
    label: str | None = None,
    select: str | None = None,
    id: str | None = None,
    classes: Sequence[str] | None = None,
) -> CountFile:
    """Read a table of counts.

    Parameters
    ----------
    path : str or path
        Text (``.tsv``, ``.csv``, ``.txt``, each also with ``.gz``; ``-`` is standard input): a
        header line, one input per line. ``.npy``: a (B, K) array. ``.npz``: arrays ``counts``
        and optionally ``label`` and ``select``.
    counts : str
        Prefix of the columns with estimation counts, which are placed by their number, wherever
        they stand. Where no column is numbered, what follows the prefix names the class.
    label, select, id : str, optional
        Column of true classes (``label``), prefix of the selection columns (``select_``) and
        column that identifies the rows; in an NPZ file, names of arrays. One that is given must
        be there.
    classes : sequence of str, optional
        Names of the classes, in order: of numbered columns, or the names of the columns
        themselves, with or without the prefix. Labels may then be names.

    Returns
    -------
    CountFile
        Arrays, not yet validated as counts.

    Raises
    ------
    ValueError
        A file that is missing, mixed in width, or not of one of these forms; columns whose
        numbers have gaps, repeat or do not begin at 0; a column that is given and not there.
    """
    if not counts:
        raise ValueError("--counts is ''; allowed: a prefix, or --classes with the columns")
    if classes is not None and (len(set(classes)) != len(classes) or "" in classes):
        raise ValueError(f"--classes is {','.join(classes)!r}; allowed: distinct names")
    said = _Names(counts, label, select, id, None if classes is None else tuple(classes))
    with opened(path) as (kind, stream, name):
        if kind == "text":
            return _counts_of_text(TextTable(stream, name, (counts, *_LABELS)), said)
        return _counts_of_arrays(arrays(stream, kind, name), kind, name, said)


# -- which column is which -----------------------------------------------------------------


@dataclass(frozen=True)
class _Placed:
    """Columns of the classes, in class order, and how they were told."""

    columns: list[int]
    names: tuple[str, ...] | None
    by_name: bool = False


def _place(name: str, header: list[str], prefix: str, said: _Names, bare: bool) -> _Placed:
    """Columns with a prefix, by number, or by the names that follow it.

    ``bare`` allows the given class names without the prefix.
    """
    taken = {column for column in (said.label, said.id) if column is not None}
    found = [i for i, c in enumerate(header) if c.startswith(prefix) and c not in taken]
    suffixes = [header[i].removeprefix(prefix) for i in found]
    shown = listed([header[i] for i in found]) or "none"
    if said.classes is not None:
        at = [_column_of(header, prefix, cls, bare, taken) for cls in said.classes]
        if all(i is not None for i in at):
            columns = [i for i in at if i is not None]
            left = [header[i] for i in found if i not in columns]
            if left:
                raise ValueError(
                    f"{name} has {listed(left)} besides the columns of --classes; allowed: one "
                    "name for every count column"
                )
            return _Placed(columns, said.classes, True)
    if found and all(suffix.isascii() and suffix.isdigit() for suffix in suffixes):
        numbers = [int(suffix) for suffix in suffixes]
        if sorted(numbers) != list(range(len(numbers))):
            names = ",".join(suffixes)
            what = "repeated numbers" if len(set(numbers)) < len(numbers) else (
                "numbers from 1" if min(numbers) == 1 else "gaps"
            )  # fmt: skip
            raise ValueError(
                f"{name} has columns {shown}: {what}; allowed: {prefix}0 to "
                f"{prefix}{len(numbers) - 1}, each once (or --classes {names}, which takes them "
                "as names)"
            )
        if said.classes is not None and len(said.classes) != len(found):
            raise ValueError(
                f"--classes names {len(said.classes)} classes; {name} has columns {shown}"
            )
        return _Placed([found[numbers.index(i)] for i in range(len(found))], said.classes)
    if said.classes is not None:
        raise ValueError(
            f"--classes is {','.join(said.classes)!r}; {name} has columns {listed(header)}"
        )
    if not found:
        raise ValueError(
            f"{name} has columns {listed(header)}; allowed: count columns whose names start with "
            f"{prefix!r} (--counts PREFIX names another prefix, --classes the columns themselves)"
        )
    odd = [s for s in suffixes if is_number(s) or s == "" or s.casefold() in _NO_CLASS]
    if odd or any(suffix.isdigit() for suffix in suffixes):
        raise ValueError(
            f"{name} has columns {shown}; allowed: all numbered from {prefix}0, or all named "
            "after their class, and no total, label or id (--classes says which columns count)"
        )
    return _Placed(found, tuple(suffixes), True)


def _column_of(header: list[str], prefix: str, cls: str, bare: bool, taken: set[str]) -> int | None:
    for column in (f"{prefix}{cls}", *([cls] if bare and cls not in taken else [])):
        if column in header:
            return header.index(column)
    return None


def _refuse_near(name: str, header: list[str], used: set[str], wanted: Sequence[str]) -> None:
    """A column that nearly has one of the prefixes is a typing error, not another column."""
    for column in header:
        if column in used:
            continue
        prefix = column.rstrip("0123456789")
        if prefix == column or not prefix:
            continue
        close = difflib.get_close_matches(prefix.casefold(), wanted, 1, 0.75)
        if close:
            raise ValueError(
                f"{name} has column {column!r}, which is read as nothing; allowed: "
                f"{close[0]}{column.removeprefix(prefix)}, or a prefix of its own (--counts, "
                "--select)"
            )


def _label_column(name: str, header: Sequence[str], given: str | None) -> str | None:
    if given is not None:
        return given
    found = [column for column in _LABELS if column in header]
    if len(found) > 1:
        raise ValueError(f"{name} has {' and '.join(found)}; allowed: one (--label names it)")
    return found[0] if found else None


def _label_indices(
    name: str, column: str, cells: Sequence[Any], names: tuple[str, ...] | None, classes: int
) -> NDArray[np.int64]:
    """Labels as indices: names where the classes have names, else numbers."""
    out = np.empty(len(cells), dtype=np.int64)
    named = names is not None and (
        any(is_number(cls) for cls in names) or any(str(c) in names for c in cells)
    )
    for i, cell in enumerate(cells):
        if named and names is not None:
            if str(cell) not in names:
                raise ValueError(
                    f"{name} row {i}, column {column!r} is {str(cell)!r}; allowed: {listed(names)}"
                )
            out[i] = names.index(str(cell))
            continue
        value = _whole(name, i, column, str(cell))
        if not 0 <= value < classes:
            raise ValueError(
                f"{name} row {i}, column {column!r} is {value}; allowed: a class from 0 to "
                f"{classes - 1}"
            )
        out[i] = value
    return out


def _whole(name: str, row: int, column: str, cell: str) -> int:
    try:
        value = int(cell) if cell.strip().lstrip("+-").isdigit() else float(cell)
        if value != int(value) or abs(value) > _validate.MAX_N:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            f"{name} row {row}, column {column!r} is {cell!r}; allowed: whole numbers"
        ) from None
    return int(value)


# -- counts --------------------------------------------------------------------------------


@dataclass
class _Rows:
    """What is kept of the rows of a text table."""

    votes: NDArray[np.int64]
    label: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)


def _read_rows(
    text: TextTable, header: list[str], wanted: list[int], label: int | None, id: int | None
) -> _Rows:
    values = array.array("q")
    labels: list[str] = []
    ids: list[str] = []
    for number, row in enumerate(text.rows()):
        try:
            values.extend([int(row[i]) for i in wanted])
        except (ValueError, OverflowError):
            del values[number * len(wanted) :]
            values.extend([_whole(text.name, number, header[i], row[i]) for i in wanted])
        if label is not None:
            labels.append(row[label].strip())
        if id is not None:
            ids.append(row[id].strip())
    table = np.frombuffer(values, dtype=np.int64).reshape(-1, len(wanted))
    return _Rows(table, labels, ids)


def _counts_of_text(text: TextTable, said: _Names) -> CountFile:
    name = text.name
    try:
        if text.header is None:
            return _headless(text, said)
        header = text.header
        for what, given in (("label", said.label), ("id", said.id)):
            if given is not None and given not in header:
                raise ValueError(f"--{what} is {given!r}; {name} has columns {listed(header)}")
        placed = _place(name, header, said.counts, said, bare=True)
        prefix = said.select or "select_"
        selected: list[int] = []
        if any(column.startswith(prefix) for column in header):
            again = _place(name, header, prefix, _same_classes(said, placed), bare=False)
            selected = again.columns
            if set(selected) & set(placed.columns):
                raise ValueError(
                    f"--select is {prefix!r}, which takes count columns of {name} again; allowed: "
                    "columns of an independent selection sample"
                )
            if len(selected) != len(placed.columns) or again.by_name != placed.by_name:
                raise ValueError(
                    f"{name} has {len(placed.columns)} count columns and the selection columns "
                    f"{listed([header[i] for i in selected])}; allowed: one for every class, "
                    "told in the same way"
                )
        elif said.select is not None:
            raise ValueError(f"--select is {prefix!r}; {name} has columns {listed(header)}")
        column = _label_column(name, header, said.label)
        used = {header[i] for i in placed.columns + selected} | {said.id or "", column or ""}
        _refuse_near(name, header, used, [said.counts.casefold(), prefix.casefold()])
        rows = _read_rows(
            text, header, placed.columns + selected,
            None if column is None else header.index(column),
            None if said.id is None else header.index(said.id),
        )  # fmt: skip
    finally:
        text.close()
    k = len(placed.columns)
    votes = rows.votes[:, :k]
    if placed.by_name and said.classes is None:
        _refuse_total(name, votes, placed.names or ())
    return CountFile(
        votes,
        None if column is None else _label_indices(name, column, rows.label, placed.names, k),
        rows.votes[:, k:] if selected else None,
        rows.id if said.id is not None else None,
        placed.names,
    )


def _same_classes(said: _Names, placed: _Placed) -> _Names:
    """What the selection columns must match: the classes by the names that the counts have."""
    names = placed.names if placed.by_name else said.classes
    return _Names(said.counts, said.label, said.select, said.id, names)


def _refuse_total(name: str, votes: NDArray[np.int64], names: Sequence[str]) -> None:
    """Several rows in which one class has as many votes as all others: a total."""
    if votes.shape[0] < 2 or votes.shape[1] < 3:
        return
    whole = votes.sum(axis=1)
    for j in range(votes.shape[1]):
        if (2 * votes[:, j] == whole).all():
            raise ValueError(
                f"{name}: column {names[j]!r} is the sum of the other count columns in every row; "
                "allowed: votes of one class (--classes says which columns count)"
            )


def _headless(text: TextTable, said: _Names) -> CountFile:
    """A table without a header is counts throughout, unless a column is plainly something else."""
    for what, given in (("label", said.label), ("select", said.select), ("id", said.id)):
        if given is not None:
            raise ValueError(f"--{what} is {given!r}, but {text.name} has no header line")
    names = [f"{said.counts}{i}" for i in range(text.width)]
    votes = _read_rows(text, names, list(range(text.width)), None, None).votes
    _refuse_odd_column(text.name, votes)
    return CountFile(votes, None, None, None, _number_of_classes(text.name, said, votes))


def _refuse_odd_column(name: str, votes: NDArray[np.int64]) -> None:
    rows, width = votes.shape
    hint = "allowed: a header line that names the columns"
    if rows >= 2 and width >= 3 and (votes[0] == np.arange(width)).all():
        raise ValueError(f"{name} begins with the row {listed([*map(str, votes[0])])}; {hint}")
    if rows < 3 or width < 3:
        return
    counted = np.arange(rows)
    if any((votes[:, 0] == counted + first).all() for first in (0, 1)):
        raise ValueError(f"{name}: the first column counts the rows; {hint}")
    sums = votes.sum(axis=1)
    for j in (0, width - 1):
        rest = sums - votes[:, j]
        if len(set(sums.tolist())) > 1 and len(set(rest.tolist())) == 1:
            raise ValueError(
                f"{name}: without column {j} every row sums to {rest[0]}, so that column is no "
                f"class; {hint}"
            )


def _number_of_classes(name: str, said: _Names, votes: Any) -> tuple[str, ...] | None:
    if said.classes is not None and np.ndim(votes) and len(said.classes) != votes.shape[-1]:
        raise ValueError(
            f"--classes names {len(said.classes)} classes; {name} has {votes.shape[-1]}"
        )
    return said.classes


def _counts_of_arrays(
    held: dict[str, NDArray[Any]], kind: str, name: str, said: _Names
) -> CountFile:
    if kind == "npy":
        for what, given in (("label", said.label), ("select", said.select), ("id", said.id)):
            if given is not None:
                raise ValueError(f"--{what} is {given!r}, but {name} holds one array only")
        return CountFile(held[""], None, None, None, _number_of_classes(name, said, held[""]))
    key = "counts" if said.counts == "class_" else said.counts
    select = said.select or "select"
    label = _label_column(name, list(held), said.label)
    asked = [key, *(k for k in (said.label, said.select, said.id) if k is not None)]
    if not set(asked) <= set(held):
        raise ValueError(
            f"{name} holds arrays {sorted(held)}; allowed: {', '.join(repr(k) for k in asked)}, "
            "optionally 'label' and 'select'"
        )
    if select == key:
        raise ValueError(
            f"--select is {select!r}, the counts of {name}; allowed: an independent selection "
            "sample"
        )
    used = {key, select, label, said.id}
    for other in set(held) - used:
        close = difflib.get_close_matches(
            other.casefold(), ["select", "selection", "label"], 1, 0.75
        )
        if close:
            raise ValueError(
                f"{name} holds array {other!r}, which is read as nothing; allowed: 'label', "
                "'select', or a name of its own (--label, --select)"
            )
    votes = held[key]
    names = _number_of_classes(name, said, votes)
    rows = votes.shape[0] if votes.ndim == 2 else 1
    for other in [k for k in (label, said.id, select) if k is not None and k in held]:
        if held[other].ndim == 0 or len(held[other]) != rows:
            raise ValueError(
                f"{name}: array {other!r} has shape {held[other].shape}; allowed: one entry for "
                f"each of {rows} rows"
            )
    known = None
    if label is not None:
        cells = held[label].tolist()
        known = _label_indices(name, label, cells, names, votes.shape[-1])
    return CountFile(
        votes,
        known,
        held.get(select),
        None if said.id is None else [str(cell) for cell in held[said.id].tolist()],
        names,
    )
