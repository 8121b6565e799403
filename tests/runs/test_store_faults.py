"""What the store does when processes die, and disks and folders fail."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from _stores import CONFIG, ROOT, content, filled, folder_of, killed, kills, plain, row

from rsbounds.runs import RunStore, layout
from rsbounds.runs import store as store_module


@kills
def test_readers_leave_what_a_killed_writer_left_to_the_next_writer(tmp_path):
    # A reader made or removed files beside the store.
    path = killed(tmp_path / "run.sqlite")
    before = folder_of(path)
    assert [r["index"] for r in content(path)[3]] == list(range(7))
    assert folder_of(path).keys() == before.keys()
    Path(f"{path}-shm").unlink()
    names = folder_of(path).keys()
    assert content(path)[3] == [plain(row(i)) for i in range(7)]
    assert folder_of(path).keys() == names
    with RunStore(path, CONFIG) as store:
        assert store.done() == set(range(7))
        store.add(row(7))
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    assert len(content(path)[3]) == 8


@kills
def test_a_damaged_log_of_a_killed_writer_changes_no_row(tmp_path):
    # What is left is the beginning of the run, or an error.
    path = killed(tmp_path / "run.sqlite")
    log = Path(f"{path}-wal")
    data, expected = log.read_bytes(), [plain(row(i)) for i in range(7)]
    main = path.read_bytes()
    Path(f"{path}-shm").unlink()
    rng, seen = np.random.default_rng(2), set()
    for trial in range(60):
        changed = bytearray(data)
        if trial % 2:
            bit = int(rng.integers(8 * len(data)))
            changed[bit // 8] ^= 1 << bit % 8
        else:
            del changed[int(rng.integers(len(data))) :]
        log.write_bytes(changed)
        with contextlib.suppress(ValueError, OSError):
            rows = content(path)[3]
            assert rows == expected[: len(rows)]
            seen.add(len(rows))
    assert len(seen) > 2
    assert path.read_bytes() == main


def test_a_hot_journal_is_rolled_back_in_a_copy(tmp_path):
    path = filled(tmp_path / "run.sqlite", range(100))
    expected = content(path)
    hot = tmp_path / "hot" / "run.sqlite"
    hot.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute("UPDATE inputs SET radius = 9")
        shutil.copy(path, hot)
        shutil.copy(f"{path}-journal", f"{hot}-journal")
        database.execute("ROLLBACK")
    before = folder_of(hot)
    assert content(hot) == expected
    assert folder_of(hot) == before


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    path = tmp_path / "run.sqlite"
    with RunStore(path, CONFIG) as writer:
        with pytest.raises(ValueError, match="being written to by another process"):
            RunStore(path, CONFIG)
        with RunStore(path) as reader:
            assert reader.done() == set()
        writer.add(row(0))
        # A reader holds what there was, keeps nothing open, and the writer goes on and tidies up.
        reader = RunStore(path)
        writer.add(row(1))
        assert reader.done() == {0}
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    with RunStore(path, CONFIG) as store:
        assert len(store) == 2


def test_rows_that_are_being_read_do_not_block_a_writer(tmp_path):
    # An iterator that was not read to its end kept the file locked.
    path = filled(tmp_path / "run.sqlite")
    reader = RunStore(path)
    rows = reader.rows()
    next(rows)
    with RunStore(path, CONFIG) as store:
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store.add(row(12))
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    assert len(list(rows)) == 11


def test_a_writer_that_ends_while_something_is_read_tidies_up_after_it(tmp_path):
    # With a reader there, the log and its index stayed beside the store for good.
    path = tmp_path / "run.sqlite"
    store = RunStore(path, CONFIG)
    store.add(row(0))
    address = f"{path.as_uri()}?mode=ro"
    reading = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    reading.execute("BEGIN")
    reading.execute("SELECT * FROM inputs").fetchall()
    ends = threading.Timer(0.1, reading.close)
    ends.start()
    store.close()
    ends.join()
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    assert len(content(path)[3]) == 1


def test_a_lock_on_a_removed_file_is_nobodys(tmp_path, monkeypatch):
    # A writer that opened the lock file just before its owner removed it held nothing.
    path = tmp_path / "run.sqlite"
    first = RunStore(path, CONFIG)
    first.add(row(0))
    connect = sqlite3.connect

    def slow(*arguments, **options):
        opened = connect(*arguments, **options)
        if str(arguments[0]).endswith(".lock"):
            monkeypatch.setattr(sqlite3, "connect", connect)
            first.close()
        return opened

    monkeypatch.setattr(sqlite3, "connect", slow)
    with (
        RunStore(path, CONFIG) as second,
        pytest.raises(ValueError, match="being written to by another process"),
    ):
        RunStore(path, CONFIG)
    assert second.done() == {0}
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_leftovers_are_cleaned(tmp_path):
    # Stray lock files, drafts, and the log of a store that was deleted.
    path = filled(tmp_path / "run.sqlite", [0])
    names = (".lock", ".new", "-wal", "-shm", "-journal")
    path.unlink()
    for end in names:
        Path(f"{path}{end}").write_bytes(b"left" * 2000 if end != ".lock" else b"")
    filled(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    Path(f"{path}.lock").touch()
    with RunStore(path, CONFIG):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_a_run_that_dies_while_making_its_store_leaves_no_store(tmp_path, monkeypatch):
    # An empty file of a killed start must not look like a store.
    def fails(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(layout, "set_seal", fails)
    with pytest.raises(KeyboardInterrupt):
        RunStore(tmp_path / "run.sqlite", CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_disk_and_memory_does_not_break_the_store(tmp_path, monkeypatch):
    path = tmp_path / "run.sqlite"
    with RunStore(path, CONFIG) as store:
        with monkeypatch.context() as patch:

            def fails(*arguments, **options):
                raise KeyboardInterrupt

            patch.setattr(store_module, "written", fails)
            with pytest.raises(KeyboardInterrupt):
                store.add(row(0))
        store.add(row(1))
        with pytest.raises(ValueError, match=r"input 0: in store .* already"):
            store.add(row(0))
    assert [r["index"] for r in content(path)[3]] == [0, 1]


@contextlib.contextmanager
def open_folder():
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextlib.contextmanager
def without_rights(folder):
    """Run as a user who may read the folder and not write to it."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs users")
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
    else:
        os.chmod(folder, 0o555)
        try:
            yield
        finally:
            os.chmod(folder, 0o755)


