"""Files of certificates: what all rows share, then one row per input; TSV and JSON lines."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsbounds import _text

_MARK = "rsbounds certificates"
_FORMAT = 1
_SHARED = ("alpha", "method", "guarantee", "noise", "norm")


def write(
    path: str | os.PathLike[str],
    shared: Mapping[str, Any],
    names: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    tsv: bool,
    force: bool,
) -> None:
    """Write a file of certificates, TSV or JSON lines; it appears only when complete."""
    _text.check_output(path, force=force, name="path")
    if tsv:
        lines = ["\t".join(names)]
        lines += ["\t".join(_cell(name, row.get(name)) for name in names) for row in rows]
    else:
        lines = [json.dumps(row, allow_nan=False) for row in rows]
    head = {_MARK: _FORMAT, **shared, "rows": len(lines) - tsv}
    head["hash"] = _hash(head, lines)
    if tsv:
        top = [f"# {key}: {json.dumps(value, allow_nan=False)}" for key, value in head.items()]
    else:
        top = [json.dumps(head, allow_nan=False)]
    with _text.complete_file(path) as stream:
        stream.writelines(line + "\n" for line in [*top, *lines])


def is_certificates(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of certificates, of this version or before, by its first bytes."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as stream:
        start = stream.read(64)
    return start.startswith(
        (f"# {_MARK}".encode(), f'{{"{_MARK}"'.encode(), b"index\ttop\t", b'{"index": ')
    )


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What the rows of a file share, and its columns.

    Raises
    ------
    ValueError
        A file that is missing, not one of certificates, or changed after it was written.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"path is {str(path)!r}; allowed: a file that exists")
    try:
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        tsv = not lines[0].startswith("{")
        head, lines = _tsv_head(lines) if tsv else _jsonl_head(lines)
        if head and (head.pop("hash") != _hash(head, lines) or head.pop(_MARK) != _FORMAT):
            raise ValueError("it was changed after it was written, or is of a later version")
        found = _tsv_rows(lines) if tsv else [json.loads(line) for line in lines]
        if not found or head.pop("rows", len(found)) != len(found):
            raise ValueError("rows are missing")
        rows = [_plain(row) if head else _plain(_earlier(row)) for row in found]
        shared = head or _earlier_head(rows[0])
        for row in rows:
            _check(row, shared)
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"path is {str(path)!r}, which cannot be read as certificates ({what}); allowed: a "
            "file that Certificates.write wrote"
        ) from None
    return shared, {name: [row[name] for row in rows] for name in rows[0]}


def _hash(head: Mapping[str, Any], lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([json.dumps(head), *lines]).encode()).hexdigest()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-inf" if name == "margin_lower" else ""
    text = str(int(value) if isinstance(value, bool) else value)
    if any(mark in text for mark in "\t\r\n"):
        raise ValueError(f"{name} is {text!r}; allowed in TSV: no tab and no line break (.jsonl)")
    # As pandas and spreadsheets read it: a mark for comments or quotes is quoted.
    return '"' + text.replace('"', '""') + '"' if '"' in text or "#" in text else text


def _tsv_head(lines: list[str]) -> tuple[dict[str, Any], list[str]]:
    count = next((i for i, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    pairs = (line[2:].partition(": ") for line in lines[:count])
    return {key: json.loads(value) for key, _, value in pairs}, lines[count:]


def _jsonl_head(lines: list[str]) -> tuple[dict[str, Any], list[str]]:
    first = json.loads(lines[0])
    return (dict(first), lines[1:]) if _MARK in first else ({}, lines)


def _tsv_rows(lines: list[str]) -> list[dict[str, str]]:
    cells = list(csv.reader(lines, delimiter="\t"))
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or int(value) < 0:
        raise ValueError(f"{value!r} is not a whole number >= 0")
    return int(value)


def _class(value: Any) -> int | None:
    return None if value in (None, "") else _whole(value)


def _yes(value: Any) -> bool:
    if value in (True, False, "0", "1"):
        return bool(int(value))
    raise ValueError(f"{value!r} is neither 0 nor 1")


def _number(value: Any) -> float:
    if isinstance(value, bool) or math.isnan(float(value)):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _known(value: Any) -> float:
    return math.nan if value in (None, "") else _number(value)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "index": _whole,
    "top": _class,
    "radius": _number,
    "certified": _yes,
    "abstained": _yes,
    "candidate": _class,
    "margin_lower": lambda value: -math.inf if value is None else _number(value),
    "n": _whole,
    "alpha": _number,
    "method": str,
    "guarantee": str,
    "solved": _yes,
    "noise": str,
    "norm": str,
}
#: Columns that only some files have.
_NAMES = ("class", "id")
_SIZES = ("inscribed_radius", "proxy_radius")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(row) - set(_KINDS) - set(_NAMES) - set(_SIZES))
    if unknown:
        raise ValueError(f"it has a column {unknown[0]!r}")
    more = {name: None if row[name] is None else str(row[name]) for name in _NAMES if name in row}
    sizes = {name: _known(row[name]) for name in _SIZES if name in row}
    return {**{name: kind(row[name]) for name, kind in _KINDS.items()}, **sizes, **more}


def _check(row: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    """Fields that say the same must agree."""
    certified = row["radius"] > 0
    if (row["certified"], row["abstained"]) != (certified, not certified):
        raise ValueError(f"row {row['index']} has radius {row['radius']} and says otherwise")
    if row["top"] != (row["candidate"] if certified else None):
        raise ValueError(f"row {row['index']} has class {row['top']} at radius {row['radius']}")
    names = shared.get("classes")
    called = None if names is None or row["top"] is None else names[row["top"]]
    if (row.get("class") or None) != called:
        raise ValueError(f"row {row['index']} has class {row.get('class')!r}, which is {called!r}")
    for name in _SHARED:
        if row[name] != shared[name]:
            raise ValueError(f"row {row['index']} has {name} {row[name]}, others {shared[name]}")


def _earlier(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of version 0.1: its class stood under ``top`` even where it abstained."""
    if "candidate" in row:
        raise ValueError("the lines about what the rows share are missing")
    certified = _number(row["radius"]) > 0
    return {
        **row,
        "candidate": row["top"],
        "top": row["top"] if certified else None,
        "solved": row["certified"],
        "certified": certified,
    }


def _earlier_head(row: Mapping[str, Any]) -> dict[str, Any]:
    scale = "probit" if row["noise"].startswith("gaussian") else "linear"
    return {**{name: row[name] for name in _SHARED}, "scale": scale, "version": "unknown"}
