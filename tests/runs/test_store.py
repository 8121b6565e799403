"""The run store: what it keeps, and what it refuses."""

import contextlib
import shutil
import sqlite3

import numpy as np
import pytest
from _stores import CONFIG, content, edit, filled, plain, row

import rsbounds
from rsbounds.runs import RunStore, layout, merge_stores, remove_store
from rsbounds.runs import row as row_module


def test_what_is_put_in_comes_out(tmp_path):
    path = tmp_path / "run.sqlite"
    odd = row(
        7, label=None, select=np.zeros(4, int), estimate=np.zeros(4, int), invalid=450, top=-1,
        radius=0.0, abstained=True, error="cannot be read:\n\ud800", options={"split": 0.1},
    )  # fmt: skip
    with RunStore(path, CONFIG) as store:
        store.add(odd)
        store.add_many([row(3), row(0)])
        store.set_fact("labels", {"digest": "ab", "n": 3})
        store.set_fact("labels", None)
        assert store.done() == {0, 3, 7}
        assert [r.index for r in store.rows()] == [0, 3, 7]
    config, versions, facts, rows = content(path)
    assert config == CONFIG
    assert versions["rsbounds"] == rsbounds.__version__
    assert facts == {"labels": None}
    assert rows == [plain(row(0)), plain(row(3)), {**plain(odd), "error": "cannot be read:  "}]
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_the_caller_may_reuse_its_arrays(tmp_path):
    given = row(0, options={"split": [0.5]})
    with RunStore(tmp_path / "run.sqlite", CONFIG) as store:
        store.add(given)
        given.estimate[:] = 0
        given.options["split"][0] = 0.7
        assert plain(next(store.rows())) == plain(row(0, options={"split": [0.5]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimate": np.array([399, 0, 0, 0])}, "input 5: the sum of its counts"),
        ({"estimate": np.array([401, 0, 0, 0])}, "input 5: the sum of its counts"),
        ({"estimate": np.array([401, -1, 0, 0])}, r"estimate is \[401, -1, 0, 0\]"),
        ({"estimate": np.array([400, 0, 0])}, "4 whole numbers"),
        ({"estimate": np.array([400.0, 0, 0, 0])}, "4 whole numbers"),
        ({"select": np.array([51, 0, 0, 0]), "estimate": np.array([399, 0, 0, 0])}, "n0 = 50"),
        ({"invalid": 1}, "just as many"),
        ({"invalid": -1}, "invalid is -1"),
        ({"n": 401}, "just as many"),
        ({"top": 4}, "top is 4; allowed: 0 to 3"),
        ({"top": -1}, "top is -1; allowed: 0 to 3"),
        ({"label": 4}, "label is 4"),
        ({"label": -1}, "label is -1"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"radius": float("nan")}, "radius is nan"),
        ({"radius": -0.5}, "radius is -0.5"),
        ({"radius": 0.0}, "abstained is False"),
        ({"abstained": True}, r"radius is 0\.\d+; allowed"),
        ({"error": "NaN"}, "abstained is False"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"law": {"sigma": 0.5}}, "law is"),
        ({"law": {"name": "gaussian", "sigma": float("nan")}}, "law is"),
        ({"options": {"split": {1}}}, "options is"),
        ({"index": -1}, "index is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"digest": None}, "digest is None"),
    ],
)
def test_a_row_that_cannot_be_true_is_refused(tmp_path, change, message):
    # Rows were stored and read back without a look at them.
    with RunStore(tmp_path / "run.sqlite", CONFIG) as store:
        with pytest.raises(ValueError, match=message):
            store.add_many([row(4), row(5, **change)])
        assert store.done() == set()


