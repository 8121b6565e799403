"""The run store: one SQLite file, one transaction per finished input."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._version import __version__

# "rsbd" in ASCII: how a store is told from any other SQLite file.
APPLICATION_ID = 0x72736264
FORMAT = 1

_SCHEMA = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
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
    noise TEXT NOT NULL,
    seed TEXT NOT NULL,
    top INTEGER NOT NULL,
    radius REAL NOT NULL,
    abstained INTEGER NOT NULL,
    seconds REAL NOT NULL
);
"""


@dataclass(frozen=True, eq=False)
class RunRow:
    """What a store keeps of one input.

    Attributes
    ----------
    idx : int
        Index of the input in its data set, and of its noise stream.
    label : int or None
        True class.
    digest : str
        Start of the SHA-256 of the input's bytes.
    select, estimate : (K,) int64
        Counts of the selection and of the estimation sample.
    n0, n : int
        Draws of each, those with an invalid answer included.
    invalid : int
        Draws on which the model answered NaN; where there are any the input abstains.
    alpha, method, noise, seed
        What the certificate was made with.
    top, radius, abstained
        The certificate.
    seconds : float
        Wall time of sampling and bounding.
    """

    idx: int
    label: int | None
    digest: str
    select: NDArray[np.int64]
    estimate: NDArray[np.int64]
    n0: int
    n: int
    invalid: int
    alpha: float
    method: str
    noise: str
    seed: int
    top: int
    radius: float
    abstained: bool
    seconds: float


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


