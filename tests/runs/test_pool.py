"""Inputs whose rules stop at different times: full batches, and rows that depend on neither."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _stores import ROOT, kills

import rsbounds
from rsbounds.runs import RunPlan, RunStore, rebound, run_inputs, stored_answers
from rsbounds.runs import driver as _driver
from rsbounds.runs import pool as _pool
from rsbounds.runs.dataset import _ArraySubject

LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-0.9, 0.9, (24, 2))
LABELS = (X[:, 0] > 0).astype(int)
RADII = [0.1, 0.3, 0.5]


def vote(batch):
    return (batch[:, 0] > 0).astype(np.int64)


def run(path, classifier=vote, inputs=X, **changes):
    settings = {
        "noise": LAW,
        "lattice": None,
        "n": 3000,
        "n0": 40,
        "num_classes": 2,
        "seed": 5,
        "decide": RADII,
    }
    settings |= {"progress": False, **changes}
    return rsbounds.certify_dataset(classifier, inputs, LABELS, store=path, **settings)


def rows(path):
    with RunStore(path) as store:
        return [
            {**vars(r), "select": r.select.tolist(), "estimate": r.estimate.tolist(), "seconds": 0}
            for r in store.rows()
        ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run.sqlite"
    run(path)
    kept = rows(path)
    told = {word for row in kept for word in row["evidence"]["answers"]}
    assert {"yes", "futile"} <= told
    assert any(row["evidence"]["looks"] for row in kept)
    assert len({row["n"] for row in kept}) > 5
    return kept


@pytest.mark.parametrize("batch", [1, 7, 64, 5000])
def test_rows_do_not_depend_on_the_batch_size(tmp_path, batch, whole):
    few = {"n": 400} if batch == 1 else {}
    run(tmp_path / "run.sqlite", batch_size=batch, **few)
    if few:
        run(tmp_path / "other.sqlite", batch_size=1024, **few)
        assert rows(tmp_path / "run.sqlite") == rows(tmp_path / "other.sqlite")
    else:
        assert rows(tmp_path / "run.sqlite") == whole


def sampled(path, group=None, inputs=range(24), batch=64, **changes):
    """The same through the driver."""
    plan = RunPlan(
        noise=LAW, n=3000, n0=40, num_classes=2, seed=5, inputs=24, kind="decide",
        options={"radius": RADII},
    )  # fmt: skip
    subject = _ArraySubject(vote, X, LABELS, plan, batch)
    with RunStore(path, plan.config()) as store:
        if _driver.probes.held_probes(store) is None:
            _driver.begin(subject, plan, inputs, store=store, progress=False)
        return run_inputs(subject, plan, inputs, store=store, group=group, progress=False)


@pytest.mark.parametrize("group", [1, 3, 24])
def test_rows_do_not_depend_on_what_is_open_together(tmp_path, group, whole):
    sampled(tmp_path / "run.sqlite", group)
    assert rows(tmp_path / "run.sqlite") == whole


def test_rows_do_not_depend_on_order_rounds_or_bytes(tmp_path, whole, monkeypatch):
    sampled(tmp_path / "back.sqlite", inputs=range(23, -1, -1))
    assert rows(tmp_path / "back.sqlite") == whole
    # Rounds of one batch cut every look in pieces; few bytes open one input at a time.
    monkeypatch.setattr(_pool, "_ROUND_BATCHES", 1)
    monkeypatch.setattr(_pool, "_ROUND_SECONDS", 0.0)
    sampled(tmp_path / "short.sqlite", batch=7)
    assert rows(tmp_path / "short.sqlite") == whole
    monkeypatch.setattr(_pool, "GROUP_BYTES", 1)
    sampled(tmp_path / "bytes.sqlite")
    assert rows(tmp_path / "bytes.sqlite") == whole


class Stop(Exception):
    """Ends a run in the middle of a round."""


@pytest.mark.parametrize("calls", [4, 5, 7, 11, 20, 40])
def test_a_run_that_is_cut_anywhere_is_the_run_that_was_not(tmp_path, calls, whole, monkeypatch):
    monkeypatch.setattr(_pool, "_ROUND_SECONDS", 0.0)
    left = calls

    def breaking(batch):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return vote(batch)

    path = tmp_path / "run.sqlite"
    cuts, done = 0, [0]
    while True:
        try:
            run(path, breaking, batch_size=128, seed=5)
        except KeyboardInterrupt:
            cuts += 1
            left = calls + 12 * cuts
            if path.exists():
                with RunStore(path) as store:
                    done.append(len(store))
            continue
        break
    assert cuts >= 2
    assert done == sorted(done), "no finished input is lost"
    assert rows(path) == whole


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_pool import run, vote
left = 60
def dying(batch):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return vote(batch)
run(sys.argv[2], dying, batch_size=128)
"""


