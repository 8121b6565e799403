"""What exact noise takes from alpha and from the radius, in every kind of certificate."""

import dataclasses
import json
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds import Counts
from rsbounds.certificates.exact import alpha_of_noise, farther, level_left, nearer
from rsbounds.commands import main
from rsbounds.noises import distances
from rsbounds.runs import RunStore, rebound
from rsbounds.streams import DISTANCE

FLOATS = rsbounds.Gaussian(0.5)
LAW = rsbounds.Gaussian(0.5, lattice=1 / 255)
X = np.array([[0.9, 0.1], [-0.4, 0.2], [0.5004, 0.0]])
ON = np.round(X * 255) / 255


def classifier(batch):
    return (batch[:, 0] > 0).astype(int)


def scores(batch):
    p = 1 / (1 + np.exp(-8 * batch[:, 0]))
    return np.column_stack([1 - p, p])


def sampled(x, law=LAW, n=2000):
    given = {"noise": law, "num_classes": 2, "seed": 3}
    select = rsbounds.sample_counts(classifier, x, n=100, role="select", **given)
    return rsbounds.sample_counts(classifier, x, n=n, **given), rsbounds.select_top(select)


def test_votes_alpha_and_radius():
    counts, top = sampled(X)
    found = rsbounds.certify(counts, top, noise=LAW)
    about = rsbounds.certify(counts.values, top, noise=LAW)
    away = distances(X, 1 / 255, "l2")
    assert (away[[0, 2]] > 1e-4).all()
    assert (found.radius < about.radius - away * (1 - 1e-9)).all()
    assert found.radius == pytest.approx(about.radius - away, abs=1e-15)
    spent = 2000 * 2**32 * DISTANCE
    assert found.alpha == about.alpha == 0.001
    assert found.details["lattice"] == 1 / 255
    assert found.details["alpha_of_noise"] == pytest.approx(spent, rel=1e-9)
    assert found.details["alpha_of_noise"] >= spent
    assert found.details["offset"] == away.max()
    assert about.details["offset"] is None
    assert "inputs within 2.8e-3 of its lattice" in str(found)
    assert "exact noise, alpha spent on it 1.2e-25, radii are about inputs rounded" in str(about)
    # The bound had less than alpha: one float less, at least.
    plain = rsbounds.certify(
        counts.values, top, noise=FLOATS, alpha=level_left(LAW.spacing, 0.001, 2000)
    )
    assert (about.radius == plain.radius).all()
    assert level_left(LAW.spacing, 0.001, 2000) < 0.001
    assert rsbounds.certify(counts.values, top, noise=FLOATS).details == {}


def test_an_input_on_the_lattice_loses_nothing():
    counts, top = sampled(ON)
    about = rsbounds.certify(counts.values, top, noise=LAW)
    found = rsbounds.certify(counts, top, noise=LAW)
    assert (about.radius - found.radius < 2e-7).all()
    # Neither does one of float32, but for what rounds it.
    counts, top = sampled(ON.astype(np.float32))
    assert rsbounds.certify(counts, top, noise=LAW).details["offset"] < 1e-7


def test_a_radius_smaller_than_the_distance_is_none():
    counts = Counts(
        np.array([[990, 10]]), "estimate", 0, lattice=1 / 255,
        offset={"l2": np.array([3.0]), "l1": np.array([3.0])},
    )  # fmt: skip
    assert rsbounds.certify(counts, 0, noise=LAW).abstained.all()
    assert rsbounds.certify(counts.values, 0, noise=LAW).certified.all()


def test_a_law_that_says_nothing_of_a_lattice_is_on_that_of_the_sample():
    counts, top = sampled(X, n=200)
    told, found = (rsbounds.certify(counts, top, noise=law) for law in (LAW, FLOATS))
    assert found.noise == told.noise == str(LAW)
    assert (found.radius == told.radius).all()
    assert found.details["lattice"] == LAW.lattice
    # Counts alone say nothing of their noise, and no more is claimed than was.
    plain = rsbounds.certify(counts.values, top, noise=FLOATS)
    assert str(plain).endswith("proven in real arithmetic")
    assert "lattice" not in plain.details
    compared = (
        rsbounds.compare(counts, top, noise=law, labels=[0] * len(X)) for law in (LAW, FLOATS)
    )
    assert len({str(result.noise) for result in compared}) == 1
    soft = rsbounds.sample_scores(scores, X[0], noise=LAW, n=50, seed=1)
    told, found = (rsbounds.certify_soft(soft, 1, noise=law) for law in (LAW, FLOATS))
    assert found.noise == told.noise
    assert (found.radius == told.radius).all()
    # A law that has no lattice cannot have drawn the sample.
    with pytest.raises(ValueError, match=r"diagonal.* on floats, and the sample was drawn with"):
        rsbounds.certify(counts, top, noise=rsbounds.noises.DiagonalGaussian([0.5] * X[0].size))


