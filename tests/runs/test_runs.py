"""The run store, resumption, re-bounding, export and report."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rsbounds
from rsbounds.commands import main
from rsbounds.noises import noise_from_dict
from rsbounds.report import report_runs
from rsbounds.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-0.8, 0.8, (12, 3))
LABELS = (X[:, 0] > 0).astype(int)


def vote(batch):
    return (batch[:, 0] > 0).astype(np.int64)


def run(path, classifier=vote, inputs=X, labels=LABELS, **changes):
    arguments = {
        "noise": LAW,
        "lattice": None,
        "n": 500,
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
            (r.index, r.label, r.digest, r.select.tolist(), r.estimate.tolist(), r.n0, r.n,
             r.invalid, r.alpha, r.method, dict(r.law), r.seed, r.top, r.radius, r.abstained)
            for r in store.rows()
        ]  # fmt: skip


def test_a_run_is_select_estimate_certify(tmp_path):
    got = run(tmp_path / "run.sqlite")
    arguments = {"noise": LAW, "lattice": None, "num_classes": 2, "seed": 3}
    select = rsbounds.sample_counts(vote, X, n=50, role="select", **arguments)
    estimate = rsbounds.sample_counts(vote, X, n=500, **arguments)
    expected = rsbounds.certify(estimate, rsbounds.select_top(select), noise=LAW)
    assert (got.radius == expected.radius).all()
    assert (got.top == expected.top).all()
    assert got.index.tolist() == list(range(12))
    # One tidy file.
    assert [p.name for p in tmp_path.iterdir()] == ["run.sqlite"]
    rows = plain(tmp_path / "run.sqlite")
    assert [r[13] for r in rows] == expected.radius.tolist()
    assert all(r[5:8] == (50, 500, 0) for r in rows)
    # Votes of the first draws of the estimation sample would have chosen the same classes.
    with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
        kept = [(row.select.tolist(), row.estimate.tolist()) for row in store.rows()]
    both = zip(np.asarray(select).tolist(), np.asarray(estimate).tolist(), strict=True)
    assert kept == list(both)


def test_the_store_says_what_made_it(tmp_path):
    run(tmp_path / "run.sqlite", model_id="half-space")
    with RunStore(tmp_path / "run.sqlite") as store:
        assert store.config["noise"] == {"name": "gaussian", "sigma": 0.5}
        assert store.config["model"] == "half-space"
        assert store.versions["rsbounds"] == rsbounds.__version__
        with pytest.raises(ValueError, match="not open for writing"):
            store.add(next(iter(store.rows())))


def test_who_changes_a_row_changes_no_other_row(tmp_path):
    run(tmp_path / "run.sqlite", noise=rsbounds.noises.DiagonalGaussian([0.5, 0.25, 0.5]))
    run(tmp_path / "scalar.sqlite", method="exact")
    for name in ("run", "scalar"):
        before = plain(tmp_path / f"{name}.sqlite")
        with RunStore(tmp_path / f"{name}.sqlite") as store:
            first, second, *_ = store.rows()
            law = dict(second.law)
            for value in first.law.values():
                if isinstance(value, list):
                    value[:] = [9.0]
            first.law.update(name="changed", sigma=9.0)
            first.options["changed"] = True
            first.select[:] = 0
            assert (dict(second.law), dict(second.options)) == (law, {})
        assert plain(tmp_path / f"{name}.sqlite") == before


def test_an_interrupted_run_resumes_to_the_same_rows(tmp_path):
    whole = len(run(tmp_path / "whole.sqlite"))
    asked = []

    def failing(batch):
        asked.append(len(batch))
        with contextlib.suppress(ValueError), RunStore(tmp_path / "cut.sqlite") as store:
            if 0 < len(store) < whole:
                raise KeyboardInterrupt
        return vote(batch)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.sqlite", failing)
    with RunStore(tmp_path / "cut.sqlite") as store:
        # The group that was interrupted is lost, what came before is not.
        assert store.done() == set(range(len(store))) != set()
    # Without a seed the resumed call takes the store's.
    run(tmp_path / "cut.sqlite", seed=None)
    assert plain(tmp_path / "cut.sqlite") == plain(tmp_path / "whole.sqlite")
    asked.clear()
    run(tmp_path / "cut.sqlite", failing)
    assert max(asked) < 50, "a finished run samples nothing, it asks a few probes"


SCRIPT = """
import sys, time
import numpy as np
import rsbounds
x = np.random.default_rng(0).uniform(-0.8, 0.8, (60, 3))
def vote(batch):
    time.sleep(0.002)
    return (batch[:, 0] > 0).astype(np.int64)
