"""Files of tables, opened: text with or without gzip, pipes, NPY, NPZ. Nothing is unpickled."""

from __future__ import annotations

import csv
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_TEXT = (".tsv", ".csv", ".txt")
_ENDINGS = "allowed endings: .tsv, .csv, .txt (also with .gz), .npy, .npz"
#: A first line longer than this is no header.
_LONGEST_LINE = 1 << 22


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[str, IO[bytes], str]]:
    """("text", "npy" or "npz"; bytes; name for messages) of a file or of a pipe."""
    file = Path(path)
    name = "standard input" if str(path) == "-" else f"FILE {file.name}"
    try:
        if str(path) == "-":
            # What comes through a pipe has no name: its first bytes say what it is.
            yield _by_content(sys.stdin.buffer.read(), name)
        elif file.exists() and stat.S_ISFIFO(file.stat().st_mode):
            yield _by_content(file.read_bytes(), name)
        elif not file.is_file():
            raise ValueError(f"FILE is {str(path)!r}; allowed: a file that exists")
        else:
            suffixes = [suffix.lower() for suffix in file.suffixes]
            last = suffixes[-1] if suffixes else ""
            if last in (".npy", ".npz"):
                with file.open("rb") as stream:
                    yield last[1:], stream, name
            elif last in _TEXT:
                with file.open("rb") as stream:
                    yield "text", stream, name
            elif last == ".gz" and suffixes[-2:-1] and suffixes[-2] in _TEXT:
                with gzip.open(file, "rb") as unpacked:
                    yield "text", unpacked, name  # type: ignore[misc]
            else:
                raise ValueError(f"FILE is {str(path)!r}; {_ENDINGS}")
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{name} cannot be unpacked: {error}") from None


def _by_content(data: bytes, name: str) -> tuple[str, IO[bytes], str]:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    kind = "npy" if data.startswith(b"\x93NUMPY") else "text"
    kind = "npz" if data.startswith(b"PK\x03\x04") else kind
    return kind, io.BytesIO(data), name


def arrays(stream: IO[bytes], kind: str, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of an NPY or NPZ file; an NPY array is named ''."""
    try:
        if kind == "npy":
            # Mapped, so that a table larger than the memory can be read.
            named = getattr(stream, "name", None)
            if isinstance(named, str):
                return {"": np.load(named, mmap_mode="r", allow_pickle=False)}
            return {"": np.load(stream, allow_pickle=False)}
        with np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:
        # numpy and zipfile raise what they like on damaged files.
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} cannot be read as .{kind}: {words}") from None


class TextTable:
    """The rows of a text table: header (None without one), then cells, one row at a time."""

    def __init__(self, stream: IO[bytes], name: str, named: Sequence[str]) -> None:
        self.name = name
        start = stream.read(4096) if stream.seekable() else b""
        if b"\0" in start:
            raise ValueError(f"{name} is not UTF-8 text; allowed: TSV or CSV")
        stream.seek(0)
        self._stream = io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None)
        #: The last comment above the first row: a header may stand there.
        self._comment = ""
        first = next(self._lines(), None)
        if first is None:
            raise ValueError(f"{name} is empty; allowed: a header line and rows")
        self.delimiter = "\t" if "\t" in first else ";" if ";" in first else ","
        cells = self._split(first)
        self.header: list[str] | None = None
        self._first: list[str] | None = cells
        if not all(is_number(cell) for cell in cells):
            self.header, self._first = cells, None
        elif self._comment:
            above = self._split(self._comment.lstrip("#"))
            if len(above) == len(cells) and any(cell.startswith(tuple(named)) for cell in above):
                self.header = above
        self.width = len(cells)
        if self.header is not None:
            repeated = {cell for cell in self.header if self.header.count(cell) > 1}
            if repeated:
                raise ValueError(f"{name} names column {sorted(repeated)[0]!r} twice")

    def _split(self, line: str) -> list[str]:
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=self.delimiter))]
        except csv.Error as error:
            raise ValueError(f"{self.name} cannot be read as a table: {error}") from None

    def _lines(self) -> Iterator[str]:
        try:
            while line := self._stream.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise ValueError(f"{self.name} has a line of 4 MB; allowed: TSV or CSV")
                if line.startswith("#"):
                    self._comment = line
                elif line.strip():
                    yield line
        except UnicodeDecodeError:
            raise ValueError(f"{self.name} is not UTF-8 text; allowed: TSV or CSV") from None

    def rows(self) -> Iterator[list[str]]:
        """The rows below the header, each as wide as the first line."""
        number = 0
        if self._first is not None:
            yield self._first
            number = 1
        reader = csv.reader(self._lines(), delimiter=self.delimiter)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                raise ValueError(f"{self.name} row {number}: {error}") from None
            if len(cells) != self.width:
                raise ValueError(
                    f"{self.name} row {number} has {len(cells)} cells; allowed: {self.width}, "
                    "as in the first line"
                )
            yield cells
            number += 1
        if number == 0:
            raise ValueError(f"{self.name} has a header only; allowed: rows below it")

    def close(self) -> None:
        """Leave the stream to whoever opened it."""
        self._stream.detach()


def is_number(cell: str) -> bool:
    """Whether Python reads the cell as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def listed(names: Sequence[str]) -> str:
    """Some names, the first ones of many."""
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
