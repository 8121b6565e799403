"""Certified accuracy at given radii, with the share that is not known."""

import json

import numpy as np
import pytest

import rsbounds
from rsbounds.commands import main
from rsbounds.report.answers import answer_lines, answers_table, plot_answers
from rsbounds.report.runs import report_runs
from rsbounds.runs import RunStore, stored_answers

X = np.random.default_rng(0).uniform(-0.9, 0.9, (16, 2))
RADII = [0.1, 0.3, 0.5]


def vote(batch):
    return (batch[:, 0] > 0).astype(np.int64)


def run(path, labels=None, **changes):
    given = (X[:, 0] > 0).astype(int)
    given[:3] = 1 - given[:3]
    settings = {"decide": RADII, "n": 2000, "no": "proven", **changes}
    rsbounds.certify_dataset(
        vote, X, given if labels is None else labels, store=path, noise=rsbounds.Gaussian(0.5),
        num_classes=2, seed=5, progress=False, **settings,
    )  # fmt: skip
    return path


def test_every_input_is_in_one_band_at_each_radius(tmp_path):
    path = run(tmp_path / "run.sqlite")
    with RunStore(path) as store:
        lines, told, kept = answer_lines(store), stored_answers(store), list(store.rows())
    assert told.shape == (16, 3)
    assert [line["radius"] for line in lines] == RADII
    for j, line in enumerate(lines):
        words = ("yes", "no", "futile", "undecided")
        assert [line[word] for word in words] == [(told[:, j] == word).sum() for word in words]
        assert sum(line[word] for word in words) == line["inputs"] == 16
        right = [
            r for r, a in zip(kept, told[:, j], strict=True) if a == "yes" and r.top == r.label
        ]
        assert line["correct"] == len(right)
        assert line["accuracy"] == len(right) / 16
        assert line["unknown"] == line["undecided"] / 16
        assert line["draws"] == np.mean([r.n0 + r.n for r in kept])
    # Three labels are wrong, and some of these inputs are certified.
    assert lines[0]["correct"] < lines[0]["yes"]
    assert lines[0]["accuracy"] >= lines[1]["accuracy"] >= lines[2]["accuracy"]
    assert set(told.flat) >= {"yes", "no"}
    assert "0.5" in answers_table(lines).splitlines()[-1]


def test_the_report_shows_what_is_not_known(tmp_path, capsys):
    one, two = run(tmp_path / "one.sqlite", n=150), run(tmp_path / "two.sqlite", no="futile")
    result = report_runs([one, two], tmp_path / "report")
    assert result.radii == tuple(RADII)
    assert [(line["run"], line["radius"]) for line in result.answers] == [
        (name, radius) for name in ("one", "two") for radius in RADII
    ]
    assert sum(line["undecided"] for line in result.answers if line["run"] == "one") > 0
    assert sum(line["futile"] for line in result.answers if line["run"] == "two") > 0
    # The columns of the other table say the same.
    for line in result.lines:
        own = [told["accuracy"] for told in result.answers if told["run"] == line["run"]]
        assert line["accuracy"] == own
    assert json.loads((tmp_path / "report" / "report.json").read_text())["answers"] == list(
        result.answers
    )
    names = {file.name for file in (tmp_path / "report").iterdir()}
    assert {"one.png", "one.svg", "two.svg", "runs.png"} <= names
    assert "given up" in (tmp_path / "report" / "two.svg").read_text()
    assert "unknown" in str(result)
    assert main(["report", str(one), "--output", str(tmp_path / "again"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["answers"] == [dict(line) for line in result.answers if line["run"] == "one"]


def test_runs_of_other_kinds_have_no_answers(tmp_path):
    path = tmp_path / "votes.sqlite"
    rsbounds.certify_dataset(
        vote, X, store=path, noise=rsbounds.Gaussian(0.5), num_classes=2, seed=5, n=100,
        progress=False,
    )  # fmt: skip
    with RunStore(path) as store, pytest.raises(ValueError, match="holds no decisions"):
        answer_lines(store)
    result = report_runs([path], tmp_path / "report", methods=["runner-up"])
    assert result.answers == ()


def test_without_labels_a_certified_class_counts(tmp_path):
    path = tmp_path / "run.sqlite"
    rsbounds.certify_dataset(
        vote, X, store=path, noise=rsbounds.Gaussian(0.5), num_classes=2, seed=5, n=500,
        decide=0.1, progress=False,
    )  # fmt: skip
    with RunStore(path) as store:
        (line,) = answer_lines(store)
    assert line["correct"] == line["yes"] > 0
    with pytest.raises(ValueError, match="allowed endings"):
        plot_answers([line], path=tmp_path / "a.txt")
