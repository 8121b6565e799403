"""What makes a resumed run the same run, failing inputs, groups, Ctrl-C."""

import dataclasses
import warnings

import numpy as np
import pytest

import rsbounds
from rsbounds.runs import Answers, RunPlan, RunStore, driver, rebounding, run_inputs
from rsbounds.runs.kinds import votes as votes_kind
from rsbounds.runs.probes import digest
from rsbounds.runs.rebounding import stored_labels

LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-0.8, 0.8, (12, 3))
LABELS = (X[:, 0] > 0).astype(int)


def vote(batch):
    return (batch[:, 0] > 0).astype(np.int64)


def logits(batch):
    return np.column_stack([-batch[:, 0], batch[:, 0] + 0.1 * batch[:, 1]])


def run(path, classifier=vote, inputs=X, labels=LABELS, **changes):
    arguments = {
        "noise": LAW,
        "lattice": None,
        "n": 200,
        "n0": 50,
        "num_classes": 2,
        "seed": 3,
        **changes,
    }
    return rsbounds.certify_dataset(classifier, inputs, labels, store=path, **arguments)


def plain(path):
    """Rows without their times."""
    with RunStore(path) as store:
        return [
            {
                f.name: getattr(row, f.name).tolist() if f.name in ("select", "estimate")
                else getattr(row, f.name)
                for f in dataclasses.fields(row) if f.name != "seconds"
            }
            for row in store.rows()
        ]  # fmt: skip


class Counting:
    """A subject of the inputs above, whose inputs fail as told."""

    def __init__(self, fails=None, votes=None):
        self.fails, self.asked = fails or {}, []
        self._votes = votes

    def item(self, i):
        if i in self.fails:
            value = self.fails[i]
            if isinstance(value, BaseException):
                raise value
            return value
        return X[i % len(X)], int(LABELS[i % len(X)])

    def votes(self, inputs, indices, role, spans):
        n = spans[0][1]
        self.asked.append((role, len(indices), n))
        if self._votes is not None:
            return self._votes(inputs, indices, role, n)
        counts = [
            rsbounds.sample_counts(vote, x[None], noise=LAW, lattice=None, n=n, num_classes=2,
                                   role=role, seed=3, index=i).values[0]
            for x, i in zip(inputs, indices, strict=True)
        ]  # fmt: skip
        return np.array(counts), np.zeros(len(counts), dtype=np.int64)

    def answers(self, batch):
        return Answers(vote(batch), "classes")


def plan(inputs=12, **changes):
    return RunPlan(
        **{"noise": LAW, "n": 200, "n0": 50, "num_classes": 2, "seed": 3, "inputs": inputs,
           **changes}
    )  # fmt: skip


def drive(path, subject, what=None, indices=None, **options):
    what = what or plan()
    indices = range(what.inputs) if indices is None else indices
    with RunStore(path, what.config()) as store:
        stop = {k: v for k, v in options.items() if k == "on_error"}
        driver.begin(subject, what, indices, store=store, **stop)
        return run_inputs(subject, what, indices, store=store, **options)


# -- a resumed run is the same run --------------------------------------------------------------


@pytest.mark.parametrize("rows", [4, 12], ids=["half", "finished"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier": lambda b: vote(-b)}, r"a model that answered class . at input 0"),
        ({"classifier": logits}, "a model that answers with classes of shape .*float64"),
        ({"inputs": X + 0.01}, "another input 0 "),
        ({"inputs": np.vstack([X[:3], X[3:] * 0.99])}, "input 3 is not the one that store"),
        ({"labels": 1 - LABELS}, "label . for input 0; this run has label"),
        ({"labels": None}, "label . for input 0; this run has label None"),
        ({"model_id": "b"}, "model = ''; this run has model = 'b'"),
    ],
)
def test_another_model_or_data_set_is_refused(tmp_path, rows, change, message):
    path = tmp_path / "run.sqlite"
    drive(path, Counting(), indices=range(rows))
    before = plain(path)
    with pytest.raises(ValueError, match=message):
        run(path, **{"seed": None, **change})
    assert plain(path) == before
    # The same call goes on.
    run(path, seed=None)
    run(tmp_path / "whole.sqlite")
    assert plain(path) == plain(tmp_path / "whole.sqlite")


@pytest.mark.parametrize(
    "other",
    [
        lambda b: logits(b) * 1.001,
        lambda b: np.tanh(logits(b)),
        lambda b: logits(b + 1e-3),
        lambda b: logits(b).astype(np.float32),
        lambda b: logits(b)[:, ::-1],
        lambda b: np.where(b[:, :1] > 0, logits(b), np.nan),
    ],
    ids=["scaled", "tanh", "shifted", "single", "classes swapped", "nan"],
)
def test_scores_are_compared(tmp_path, other):
    run(tmp_path / "run.sqlite", logits)
    with pytest.raises(ValueError, match=r"was made with a model that|could be certified"):
        run(tmp_path / "run.sqlite", other)
    # What another machine rounds otherwise is the same model.
    run(tmp_path / "run.sqlite", lambda b: logits(b) * (1 + 1e-6))


