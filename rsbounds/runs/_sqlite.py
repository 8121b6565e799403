"""A SQLite file that one process writes: the lock beside it, and its errors in our words."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

#: Seconds to wait for another connection to the same file.
_PATIENCE = 30.0


class Damage(Exception):
    """What is wrong with the content of a file."""


def connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)


@contextlib.contextmanager
def as_damage() -> Iterator[None]:
    """Whatever goes wrong with values that were read: they are not those that were written."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise Damage(str(error) or type(error).__name__) from None


def acquire(path: Path) -> sqlite3.Connection:
    """The lock of the one writer.

    An exclusive transaction on a file beside the store: the operating system drops it with the
    process, on every platform, and it keeps no reader out. The file is removed before the lock
    is let go, so a lock on a file that is no longer there is nobody's.
    """
    name = Path(f"{path}.lock")
    while True:
        try:
            name.touch()
            before = name.stat()
            lock = sqlite3.connect(name, timeout=0, isolation_level=None)
        except OSError as error:
            raise OSError(
                f"store {str(path)!r} cannot be written to ({error.strerror}: {str(name)!r})"
            ) from None
        failed = None
        try:
            lock.execute("PRAGMA journal_mode = OFF")
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            failed = error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(before, name.stat()):
                if failed is None:
                    return lock
                lock.close()
                if kind_of(failed) != "BUSY":
                    raise explained(path, failed)
                raise ValueError(
                    f"store {str(path)!r} is being written to by another process; allowed: one "
                    "writer at a time"
                )
        lock.close()


def release(path: Path, lock: sqlite3.Connection) -> None:
    name = Path(f"{path}.lock")
    with contextlib.suppress(OSError):
        name.unlink()
    lock.close()
    # Where an open file cannot be removed.
    with contextlib.suppress(OSError):
        if os.name == "nt":
            name.unlink()


def tidy(database: sqlite3.Connection) -> None:
    """Make the store one file again, between two readers (each is there for a moment)."""
    for _ in range(100):
        try:
            database.execute("PRAGMA journal_mode = DELETE")
            return
        except sqlite3.OperationalError as error:
            if kind_of(error) not in ("BUSY", "LOCKED"):
                raise
        time.sleep(0.02)


def kind_of(error: sqlite3.Error) -> str:
    """SQLite's name of the error: "FULL", "BUSY", "IOERR", ..."""
    return getattr(error, "sqlite_errorname", "SQLITE_").split("_")[1]


def explained(path: Path, error: sqlite3.Error) -> Exception:
    """What an error of SQLite means for the store, in our words."""
    kind, name = kind_of(error), f"store {str(path)!r}"
    if kind == "FULL" or (kind == "IOERR" and shutil.disk_usage(path.parent).free < 2**16):
        return OSError(f"the disk of {name} is full")
    if kind == "IOERR":
        return OSError(f"the disk of {name} fails ({error}: over quota, or defective?)")
    if kind in ("READONLY", "CANTOPEN", "PERM"):
        return OSError(f"{name} cannot be written to ({error}: a read-only folder or file?)")
    if kind in ("BUSY", "LOCKED"):
        return ValueError(f"{name} is in use by another program ({error})")
    return damaged(path, error)


def damaged(path: Path, error: Exception) -> ValueError:
    # Errors of decoding go on with what they could not decode.
    reason = str(error).split(" with text ")[0] or type(error).__name__
    return ValueError(
        f"store {str(path)!r} is damaged or not a run store ({reason}); allowed: a file as "
        "certify_dataset left it"
    )


def remove_store(path: str | os.PathLike[str]) -> None:
    """Remove a store and whatever a killed process left beside it."""
    for end in ("", "-wal", "-shm", "-journal", ".new", ".new-journal"):
        Path(f"{os.fspath(path)}{end}").unlink(missing_ok=True)