print("ready", flush=True)
rsbounds.certify_dataset(vote, x, (x[:, 0] > 0).astype(int), store=sys.argv[1],
    noise=rsbounds.Gaussian(0.5), n=500, n0=50, num_classes=2, seed=3)
print("done", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_at_random_moments_loses_only_the_input_in_flight(tmp_path):
    rng = np.random.default_rng(1)
    store = tmp_path / "killed.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    held = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(store)],
            stdout=subprocess.PIPE, text=True, env=environment,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.6 + rng.uniform(0, 0.05))
            process.kill()
        if store.exists():
            try:
                now = len(plain(store))
            except ValueError:
                now = 0  # killed before the store was made
            assert now >= held
            held = now
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(store)], check=True, env=environment, capture_output=True
    )
    whole = tmp_path / "whole.sqlite"
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(whole)], check=True, env=environment, capture_output=True
    )
    assert plain(store) == plain(whole)
    assert len(plain(whole)) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 501}, "was made with n = 500; this run has n = 501"),
        ({"noise": rsbounds.Gaussian(0.25)}, r"noise = \{'name': 'gaussian', 'sigma': 0.5\}"),
        ({"seed": 4}, "seed = 3; this run has seed = 4"),
        ({"method": "complement"}, "method = 'exact'"),
        ({"split": 0.5}, r"options = \{\}; this run has options = \{'split': 0.5\}"),
        ({"inputs": X[:5], "labels": LABELS[:5]}, "inputs = 12; this run has inputs = 5"),
        ({"model_id": "other"}, "model = ''; this run has model = 'other'"),
    ],
)
def test_another_configuration_is_refused_and_named(tmp_path, change, message):
    run(tmp_path / "run.sqlite")
    before = plain(tmp_path / "run.sqlite")
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run.sqlite", **change)
    assert plain(tmp_path / "run.sqlite") == before


def test_damaged_and_foreign_files_are_refused(tmp_path):
    junk = tmp_path / "junk.sqlite"
    junk.write_bytes(b"not a database, certainly not one of ours" * 100)
    with pytest.raises(ValueError, match="damaged or not a run store"):
        run(junk)
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    for call in (lambda: run(foreign), lambda: RunStore(foreign)):
        with pytest.raises(ValueError, match="a database of another kind"):
            call()
    run(tmp_path / "run.sqlite")
    data = (tmp_path / "run.sqlite").read_bytes()
    (tmp_path / "half.sqlite").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged"), RunStore(tmp_path / "half.sqlite") as store:
        list(store.rows())
    with pytest.raises(ValueError, match="a file that exists"):
        RunStore(tmp_path / "none.sqlite")
    with pytest.raises(ValueError, match="a folder that exists"):
        run(tmp_path / "no" / "run.sqlite")


