"""Statements about populations and about all certificates at once, against complete enumeration."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

import rsbounds
from rsbounds.commands import main
from rsbounds.report import joint_accuracy, population_accuracy, report_runs
from rsbounds.report.statements import statements_text

LAW = rsbounds.Gaussian(0.5)
ONE = rsbounds.certify([990, 8, 2], 0, noise=LAW)


def table(k, m, alpha=0.001, **changes):
    """Certificates of m inputs, of which the first k have radius 1 and class 0."""
    rows = ONE[np.zeros(m, dtype=int)]
    radius = np.where(np.arange(m) < k, 1.0, 0.0)
    return dataclasses.replace(rows, radius=radius, index=np.arange(m), alpha=alpha, **changes)


# -- populations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 7, 25])
@pytest.mark.parametrize(("alpha", "beta"), [(0.001, 0.05), (0.2, 0.05), (0.2, 0.4), (0.5, 0.01)])
def test_the_share_of_a_population_errs_with_beta_at_most(m, alpha, beta):
    """Every number of certified inputs, every population of true and of false claims."""
    found = [population_accuracy(table(k, m, alpha), None, 0.5, beta=beta) for k in range(m + 1)]
    robust = np.array([one.robust[0] for one in found])
    ends = np.array([(one.lower[0], one.upper[0]) for one in found])
    worst = spread = 0.0
    for true in np.linspace(0, 1, 21):
        for power in (0.0, 0.3, 0.9, 1.0):
            for false in (0.0, 0.5 * alpha, alpha):
                c = true * power + (1 - true) * false
                chance = stats.binom.pmf(np.arange(m + 1), m, c)
                worst = max(worst, chance[robust > true].sum())
                spread = max(spread, chance[(ends[:, 0] > c) | (ends[:, 1] < c)].sum())
    assert worst <= beta * (1 + 1e-9)
    assert spread <= beta * (1 + 1e-9)
    if m == 25 and alpha < 0.5:
        # And not because it says nothing.
        assert worst > 0.3 * beta
        assert spread > 0.3 * beta


def test_false_certificates_are_paid_for_from_the_counts_on():
    # Inputs at which both classes have half of the votes: every certificate is wrong, and as many
    # are made as alpha allows. A bound on the share certified alone would be one on nothing true.
    alpha, beta, n, m = 0.2, 0.05, 30, 40
    votes = np.stack([np.arange(n + 1), n - np.arange(n + 1)], axis=1)
    made = rsbounds.certify(votes, 0, noise=LAW, alpha=alpha, method="complement").certified
    c = stats.binom.pmf(np.arange(n + 1), n, 0.5)[made].sum()
    assert 0.5 * alpha < c <= alpha
    chance = stats.binom.pmf(np.arange(m + 1), m, c)
    found = [population_accuracy(table(k, m, alpha), None, 0.0, beta=beta) for k in range(m + 1)]
    assert chance[[one.robust[0] > 0 for one in found]].sum() <= beta
    assert chance[[one.lower[0] > 0 for one in found]].sum() > 0.9


def test_the_share_is_that_of_the_formula():
    k, m, alpha, beta = 180, 200, 0.01, 0.05
    labels = np.where(np.arange(m) < k, 0, 1)
    got = population_accuracy(table(m, m, alpha), labels, [0.0, 1.0, 1.1], beta=beta)
    assert got.reached.tolist() == [k, k, 0]
    below = stats.beta.ppf(beta, k, m - k + 1)
    assert got.robust[:2] == pytest.approx((below - alpha) / (1 - alpha), rel=1e-9)
    assert got.robust[2] == 0.0
    both = stats.beta.ppf([beta / 2, 1 - beta / 2], [k, k + 1], [m - k + 1, m - k])
    assert [got.lower[0], got.upper[0]] == pytest.approx(both, rel=1e-9)
    assert got.labelled
    assert not population_accuracy(table(m, m), None, 0.5).labelled
    assert json.loads(json.dumps(got.as_dict()))["reached"] == [k, k, 0]
    assert repr(got) == "PopulationAccuracy(200 inputs, 3 radii, beta 0.05, proven)"


def test_an_input_that_is_not_finished_is_not_certified():
    whole = population_accuracy(table(30, 100), None, 0.5)
    part = population_accuracy(table(30, 60), None, 0.5, inputs=100)
    assert part.unfinished == 40
    assert (part.lower, part.robust) == (whole.lower, whole.robust)
    # Nor is it known not to be.
    assert part.upper == population_accuracy(table(70, 100), None, 0.5).upper
    assert joint_accuracy(table(30, 60), None, 0.5, inputs=100).inputs == 100
    for inputs in (59, 0, 1.5, True):
        with pytest.raises(ValueError, match=r"inputs is .*; allowed: an integer >= 60"):
            population_accuracy(table(30, 60), None, 0.5, inputs=inputs)


# -- all certificates at once --------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-6, 0.001, 0.05, 0.5])
@pytest.mark.parametrize("beta", [1e-9, 0.04, 0.9])
def test_the_number_of_wrong_certificates_is_the_binomial_quantile(alpha, beta):
    for m in (1, 2, 10, 500, 20_000):
        got = joint_accuracy(table(m, m, alpha), None, 0.5, beta=beta)
        # (At beta = alpha, one input: the quantile jumps there, and roundings go to the safe side.)
        assert got.wrong == stats.binom.isf(beta, m, alpha)
        assert got.robust.tolist() == [m - got.wrong]
        assert got.all_hold == pytest.approx((1 - alpha) ** m, rel=1e-9)
        assert got.all_hold <= (1 - alpha) ** m * (1 + 1e-15)
        assert got.all_hold >= 1 - m * alpha - 1e-9


def test_certificates_that_err_less_often_change_nothing():
    # Unequal chances, each at most alpha: by convolution, no number is exceeded more often.
    rng = np.random.default_rng(0)
    alpha, m = 0.1, 60
    for beta in (0.01, 0.05, 0.3):
        wrong = joint_accuracy(table(m, m, alpha), None, 0.5, beta=beta).wrong
        for chances in (np.full(m, alpha), rng.uniform(0, alpha, m), alpha * (rng.random(m) < 0.5)):
            law = np.ones(1)
            for p in chances:
                law = np.convolve(law, [1 - p, p])
            assert law[wrong + 1 :].sum() <= beta
            if (chances == alpha).all():
                assert law[wrong:].sum() > beta


def test_no_more_certificates_are_wrong_than_there_are():
    got = joint_accuracy(table(1, 100, 0.5), None, [0.5, 2.0])
    assert (got.certified, got.wrong, got.robust.tolist()) == (1, 1, [0, 0])
    assert repr(got) == "JointAccuracy(at most 1 of 1 certificates wrong, beta 0.05, proven)"


def test_certificates_without_chance_are_all_right():
    # Of noise whose cells are all counted.
    got = joint_accuracy(table(30, 40, 0.0), None, 0.5)
    assert (got.wrong, got.all_hold, got.robust.tolist()) == (0, 1.0, [30])
    of = population_accuracy(table(30, 40, 0.0), None, 0.5)
    assert of.robust == pytest.approx(stats.beta.ppf(0.05, 30, 11), rel=1e-9)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", [population_accuracy, joint_accuracy])
def test_bad_arguments_are_named(statement):
    for beta in (0, 1, -1, float("nan"), "0.05", None, True):
        with pytest.raises(ValueError, match="beta is"):
            statement(table(3, 5), None, 0.5, beta=beta)
    for radii in (-1, float("nan"), [0.1, float("nan")]):
        with pytest.raises(ValueError, match="radii contains"):
            statement(table(3, 5), None, radii)
    with pytest.raises(ValueError, match="labels has 4 entries"):
        statement(table(3, 5), [0] * 4, 0.5)
    with pytest.raises(ValueError, match="about the memory classifier, which depends on all"):
        statement(table(3, 5, about="memory"), None, 0.5)
    with pytest.raises(ValueError, match="certificates is empty"):
        statement(table(0, 0), None, 0.5)


def test_certificates_without_a_guarantee_prove_nothing():
    bad = table(3, 5, guarantee="none")
    got = population_accuracy(bad, None, 0.5)
    assert got.robust is None
    assert got.lower > 0
    with pytest.raises(ValueError, match="guarantee 'none'"):
        joint_accuracy(bad, None, 0.5)


# -- the report ----------------------------------------------------------------------------------

X = np.linspace(-1, 1, 30)[:, None]


def made(path, **more):
    return rsbounds.certify_dataset(
        lambda batch: (batch[:, 0] > 0).astype(int), X, (X[:, 0] > 0).astype(int), noise=LAW,
        n=400, num_classes=2, seed=1, store=path, progress=False, **more,
    )  # fmt: skip


def test_the_report_has_both_statements_of_each_run(tmp_path, capsys):
    tables = {}
    for kind, more in (("votes", {"method": "complement"}), ("decide", {"decide": 0.5})):
        tables[kind] = made(tmp_path / f"{kind}.sqlite", **more)
    stores = [tmp_path / f"{kind}.sqlite" for kind in tables]
    result = report_runs(
        stores, tmp_path / "out", methods=["complement"], radii=[0.25, 0.5], beta=0.1
    )
    labels = (X[:, 0] > 0).astype(int)
    for said, (kind, found) in zip(result.statements, tables.items(), strict=True):
        assert said["run"] == kind
        for name, statement in (("population", population_accuracy), ("joint", joint_accuracy)):
            assert said[name] == statement(found, labels, [0.25, 0.5], beta=0.1).as_dict()
    # What was not decided, or decided otherwise, is no certificate.
    decided = result.statements[1]["population"]
    assert 0 < decided["reached"][1] == int(tables["decide"].certified.sum()) < 30
    text = str(result)
    assert "errs with probability 0.1 at most" in text
    assert "decide: of " in text
    held = json.loads((tmp_path / "out" / "report.json").read_text())
    assert held["statements"] == json.loads(json.dumps(result.statements))
    words = ["report", *map(str, stores), "--methods", "complement", "--radii", "0.25,0.5"]
    assert main([*words, "--output", str(tmp_path / "b"), "--beta", "0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statements"] == held["statements"]
    code = main([*words, "--output", str(tmp_path / "c"), "--inputs", "40"])
    out = capsys.readouterr().out
    assert code == 0
    assert "votes: 10 of 40 inputs have no certificate yet and count as not certified" in out
    for bad in (["--beta", "0"], ["--beta", "1"], ["--inputs", "29"]):
        assert main([*words, "--output", str(tmp_path / "d"), *bad]) == 2
        assert capsys.readouterr().err.startswith(f"rsbounds report: {bad[0][2:]} is ")
        assert not (tmp_path / "d").exists()


def test_certificates_that_are_not_independent_are_said_to_be(tmp_path):
    table(3, 5, about="memory", method="m").write(tmp_path / "memory.tsv")
    table(3, 5, guarantee="none").write(tmp_path / "argmax.tsv")
    result = report_runs(
        [tmp_path / "memory.tsv", tmp_path / "argmax.tsv"], tmp_path / "out", radii=[0.5]
    )
    text = statements_text(result.statements)
    assert "memory: no statement, since its certificates are not independent" in text
    line = next(line for line in text.splitlines() if line.startswith("argmax"))
    assert line.split()[-2:] == ["-", "-"]
    alone = report_runs([tmp_path / "memory.tsv"], tmp_path / "alone", radii=[0.5])
    assert "no statement" in str(alone)