def test_sampling_is_exact_unless_told_otherwise():
    def label(batch):
        return np.zeros(len(batch), np.int64)

    arguments = {"n": 50, "num_classes": 2, "seed": 1}
    counts = rsbounds.sample_counts(label, X, noise=FLOATS, **arguments)
    asked = rsbounds.sample_counts(label, X, noise=FLOATS.on_lattice("auto"), **arguments)
    assert counts.lattice == asked.lattice == FLOATS.on_lattice().lattice
    assert {key: value.tolist() for key, value in counts.offset.items()} == {
        key: value.tolist() for key, value in asked.offset.items()
    }
    assert rsbounds.certify(counts, 0, noise=FLOATS).details["lattice"] == counts.lattice
    floats = rsbounds.sample_counts(label, X, noise=FLOATS, lattice=None, **arguments)
    assert floats.lattice is None
    shown = str(rsbounds.certify(floats, 0, noise=FLOATS))
    assert shown.endswith("proven in real arithmetic")
    # What a law says goes before what the call asks for by default, and against it is refused.
    told = rsbounds.sample_counts(label, X, noise=LAW, **arguments)
    assert told.lattice == LAW.lattice
    with pytest.raises(ValueError, match=r"lattice is 0\.5; allowed with noise gaussian"):
        rsbounds.sample_counts(label, X, noise=LAW, lattice=0.5, **arguments)
    with pytest.raises(ValueError, match="lattice is 'fine'; allowed: a spacing, 'auto' or None"):
        rsbounds.sample_counts(label, X, noise=FLOATS, lattice="fine", **arguments)
    soft = rsbounds.sample_scores(scores, X[0], noise=FLOATS, n=50, seed=1)
    assert soft.lattice == counts.lattice


def test_a_law_that_cannot_be_on_a_lattice_stays_in_floats():
    laws = [
        rsbounds.noises.DiagonalGaussian([0.5, 0.25]), rsbounds.Gaussian([0.25, 0.5]),
        rsbounds.Gaussian(1e-35), rsbounds.Lipschitz(2.0, rsbounds.Gaussian([0.25, 0.5])),
    ]  # fmt: skip
    for law in laws:
        assert law.on_lattice() is law or law.on_lattice() == law
        assert law.on_lattice().spacing is None
        assert law.on_lattice(None) is law or law.on_lattice(None) == law
    around = rsbounds.Lipschitz(2.0, FLOATS)
    assert around.on_lattice().noise == FLOATS.on_lattice()
    # With a spacing, each input's noise is told without the others'.
    assert rsbounds.Gaussian([0.25, 0.5]).on_lattice(1 / 255).lattice == 1 / 255
    with pytest.raises(ValueError, match=r"lattice is 0\.3; allowed: a spacing from"):
        rsbounds.Gaussian(0.25).on_lattice(0.3)


@pytest.mark.parametrize("size", [1e-3, 0.25, 3.0])
def test_room_is_what_a_lattice_holds(size):
    law, spacing = rsbounds.Gaussian([size]), 1 / 2040
    low, high = (float(part[0]) for part in law.room(spacing))
    for factor, fits in ((low, True), (high, True), (low * 0.999, False), (high * 1.001, False)):
        scaled = law.scaled([factor])
        if fits:
            assert scaled.on_lattice(spacing).lattice == spacing
            continue
        with pytest.raises(ValueError, match="lattice is"):
            scaled.on_lattice(spacing)


@pytest.mark.parametrize("law", [rsbounds.Gaussian(0.5, lattice=1 / 510)], ids=str)
def test_a_sample_of_another_lattice_is_refused(law):
    counts, top = sampled(X, n=200)
    with pytest.raises(
        ValueError, match=r"noise is .*0\.5.* drawn with noise of a lattice of 1/255"
    ):
        rsbounds.certify(counts, top, noise=law)
    other, top = sampled(X, law, n=200)
    with pytest.raises(ValueError, match=r"lattice=1/255\), on a lattice of 1/255, and the sample"):
        rsbounds.certify(other, top, noise=LAW)
    with pytest.raises(ValueError, match="and the sample was drawn"):
        rsbounds.compare(other, top, noise=LAW)
    soft = rsbounds.sample_scores(scores, X[0], noise=LAW, n=50, seed=1)
    with pytest.raises(ValueError, match="drawn with noise of a lattice of 1/255"):
        rsbounds.certify_soft(soft, 1, noise=law)


