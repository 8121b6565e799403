"""Several radii of each input at once."""

import numpy as np
import pytest
from scipy.special import ndtr

import rsbounds
from rsbounds.sequential import Ladder

LAW = rsbounds.Gaussian(0.25)
RADII = [0.1, 0.25, 0.5]
P = np.random.default_rng(3).dirichlet([12, 2, 0.3, 0.3], 60)


def selection(seed=1):
    return rsbounds.select_top(np.random.default_rng(seed).multinomial(100, P), independent=True)


def ladder(radii=RADII, **changes):
    settings = {"noise": LAW, "limit": 4000, "no": "futile", **changes}
    return Ladder(np.tile(radii, (len(P), 1)), selection(), **settings)


def fed(test, seed=2):
    """Each input has draws of its own, whatever the others take."""
    streams = [np.random.default_rng([seed, row]) for row in range(len(P))]
    votes = np.zeros((len(P), 4), dtype=np.int64)
    while test.active.any():
        fresh = np.array(
            [rng.multinomial(n, p) for rng, n, p in zip(streams, test.wanted, P, strict=True)]
        )
        test.update(fresh)
        votes += fresh
    return votes


@pytest.mark.parametrize("no", ["futile", "proven"])
def test_answers_are_those_of_decide_at_each_radius_put_in_order(no):
    test = ladder(no=no)
    votes = fed(test)
    alone = []
    for radius in RADII:
        one = rsbounds.Decide(radius, selection(), noise=LAW, limit=4000, no=no)
        fed(one)
        alone.append(one)
    expected = np.stack([one.status for one in alone], axis=1)
    for row in expected:
        if no == "futile" and (row == "futile").any():
            row[np.argmax(row == "futile") :] = "futile"
    assert test.status.tolist() == expected.tolist()
    assert {"yes", "no" if no == "proven" else "futile"} <= set(expected.flat)
    assert votes.sum(axis=1).tolist() == test.n.tolist()
    # An input takes the draws of its last answer; with what is given up, larger radii are.
    most = np.stack([one.n for one in alone], axis=1)
    if no == "proven":
        assert test.n.tolist() == most.max(axis=1).tolist()
    assert (test.n <= most.max(axis=1)).all()
    yes = (expected == "yes").sum(axis=1)
    got = test.certificates()
    assert np.allclose(got.radius, np.array([0, *RADII])[yes], rtol=1e-14)
    assert (got.radius >= np.array([0, *RADII])[yes] * (1 - 1e-15)).all()
    assert got.abstained.tolist() == (yes == 0).tolist()