def test_saturated_probabilities_are_told_apart(tmp_path):
    def confident(batch, scale):
        p = 1 / (1 + np.exp(-scale * (3 + batch[:, 0])))
        return np.column_stack([1 - p, p])

    run(tmp_path / "run.sqlite", lambda b: confident(b, 6.0))
    with pytest.raises(ValueError, match="a model that answered"):
        run(tmp_path / "run.sqlite", lambda b: confident(b, 6.1))


def test_a_data_set_that_changes_at_each_access_is_refused(tmp_path):
    rng = np.random.default_rng(0)

    class Augmented(Counting):
        def item(self, i):
            x, label = super().item(i)
            return x + rng.normal(size=3), label

    with pytest.raises(ValueError, match="same input at each access"):
        drive(tmp_path / "run.sqlite", Augmented())
    assert not (tmp_path / "run.sqlite").exists()


def test_a_data_set_that_grew_is_refused(tmp_path):
    run(tmp_path / "run.sqlite")
    with pytest.raises(ValueError, match="inputs = 12; this run has inputs = 24"):
        run(tmp_path / "run.sqlite", inputs=np.vstack([X, X]), labels=[*LABELS, *LABELS])


def test_noise_of_another_version_is_refused_by_name(tmp_path, monkeypatch):
    # The same seed, other draws.
    from rsbounds.runs import plan as module
    from rsbounds.streams import VERSION

    run(tmp_path / "run.sqlite")
    monkeypatch.setattr(module, "VERSION", VERSION + 1)
    said = f"was made with streams = {VERSION}; this run has streams = {VERSION + 1}"
    with pytest.raises(ValueError, match=said):
        run(tmp_path / "run.sqlite")


# -- one failing input does not stop a run ------------------------------------------------------

FAILING = {
    3: (np.array([0.1, np.nan, 0.0]), 1),
    5: FileNotFoundError("no such file: 5.png"),
    8: (np.array(["a", "b", "c"]), 0),
}


def test_failing_inputs_are_recorded_and_tried_again(tmp_path):
    path = tmp_path / "run.sqlite"
    summary = drive(path, Counting(FAILING))
    assert summary.invalid == (3, 5, 8)
    assert summary.finished == summary.total == 12
    rows = {row["index"]: row for row in plain(path)}
    assert rows[3]["error"] == "its value at [1] is nan; allowed: finite numbers"
    assert rows[5]["error"] == "FileNotFoundError: no such file: 5.png"
    assert "type" in rows[8]["error"]
    for i in FAILING:
        assert rows[i]["abstained"] is True
        assert rows[i]["radius"] == 0.0
        assert rows[i]["invalid"] == 250
    assert rows[3]["label"] == 1
    # One unread label does not take the accuracy of the run away.
    with RunStore(path) as store:
        labels = stored_labels(store)
    assert labels[[3, 5, 8]].tolist() == [1, 0, 0]
    # Mended, they are certified, and the rows are those of a run without a fault.
    drive(path, Counting())
    drive(tmp_path / "whole.sqlite", Counting())
    assert plain(path) == plain(tmp_path / "whole.sqlite")


def test_a_nan_in_an_array_is_reported_at_the_end(tmp_path):
    inputs = X.copy()
    inputs[7, 2] = np.inf
    message = r"1 of 12 inputs .* abstain \(input 7: its value at \[2\] is inf"
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match=message):
            got = run(tmp_path / "run.sqlite", inputs=inputs)
        assert got.abstained[7]
        assert not got.abstained.all()
    with pytest.raises(ValueError, match="input 7: its value at"):
        run(tmp_path / "stopped.sqlite", inputs=inputs, on_error="stop")
    with RunStore(tmp_path / "stopped.sqlite") as store:
        assert store.done() <= set(range(7))


def test_a_model_that_fails_on_one_input_of_a_group(tmp_path):
    def votes(inputs, indices, role, n):
        if 4 in indices:
            raise RuntimeError("mat1 and mat2")
        return Counting().votes(inputs, indices, role, [(0, n)] * len(indices))

    path = tmp_path / "run.sqlite"
    assert drive(path, Counting(votes=votes), group=6).invalid == (4,)
    drive(tmp_path / "whole.sqlite", Counting())
    expected = plain(tmp_path / "whole.sqlite")
    got = plain(path)
    assert got[4]["error"] == "RuntimeError: mat1 and mat2"
    assert [r for r in got if r["index"] != 4] == [r for r in expected if r["index"] != 4]