def test_alpha_that_noise_takes_whole_is_refused():
    with pytest.raises(ValueError, match=r"alpha is 1e-26, of which exact noise takes 5.6e-26"):
        rsbounds.certify([990, 10], 0, noise=LAW, alpha=1e-26)
    assert rsbounds.certify([990, 10], 0, noise=FLOATS, alpha=1e-26).alpha == 1e-26
    with pytest.raises(ValueError, match="alpha is 1e-17"):
        rsbounds.Decide(0.1, 0, noise=LAW, alpha=1e-17)


@settings(max_examples=300, deadline=None)
@given(
    alpha=st.floats(1e-12, 0.9), n=st.integers(1, 10**12), radius=st.floats(0, 1e3),
    away=st.floats(0, 10),
)  # fmt: skip
def test_rounding_is_to_the_safe_side(alpha, n, radius, away):
    spent = F(n) * 2**32 * F(DISTANCE)
    assert F(level_left(LAW.spacing, alpha, n)) + spent <= F(alpha)
    assert F(alpha_of_noise(LAW.spacing, n)) >= spent
    assert level_left(FLOATS.spacing, alpha, n) == alpha
    left = float(nearer(np.array([radius]), [away])[0])
    assert left == 0 or F(left) + F(away) <= F(radius)
    assert left >= radius - away - 1e-9
    assert F(float(np.asarray(farther(radius, [away]))[0])) >= F(radius) + F(away)


def test_scores_too():
    drawn = rsbounds.sample_scores(scores, X[0], noise=LAW, n=500, seed=1)
    found = rsbounds.certify_soft(drawn, 1, noise=LAW)
    about = rsbounds.certify_soft(drawn.values, 1, noise=LAW)
    away = distances(X[:1], 1 / 255, "l2")
    assert found.radius == pytest.approx(about.radius - away, abs=1e-12)
    assert found.details["offset"] == away[0]


def test_an_l1_law_takes_the_distance_in_l1():
    law = rsbounds.Uniform(0.5, lattice=1 / 100)
    counts, top = sampled(X, law)
    about = rsbounds.certify(counts.values, top, noise=law)
    found = rsbounds.certify(counts, top, noise=law)
    away = distances(X, 1 / 100, "l1")
    assert (found.radius == nearer(about.radius, away)).all()
    # A law around it is one of the l2 norm.
    outer = rsbounds.Lipschitz(2.0, law)
    away = distances(X, 1 / 100, "l2")
    found, about = (rsbounds.certify(c, top, noise=outer) for c in (counts, counts.values))
    assert (found.radius == nearer(about.radius, away)).all()


@pytest.mark.parametrize("make", ["decide", "adaptive"])
def test_stopping_rules_too(make):
    _, top = sampled(X)
    if make == "decide":
        test = rsbounds.Decide(0.3, top, noise=LAW, limit=20_000)
    else:
        test = rsbounds.Adaptive(top, noise=LAW, looks=(100, 1000))
    rsbounds.sample_until(test, classifier, X, num_classes=2, seed=3)
    found = test.certificates()
    test.offset = None
    about = test.certificates()
    away = distances(X, 1 / 255, "l2")
    assert about.certified.any()
    assert (found.radius == nearer(about.radius, away)).all()
    spent = alpha_of_noise(LAW.spacing, 10**12 if make == "decide" else 1000)
    assert found.details == {"lattice": 1 / 255, "alpha_of_noise": spent, "offset": away.max()}


def test_the_margin_test_and_predict_too():
    # Counts for which the whole alpha would be just enough, and what is left of it is not.
    test = rsbounds.MarginTest(0.3, 0, noise=LAW)
    test.update([830, 170])
    at = float(np.exp(-test.log_capital[0]))
    plain = rsbounds.MarginTest(0.3, 0, noise=FLOATS)
    plain.update([830, 170])
    taken = alpha_of_noise(LAW.spacing, 10**12)
    assert plain.proven(alpha=at * (1 + 1e-12))[0]
    assert not test.proven(alpha=at + taken / 2)[0]
    assert test.proven(alpha=at * (1 + 1e-12) + 2 * taken)[0]
    run = rsbounds.MarginSequence(0, noise=LAW)
    run.update([970, 30])
    about = run.radius[0]
    assert run.certificates().details["alpha_of_noise"] == taken
    run.offset = np.array([0.01])
    assert run.radius[0] == run.certificates().radius[0] == nearer(np.array([about]), [0.01])[0]
    with pytest.raises(ValueError, match="of which exact noise takes"):
        rsbounds.predict(Counts(np.array([[9, 1]]), "estimate", 0, lattice=0.1), alpha=1e-28)
    assert rsbounds.predict([[9, 1]], alpha=1e-28).abstained.all()