def test_a_read_only_folder(tmp_path):
    # Readers need no right to write; a writer hears what is wrong.
    with open_folder() as folder:
        path = filled(folder / "run.sqlite")
        before, expected = folder_of(path), content(path)
        with without_rights(folder):
            assert content(path) == expected
            with pytest.raises(OSError, match=r"run.sqlite' cannot be written to \(Permission"):
                RunStore(path, CONFIG)
            with pytest.raises(OSError, match=r"new\.sqlite' cannot be written to"):
                RunStore(folder / "new.sqlite", CONFIG)
        assert folder_of(path) == before


def test_a_read_only_file(tmp_path):
    with open_folder() as folder:
        path = filled(folder / "run.sqlite")
        os.chmod(path, 0o444)
        os.chmod(folder, 0o777)
        with contextlib.ExitStack() as stack:
            if os.geteuid() == 0:
                stack.enter_context(without_rights(folder))
            with pytest.raises(OSError, match=r"cannot be written to .*read-only folder or file"):
                RunStore(path, CONFIG)
        assert [p.name for p in folder.iterdir()] == ["run.sqlite"]


@kills
def test_what_a_killed_writer_left_is_read_in_a_read_only_folder():
    with open_folder() as folder:
        path = killed(folder / "run.sqlite")
        for gone in ((), ("-shm",)):
            for end in gone:
                Path(f"{path}{end}").unlink()
            before = folder_of(path)
            with without_rights(folder):
                assert len(content(path)[3]) == 7
            assert folder_of(path) == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(options, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_called_full(small_disk):
    # "Being written to by another process", or "damaged".
    path = small_disk / "run.sqlite"
    store = RunStore(path, CONFIG)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100_000))
    kept = []

    def fill():
        for i in range(100):
            store.add(row(i))
            kept.append(i)

    with pytest.raises(OSError, match=r"input \d+ could not be kept: the disk of store .* is full"):
        fill()
    assert kept
    store.close()
    # What was confirmed is there, on the full disk too, and nobody is told another story.
    assert [r["index"] for r in content(path)[3]] == kept
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1024))
    with pytest.raises(OSError, match=r"disk of store .* is full|No space left"):
        RunStore(small_disk / "new.sqlite", CONFIG)
    assert not list(small_disk.glob("new*"))
    assert [r["index"] for r in content(path)[3]] == kept
    with contextlib.suppress(OSError), RunStore(path, CONFIG) as store:
        store.add(row(99))
    filler.unlink()
    ballast.unlink()
    with RunStore(path, CONFIG) as store:
        store.add_many(row(i) for i in range(100) if i not in store.done())
    assert content(path)[3] == [plain(row(i)) for i in range(100)]
    assert [p.name for p in small_disk.iterdir()] == ["run.sqlite"]


def test_a_store_that_may_not_grow_keeps_what_it_has(tmp_path):
    path = tmp_path / "run.sqlite"
    with RunStore(path, CONFIG) as store:
        store.add(row(0))
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match=r"inputs 1 to 99 could not be kept: the disk .* is full"):
            store.add_many(row(i) for i in range(1, 100))
        with pytest.raises(OSError, match=r"fact 'big' could not be kept: the disk .* is full"):
            store.set_fact("big", "x" * 100_000)
        assert store.done() == {0}
        assert "big" not in store.facts()
    assert content(path)[3] == [plain(row(0))]


def test_a_limit_on_file_sizes_is_not_damage(tmp_path):
    # A quota shows as an input/output error.
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from _stores import CONFIG, RunStore, row\n"
        "store = RunStore(sys.argv[2], CONFIG)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))\n"
        "try:\n"
        "    for i in range(100):\n"
        "        store.add(row(i))\n"
        "except OSError as error:\n"
        "    print(i, error)\n"
    )
    path = tmp_path / "run.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    count, said = done.stdout.split(" ", 1)
    assert "could not be kept: the disk of store" in said
    assert "over quota" in said
    assert len(content(path)[3]) == int(count) > 0