def test_checksums_are_not_the_only_check(tmp_path):
    # A row of impossible counts is refused even where its checksum and the seal agree.
    path = filled(tmp_path / "run.sqlite", [0])
    values = row_module.encode(row(0), CONFIG, 3)[:-1]
    for k, wrong in ((4, "[500,0,0,-100]"), (4, "[1,2]"), (4, "[4.0,1,1,1]"), (13, 9), (7, -3)):
        bad = (*values[:k], wrong, *values[k + 1 :])
        broken = shutil.copy(path, tmp_path / "broken.sqlite")
        with contextlib.closing(sqlite3.connect(broken, isolation_level=None)) as database:
            total = row_module.checksum(bad)
            database.execute("DELETE FROM inputs")
            database.execute(layout.insert(3), (*bad, total))
            _, _, rest = layout.seal(database)
            layout.set_seal(database, 1, int(total, 16), rest)
        with pytest.raises(ValueError, match="damaged"):
            RunStore(broken)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE inputs SET estimate_counts = '[400,0,0,0]' WHERE idx = 3", "input 3 is not as"),
        ("UPDATE inputs SET alpha = 0.02 WHERE idx = 3", "input 3 is not as it was written"),
        ("UPDATE inputs SET law = replace(law, '5', '6') WHERE idx = 3", "input 3 is not as"),
        ("UPDATE inputs SET top = 0, radius = 9 WHERE idx = 3", "input 3 is not as it was written"),
        ("UPDATE inputs SET radius = '0.1x' WHERE idx = 3", "input 3 is not as it was written"),
        ("UPDATE inputs SET idx = 50 WHERE idx = 3", "input 50 is not as it was written"),
        ("DELETE FROM inputs WHERE idx = 3", "holds 11 whole inputs of the 12"),
        ("DELETE FROM inputs", "holds 0 whole inputs of the 12"),
        ("UPDATE run SET value = replace(value, '0.01', '0.02') WHERE key = 'config'", "config"),
        ("UPDATE run SET value = replace(value, '0.123', '0.223') WHERE key = 'config'", "config"),
        ("UPDATE run SET value = replace(value, '3', '4') WHERE key = 'versions'", "config"),
        ("UPDATE facts SET value = '[0.1,2.4]'", "facts are not as they were written"),
        ("DELETE FROM facts", "facts are not as they were written"),
        ("DELETE FROM run WHERE key = 'seal'", "damaged"),
        ("UPDATE run SET value = '12' WHERE key = 'seal'", "damaged"),
        ("DROP TABLE inputs", "no such table"),
        ("ALTER TABLE inputs DROP COLUMN checksum", "no such column"),
    ],
)
def test_a_changed_or_missing_value_is_seen(tmp_path, statement, message):
    # Each of these was read back as if nothing had happened, by readers and writers.
    path = filled(tmp_path / "run.sqlite")
    edit(path, statement)
    for config in (None, CONFIG):
        with pytest.raises(ValueError, match=message) as caught:
            RunStore(path, config)
        assert str(path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_no_flipped_bit_and_no_truncation_is_silent(tmp_path):
    # Of 1,500 flips 11 changed certificates silently. bench_runs.py tries 5,000.
    path = filled(tmp_path / "run.sqlite")
    data, expected = path.read_bytes(), content(path)
    rng, broken = np.random.default_rng(5), tmp_path / "broken.sqlite"
    refused = []
    for bit in rng.integers(0, 8 * len(data), 300):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        broken.write_bytes(changed)
        try:
            assert content(broken) == expected, bit
        except (ValueError, OSError) as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all("broken.sqlite" in message for message in refused)
    for length in [*rng.integers(0, len(data), 40), 0, 1, 100, 4096, 8192, len(data) - 1]:
        broken.write_bytes(data[:length])
        for config in (None, CONFIG):
            with pytest.raises(ValueError, match=r"broken\.sqlite"):
                RunStore(broken, config)
    assert {p.name for p in tmp_path.iterdir()} == {"run.sqlite", "broken.sqlite"}


def test_an_empty_file_is_no_fresh_run(tmp_path):
    # A file of zero bytes was filled as a new run.
    path = tmp_path / "run.sqlite"
    path.touch()
    for config in (None, CONFIG):
        with pytest.raises(ValueError, match="is an empty file; allowed: a run store, or no file"):
            RunStore(path, config)
    assert path.stat().st_size == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_an_input_is_stored_once(tmp_path):
    path = filled(tmp_path / "run.sqlite")
    with RunStore(path, CONFIG) as store:
        for rows in ([row(20), row(0)], [row(20), row(20)]):
            with pytest.raises(ValueError, match=f"input {rows[1].index} is in store"):
                store.add_many(rows)
        assert len(store) == 12
    assert len(content(path)[3]) == 12


def test_a_reader_cannot_write(tmp_path):
    with RunStore(filled(tmp_path / "run.sqlite")) as store:
        for call in (lambda: store.add(row(20)), lambda: store.set_fact("a", 1)):
            with pytest.raises(ValueError, match="not open for writing"):
                call()


def test_facts_are_plain_values(tmp_path):
    with (
        RunStore(tmp_path / "run.sqlite", CONFIG) as store,
        pytest.raises(ValueError, match="fact 'probe' is nan"),
    ):
        store.set_fact("probe", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_inputs_is_removed_unless_kept(tmp_path):
    path = tmp_path / "run.sqlite"
    with RunStore(path, CONFIG) as store:
        store.set_fact("probe", 1)
    assert list(tmp_path.iterdir()) == []
    with RunStore(path, CONFIG) as store:
        store.keep_empty = True
    with RunStore(path, CONFIG):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_another_configuration_is_named(tmp_path):
    path = filled(tmp_path / "run.sqlite")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"was made with n = 400; this run has n = 401"):
        RunStore(path, {**CONFIG, "n": 401})
    with pytest.raises(ValueError, match="made with extra = None; this run has extra = 1"):
        RunStore(path, {**CONFIG, "extra": 1})
    with pytest.raises(ValueError, match=r"config is .* JSON"):
        RunStore(path, {"n": {1}})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]