class RunStore:
    """A store open for reading, or by one process for writing.

    Parameters
    ----------
    path : str or path
        The SQLite file.
    config : mapping, optional
        Configuration of the run, plain values. Given, the store is opened for writing: made
        if it does not exist, refused if it holds another configuration or another process
        writes to it. Left out, the store is opened for reading.

    Raises
    ------
    ValueError
        A file that is not a store, is damaged, holds another configuration (the first
        difference is named), or is being written to by another process.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from rsbounds.runs import RunStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunStore(pathlib.Path(folder, "run.sqlite"), {"n": 1000}) as store:
    ...         store.done()
    set()
    """

    def __init__(
        self, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None
    ) -> None:
        self.path = Path(path)
        self.writable = config is not None
        self._lock: sqlite3.Connection | None = None
        self._made = False
        if config is None:
            if not self.path.is_file():
                raise ValueError(f"store is {str(path)!r}; allowed: a file that exists")
        elif not self.path.parent.is_dir():
            raise ValueError(f"store is {str(path)!r}; allowed: a file in a folder that exists")
        else:
            self._lock = self._acquire()
        try:
            self._database = sqlite3.connect(self.path, isolation_level=None)
            self._prepare(config)
        except sqlite3.DatabaseError as error:
            self.close()
            raise ValueError(
                f"store {str(path)!r} is damaged or not a run store ({error}); allowed: a file "
                "made by certify_dataset"
            ) from None
        except BaseException:
            self.close()
            raise

    def _acquire(self) -> sqlite3.Connection:
        # A lock that the operating system drops with the process, on every platform, and that
        # does not keep readers out: an exclusive transaction on a file beside the store.
        lock = sqlite3.connect(f"{self.path}.lock", timeout=0, isolation_level=None)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            lock.close()
            raise ValueError(
                f"store {str(self.path)!r} is being written to by another process; allowed: one "
                "writer at a time"
            ) from None
        return lock

    def _prepare(self, config: Mapping[str, Any] | None) -> None:
        database = self._database
        mark = database.execute("PRAGMA application_id").fetchone()[0]
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if mark != APPLICATION_ID and (tables or config is None):
            raise ValueError(
                f"store {str(self.path)!r} is a database of another kind; allowed: a run store"
            )
        if config is None:
            database.execute("PRAGMA query_only = 1")
        else:
            database.execute("PRAGMA journal_mode = WAL")
            # A finished input survives a power failure, not only a crash of the process.
            database.execute("PRAGMA synchronous = FULL")
            if not tables:
                self._create(config)
                self._made = True
        held = self._meta()
        if held.get("format") != FORMAT:
            raise ValueError(
                f"store {str(self.path)!r} has format {held.get('format')}; allowed: {FORMAT}"
            )
        self.config: dict[str, Any] = held["config"]
        self.versions: dict[str, str] = held["versions"]
        if config is not None:
            _same(self.path, self.config, json.loads(json.dumps(dict(config))))

    def _create(self, config: Mapping[str, Any]) -> None:
        values = {"format": FORMAT, "config": dict(config), "versions": versions()}
        with _transaction(self._database) as database:
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.executemany(
                "INSERT INTO run VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in values.items()],
            )

    def _meta(self) -> dict[str, Any]:
        rows = self._database.execute("SELECT key, value FROM run").fetchall()
        return {key: json.loads(value) for key, value in rows}

    def done(self) -> set[int]:
        """Indices of the finished inputs."""
        return {row[0] for row in self._database.execute("SELECT idx FROM inputs")}

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM inputs").fetchone()[0])

    def add(self, row: RunRow) -> None:
        """Keep one finished input; on return it is on disk.

        Raises
        ------
        ValueError
            The input is there already.
        OSError
            The disk is full or fails; the store holds what it held before.
        """
        values = (
            row.idx, row.label, row.digest, json.dumps(row.select.tolist()),
            json.dumps(row.estimate.tolist()), row.n0, row.n, row.invalid, row.alpha, row.method,
            row.noise, str(row.seed), row.top, row.radius, int(row.abstained), row.seconds,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        try:
            with _transaction(self._database) as database:
                database.execute(f"INSERT INTO inputs VALUES ({marks})", values)
        except sqlite3.IntegrityError:
            raise ValueError(f"input {row.idx} is in store {str(self.path)!r} already") from None
        except sqlite3.OperationalError as error:
            raise OSError(
                f"store {str(self.path)!r} could not keep input {row.idx} ({error}); what was "
                "stored before is safe, and the same call resumes the run"
            ) from None

    def rows(self) -> Iterator[RunRow]:
        """Every finished input, by index."""
        for values in self._database.execute("SELECT * FROM inputs ORDER BY idx"):
            idx, label, digest, select, estimate, n0, n, invalid, *rest = values
            alpha, method, noise, seed, top, radius, abstained, seconds = rest
            yield RunRow(
                idx, label, digest, np.array(json.loads(select), dtype=np.int64),
                np.array(json.loads(estimate), dtype=np.int64), n0, n, invalid, alpha, method,
                noise, int(seed), top, radius, bool(abstained), seconds,
            )  # fmt: skip

    def close(self) -> None:
        """Release the file; a store that was written to becomes a single file again.

        A store that was made here and got no input is removed: a run that was refused at its
        first input leaves nothing behind.
        """
        if hasattr(self, "_database"):
            empty = self._made and len(self) == 0
            if self.writable:
                # Where a reader is still there, or the disk is full, the next writer tidies up.
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.close()
            del self._database
            if empty:
                self.path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            Path(f"{self.path}.lock").unlink(missing_ok=True)

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK on any error."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            try:
                self._database.execute("COMMIT")
                return
            except sqlite3.Error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _same(path: Path, held: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for key in [*held, *(key for key in given if key not in held)]:
        if held.get(key) != given.get(key):
            raise ValueError(
                f"store {str(path)!r} was made with {key} = {held.get(key)!r}; this run has "
                f"{key} = {given.get(key)!r}"
            )


def merge_stores(shards: Sequence[str | os.PathLike[str]], store: RunStore) -> int:
    """Copy the inputs of several stores of one run into another; returns how many were new.

    Parameters
    ----------
    shards : sequence of paths
        Stores with the configuration of ``store``.
    store : RunStore
        Open for writing.

    Raises
    ------
    ValueError
        A shard has another configuration, or disagrees with the store about an input.
    """
    held = {row.idx: row for row in store.rows()}
    added = 0
    for path in shards:
        with RunStore(path) as shard:
            _same(Path(path), shard.config, store.config)
            for row in shard.rows():
                other = held.get(row.idx)
                if other is None:
                    store.add(row)
                    held[row.idx] = row
                    added += 1
                elif not np.array_equal(other.estimate, row.estimate):
                    raise ValueError(
                        f"stores {str(path)!r} and {str(store.path)!r} disagree about input "
                        f"{row.idx}; allowed: shards of one run"
                    )
    return added