def test_inputs_with_nan_answers_abstain_and_are_reported(tmp_path):
    def votes(inputs, indices, role, n):
        counts = np.tile([n - 2, 2], (len(indices), 1))
        invalid = np.zeros(len(indices), dtype=np.int64)
        for j, i in enumerate(indices):
            if i == 7 and n > 1:
                counts[j], invalid[j] = 0, n
            elif i == 3 and role == "estimate":
                counts[j], invalid[j] = [n - 2, 0], 2
        return counts, invalid

    path = tmp_path / "run.sqlite"
    summary = drive(path, Counting(votes=votes), group=5)
    assert summary.invalid == (3, 7)
    with RunStore(path) as store:
        result = rsbounds.rebound(store)
        note = driver.failures_note(store)
    assert np.flatnonzero(result.abstained).tolist() == [3, 7]
    assert result.radius[[3, 7]].tolist() == [0.0, 0.0]
    assert [plain(path)[i]["invalid"] for i in (3, 7)] == [2, 250]
    assert "2 of 12 inputs" in note
    assert "input 3: the model answered NaN on 2 of 250 draws" in note
    assert "again" not in note, "the model's answer would be the same"


def broken(batch):
    raise RuntimeError("no kernel image")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier": broken}, "10 tried.; input 0: RuntimeError: no"),
        ({"classifier": lambda b: vote(b)[:, None]}, "classifier returned shape"),
        ({"classifier": lambda b: vote(b) + 1}, "allowed: class indices from 0 to 1"),
        ({"inputs": X * np.nan}, "10 tried.; input 0: its value"),
    ],
)
def test_a_fault_of_the_caller_is_no_list_of_invalid_inputs(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run.sqlite", **change)
    assert list(tmp_path.iterdir()) == []


def test_a_hundred_failures_in_a_row_stop_the_run(tmp_path):
    path, what = tmp_path / "run.sqlite", plan(400)
    gone = {i: OSError("the drive is gone") for i in range(20, 400)}
    with pytest.raises(ValueError, match=r"100 inputs in a row failed, .*the drive is gone"):
        drive(path, Counting(gone), what, group=10)
    assert len(plain(path)) <= 130
    drive(path, Counting(), what)
    assert not any(row["error"] for row in plain(path))


@pytest.mark.parametrize("label", [2, -1, 0.5, "cat", [0, 1]])
def test_a_label_that_is_no_class_is_refused(tmp_path, label):
    with pytest.raises(ValueError, match=r"label of input 6 is .*; allowed: a class from 0"):
        drive(tmp_path / "run.sqlite", Counting({6: (X[6], label)}), group=6)
    with RunStore(tmp_path / "run.sqlite") as store:
        assert store.done() == set(range(6))


def test_out_of_memory_is_nobody_s_input(tmp_path):
    def votes(inputs, indices, role, n):
        if n > 1:
            raise RuntimeError("CUDA out of memory")
        return np.array([[1, 0]]), np.array([0])

    with pytest.raises(MemoryError, match="CUDA out of memory; a smaller batch_size"):
        drive(tmp_path / "run.sqlite", Counting(votes=votes))


# -- groups -------------------------------------------------------------------------------------


def test_groups_do_not_change_the_rows_and_grow_by_themselves(tmp_path):
    what = plan(60)
    for group in (None, 1, 7, 60):
        subject = Counting()
        drive(tmp_path / f"{group}.sqlite", subject, what, group=group)
        assert plain(tmp_path / f"{group}.sqlite") == plain(tmp_path / "None.sqlite")
        sizes = [size for role, size, n in subject.asked if role == "estimate"]
        assert max(sizes) > 1 if group is None else sizes[0] == min(group, 60)


def test_inputs_of_several_shapes(tmp_path):
    wide = {i: (np.append(X[i], 0.0), 0) for i in (2, 5, 6)}
    summary = drive(tmp_path / "run.sqlite", Counting(wide), group=12)
    assert summary.invalid == ()
    drive(tmp_path / "single.sqlite", Counting(wide), group=1)
    assert plain(tmp_path / "run.sqlite") == plain(tmp_path / "single.sqlite")


# -- Ctrl-C -------------------------------------------------------------------------------------


def test_ctrl_c_says_how_to_resume(tmp_path):
    path = tmp_path / "run.sqlite"
    calls = 0

    def stopped(batch):
        nonlocal calls
        calls += 1
        if calls == 30:
            raise KeyboardInterrupt
        return vote(batch)

    with pytest.raises(KeyboardInterrupt, match="the same call resumes the run"):
        run(path, stopped, seed=None, batch_size=50)
    with RunStore(path) as store:
        seed = store.config["seed"]
        assert 0 < len(store) < 12
    run(path, seed=None)
    run(tmp_path / "whole.sqlite", seed=seed)
    assert plain(path) == plain(tmp_path / "whole.sqlite")


# -- the plan -----------------------------------------------------------------------------------


def test_a_plan_checks_its_values():
    for change, message in [
        ({"noise": 0.5}, "noise is 0.5"),
        ({"inputs": 0}, "inputs is 0"),
        ({"model": None}, "model is None"),
        ({"model_id": 3}, "model_id is 3"),
        ({"options": {"depth": 3}}, "depth is not an option"),
        ({"seed": -1}, "seed is -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            plan(**change)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().n = 5
    assert plan().config()["noise"] == {"name": "gaussian", "sigma": 0.5}
    assert "model_id" not in plan().config()
    assert plan(model_id="a").config()["model_id"] == "a"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert digest(X[0]) == digest(X[0].copy()) != digest(X[1])


# -- what a run returns -------------------------------------------------------------------------


def tables_equal(a, b):
    for field in dataclasses.fields(rsbounds.Certificates):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=field.name)
            assert one.dtype == other.dtype, field.name
        else:
            assert one == other, field.name


@pytest.mark.parametrize("law", [LAW, rsbounds.Gaussian(np.linspace(0.2, 0.6, 12))])
@pytest.mark.parametrize("method", ["exact", "complement"])
def test_a_run_bounds_each_input_once(tmp_path, monkeypatch, law, method):
    """The certificates of a run were computed twice, once for its rows and once at its end."""
    bounded = []
    true = votes_kind.certify_votes

    def counted(select, estimate, invalid, **settings):
        bounded.append(len(select))
        return true(select, estimate, invalid, **settings)

    monkeypatch.setattr(votes_kind, "certify_votes", counted)
    x = X.copy()
    x[4, 0] = np.nan
    settings = {"noise": law, "method": method}
    with pytest.warns(RuntimeWarning, match="1 of 12 inputs"):
        first = run(tmp_path / "a.sqlite", inputs=x, **settings)
    # The input that failed has no votes: its abstention is made from its row.
    assert sum(bounded) == 12
    with RunStore(tmp_path / "a.sqlite") as store:
        tables_equal(first, rebounding.rebound(store))
    whole = run(tmp_path / "b.sqlite", **settings)
    bounded.clear()
    resumed = run(tmp_path / "a.sqlite", **settings)
    # Eleven were finished by the first call, one by this one.
    assert sum(bounded) == 12
    tables_equal(resumed, whole)
    with RunStore(tmp_path / "a.sqlite") as store:
        tables_equal(resumed, rebounding.rebound(store))


# -- what an input is known by ------------------------------------------------------------------


class Shaped(Counting):
    """The inputs above with other shapes or types."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def item(self, i):
        x, label = super().item(i)
        return self.change(x), label

    def votes(self, inputs, indices, role, spans):
        return super().votes(np.array([X[i] for i in indices]), indices, role, spans)

    def answers(self, batch):
        return Answers(np.zeros(len(batch), dtype=np.int64), "classes")


CHANGES = {
    "shape": lambda x: x.reshape(3, 1),
    "type": lambda x: x.view(np.int64),
}


def finish(path, subject, count):
    given = plan()
    with RunStore(path, given.config()) as store:
        driver.begin(subject, given, range(12), store=store)
        run_inputs(subject, given, range(count), store=store)


@pytest.mark.parametrize("change", CHANGES)
def test_an_input_of_another_shape_or_type_is_another_input(tmp_path, change):
    """Digests covered the bytes only."""
    finish(tmp_path / "a.sqlite", Shaped(lambda x: x), 5)
    with pytest.raises(ValueError, match="input 0"):
        finish(tmp_path / "a.sqlite", Shaped(CHANGES[change]), 12)


def test_stores_with_digests_of_bytes_go_on(tmp_path, monkeypatch):
    path = tmp_path / "a.sqlite"
    with monkeypatch.context() as earlier:
        true = digest
        earlier.setattr(driver.probes, "digest", lambda x, like="": true(x, ""))
        finish(path, Shaped(lambda x: x), 5)
    finish(path, Shaped(lambda x: x), 12)
    with RunStore(path) as store:
        kinds = [row.digest[:2] == "2:" for row in store.rows()]
        assert kinds == [False] * 5 + [True] * 7
        assert [row.digest for row in store.rows()] == [
            digest(x, "" if i < 5 else "2:") for i, x in enumerate(X)
        ]
    with pytest.raises(ValueError, match="input 0"):
        finish(path, Shaped(lambda x: x + 1), 12)