def test_files_of_another_kind(tmp_path):
    foreign = tmp_path / "foreign.sqlite"
    edit(foreign, "CREATE TABLE t (x)")
    junk = tmp_path / "junk.sqlite"
    junk.write_bytes(b"not a database, certainly not one of ours" * 100)
    newer = filled(tmp_path / "newer.sqlite")
    edit(newer, "UPDATE run SET value = '4' WHERE key = 'format'")
    (tmp_path / "folder").mkdir()
    before = {p: p.read_bytes() for p in (foreign, junk, newer)}
    for path, message in [
        (foreign, "a database of another kind"), (junk, "damaged or not a run store"),
        (newer, "has format 4; allowed: 1 to 3"),
    ]:  # fmt: skip
        for config in (None, CONFIG):
            with pytest.raises(ValueError, match=message):
                RunStore(path, config)
    assert {p: p.read_bytes() for p in before} == before
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(ValueError, match="a file that exists"):
        RunStore(tmp_path / "none.sqlite")
    with pytest.raises(ValueError, match="a folder that exists"):
        RunStore(tmp_path / "no" / "run.sqlite", CONFIG)
    with pytest.raises((ValueError, OSError), match="folder"):
        RunStore(tmp_path / "folder", CONFIG)


def test_shards_merge(tmp_path):
    whole = filled(tmp_path / "whole.sqlite")
    parts = [filled(tmp_path / f"{k}.sqlite", range(k, 12, 2)) for k in range(2)]
    with RunStore(tmp_path / "merged.sqlite", CONFIG) as merged:
        assert merge_stores(parts, merged) == 12
        assert merge_stores(parts, merged) == 0
    assert content(tmp_path / "merged.sqlite")[3] == content(whole)[3]
    with (
        RunStore(tmp_path / "other.sqlite", {**CONFIG, "n": 7}) as other,
        pytest.raises(ValueError, match="was made with n = 400; this run has n = 7"),
    ):
        merge_stores(parts, other)


@pytest.mark.parametrize(
    "change",
    [
        {"estimate": np.array([400, 0, 0, 0])},
        {"select": np.array([0, 0, 0, 50]), "top": 3},
        {"digest": "another"},
        {"label": 2},
        {"law": {"name": "gaussian", "sigma": 0.5}},
        {"seed": 3},
    ],
)
def test_shards_that_disagree_are_refused(tmp_path, change):
    path = filled(tmp_path / "run.sqlite")
    with RunStore(tmp_path / "odd.sqlite", CONFIG) as shard:
        shard.add_many([row(20), row(0, **change)])
    with RunStore(path, CONFIG) as store:
        with pytest.raises(ValueError, match="disagree about input 0"):
            merge_stores([tmp_path / "odd.sqlite"], store)
        assert len(store) == 12


def test_remove_store_takes_what_lies_beside_it(tmp_path):
    for end in ("", "-wal", "-shm", "-journal", ".new", "-other"):
        (tmp_path / f"run.sqlite{end}").touch()
    remove_store(tmp_path / "run.sqlite")
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite-other"]