@kills
def test_a_run_that_was_killed_goes_on(tmp_path, whole):
    path = tmp_path / "run.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with RunStore(path) as store:
        assert 0 < len(store) < 24
    run(path, seed=None)
    assert rows(path) == whole


def test_batches_stay_full_although_inputs_stop_at_different_times(tmp_path):
    sizes = []

    def counting(batch):
        sizes.append(len(batch))
        return vote(batch)

    many = np.random.default_rng(1).uniform(-0.9, 0.9, (300, 2))
    rsbounds.certify_dataset(
        counting, many, store=tmp_path / "run.sqlite", noise=LAW, n=3000, num_classes=2, seed=5,
        decide=RADII, batch_size=32, progress=False,
    )  # fmt: skip
    # Without the probes of three inputs.
    full = sum(size for size in sizes if size == 32)
    assert full > 0.97 * sum(sizes)


def test_an_input_that_fails_in_the_middle_ends_alone(tmp_path, whole):
    def brittle(batch):
        if (batch[:, 1] > 500).any() and len(batch) > 40 and brittle.rounds > 0:
            raise RuntimeError("a bad pixel")
        brittle.rounds += (batch[:, 1] > 500).any()
        return vote(batch)

    brittle.rounds = 0
    x = X.copy()
    x[9] = [0.35, 1000.0]
    path = tmp_path / "run.sqlite"
    with pytest.warns(RuntimeWarning, match="1 of 24 inputs have invalid answers"):
        got = run(path, brittle, x, batch_size=256)
    kept = rows(path)
    assert kept[9]["error"] == "RuntimeError: a bad pixel"
    assert kept[9]["label"] == LABELS[9]
    assert got.abstained[9]
    others = [i for i in range(24) if i != 9]
    assert [kept[i] for i in others] == [whole[i] for i in others]
    with RunStore(path) as store:
        assert stored_answers(store)[9].tolist() == ["undecided"] * 3
    with pytest.raises(ValueError, match="input 9: RuntimeError: a bad pixel"):
        run(tmp_path / "stop.sqlite", brittle, x, on_error="stop")


def test_other_radii_of_the_same_votes(tmp_path, whole):
    path = tmp_path / "run.sqlite"
    own = run(path)
    with RunStore(path) as store:
        again = rebound(store)
        for field in dataclasses.fields(own):
            a, b = getattr(own, field.name), getattr(again, field.name)
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name
        # A smaller radius is known at least where a larger one is.
        small, large = rebound(store, radius=0.05), rebound(store, radius=[0.3, 0.6])
        assert (small.certified >= own.certified).all()
        assert (large.certified[own.radius >= 0.3]).all()
        assert (rebound(store, alpha=1e-6).radius <= own.radius).all()
        with pytest.raises(ValueError, match=r"radius is \[0.3, 0.1\]"):
            rebound(store, radius=[0.3, 0.1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decide": [0.1, 0.3]}, r"option radius = \[0.1, 0.3, 0.5\]; .* = \[0.1, 0.3\]"),
        ({"decide": [0.1, 0.3, 0.50001]}, r"option radius = .* = \[0.1, 0.3, 0.50001\]"),
        ({"alpha": 0.01}, "alpha = 0.001; this run has alpha = 0.01"),
        ({"futility": 0.1}, "option futility = 0.01; this run has option futility = 0.1"),
        ({"no": "proven"}, "option no = 'futile'; this run has option no = 'proven'"),
        ({"prior": [1, 1]}, "option prior = "),
        ({"n": 3001}, "n = 3000; this run has n = 3001"),
    ],
)
def test_another_question_is_refused_with_the_difference(tmp_path, changes, message, whole):
    path = tmp_path / "run.sqlite"
    run(path, inputs=X)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        run(path, **changes)
    assert path.read_bytes() == before


def test_inputs_of_a_lattice_share_their_questions(tmp_path, monkeypatch):
    """A question of its own for every distance to the lattice would make tables for each."""
    made = []
    plain = rsbounds.sequential.margin._tangents.bets
    monkeypatch.setattr(
        rsbounds.sequential.margin._tangents, "bets", lambda lines: made.append(1) or plain(lines)
    )
    law = rsbounds.Gaussian(0.5, lattice=1 / 255)
    got = run(tmp_path / "run.sqlite", noise=law, decide=0.3)
    cohorts = 2
    assert len(made) <= 12 * cohorts
    assert (got.radius[got.certified] >= 0.3).all()
    assert (got.radius[got.certified] < 0.3 + 1 / 255 / 4).all()
    assert (got.radius <= np.abs(X[:, 0])).all()
