"""The memory of a run and its file: the same however the run was made, and never half."""

import sqlite3

import numpy as np
import pytest

import rsbounds
from rsbounds import RunStore
from rsbounds.noises import DiagonalGaussian
from rsbounds.regions import CrossPolytope, Ellipsoid, LowRankEllipsoid
from rsbounds.runs import MemoryStore, load_memory, merge_stores, remember
from rsbounds.runs import memory as files

N = 12
# A small class amid a large one: wide noise far from it does not see it, narrow noise in it does.
X = np.random.default_rng(3).uniform(-0.8, 0.8, size=(N, 2)).astype(np.float32)
X[[1, 4, 9]] *= np.float32(0.2)
X[7] = X[2]
INSIDE = np.sqrt((X**2).sum(axis=1)) < 0.4
AXES = np.where(INSIDE, 0.1, 0.9)[:, None] * np.linspace(0.8, 1.2, 2 * N).reshape(N, 2)
LAW = DiagonalGaussian(axes=AXES, batched=True)


def classifier(batch):
    return (np.sqrt((batch**2).sum(axis=1)) < 0.4).astype(int)


def run(path):
    return rsbounds.certify_dataset(
        classifier, X, noise=LAW, n=200, num_classes=2, seed=1, store=path, model_id="m",
        progress=False,
    )  # fmt: skip


