"""A memory of certified regions in a file.

The file is SQLite and only grows: one row per answer, in order, each with a checksum over itself
and the one before, and the number and last checksum of all in the same transaction. What a call
answered is on disk when it returns; after a crash the file holds whole calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds._types import Certificates
from rsbounds.certificates import MemoryAnswer, MemoryClassifier
from rsbounds.noises import Noise
from rsbounds.regions import Ball, CrossPolytope, Ellipsoid, LowRankEllipsoid, Region
from rsbounds.runs._sqlite import (
    Damage,
    acquire,
    as_damage,
    connect,
    explained,
    release,
    remove_store,
)
from rsbounds.runs.row import plain

# "rsbm" in ASCII: how a memory is told from any other SQLite file.
APPLICATION_ID = 0x7273626D
FORMAT = 1
_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE answers (
    position INTEGER PRIMARY KEY,
    source INTEGER,
    candidate INTEGER NOT NULL,
    adjusted TEXT NOT NULL,
    by INTEGER,
    own_candidate INTEGER NOT NULL,
    own_radius REAL NOT NULL,
    kind TEXT NOT NULL,
    x BLOB NOT NULL,
    arrays BLOB NOT NULL,
    checksum TEXT NOT NULL
)"""
_KINDS: dict[str, type[Region]] = {
    kind.__name__: kind for kind in (Ball, CrossPolytope, Ellipsoid, LowRankEllipsoid)
}