def test_rebound_equals_certify_on_the_stored_counts(tmp_path, capsys):
    path = tmp_path / "run.sqlite"
    run(path, split=0.5)
    with RunStore(path) as store:
        rows = list(store.rows())
        own = rsbounds.rebound(store)
        other = rsbounds.rebound(store, method="complement", alpha=1e-4)
    assert own.radius.tolist() == [row.radius for row in rows]
    expected = rsbounds.certify(
        [row.estimate for row in rows], [row.top for row in rows], noise=LAW, alpha=1e-4,
        method="complement",
    )  # fmt: skip
    assert (other.radius == expected.radius).all()
    arguments = ["rebound", str(path), "--method", "complement", "--alpha", "1e-4"]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["radius"] for row in printed["rows"]] == other.radius.tolist()
    assert main([*arguments, "--output", str(tmp_path / "r.tsv")]) == 0
    assert "average certified radius" in capsys.readouterr().out
    assert main(["rebound", str(path), "--option", "split=0.9"]) == 0
    assert main(["rebound", str(tmp_path / "none")]) == 2
    with (
        RunStore(tmp_path / "empty.sqlite", {"a": 1}) as store,
        pytest.raises(ValueError, match="no finished"),
    ):
        rsbounds.rebound(store)
    assert not (tmp_path / "empty.sqlite").exists()


def test_noise_laws_survive_the_store():
    for law in (LAW, rsbounds.Uniform(0.3), rsbounds.Lipschitz(2.0, rsbounds.Uniform(0.3))):
        assert noise_from_dict(json.loads(json.dumps(law.to_dict()))) == law


def test_report_of_two_runs(tmp_path, capsys):
    run(tmp_path / "a.sqlite")
    run(tmp_path / "b.sqlite", noise=rsbounds.Gaussian(0.25))
    stores = [str(tmp_path / "a.sqlite"), str(tmp_path / "b.sqlite")]
    folder = tmp_path / "report"
    code = main(["report", *stores, "--output", str(folder), "--methods", "complement,runner-up"])
    assert code == 0
    out = capsys.readouterr().out
    assert "complement" in out
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "report.tsv", "report.json", "a.png", "a.svg", "b.png", "b.svg", "runs.png", "runs.svg",
    }  # fmt: skip
    before = {p: p.read_bytes() for p in folder.iterdir()}
    for folder_or_file in (folder, Path(stores[0])):
        with pytest.raises(
            ValueError, match=r"report.tsv', which is there already|a file; allowed"
        ):
            report_runs(stores, folder_or_file, methods=["complement"])
    assert main(["report", *stores, "--output", str(folder)]) == 2
    assert "which is there already" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    result = report_runs(stores, folder, methods=["complement"], radii=[0.1], force=True)
    with RunStore(stores[0]) as store:
        cohen = rsbounds.rebound(store, method="complement")
    line = result.lines[0]
    assert line["acr"] == rsbounds.average_certified_radius(cohen, LABELS)
    assert line["accuracy"] == rsbounds.certified_accuracy(cohen, LABELS, [0.1]).tolist()
    assert main(["report", stores[0], stores[0], "--output", str(folder)]) == 2
    assert "two files named 'a'" in capsys.readouterr().err
    (tmp_path / "runs.sqlite").write_bytes(Path(stores[0]).read_bytes())
    assert main(["report", stores[0], str(tmp_path / "runs.sqlite"), "--output", "new"]) == 2
    assert "two files named 'runs'" in capsys.readouterr().err
    arguments = ["--output", str(folder), "--methods", "complement", "--json", "--force"]
    assert main(["report", stores[0], *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["lines"]


def test_bad_arguments_are_named(tmp_path):
    for change, message in [
        ({"n": 0}, "n is 0"),
        ({"n0": 0}, "n0 is 0"),
        ({"alpha": 2}, "alpha is 2"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"labels": [0, 1]}, "labels has 2 entries"),
        ({"labels": [5] * 12}, r"labels\[0\] is 5"),
        ({"inputs": np.empty((0, 3)), "labels": None}, "inputs have shape"),
        ({"seed": -1}, "seed is -1"),
        ({"method": "best"}, "method is 'best'"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(tmp_path / "run.sqlite", **change)
        assert list(tmp_path.iterdir()) == []
