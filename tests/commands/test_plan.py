"""``rsbounds plan``: what it reads, what it prints, and what it refuses."""

import json

import numpy as np
import pytest

import rsbounds
from rsbounds.commands import main

QUICK = ["--method", "runner-up", "--fixed", "--n", "1000"]
LAW = rsbounds.Gaussian(0.5)


def run(capsys, *words):
    code = main(["plan", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def counts(tmp_path):
    file = tmp_path / "pilot.csv"
    file.write_text("class_0,class_1,class_2,label\n90,8,2,0\n50,30,20,1\n")
    return file


@pytest.fixture
def stores(tmp_path):
    paths = []
    for sigma in (0.25, 0.5):
        paths.append(tmp_path / f"s{sigma}.sqlite")
        rsbounds.certify_dataset(
            lambda batch: (batch[:, 0] > 0).astype(int), np.array([[0.5], [-0.1]]), [1, 0],
            noise=rsbounds.Gaussian(sigma), n=300, num_classes=2, seed=3, store=paths[-1],
            method="complement", progress=False,
        )  # fmt: skip
    return paths


def test_a_plan_from_probabilities_is_that_of_the_library(capsys):
    words = ["--p", "0.9,0.06", "--num-classes", 10, "--sigma", 0.5, "--radius", "0.5,0.9", *QUICK]
    code, out, _ = run(capsys, *words, "--alpha", "0.001,0.05", "--json")
    expected = rsbounds.plan(
        p=[0.9, 0.06], num_classes=10, noise=LAW, radius=[0.5, 0.9], n=1000, alpha=[0.001, 0.05],
        method="runner-up", sequential=False,
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["plans"] == [json.loads(json.dumps(expected.as_dict()))]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out.startswith("forecast, no guarantee: 1 input, gaussian(sigma=0.5)")
    code, out, _ = run(capsys, "--p", "0.9", "--sigma", 0.5, *QUICK, "--n0", 0, "--json")
    assert code == 0
    alone = rsbounds.plan(
        p=0.9, noise=LAW, n=1000, n0=None, method="runner-up", sequential=False
    ).as_dict()
    assert json.loads(out)["plans"] == [json.loads(json.dumps(alone))]


def test_pilots_at_several_sigmas_stand_side_by_side(stores, tmp_path, capsys):
    figure, output = tmp_path / "plan.svg", tmp_path / "plan.json"
    words = [*stores, "--radius", 0.1, "--method", "runner-up", "--n", "100,1000"]
    code, out, _ = run(capsys, *words, "--figure", figure, "--output", output)
    assert code == 0
    said = [line for line in out.splitlines() if line.startswith("forecast")]
    assert ["sigma=0.25" in said[0], "sigma=0.5" in said[1]] == [True, True]
    assert out.count("(any seed but 3)") == 2
    assert figure.read_text().count("<svg") == 1
    held = json.loads(output.read_text())["plans"]
    assert [one["guarantee"] for one in held] == ["forecast", "forecast"]
    assert held[0]["needed"][0]["sequential"]["draws"] > 0
    assert run(capsys, *words, "--output", output)[0] == 2
    # The votes at one sigma say nothing of another.
    code, out, err = run(capsys, stores[0], "--sigma", 0.5, *QUICK)
    assert (code, out) == (2, "")
    assert "only a pilot with it can say" in err


def test_a_file_of_counts_needs_a_law_and_has_labels(counts, capsys):
    code, out, _ = run(capsys, counts, "--sigma", 0.5, "--radius", 0.2, *QUICK)
    assert code == 0
    assert "from a pilot of 100 draws" in out
    assert "expected certified accuracy" in out
    code, _, err = run(capsys, counts, *QUICK)
    assert code == 2
    assert "no noise law is given" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "0 pilots and --p None are given"),
        (["--p", "0.9", "FILE"], "1 pilots and --p 0.9 are given"),
        (["--p", "0.9,x"], "--p is '0.9,x'; allowed: numbers with commas"),
        (["--p", "0.9,0.2"], "add to 1.1"),
        (["--p", "0.9,0.05"], "add to 0.95"),
        (["--p", "nan"], "probabilities from 0 to 1"),
        (["--p", ""], "--p is ''"),
        (["--p", "0.9", "--n", "1e3"], "--n is '1e3'"),
        (["--p", "0.9", "--n", "0"], "n is 0"),
        (["--p", "0.9", "--alpha", "1"], "alpha is 1.0"),
        (["--p", "0.9", "--alpha", "0"], "alpha is 0.0"),
        (["--p", "0.9", "--radius", "-1"], "radius is -1.0"),
        (["--p", "0.9", "--success", "1"], "success is 1.0"),
        (["--p", "0.9", "--n0", "-1"], "n0 is -1"),
        (["--p", "0.9", "--limit", "0"], "limit is 0"),
        (["--p", "0.9", "--method", "best"], "method is 'best'"),
        (["--p", "0.9", "--figure", "x.txt"], "--figure is 'x.txt'"),
        (["FILE", "--num-classes", "5"], "--num-classes is given with pilots"),
        (["none.csv"], "none.csv"),
        (["."], "."),
    ],
)
def test_bad_input_ends_with_one_sentence(counts, capsys, words, message):
    given = [str(counts) if word == "FILE" else word for word in words]
    code, out, err = run(capsys, *given, "--sigma", 0.5)
    assert (code, out) == (2, ""), err
    assert message in err
    assert len(err.strip().splitlines()) == 1