class MemoryStore:
    """A `MemoryClassifier` in a file, open for writing by one process.

    Parameters
    ----------
    path : str or path
        The SQLite file, made if it is not there.
    model, noise, dimension, base
        As in `MemoryClassifier`; a file of another model, noise or dimension is refused.
    config : mapping, optional
        Further plain values that every call must share, such as alpha.

    Attributes
    ----------
    memory : MemoryClassifier
        What the file holds. Only the store's own `certify` adds to the file.
    sources : list of (int or None)
        Index of each stored input in its data set, by position.

    Raises
    ------
    ValueError
        A file that is not a memory, is damaged, is of another model, noise, dimension or
        configuration (the first difference is named), or is being written to.
    OSError
        A disk that is full or fails.

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> from rsbounds.runs import MemoryStore
    >>> law = rsbounds.Gaussian(sigma=0.5)
    >>> own = rsbounds.certify([[990, 10]], 0, noise=law)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "memory.sqlite")
    ...     for _ in range(2):  # The same answer again.
    ...         with MemoryStore(path, model="m", noise="gaussian", dimension=1) as store:
    ...             print(store.certify([[0.2]], own, noise=law).top, len(store.memory))
    [0] 1
    [0] 1
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: str,
        noise: str,
        dimension: int,
        base: Callable[[NDArray[Any]], ArrayLike] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._database: sqlite3.Connection | None = None
        self._base, self._made = base, False
        self.memory = MemoryClassifier(model=model, noise=noise, dimension=dimension, base=base)
        wanted = {**self.memory.fingerprint, **(config or {})}
        self._wanted = json.loads(plain("config", wanted))
        if not self.path.parent.is_dir():
            raise ValueError(f"memory is {str(path)!r}; allowed: a file in a folder that exists")
        self._lock: sqlite3.Connection | None = acquire(self.path)
        try:
            if not self.path.exists():
                _create(self.path, self._wanted)
                self._made = True
            self._database = connect(f"{self.path.absolute().as_uri()}?mode=rw")
            self._database.execute("PRAGMA synchronous = FULL")
            self._load()
        except sqlite3.Error as error:
            self.close()
            raise explained(self.path, error) from None
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        """Take what the file holds."""
        assert self._database is not None
        self.memory = MemoryClassifier(**self.memory.fingerprint, base=self._base)
        self.sources: list[int | None] = []
        self._head = _read(self.path, self._database, self.memory, self.sources, self._wanted)

    def certify(
        self,
        inputs: ArrayLike,
        certificates: Certificates,
        *,
        noise: Noise,
        sources: Sequence[int | None] | None = None,
    ) -> Certificates:
        """`MemoryClassifier.certify`; the answers are on disk when it returns.

        Parameters
        ----------
        inputs, certificates, noise
            As in `MemoryClassifier.certify`.
        sources : sequence of int, optional
            Index of each input in its data set; those of the certificates by default.

        Returns
        -------
        Certificates

        Raises
        ------
        ValueError
            As `MemoryClassifier.certify`, or a store that is closed; nothing is stored.
        OSError
            The disk is full or fails; the file and the memory are as before.
        """
        given = certificates.index.tolist() if sources is None else list(sources)
        return self.certify_each([(inputs, certificates, noise, given)])[0]

    def certify_each(
        self, parts: Iterable[tuple[ArrayLike, Certificates, Noise, Sequence[int | None]]]
    ) -> list[Certificates]:
        """`certify` of several (inputs, certificates, noise, sources), in one transaction."""
        with self._kept():
            found = []
            for inputs, certificates, noise, sources in parts:
                found.append(self.memory.certify(inputs, certificates, noise=noise))
                for x, source in zip(np.asarray(inputs), sources, strict=True):
                    # New ones are behind one another.
                    if self.memory.position(x) == len(self.sources):
                        self.sources.append(source)
        return found

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Store what is added to the memory, in one transaction; take it back where that fails."""
        if self._database is None:
            raise ValueError(f"memory {str(self.path)!r} is closed; allowed: an open store")
        before = len(self.memory)
        try:
            yield
            self._append(range(before, len(self.memory)))
        except BaseException as error:
            if self._database.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            self._load()
            if isinstance(error, sqlite3.Error):
                raise OSError(
                    f"answers could not be kept: {explained(self.path, error)}; what was stored "
                    "before is safe, and the same call goes on"
                ) from None
            raise

    def _append(self, positions: range) -> None:
        assert self._database is not None
        head, rows = self._head, []
        for position in positions:
            values = _encode(self.memory, position, self.sources[position])
            head = _chained(head, values)
            rows.append((*values, head))
        if rows:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                f"INSERT INTO answers VALUES ({', '.join('?' * len(rows[0]))})", rows
            )
            _set_seal(self._database, len(self.memory), head)
            self._database.execute("COMMIT")
            self._head = head

    def close(self) -> None:
        """Release the file; one that was made here and got no answer is removed."""
        if self._database is not None:
            self._database.close()
            self._database = None
            if self._made and not len(self.memory):
                remove_store(self.path)
        if self._lock is not None:
            release(self.path, self._lock)
            self._lock = None

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load_memory(
    path: str | os.PathLike[str],
    *,
    model: str,
    noise: str,
    dimension: int,
    base: Callable[[NDArray[Any]], ArrayLike] | None = None,
) -> MemoryClassifier:
    """The memory that a file holds, to answer with; what is added to it is not stored.

    Parameters
    ----------
    path : str or path
        A file of `MemoryStore` or `remember`.
    model, noise, dimension, base
        As in `MemoryClassifier`.

    Returns
    -------
    MemoryClassifier

    Raises
    ------
    ValueError
        As `MemoryStore`.

    Examples
    --------
    >>> from rsbounds.runs import load_memory
    >>> load_memory("nothing.sqlite", model="m", noise="gaussian", dimension=1)
    Traceback (most recent call last):
    ValueError: memory is 'nothing.sqlite'; allowed: a file that exists
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"memory is {str(path)!r}; allowed: a file that exists")
    memory = MemoryClassifier(model=model, noise=noise, dimension=dimension, base=base)
    # What a killed writer left half-done is rolled back, which only a writer can.
    mode = "rw" if os.access(file, os.W_OK) else "ro"
    try:
        with contextlib.closing(connect(f"{file.absolute().as_uri()}?mode={mode}")) as database:
            _read(file, database, memory, [])
    except sqlite3.Error as error:
        raise explained(file, error) from None
    return memory


def _create(path: Path, config: Mapping[str, Any]) -> None:
    """A new file; it takes its name when it is complete and on disk."""
    draft = Path(f"{path}.new")
    remove_store(path)
    try:
        with contextlib.closing(connect(f"{draft.absolute().as_uri()}?mode=rwc")) as database:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            text = plain("config", config)
            database.executemany(
                "INSERT INTO memory VALUES (?, ?)", [("format", str(FORMAT)), ("config", text)]
            )
            _set_seal(database, 0, _first(text))
            database.execute("COMMIT")
        os.replace(draft, path)
    except BaseException:
        remove_store(draft)
        raise


def _read(
    path: Path,
    database: sqlite3.Connection,
    memory: MemoryClassifier,
    sources: list[int | None],
    config: Mapping[str, Any] | None = None,
) -> str:
    """Fill a memory with what a file holds; returns the last checksum.

    Where ``config`` is left out, only the memory's fingerprint must be that of the file.
    """
    name = f"memory {str(path)!r}"
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ValueError(f"{name} is a file of another kind; allowed: a memory of regions")
    try:
        with as_damage():
            held = dict(database.execute("SELECT key, value FROM memory").fetchall())
            form, there = json.loads(held["format"]), json.loads(held["config"])
            count, seal = json.loads(held["seal"])
        if form != FORMAT:
            raise ValueError(f"{name} has format {form}; allowed: {FORMAT} (a newer version?)")
        given = memory.fingerprint if config is None else config
        for key in [*given, *([] if config is None else there)]:
            if there.get(key) != given.get(key):
                raise ValueError(
                    f"{name} was made with {key} = {there.get(key)!r}; this call has {key} = "
                    f"{given.get(key)!r}"
                )
        with as_damage():
            head = _first(held["config"])
            for *values, checksum in database.execute("SELECT * FROM answers ORDER BY position"):
                head = _chained(head, values)
                if head != checksum:
                    raise ValueError(f"answer {values[0]} is not as it was written (checksum)")
                memory.restore(*_decoded(values))
                sources.append(values[1])
            if (len(memory), head) != (count, seal):
                raise ValueError(f"it holds {len(memory)} of the {count} answers written")
    except Damage as error:
        raise ValueError(
            f"{name} is damaged ({error}); allowed: a file as it was left by rsbounds"
        ) from None
    return head


def _set_seal(database: sqlite3.Connection, count: int, head: str) -> None:
    text = plain("seal", [count, head])
    database.execute("INSERT OR REPLACE INTO memory VALUES ('seal', ?)", (text,))


def _first(config: str) -> str:
    return hashlib.sha256(f"{FORMAT} {config}".encode()).hexdigest()


def _chained(head: str, values: Sequence[Any]) -> str:
    """Checksum of an answer and of all before it."""
    *scalars, x, arrays = values
    total = hashlib.sha256(json.dumps([head, scalars, len(x), len(arrays)]).encode())
    total.update(x)
    total.update(arrays)
    return total.hexdigest()


def _encode(memory: MemoryClassifier, position: int, source: int | None) -> tuple[Any, ...]:
    """An answer as the file's columns."""
    answer, region = memory[position], memory.region_of(position)
    x = memory.point_of(position)
    # The smaller type where it holds the same numbers.
    if (x.astype(np.float32) == x).all():
        x = x.astype(np.float32)
    held = {key: value for key, value in region.arrays().items() if not key.startswith("_")}
    kind: dict[str, Any] = {
        "kind": type(region).__name__,
        "words": {word: getattr(region, word) for word in region._WORDS},
        "x": x.dtype.newbyteorder("<").str,
        "shapes": {key: list(value.shape) for key, value in held.items()},
    }
    if kind["kind"] not in _KINDS:
        raise ValueError(f"region is {kind['kind']}; allowed: {', '.join(_KINDS)}")
    return (
        position, source, answer.candidate, answer.adjusted, answer.by, answer.own_candidate,
        # SQLite keeps no sign of zero.
        answer.own_radius + 0.0, plain("kind", kind), x.astype(kind["x"]).tobytes(),
        b"".join(value.astype("<f8").tobytes() for value in held.values()),
    )  # fmt: skip


def _decoded(values: Sequence[Any]) -> tuple[NDArray[Any], Region, MemoryAnswer]:
    """What `_encode` wrote."""
    position, _, candidate, adjusted, by, own_candidate, own_radius, text, x, arrays = values
    kind = json.loads(text)
    numbers, start = np.frombuffer(arrays, dtype="<f8").astype(np.float64), 0
    held = {}
    for key, shape in kind["shapes"].items():
        size = int(np.prod(shape))
        held[key] = numbers[start : start + size].reshape(shape)
        start += size
    region = _KINDS[kind["kind"]](**kind["words"], **held)
    answer = MemoryAnswer(
        position, candidate, float(region.radius[0]), adjusted, by, own_candidate, own_radius
    )
    return np.frombuffer(x, dtype=kind["x"]), region, answer