KINDS = {
    "votes": {},
    "scores": {"map": None},
    "decide": {"decide": 0.3},
    "adaptive": {"looks": [100, 1000], "method": "runner-up"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_runs_keep_the_law_whole_and_the_distances(kind, tmp_path):
    path = tmp_path / "run.sqlite"
    asked = {"noise": LAW, "n": 1000, "num_classes": 2, "seed": 3, "store": path}
    asked |= {} if kind == "decide" else {"kind": kind}
    model = scores if kind == "scores" else classifier
    found = rsbounds.certify_dataset(model, X, [1, 0, 1], **asked, **KINDS[kind])
    assert found.certified.any()
    if kind == "decide":
        # The question is about the inputs: the radius that was asked for is left.
        assert (found.radius[found.certified] >= 0.3).all()
    away = distances(X, 1 / 255, "l2")
    assert found.details["offset"] == away.max()
    with RunStore(path) as store:
        rows = list(store.rows())
        assert [row.law["lattice"] for row in rows] == [1 / 255] * 3
        assert [row.evidence["offset"] for row in rows] == away.tolist()
        again = rebound(store)
    for name in ("radius", "top"):
        assert (getattr(again, name) == getattr(found, name)).all()
    assert (again.details, again.noise, again.assurance) == (
        found.details, found.noise, found.assurance,
    )  # fmt: skip
    # The same call reads it; another lattice, or none, does not.
    same = rsbounds.certify_dataset(model, X, [1, 0, 1], **asked, **KINDS[kind])
    assert (same.radius == found.radius).all()
    for other in (rsbounds.Gaussian(0.5, lattice=1 / 510), FLOATS):
        with pytest.raises(ValueError, match="lattice") as error:
            rsbounds.certify_dataset(
                model, X, [1, 0, 1], **{**asked, "noise": other}, **KINDS[kind]
            )
        assert str(1 / 255) in str(error.value)


def test_a_file_of_certificates_keeps_it(tmp_path):
    counts, top = sampled(X)
    found = rsbounds.certify(counts, top, noise=LAW)
    for name in ("a.tsv", "a.jsonl"):
        found.write(tmp_path / name)
        again = rsbounds.Certificates.read(tmp_path / name)
        assert again.details == found.details
        assert str(again) == str(found)
        assert again[:1].assurance == found.assurance
    with pytest.raises(ValueError, match="details holds"):
        dataclasses.replace(found, details={"lattice": 1.0})


def test_the_command_line_has_it(tmp_path, capsys):
    file = tmp_path / "counts.tsv"
    file.write_text("label\tclass_0\tclass_1\n0\t990\t10\n")
    assert main(["certify", str(file), "--sigma", "0.5", "--lattice", "1/255"]) == 0
    said = capsys.readouterr().out
    assert (
        "gaussian(sigma=0.5, lattice=1/255), exact, alpha 0.001, guarantee: proven, exact" in said
    )
    assert main(["certify", str(file), "--sigma", "0.5", "--lattice", "auto", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["details"]["lattice"] == 1 / 1020
    for bad in ("3", "1/0", "fine", "-0.1"):
        try:
            code = main(["certify", str(file), "--sigma", "0.5", f"--lattice={bad}"])
        except SystemExit as stop:
            code = stop.code
        assert code == 2
        assert "lattice" in capsys.readouterr().err


def test_rules_refuse_votes_that_were_drawn_in_another_way():
    # Their radii would be about the lattice points, and be told as if about the inputs.
    counts, top = sampled(X, n=200)
    for law in (FLOATS, rsbounds.Gaussian(0.5, lattice=1 / 510)):
        for rule in (
            rsbounds.Decide(0.1, top, noise=law),
            rsbounds.Adaptive(top, noise=law, looks=(200, 400)),
            rsbounds.sequential.MarginSequence(top, noise=law),
            rsbounds.sequential.MarginTest(0.1, top, noise=law),
            rsbounds.sequential.Ladder([[0.1, 0.2]] * len(X), top, noise=law),
        ):
            with pytest.raises(ValueError, match="drawn with noise of a lattice of 1/255"):
                rule.update(counts)
    rule = rsbounds.Decide(0.1, top, noise=LAW)
    rule.update(counts)
    assert (rule.n == 200).all()
