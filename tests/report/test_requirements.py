"""What continuous integration asks of runs: the grammar, exact comparisons, exit codes."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rsbounds
from rsbounds.commands import main
from rsbounds.report import check_requirements, joint_accuracy, population_accuracy
from rsbounds.report.requirements import QUANTITIES, parse_requirement
from rsbounds.runs import RunStore

LAW = rsbounds.Gaussian(0.5)
X = np.concatenate([np.linspace(-1.2, 1.2, 9), [0.001]])[:, None]
LABELS = (X[:, 0] > 0).astype(int)
# One label that is wrong.
LABELS[0] = 1


def vote(batch):
    return (batch[:, 0] > 0).astype(int)


def made(path, classifier=vote, labels=LABELS, **more):
    settings = {"noise": LAW, "n": 500, "num_classes": 2, "seed": 3, "progress": False}
    return rsbounds.certify_dataset(classifier, X, labels, store=path, **{**settings, **more})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    a = made(folder / "a.sqlite", method="complement")
    b = made(folder / "b.sqlite", method="complement", noise=rsbounds.Gaussian(0.25))
    return [folder / "a.sqlite", folder / "b.sqlite"], {"a": a, "b": b}


def report(capsys, stores, *words):
    code = main(["report", *map(str, stores), *words])
    out, err = capsys.readouterr()
    return code, out, err


# -- values, against what the library says elsewhere ---------------------------------------------


def test_values_are_those_of_the_library(runs):
    stores, tables = runs
    texts = [
        f"{name}{'@0.5' if kind.radius else ''} >= 0"
        for name, kind in QUANTITIES.items()
    ]  # fmt: skip
    found = {
        (one.requirement.quantity, one.run): one.value
        for one in check_requirements(stores, texts, beta=0.1)
    }
    assert len(found) == 2 * len(QUANTITIES)
    for name, table in tables.items():
        of = population_accuracy(table, LABELS, 0.5, beta=0.1)
        joint = joint_accuracy(table, LABELS, 0.5, beta=0.1)
        radii = table.radius[table.top == LABELS]
        expected = {
            "accuracy": rsbounds.certified_accuracy(table, LABELS, 0.5)[0],
            "certified": rsbounds.certified_accuracy(table, None, 0.5)[0],
            "population": of.robust[0],
            "joint": joint.robust[0] / 10,
            "acr": rsbounds.average_certified_radius(table, LABELS),
            "mean_radius": table.radius.mean(),
            "abstained": table.abstained.mean(),
            "finished": 1.0,
            "invalid": 0.0,
        }
        for quantity, value in expected.items():
            assert float(found[quantity, name]) == pytest.approx(value, rel=1e-14), quantity
        assert found["acr", name] == sum(map(Fraction, radii.tolist())) / 10
    assert found["accuracy", "a"] < found["certified", "a"]
    assert 0 < found["population", "a"] < found["accuracy", "a"]


@pytest.mark.parametrize(
    ("number", "k", "m"), [("0.6", 3, 5), ("60%", 3, 5), ("0.1", 1, 10), ("0.7", 7, 10),
                           ("6e-1", 6, 10), (".3", 3, 10), ("0.14", 7, 50), ("100.0%", 4, 4)]
)  # fmt: skip
def test_shares_are_compared_as_fractions(tmp_path, number, k, m):
    rows = rsbounds.certify([990, 8, 2], 0, noise=LAW)[np.zeros(m, dtype=int)]
    table = dataclasses.replace(rows, radius=np.where(np.arange(m) < k, 0.3, 0.1))
    table.write(tmp_path / "t.tsv")
    said = {
        sign: check_requirements([tmp_path / "t.tsv"], [f"certified@0.3 {sign} {number}"])[0].met
        for sign in (">=", ">", "<=", "<")
    }
    assert said == {">=": True, ">": False, "<=": True, "<": False}


def test_what_is_shown_is_rounded_towards_not_meeting_it(tmp_path):
    rows = rsbounds.certify([990, 8, 2], 0, noise=LAW)[np.zeros(3, dtype=int)]
    dataclasses.replace(rows, radius=np.array([1.0, 1.0, 0.1])).write(tmp_path / "t.tsv")
    low, high = check_requirements(
        [tmp_path / "t.tsv"], ["certified@0.5 >= 0.6666667", "certified@0.5 <= 0.6666666"]
    )
    assert str(low) == "NOT MET: certified@0.5 >= 0.6666667: t has 0.666666 (3 inputs)"
    assert str(high) == "NOT MET: certified@0.5 <= 0.6666666: t has 0.666667 (3 inputs)"
    assert low.as_dict()["value"] < Fraction(2, 3) < high.as_dict()["value"]


# -- exit codes ----------------------------------------------------------------------------------


def test_the_exit_code_says_whether_all_is_met(runs, capsys, tmp_path, monkeypatch):
    stores, _ = runs
    monkeypatch.chdir(tmp_path)
    code, out, _ = report(capsys, stores, "--require", "accuracy@0.1 >= 0.5")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["met", "met"]
    more = ["--require", "accuracy@0.1 >= 0.5", "--require", " b : acr > 0.99 "]
    code, out, err = report(capsys, stores, *more)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("NOT MET: b : acr > 0.99: b has 0.")
    code, out, _ = report(capsys, stores, *more, "--json")
    held = json.loads(out)
    assert code == 1
    assert [one["met"] for one in held["requirements"]] == [True, True, False]
    assert held["requirements"][2]["run"] == "b"
    # A check leaves nothing behind; a report that is asked for is written.
    assert list(tmp_path.iterdir()) == []
    words = ["--methods", "complement", "--output", "out"]
    code, out, _ = report(capsys, stores, *more, *words, "--json")
    assert code == 1
    assert {"lines", "requirements"} <= set(json.loads(out))
    code, out, _ = report(capsys, stores, *more, *words, "--force")
    assert "written: " in out
    assert out.splitlines()[-1].startswith("NOT MET: b")
    assert Path("out/report.json").exists()


@pytest.mark.parametrize(
    "bad",
    ["", " ", "accuracy", "accuracy >= 0.5", "accuracy@ >= 0.5", "accuracy@0.5", "accuracy@0.5 >=",
     "accuracy@0.5 = 0.6", "accuracy@0.5 == 0.6", "accuracy@0.5 => 0.6", "accuracy@0.5 >= nan",
     "accuracy@nan >= 0.5", "accuracy@inf >= 0.5", "accuracy@1e999 >= 0.5", "accuracy@-1 >= 0.5",
     "accuracy@0.5 >= -1", "acr@0.5 >= 0.1", "acr >= 10%", "ACR >= 0.1", "speed > 1",
     "population@0.5 <= 0.9", "joint@0.5 < 0.9", "accuracy@0.5 >= 0.6 and acr > 1",
     "accuracy@0.5 >= 0.6; acr > 1", "__import__('os').system('touch owned') >= 0",
     "accuracy@(1).__class__ >= 0", "open('owned','w') >= 0", "accuracy@0.5 >= 1/2",
     "accuracy@0.5 ≥ 0.6", "accuracy@0.5 >= \u0660.\u0666", "accuracy@0.5 >= \uff10.\uff16",
     "\u0430ccuracy@0.5 >= 0.6",
     "accuracy@0.5 >= 0.6\0", "c: acr >= 0", "c.sqlite: acr >= 0", ": acr >= 0", "acr >= 1_000",
     "acr >= 0x1", "acr >= " + "9" * 5000, "a" * 5000, "acr >= 1e9999999999", "%s >= 1", "{} >= 1",
     "acr >= 0\n\nacr >= 1"],
)  # fmt: skip
def test_other_expressions_are_refused_by_one_sentence(runs, capsys, tmp_path, monkeypatch, bad):
    monkeypatch.chdir(tmp_path)
    code, out, err = report(capsys, runs[0], f"--require={bad}")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert "allowed" in err
    assert len(err) < 900
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_what_is_allowed():
    with pytest.raises(ValueError, match=r"about 'speed'; allowed quantities: accuracy@R, .* acr"):
        parse_requirement("speed > 1")
    with pytest.raises(ValueError, match="has radius None; allowed: a finite one, accuracy@RADIUS"):
        parse_requirement("accuracy > 1")
    with pytest.raises(ValueError, match="has radius 3; allowed: none, acr alone"):
        parse_requirement("acr@3 > 1")
    with pytest.raises(ValueError, match="population an upper limit, but it is a lower bound"):
        parse_requirement("population@0.5 < 1")
    with pytest.raises(ValueError, match="requirement is 'None'"):
        parse_requirement(None)


def test_names_of_runs_may_be_odd(tmp_path, capsys):
    name = "été: 1 (b)"
    rsbounds.certify([990, 8, 2], 0, noise=LAW).write(tmp_path / f"{name}.tsv")
    code, out, _ = report(capsys, [tmp_path / f"{name}.tsv"], "--require", f"{name}: acr >= 0")
    # Certificates in a file have no labels.
    assert code == 2
    code, out, _ = report(
        capsys, [tmp_path / f"{name}.tsv"], "--require", f"{name}: mean_radius>=0"
    )
    assert (code, out.startswith("met: ")) == (0, True)


# -- stores that do not have what is asked -------------------------------------------------------


def test_what_has_no_certificate_is_not_certified(tmp_path, capsys):
    whole = made(tmp_path / "whole.sqlite", method="complement")
    path = tmp_path / "cut.sqlite"

    calls = []

    def stopped(batch):
        calls.append(len(batch))
        if sum(calls) > 3500:
            raise KeyboardInterrupt
        return vote(batch)

    with pytest.raises(KeyboardInterrupt):
        made(path, stopped, method="complement", batch_size=100)
    with RunStore(path) as store:
        part = sorted(store.done())
    assert 0 < len(part) < 10
    right = whole.top[part] == LABELS[part]
    share = Fraction(int((right & (whole.radius[part] >= 0.1)).sum()), 10)
    found = check_requirements([path], ["accuracy@0.1 >= 0", "abstained < 1", "finished >= 100%"])
    assert found[0].value == share < Fraction(float((whole.top == LABELS).mean()))
    assert found[1].value == 1 - Fraction(int(whole.certified[part].sum()), 10)
    assert not found[2].met
    code, out, _ = report(capsys, [path], "--require", "finished >= 100%")
    assert code == 1
    assert f"(10 inputs, {10 - len(part)} of them not finished)" in out
    # A run of some inputs of its data set says how many they are.
    code, out, _ = report(
        capsys, [path], "--require", "finished >= 100%", "--inputs", str(len(part))
    )
    assert code == 0
    assert report(capsys, [path], "--require", "acr >= 0", "--inputs", str(len(part) - 1))[0] == 2


def test_what_is_undecided_is_not_certified(tmp_path):
    path = tmp_path / "decide.sqlite"
    made(path, decide=0.5, n=100)
    with RunStore(path) as store:
        answers = rsbounds.runs.stored_answers(store)[:, 0]
    yes = (answers == "yes") & (np.arange(10) > 0)
    assert 0 < yes.sum() < (np.abs(X[:, 0]) > 0.5).sum()
    found = check_requirements([path], ["accuracy@0.5 >= 0", "accuracy@0.6 >= 0"])
    assert [one.value for one in found] == [Fraction(int(yes.sum()), 10), 0]


def test_stores_without_labels_inputs_or_certificates(tmp_path, capsys):
    bare = tmp_path / "bare.sqlite"
    made(bare, labels=None, method="complement")
    for quantity in ("accuracy@0.5", "population@0.5", "joint@0.5", "acr"):
        code, out, err = report(capsys, [bare], "--require", f"{quantity} >= 0")
        assert (code, out) == (2, "")
        assert "run 'bare' has no labels" in err
    assert report(capsys, [bare], "--require", "certified@0.5 >= 10%")[0] == 0
    with RunStore(bare) as store:
        config = store.config
    with RunStore(tmp_path / "empty.sqlite", config) as store:
        store.keep_empty = True
    code, _, err = report(capsys, [tmp_path / "empty.sqlite"], "--require", "abstained <= 1")
    assert code == 2
    assert "holds no finished input yet" in err
    rows = rsbounds.certify([990, 8, 2], 0, noise=LAW)
    rows.write(tmp_path / "t.tsv")
    assert report(capsys, [tmp_path / "t.tsv"], "--require", "invalid <= 0")[0] == 2
    rows[:0].write(tmp_path / "none.tsv")
    assert report(capsys, [tmp_path / "none.tsv"], "--require", "abstained <= 1")[0] == 2
    (tmp_path / "junk.sqlite").write_bytes(b"junk" * 999)
    for path in (tmp_path / "junk.sqlite", tmp_path / "gone.sqlite", tmp_path):
        assert report(capsys, [path], "--require", "abstained <= 1")[0] == 2
    assert report(capsys, [bare, bare], "--require", "abstained <= 1")[0] == 2
    for words in (["--methods", "exact"], ["--radii", "1"], ["--force"]):
        code, _, err = report(capsys, [bare], "--require", "abstained <= 1", *words)
        assert code == 2
        assert "writes no report" in err


def test_invalid_inputs_are_counted(tmp_path):
    broken = X.copy()
    broken[[3, 8]] = np.nan
    with pytest.warns(RuntimeWarning, match="invalid answers"):
        rsbounds.certify_dataset(
            vote, broken, LABELS, store=tmp_path / "run.sqlite", noise=LAW, n=500, num_classes=2,
            seed=3, progress=False, method="complement",
        )  # fmt: skip
    found = check_requirements([tmp_path / "run.sqlite"], ["invalid <= 0", "certified@0 <= 0.8"])
    assert [one.met for one in found] == [False, True]
    assert found[0].value == Fraction(2, 10)