def test_one_radius_is_decide():
    test, one = ladder([0.25]), rsbounds.Decide(0.25, selection(), noise=LAW, limit=4000,
                                                no="futile")  # fmt: skip
    fed(test), fed(one)
    for name in ("radius", "candidate", "margin_lower", "n", "options", "input_hash"):
        a, b = getattr(test.certificates(), name), getattr(one.certificates(), name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, name


@pytest.mark.parametrize("no", ["futile", "proven"])
def test_votes_that_are_replayed_give_the_same_answers(no):
    test = ladder(no=no)
    votes = fed(test)
    looks = test.looks(np.arange(len(P)))
    # Otherwise an answer that the last votes do not bear out would not be missed.
    assert max(map(len, looks)) >= 1
    again = ladder(no=no)
    again.replay(looks, votes)
    assert again.status.tolist() == test.status.tolist()
    for name in ("radius", "n", "input_hash"):
        a, b = getattr(test.certificates(), name), getattr(again.certificates(), name)
        assert np.array_equal(a, b), name


def test_an_answer_stays_though_later_votes_speak_against_it():
    test = Ladder([[0.01, 0.6]], np.array([0]), noise=LAW, no="futile")
    test.update([[20, 0, 0]])
    assert test.status.tolist() == [["yes", "continue"]]
    while test.active.any():
        test.update([[0, 30, 0]])
    assert test.status.tolist() == [["yes", "futile"]]
    again = Ladder([[0.01, 0.6]], np.array([0]), noise=LAW, no="futile")
    again.replay(test.looks(np.arange(1)), np.array([[20, int(test.n[0]) - 20, 0]]))
    assert again.status.tolist() == test.status.tolist()


def test_no_yes_without_all_smaller_ones():
    """The joint statement rests on it: the first wrong "yes" needs one given test to err."""
    test = ladder()
    while test.active.any():
        fresh = np.array([np.random.default_rng().multinomial(w, p)
                          for w, p in zip(test.wanted, P, strict=True)])  # fmt: skip
        test.update(fresh)
        yes = test.status == "yes"
        assert (yes[:, 1:] <= yes[:, :-1]).all()
        no = test.status == "no"
        assert (no[:, :-1] <= no[:, 1:]).all()


def test_any_wrong_yes_of_many_radii_is_as_rare_as_of_one():
    """Dense radii above the true one: without the order each would add to the error."""
    paths, alpha = 4000, 0.1
    # The end of the curve of the smallest radius, where the test is closest to its level.
    a = float(ndtr(0.1 / 0.25))
    radii = np.tile(np.linspace(0.1, 0.16, 8), (paths, 1))
    test = Ladder(radii, np.zeros(paths, dtype=np.int64), noise=LAW, alpha=alpha, limit=1500)
    rng = np.random.default_rng(0)
    while test.active.any():
        test.update(rng.multinomial(64, [a, 1 - a], size=paths))
    wrong = (test.status == "yes").any(axis=1).mean()
    # Five standard errors.
    assert 0 < wrong <= alpha + 5 * np.sqrt(alpha * (1 - alpha) / paths)


def test_inputs_that_abstain_have_no_answer_left():
    test = Ladder([[0.01, 0.6], [0.01, 0.6]], np.array([0, 0]), noise=LAW)
    test.update([[20, 0, 0], [20, 0, 0]])
    test.abstain(np.array([False, True]), 5)
    assert test.status.tolist() == [["yes", "continue"], ["undecided", "undecided"]]
    assert (test.active.tolist(), test.n.tolist()) == ([True, False], [20, 25])
    assert test.certificates().abstained.tolist() == [False, True]


def test_radii_that_no_draw_can_prove_need_none():
    test = Ladder([[0.2, 2.0]], np.array([0]), noise=rsbounds.Uniform(1.0), no="futile")
    assert test.status.tolist() == [["continue", "no"]]
    while test.active.any():
        test.update([[50, 1]])
    assert test.status.tolist() == [["yes", "no"]]


@pytest.mark.parametrize(
    ("radius", "message"),
    [
        ([0.1, 0.2], "a row of increasing numbers each"),
        ([[0.2, 0.1]], "a row of increasing numbers each"),
        ([[0.1, 0.1]], "a row of increasing numbers each"),
        ([[]], "a row of increasing numbers each"),
        ([[0.0, 0.1]], "finite numbers > 0"),
        ([[0.1, np.inf]], "finite numbers > 0"),
        ([[0.1, np.nan]], "a row of increasing"),
        ([[1e-300, 0.1]], "radius is 1e-300 with gaussian"),
    ],
)
def test_radii_are_refused(radius, message):
    with pytest.raises(ValueError, match=message):
        Ladder(radius, np.array([0]), noise=LAW)


def test_votes_are_refused():
    test = ladder()
    with pytest.raises(ValueError, match=r"counts has 1 row\(s\); allowed: 60"):
        test.update([1, 2, 3, 4])
    with pytest.raises(ValueError, match="counts"):
        test.update(np.full((60, 4), -1))
    test.update(np.full((60, 4), 3))
    with pytest.raises(ValueError, match="3 columns; allowed: 4"):
        test.update(np.full((60, 3), 3))
    with pytest.raises(ValueError, match="limit"):
        ladder(limit=0)


@pytest.mark.parametrize(
    ("own", "told", "radius"),
    [
        ("yes yes yes", "yes yes yes", 0.3),
        ("yes continue no", "yes continue no", 0.1),
        # A "yes" waits for the smaller ones, a "no" for the larger ones.
        ("continue yes continue", "continue continue continue", 0),
        ("no continue yes", "continue continue continue", 0),
        ("no continue no", "continue continue no", 0),
        # Tests that contradict one another: at least one has erred.
        ("no yes undecided", "undecided undecided undecided", 0),
        ("no yes no", "undecided undecided no", 0),
        ("yes no yes", "yes undecided undecided", 0.1),
        ("undecided yes yes", "undecided undecided undecided", 0),
        ("no no no", "no no no", 0),
    ],
)
def test_answers_of_the_tests_are_put_in_order(own, told, radius):
    test = Ladder([[0.1, 0.2, 0.3]], np.array([0]), noise=LAW)
    codes = {"futile": -3, "undecided": -2, "no": -1, "continue": 0, "yes": 1}
    test._test._answer[:] = [codes[word] for word in own.split()]
    assert test.status.tolist() == [told.split()]
    found = test.certificates()
    assert found.radius[0] == pytest.approx(radius, rel=1e-14)
    assert found.margin_lower[0] == (pytest.approx(2 * radius / 0.25) if radius else -np.inf)


def test_curves_that_were_found_are_those_of_a_fresh_start(monkeypatch):
    """Another limit, level, law or prior is another question, though the radius is the same."""
    from rsbounds.sequential import _futility

    asked = [
        {"radius": 0.25}, {"radius": 0.25, "limit": 300}, {"radius": 0.25, "alpha": 0.1},
        {"radius": 0.25, "noise": rsbounds.Gaussian(0.3)}, {"radius": 0.25, "futility": 0.3},
        {"radius": 0.25, "noise": rsbounds.Uniform(0.5)}, {"radius": 0.5},
        {"radius": 0.25, "competitors": "complement"},
        {"radius": 0.25, "competitors": "complement", "prior": (2.0, 3.0)},
    ]  # fmt: skip

    def answers(options):
        test = rsbounds.Decide(
            top=selection(), **{"noise": LAW, "limit": 4000, "no": "futile", **options}
        )
        fed(test)
        return test.status.tolist(), test.n.tolist(), test._futility._reach.tolist()

    fresh = []
    for options in asked:
        monkeypatch.setattr(_futility, "_FOUND", {})
        fresh.append(answers(options))
    monkeypatch.setattr(_futility, "_FOUND", {})
    assert [answers(options) for options in asked] == fresh
    monkeypatch.setattr(_futility, "_reached", None)
    assert [answers(options) for options in asked] == fresh
    # What is known is given up before it is too much.
    monkeypatch.undo()
    monkeypatch.setattr(_futility, "_KEPT", 2)
    assert [answers(options) for options in asked] == fresh
    assert len(_futility._FOUND) <= 2
