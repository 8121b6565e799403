"""What a run store holds and how it is laid out (formats 2 and 3), with its seal.

Format 2 has no columns ``kind`` and ``evidence``: its rows are all of votes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsbounds._version import __version__
from rsbounds.runs import format1
from rsbounds.runs._sqlite import as_damage, connect, remove_store
from rsbounds.runs.row import RunRow, columns, decode, plain

# "rsbd" in ASCII: how a store is told from any other SQLite file.
APPLICATION_ID = 0x72736264
FORMAT = 3
#: Formats that a run may go on in.
WRITABLE = (2, FORMAT)

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (
    idx INTEGER PRIMARY KEY,
    label INTEGER,
    digest TEXT NOT NULL,
    select_counts TEXT NOT NULL,
    estimate_counts TEXT NOT NULL,
    n0 INTEGER NOT NULL,
    n INTEGER NOT NULL,
    invalid INTEGER NOT NULL,
    alpha REAL NOT NULL,
    method TEXT NOT NULL,
    options TEXT NOT NULL,
    law TEXT NOT NULL,
    seed TEXT NOT NULL,
    top INTEGER NOT NULL,
    radius REAL NOT NULL,
    abstained INTEGER NOT NULL,
    seconds REAL NOT NULL,
    error TEXT NOT NULL,
    kind TEXT NOT NULL,
    evidence TEXT NOT NULL,
    checksum TEXT NOT NULL
)"""


def insert(form: int) -> str:
    """The statement that keeps what `rsbounds.runs.row.encode` returns."""
    return f"INSERT INTO inputs VALUES ({', '.join('?' * (len(columns(form)) + 1))})"


def versions() -> dict[str, str]:
    """Versions of what produced a run."""
    import numba
    import scipy

    return {
        "rsbounds": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
    }


@dataclasses.dataclass
class Content:
    """Everything that a store holds."""

    format: int
    config: dict[str, Any]
    versions: dict[str, str]
    facts: dict[str, Any]
    rows: dict[int, RunRow]


def content(path: Path, database: sqlite3.Connection) -> Content:
    """Everything in the store, checked, from one moment."""
    database.execute("BEGIN")
    try:
        mark = database.execute("PRAGMA application_id").fetchone()[0]
        if mark != APPLICATION_ID:
            raise ValueError(
                f"store {str(path)!r} is a database of another kind; allowed: a run store"
            )
        with as_damage():
            held = dict(database.execute("SELECT key, value FROM run").fetchall())
            form = json.loads(held["format"])
            config, made = json.loads(held["config"]), json.loads(held["versions"])
        if form not in (1, *WRITABLE):
            raise ValueError(
                f"store {str(path)!r} has format {form}; allowed: 1 to {FORMAT} (made by a newer "
                "version?)"
            )
        facts: dict[str, Any] = {}
        with as_damage():
            if form == 1:
                rows = list(format1.rows(database, config))
            else:
                facts, rows = _sealed(database, config, form)
        return Content(form, config, made, facts, {row.index: row for row in rows})
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def _sealed(
    database: sqlite3.Connection, config: Mapping[str, Any], form: int
) -> tuple[dict[str, Any], list[RunRow]]:
    """Facts and inputs, where the seal agrees with them."""
    facts = {key: json.loads(value) for key, value in database.execute("SELECT * FROM facts")}
    count, total, rest = seal(database)
    if rest != rest_of(database):
        raise ValueError("its configuration or facts are not as they were written")
    rows = []
    names = ", ".join((*columns(form), "checksum"))
    for values in database.execute(f"SELECT {names} FROM inputs ORDER BY idx"):
        rows.append(decode(values, config, form))
        total -= int(values[-1], 16)
    if len(rows) != count or total % 2**128:
        raise ValueError(f"it holds {len(rows)} whole inputs of the {count} that were written")
    return facts, rows


def rest_of(database: sqlite3.Connection) -> str:
    """Checksum of everything but the inputs."""
    run = database.execute("SELECT * FROM run WHERE key <> 'seal' ORDER BY key").fetchall()
    facts = database.execute("SELECT * FROM facts ORDER BY key").fetchall()
    return hashlib.sha256(json.dumps([run, facts]).encode()).hexdigest()


def seal(database: sqlite3.Connection) -> tuple[int, int, str]:
    """Number of inputs, sum of their checksums, checksum of the rest: what was written last."""
    text = database.execute("SELECT value FROM run WHERE key = 'seal'").fetchone()[0]
    count, total, rest = json.loads(text)
    return count, int(total, 16), rest


def set_seal(database: sqlite3.Connection, count: int, total: int, rest: str) -> None:
    """Renew the seal, inside the transaction that changes what it covers."""
    text = plain("seal", [count, f"{total % 2**128:032x}", rest])
    database.execute("INSERT OR REPLACE INTO run VALUES ('seal', ?)", (text,))


def create(path: Path, config: Mapping[str, Any]) -> None:
    """A new store; it takes its name when it is complete and on disk."""
    draft = Path(f"{path}.new")
    # Whatever is left of an older store of that name is not part of this one.
    remove_store(path)
    try:
        with contextlib.closing(connect(f"{draft.absolute().as_uri()}?mode=rwc")) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            values = {"format": FORMAT, "config": config, "versions": versions()}
            database.executemany(
                "INSERT INTO run VALUES (?, ?)",
                [(key, plain(key, value)) for key, value in values.items()],
            )
            set_seal(database, 0, 0, rest_of(database))
            database.execute("COMMIT")
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
