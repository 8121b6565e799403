"""The run store: one SQLite file, one transaction per finished input or group of inputs.

What a certificate rests on is covered twice. Each input carries a checksum of its own values,
and the ``seal``, renewed in every transaction, holds the number of inputs, the sum of their
checksums, and a checksum of everything else (configuration, versions, facts). So a value that
changed, in the inputs or in what they share, and an input that went missing are both seen when
the store is opened. This is protection against faults of machines, not against forgery.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rsbounds.runs._sqlite import (
    Damage,
    acquire,
    connect,
    damaged,
    explained,
    kind_of,
    release,
    tidy,
)
from rsbounds.runs.kinds import VOTES
from rsbounds.runs.layout import (
    WRITABLE,
    Content,
    content,
    create,
    insert,
    rest_of,
    seal,
    set_seal,
)
from rsbounds.runs.row import RunRow, encode, plain, written


class RunStore:
    """A store open for reading, or by one process for writing.

    A reader holds what the store held when it was opened: it never keeps the file open, never
    writes beside it, and never makes a writer wait. Opening checks everything that is read.

    Parameters
    ----------
    path : str or path
        The SQLite file.
    config : mapping, optional
        Configuration of the run, plain values: what two calls must share to be the same run.
        Given, the store is opened for writing: made if it does not exist, refused if it holds
        another configuration or another process writes to it. Left out, the store is opened
        for reading.

    Attributes
    ----------
    config, versions : dict
        Configuration of the run, and versions of what made the store.
    format : int
        Format of the file. Stores of format 1 can be read, not continued; those of format 2,
        which hold votes, are continued as they are.
    keep_empty : bool
        A store that was made here and got no input is removed on closing, unless this is True.

    Raises
    ------
    ValueError
        A file that is not a store, is damaged, holds another configuration (the first
        difference is named), or is being written to by another process.
    OSError
        A disk that is full or fails, or a folder or file that cannot be written to.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from rsbounds.runs import RunStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunStore(pathlib.Path(folder, "run.sqlite"), {"n": 1000}) as store:
    ...         store.set_fact("labels", "none")
    ...         print(store.done(), store.facts())
    set() {'labels': 'none'}
    """

    def __init__(
        self, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None
    ) -> None:
        self.path = Path(path)
        self.writable = config is not None
        self.keep_empty = False
        self._lock: sqlite3.Connection | None = None
        self._database: sqlite3.Connection | None = None
        self._made = self._ready = False
        if config is None:
            if not self.path.is_file():
                raise ValueError(f"store is {str(path)!r}; allowed: a file that exists")
            self._take(self._guarded(self._read))
            return
        if not self.path.parent.is_dir():
            raise ValueError(f"store is {str(path)!r}; allowed: a file in a folder that exists")
        wanted = json.loads(plain("config", dict(config)))
        self._lock = acquire(self.path)
        try:
            self._guarded(lambda: self._open(wanted))
        except BaseException:
            self.close()
            raise

    def _guarded(self, work: Any) -> Any:
        """``work()``, with the errors of SQLite and of damaged values in our words."""
        try:
            if self.path.exists() and self.path.stat().st_size == 0:
                raise ValueError(
                    f"store {str(self.path)!r} is an empty file; allowed: a run store, or no file "
                    "for a new run"
                )
            return work()
        except sqlite3.Error as error:
            raise explained(self.path, error) from None
        except Damage as error:
            raise damaged(self.path, error) from None

    def _take(self, content: Content) -> None:
        self.config, self.versions = content.config, content.versions
        self.format = content.format
        self._facts, self._rows = content.facts, content.rows

    def _read(self) -> Content:
        # A read-only connection that makes no file: where it would have to (what a killed writer
        # left is not tidy), a private copy is tidied up and read instead.
        address = f"{self.path.absolute().as_uri()}?mode=ro&readonly_shm=1"
        try:
            with contextlib.closing(connect(address)) as database:
                return content(self.path, database)
        except sqlite3.OperationalError as error:
            beside = [Path(f"{self.path}{end}") for end in ("-wal", "-journal")]
            if kind_of(error) not in ("CANTOPEN", "READONLY") or not any(
                file.exists() for file in beside
            ):
                raise
        with tempfile.TemporaryDirectory(prefix="rsbounds-") as folder:
            copy = Path(folder, self.path.name)
            for file in (self.path, *beside):
                if file.exists():
                    shutil.copyfile(file, copy.with_name(file.name))
            with contextlib.closing(connect(f"{copy.as_uri()}?mode=rw")) as database:
                return content(self.path, database)

    def _open(self, config: dict[str, Any]) -> None:
        if not self.path.exists():
            create(self.path, config)
            self._made = True
        self._database = connect(f"{self.path.absolute().as_uri()}?mode=rw")
        self._take(content(self.path, self._database))
        if self.format not in WRITABLE:
            raise ValueError(
                f"store {str(self.path)!r} was made by an older version (format {self.format}); "
                "it can be read, re-bounded and exported, but not continued: give the new run "
                "another store"
            )
        _same(self.path, self.config, config)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A finished input survives a power failure, not only a crash of the process.
        self._database.execute("PRAGMA synchronous = FULL")
        self._ready = True

    def done(self) -> set[int]:
        """Indices of the finished inputs."""
        return set(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> Iterator[RunRow]:
        """Every finished input, by index."""
        return (self._rows[index] for index in sorted(self._rows))

    def facts(self) -> dict[str, Any]:
        """What was noted with `set_fact`."""
        return json.loads(json.dumps(self._facts))  # type: ignore[no-any-return]

    def set_fact(self, key: str, value: Any) -> None:
        """Note something that later calls compare, such as a digest of the labels.

        Parameters
        ----------
        key : str
            Name of the fact; one that is there is replaced.
        value
            Plain values that JSON can carry.

        Raises
        ------
        ValueError
            Another kind of value, or a store open for reading.
        OSError
            The disk is full or fails; the store holds what it held before.
        """
        text = plain(f"fact {key!r}", value)
        with self._transaction(f"the fact {key!r}") as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, text))
            count, total, _ = seal(database)
            set_seal(database, count, total, rest_of(database))
        self._facts[key] = json.loads(text)

    def add(self, row: RunRow) -> None:
        """Keep one finished input; see `add_many`."""
        self.add_many([row])

    def add_many(self, rows: Iterable[RunRow]) -> None:
        """Keep finished inputs in one transaction; on return they are on disk.

        Raises
        ------
        ValueError
            An input is there already, its values cannot all be true, or the store is open for
            reading.
        OSError
            The disk is full or fails; the store holds what it held before.
        """
        kept = list(rows)
        if not kept:
            return
        self._writer()
        encoded = [encode(row, self.config, self.format) for row in kept]
        indices = [int(row.index) for row in kept]
        met: set[int] = set()
        for index in indices:
            if index in self._rows or index in met:
                raise ValueError(f"input {index} is in store {str(self.path)!r} already")
            met.add(index)
        what = f"input {indices[0]}" if len(kept) == 1 else f"inputs {indices[0]} to {indices[-1]}"
        with self._transaction(what) as database:
            database.executemany(insert(self.format), encoded)
            count, total, rest = seal(database)
            total += sum(int(values[-1], 16) for values in encoded)
            set_seal(database, count + len(kept), total, rest)
        # The caller may go on using its arrays and mappings.
        for values in encoded:
            self._rows[values[0]] = written(values, self.format)

    def forget(self, indices: Iterable[int]) -> None:
        """Take inputs out again, in one transaction; those that are not there are no error.

        Raises
        ------
        ValueError
            The store is open for reading.
        OSError
            The disk is full or fails; the store holds what it held before.
        """
        gone = [index for index in indices if index in self._rows]
        if not gone:
            return
        with self._transaction(f"the removal of {len(gone)} inputs") as database:
            database.executemany("DELETE FROM inputs WHERE idx = ?", [(index,) for index in gone])
            count, total, rest = seal(database)
            total -= sum(
                int(encode(self._rows[index], self.config, self.format)[-1], 16) for index in gone
            )
            set_seal(database, count - len(gone), total, rest)
        for index in gone:
            del self._rows[index]

    def _writer(self) -> sqlite3.Connection:
        if self._database is None:
            raise ValueError(
                f"store {str(self.path)!r} is not open for writing; allowed: RunStore(path, config)"
            )
        return self._database

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        """BEGIN ... COMMIT, or ROLLBACK on any error."""
        database = self._writer()
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise ValueError(f"{what}: in store {str(self.path)!r} already") from None
        except sqlite3.Error as error:
            reason = explained(self.path, error)
            raise OSError(
                f"{what} could not be kept: {reason}; what was stored before is safe, and the same "
                "call resumes the run"
            ) from None
        finally:
            if database.in_transaction:
                # After a failed write SQLite may have rolled back by itself.
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")

    def close(self) -> None:
        """Release the file; a store that was written to becomes a single file again.

        A store that was made here and got no input is removed, unless ``keep_empty`` is set: a
        run that was refused at its first input leaves nothing behind.
        """
        if self._database is not None:
            if self._ready:
                # Where the disk is full, the next writer tidies up.
                with contextlib.suppress(sqlite3.Error):
                    count = self._database.execute("SELECT count(*) FROM inputs").fetchone()[0]
                    self._made = self._made and count == 0
                    tidy(self._database)
            self._database.close()
            self._database = None
            if self._made and not self.keep_empty:
                self.path.unlink(missing_ok=True)
        if self._lock is not None:
            release(self.path, self._lock)
            self._lock = None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _same(path: Path, held: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for key in ["kind", *held, *(key for key in given if key not in held)]:
        # What a configuration does not say.
        usual = VOTES if key == "kind" else None
        before, now = held.get(key, usual), given.get(key, usual)
        if key == "options" and before and now:
            names = [name for name in [*before, *now] if before.get(name) != now.get(name)]
            if names:
                key, before, now = f"option {names[0]}", before.get(names[0]), now.get(names[0])
        if before != now:
            raise ValueError(
                f"store {str(path)!r} was made with {key} = {before!r}; this run has {key} = "
                f"{now!r}"
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
    held = {row.index: row for row in store.rows()}
    added = 0
    for path in shards:
        with RunStore(path) as shard:
            _same(Path(path), shard.config, store.config)
            new = []
            for row in shard.rows():
                other = held.get(row.index)
                if other is None:
                    new.append(row)
                    held[row.index] = row
                elif not _agree(other, row):
                    raise ValueError(
                        f"stores {str(path)!r} and {str(store.path)!r} disagree about input "
                        f"{row.index}; allowed: shards of one run"
                    )
            store.add_many(new)
            added += len(new)
    return added


def _agree(a: RunRow, b: RunRow) -> bool:
    """Whether two rows are of the same input and the same draws."""
    return (
        np.array_equal(a.select, b.select)
        and np.array_equal(a.estimate, b.estimate)
        and (a.label, a.digest, a.invalid, a.seed) == (b.label, b.digest, b.invalid, b.seed)
        and (a.law, a.n, a.kind, a.evidence) == (b.law, b.n, b.kind, b.evidence)
    )