def answers(path):
    return list(load_memory(path, model="m", noise="diagonal-gaussian", dimension=2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run and its memory."""
    folder = tmp_path_factory.mktemp("memory")
    own = run(folder / "run.sqlite")
    with RunStore(folder / "run.sqlite") as store:
        mine = remember(store, X, folder / "memory.sqlite")
    return folder, own, mine


def test_the_memory_of_a_run_is_about_the_memory_classifier(whole):
    folder, own, mine = whole
    held = answers(folder / "memory.sqlite")
    assert {a.adjusted for a in held} == {"no", "shrunk", "relabelled"}
    assert own.about == "fixed noise"
    assert mine.about == "memory"
    assert (mine.radius <= own.radius).all()
    # One input is there twice: the same answer, stored once.
    assert len(held) == N - 1
    assert mine.radius[7] == mine.radius[2]
    memory = load_memory(
        folder / "memory.sqlite", model="m", noise="diagonal-gaussian", dimension=2,
        base=classifier,
    )  # fmt: skip
    certified = mine.certified
    assert (memory.predict(X)[certified] == mine.top[certified]).all()


def test_stopped_resumed_and_sharded_runs_have_the_same_memory(whole, tmp_path):
    folder, _, mine = whole
    with RunStore(folder / "run.sqlite") as store:
        config, rows = store.config, list(store.rows())
    target = tmp_path / "memory.sqlite"
    # In three parts; in the second an input in between is missing still.
    for done in ([0, 1, 2], [0, 1, 2, 3, 4, 9, 11], range(N)):
        path = tmp_path / f"part{len(done)}.sqlite"
        with RunStore(path, config) as part:
            part.add_many([rows[i] for i in reversed(list(done))])
            found = remember(part, X, target)
            assert len(found) == {3: 3, 7: 5}.get(len(done), N)
    assert answers(target) == answers(folder / "memory.sqlite")
    assert found.radius.tolist() == mine.radius.tolist()
    shards = [tmp_path / f"shard{rank}.sqlite" for rank in range(2)]
    for rank, path in enumerate(shards):
        with RunStore(path, config) as shard:
            shard.add_many(rows[rank::2])
    with RunStore(tmp_path / "merged.sqlite", config) as merged:
        merge_stores(shards, merged)
        remember(merged, X, tmp_path / "other.sqlite")
    assert answers(tmp_path / "other.sqlite") == answers(folder / "memory.sqlite")


def test_one_statement_about_the_whole_memory(whole, tmp_path):
    folder, _, mine = whole
    with RunStore(folder / "run.sqlite") as store:
        shared = remember(store, X, tmp_path / "memory.sqlite", alpha=0.05, family=True)
        half = remember(store, X, tmp_path / "half.sqlite", indices=[4, 0, 8], alpha=0.05)
        assert half.index.tolist() == [4, 0, 8]
        with pytest.raises(ValueError, match=r"was made with alpha = 0\.05; this call has alpha"):
            remember(store, X, tmp_path / "half.sqlite", indices=[4, 0, 8], alpha=0.01)
        with pytest.raises(ValueError, match="was made with order"):
            remember(store, X, tmp_path / "half.sqlite", indices=[4, 8, 0], alpha=0.05)
    assert 0.05 / N * 0.999 < shared.alpha <= 0.05 / N
    assert half.alpha == 0.05
    assert shared.radius.sum() != mine.radius.sum()


def test_an_input_that_comes_too_late_is_refused(whole, tmp_path):
    folder, _, _ = whole
    with RunStore(folder / "run.sqlite") as store:
        config, rows = store.config, list(store.rows())
    failed = rsbounds.runs.RunRow(
        **{
            **{f: getattr(rows[1], f) for f in rows[1].__dataclass_fields__},
            "digest": "", "select": rows[1].select * 0, "estimate": rows[1].estimate * 0,
            "invalid": rows[1].n0 + rows[1].n, "top": -1, "radius": 0.0, "abstained": True,
            "error": "the file cannot be read",
        }
    )  # fmt: skip
    with RunStore(tmp_path / "a.sqlite", config) as store:
        store.add_many([rows[0], failed, rows[2]])
        found = remember(store, X, tmp_path / "memory.sqlite")
        assert found.abstained.tolist()[1]
        assert len(answers(tmp_path / "memory.sqlite")) == 2
        store.forget([1])
        store.add(rows[1])
        with pytest.raises(ValueError, match="input 1 comes before input 2, which memory"):
            remember(store, X, tmp_path / "memory.sqlite")
    with RunStore(tmp_path / "b.sqlite", config) as store:
        store.add(rows[0])
        with pytest.raises(ValueError, match="of which this run has finished 1"):
            remember(store, X, tmp_path / "memory.sqlite")
    with RunStore(tmp_path / "c.sqlite", config) as store:
        store.add(rows[4])
        with pytest.raises(ValueError, match="no input at the front"):
            remember(store, X, tmp_path / "memory.sqlite")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (X[:3], "inputs hold 3; allowed"),
        (X.astype(np.float64), r"inputs\[0\] is not the one of store"),
        (X[::-1], r"inputs\[0\] is not the one of store"),
    ],
)
def test_other_inputs_are_refused_and_leave_nothing(whole, tmp_path, inputs, message):
    with RunStore(whole[0] / "run.sqlite") as store:
        with pytest.raises(ValueError, match=message):
            remember(store, inputs, tmp_path / "memory.sqlite")
        with pytest.raises(ValueError, match="twice"):
            remember(store, X, tmp_path / "memory.sqlite", indices=[1, 1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value"), [("model", "other"), ("noise", "gaussian"), ("dimension", 3)]
)
def test_a_memory_of_something_else_is_refused(whole, key, value):
    path = whole[0] / "memory.sqlite"
    given = {"model": "m", "noise": "diagonal-gaussian", "dimension": 2, key: value}
    before = path.read_bytes()
    for call in (load_memory, MemoryStore):
        with pytest.raises(ValueError, match=f"was made with {key} = "):
            call(path, **given)
    assert path.read_bytes() == before


def certified(count, seed=0):
    """Certificates of ``count`` inputs on a line, at radii of about 0.5."""
    top = np.random.default_rng(seed).integers(0, 2, size=count)
    counts = np.where(np.arange(2) == top[:, None], 950, 50)
    return rsbounds.certify(counts, top, noise=rsbounds.Gaussian(0.5))


GIVEN = {"model": "m", "noise": "gaussian", "dimension": 1}
LINE = np.arange(10.0)[:, None] * 0.3


def test_a_crash_leaves_whole_calls(tmp_path, monkeypatch):
    path, law, own = tmp_path / "memory.sqlite", rsbounds.Gaussian(0.5), certified(10)
    with MemoryStore(path, **GIVEN) as store:
        store.certify(LINE[:4], own[:4], noise=law)
        held = list(store.memory)

        def fails(*_):
            raise sqlite3.OperationalError("disk is gone")

        monkeypatch.setattr(files, "_set_seal", fails)
        with pytest.raises(OSError, match="what was stored before is safe"):
            store.certify(LINE[4:], own[4:], noise=law)
        # The memory is what the file is.
        assert list(store.memory) == held
        monkeypatch.undo()
        with pytest.raises(ValueError, match="x holds nan"):
            store.certify([[8.0], [np.nan]], own[:2], noise=law)
        assert list(store.memory) == held
        store.certify(LINE[4:], own[4:], noise=law)
        assert store.sources == list(range(10))
        with pytest.raises(ValueError, match="being written to"):
            MemoryStore(path, **GIVEN)
    with MemoryStore(tmp_path / "at_once.sqlite", **GIVEN) as store:
        whole = store.certify(LINE, own, noise=law)
        again = store.certify(LINE, certified(10, seed=9), noise=law)
        assert again.radius.tolist() == whole.radius.tolist()
    assert list(load_memory(path, **GIVEN)) == list(store.memory)
    with pytest.raises(ValueError, match="is closed"):
        store.certify(LINE, own, noise=law)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["at_once.sqlite", "memory.sqlite"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE answers SET candidate = 1 - candidate WHERE position = 2",
        "UPDATE answers SET own_radius = 7 WHERE position = 2",
        "UPDATE answers SET arrays = x'000000000000f03f' WHERE position = 2",
        "UPDATE answers SET x = x'0000803f' WHERE position = 2",
        "DELETE FROM answers WHERE position = 3",
        "DELETE FROM answers WHERE position = 0",
        "UPDATE memory SET value = replace(value, '\"m\"', '\"n\"') WHERE key = 'config'",
        "UPDATE memory SET value = 'x' WHERE key = 'seal'",
    ],
)
def test_damage_is_seen(tmp_path, damage):
    path = tmp_path / "memory.sqlite"
    with MemoryStore(path, **GIVEN) as store:
        store.certify(LINE[:4], certified(4), noise=rsbounds.Gaussian(0.5))
    database = sqlite3.connect(path)
    database.execute(damage)
    database.commit()
    database.close()
    given = {**GIVEN, "model": "n"} if "config" in damage else GIVEN
    for call in (load_memory, MemoryStore):
        with pytest.raises(ValueError, match="is damaged"):
            call(path, **given)


def test_other_files_and_folders_are_refused(tmp_path, whole):
    for path, message in (
        (tmp_path / "no" / "memory.sqlite", "a folder that exists"),
        (whole[0] / "run.sqlite", "a file of another kind"),
    ):
        with pytest.raises(ValueError, match=message):
            MemoryStore(path, **GIVEN)
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to be looked at" * 30)
    with pytest.raises(ValueError, match="not a run store"):
        load_memory(tmp_path / "text.sqlite", **GIVEN)
    MemoryStore(tmp_path / "empty.sqlite", **GIVEN).close()
    assert not (tmp_path / "empty.sqlite").exists()
    with pytest.raises(ValueError, match="JSON can carry"):
        MemoryStore(tmp_path / "new.sqlite", **GIVEN, config={"a": {1, 2}})
    assert not (tmp_path / "new.sqlite").exists()


@pytest.mark.parametrize(
    "region",
    [
        CrossPolytope([0.3], axes=[1.0, 2.0]),
        Ellipsoid([0.3], axes=[1.0, 2.0]),
        Ellipsoid([0.3], axes=[1.0, 2.0], rotation=[[0.6, -0.8], [0.8, 0.6]]),
        LowRankEllipsoid([0.3], diagonal=[1.0, 2.0], factors=[[0.5], [0.25]], weights=[-1.5]),
    ],
)
def test_every_kind_of_region_comes_back_as_it_was(tmp_path, region):
    given = {"model": "m", "noise": "any", "dimension": 2}
    with MemoryStore(tmp_path / "memory.sqlite", **given) as store:
        with store._kept():
            for i in range(3):
                store.memory.add([0.4 * i, 0.1], i % 2, region)
                store.sources.append(None)
        held = store.memory
    back = load_memory(tmp_path / "memory.sqlite", **given)
    assert list(back) == list(held)
    for i in range(3):
        one, two = back.region_of(i).arrays(), held.region_of(i).arrays()
        assert one.keys() == two.keys()
        assert all((one[key] == two[key]).all() for key in one)
        assert back.point_of(i).tolist() == held.point_of(i).tolist()
    assert back.add([0.5, 0.5], 1, region) == held.add([0.5, 0.5], 1, region)


def test_a_file_from_before_weights_is_read(tmp_path):
    # What was written then: low-rank regions without weights in the row, under its checksum.
    from rsbounds.runs import memory as module

    given = {"model": "m", "noise": "any", "dimension": 2}
    held = {"diagonal": [1.0, 2.0], "factors": [[0.5], [0.25]]}
    region, path = LowRankEllipsoid([0.3], **held), tmp_path / "memory.sqlite"
    with MemoryStore(path, **given) as store:
        with store._kept():
            store.memory.add([0.4, 0.1], 1, region)
            store.sources.append(None)
        old = dict(region.arrays())
        del old["weights"]
        region.arrays = lambda: old
        store.memory._stored = lambda rows: region
        values = module._encode(store.memory, 0, None)
        head = module._chained(module._first(module.plain("config", store._wanted)), values)
        columns = "position, source, candidate, adjusted, by, own_candidate, own_radius, kind, x"
        marks = ", ".join(f"{name} = ?" for name in f"{columns}, arrays, checksum".split(", "))
        store._database.execute(f"UPDATE answers SET {marks}", (*values, head))
        module._set_seal(store._database, 1, head)
    assert "weights" not in values[7]
    back = load_memory(path, **given)
    assert back.region_of(0).weights.tolist() == [[1.0]]
    assert (
        back.region_of(0).inscribed_radius() == LowRankEllipsoid([0.3], **held).inscribed_radius()
    )
    other = LowRankEllipsoid([0.3], **held, weights=[-1.5])
    assert back.add([0.5, 0.5], 1, other).adjusted == "no"
