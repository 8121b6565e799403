"""Scores, decisions and adaptive looks through the driver and the store of votes."""

import contextlib
import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from _stores import LAW as STORED_LAW
from _stores import content, edit

import rsbounds
from rsbounds.noises import Noise
from rsbounds.report.runs import report_runs
from rsbounds.runs import RunPlan, RunStore, export_rows, rebound, stored_answers
from rsbounds.runs.kinds import KINDS
from rsbounds.runs.layout import seal, set_seal
from rsbounds.runs.row import checksum, columns

LAW = rsbounds.Gaussian(0.5)
X = np.random.default_rng(0).uniform(-0.9, 0.9, (10, 2))
LABELS = (X[:, 0] > 0).astype(int)


class Curveless(rsbounds.Gaussian):
    """A law of which nothing but its draws is known."""

    name = "curveless"
    curve_only = True
    roc = Noise.roc


def vote(batch):
    return (batch[:, 0] > 0).astype(np.int64)


def soft(batch):
    p = 1 / (1 + np.exp(-3 * batch[:, 0]))
    return np.column_stack([1 - p, p])


SETTINGS = {
    "votes": {"n": 400, "classifier": vote, "method": "runner-up"},
    "scores": {"n": 200, "classifier": soft},
    "decide": {"n": 5000, "classifier": vote, "decide": [0.1, 0.3]},
    "adaptive": {"n": 3000, "classifier": vote, "looks": [200, 1000, 3000]},
    "top-k": {"n": 400, "classifier": vote, "num_classes": 3, "k": 2},
}


def run(path, kind, inputs=X, labels=LABELS, **changes):
    settings = {"noise": LAW, "lattice": None, "n0": 50, "num_classes": 2, "seed": 5}
    settings |= {**SETTINGS[kind], **({} if kind == "decide" else {"kind": kind}), **changes}
    return rsbounds.certify_dataset(
        settings.pop("classifier"), inputs, labels, store=path, **settings
    )


def rows(path):
    """Rows without their times."""
    with RunStore(path) as store:
        return [
            {**vars(r), "select": r.select.tolist(), "estimate": r.estimate.tolist(), "seconds": 0}
            for r in store.rows()
        ]


def same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def selection():
    return rsbounds.select_top(
        rsbounds.sample_counts(
            vote, X, noise=LAW, lattice=None, n=50, num_classes=2, role="select", seed=5
        ),
        independent=True,
    )


# -- the rows are those of the calls without a store ---------------------------------------------


@pytest.mark.parametrize("no", ["proven", "futile"])
def test_decisions_are_those_of_the_rule(no, tmp_path):
    got = run(tmp_path / f"{no}.sqlite", "decide", decide=0.3, no=no)
    test = rsbounds.Decide(0.3, selection(), noise=LAW, limit=5000, no=no)
    rsbounds.sample_until(test, vote, X, num_classes=2, seed=5)
    with RunStore(tmp_path / f"{no}.sqlite") as store:
        assert stored_answers(store)[:, 0].tolist() == test.status.tolist()
        assert {"yes", "no" if no == "proven" else no} <= set(test.status.tolist())
        kept = list(store.rows())
    assert got.n.tolist() == test.n.tolist() == [r.n for r in kept]
    assert len(set(test.n.tolist())) > 3
    assert [int(r.estimate.sum()) for r in kept] == test.n.tolist()
    assert got.radius.tolist() == test.certificates().radius.tolist() == [r.radius for r in kept]
    # What the answers claim is true here, so a wrong one would be seen.
    distance = np.abs(X[:, 0])
    told = np.array(test.status.tolist())
    assert (distance[told == "yes"] >= 0.3).all()
    assert (distance[told == "no"] <= 0.3).all()


def test_adaptive_radii_are_those_of_the_rule(tmp_path):
    got = run(tmp_path / "run.sqlite", "adaptive")
    rule = rsbounds.Adaptive(selection(), noise=LAW, looks=(200, 1000, 3000))
    rsbounds.sample_until(rule, vote, X, num_classes=2, seed=5)
    expected = rule.certificates()
    assert len(set(rule.n.tolist())) > 1
    for name in ("radius", "candidate", "margin_lower", "n"):
        assert getattr(got, name).tolist() == getattr(expected, name).tolist()
    assert (got.radius <= np.abs(X[:, 0])).all()


def test_scores_are_those_of_certify_soft(tmp_path):
    got = run(tmp_path / "run.sqlite", "scores")
    assert got.certified.sum() > 5
    for i, x in enumerate(X):
        arguments = {"noise": LAW, "lattice": None, "seed": 5, "index": i}
        select = rsbounds.sample_scores(soft, x, n=50, role="select", **arguments)
        estimate = rsbounds.sample_scores(soft, x, n=200, **arguments)
        top = int(np.asarray(select).mean(axis=0).argmax())
        alone = rsbounds.certify_soft(estimate, top, noise=LAW)
        assert (got.radius[i], got.candidate[i]) == (alone.radius[0], top)
        assert got.method == alone.method
        row = rows(tmp_path / "run.sqlite")[i]["evidence"]
        np.testing.assert_allclose(row["means"], np.asarray(estimate).mean(axis=0), rtol=1e-12)


def begun(path, kind):
    """A run that was stopped when some, not all, inputs were stored."""

    def stopped(batch):
        with contextlib.suppress(ValueError), RunStore(path) as store:
            if len(store):
                raise KeyboardInterrupt
        return SETTINGS[kind]["classifier"](batch)

    with pytest.raises(KeyboardInterrupt, match="resumes the run"):
        run(path, kind, classifier=stopped)
    with RunStore(path) as store:
        assert 0 < len(store) < 10
    return path


# -- a run is the same however it is cut, and what is read back is what was made -----------------


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_that_was_stopped_is_the_run_that_was_not(tmp_path, kind):
    whole = run(tmp_path / "whole.sqlite", kind)
    path = begun(tmp_path / "cut.sqlite", kind)
    resumed = run(path, kind, seed=None, batch_size=333)
    assert rows(path) == rows(tmp_path / "whole.sqlite")
    same(resumed, whole)
    with RunStore(path) as store:
        assert store.format == 3
        same(rebound(store), whole)
        target = export_rows(store, rebound(store), tmp_path / "rows.tsv")
    assert f"\t{kind}\t" in target.read_text()
    again = run(path, kind, seed=None)
    same(again, whole)
    lines = report_runs([path], tmp_path / "report", methods=["runner-up"], radii=[0.1]).lines
    # Margin methods side by side are for votes of a fixed number.
    assert len(lines) == (2 if kind == "votes" else 1)
    assert lines[0]["method"] == whole.method
    assert lines[0]["mean_radius"] == pytest.approx(whole.radius.mean())


@pytest.mark.parametrize("kind", ["decide", "adaptive", "scores"])
def test_every_input_may_have_its_own_law(tmp_path, kind):
    law = rsbounds.Gaussian(np.linspace(0.3, 0.7, 10))
    whole = run(tmp_path / "run.sqlite", kind, noise=law)
    for i in (0, 9):
        alone = run(tmp_path / f"{i}.sqlite", kind, noise=rsbounds.Gaussian(law.sigma[i]))
        assert (alone.radius[i], alone.n[i]) == (whole.radius[i], whole.n[i])
    with RunStore(tmp_path / "run.sqlite") as store:
        assert rebound(store).radius.tolist() == whole.radius.tolist()


# -- what may be asked of stored rows ------------------------------------------------------------


def test_decisions_can_be_asked_again(tmp_path):
    run(tmp_path / "run.sqlite", "decide", decide=0.3)
    with RunStore(tmp_path / "run.sqlite") as store:
        own, kept = rebound(store), list(store.rows())
        for options in ({"alpha": 1e-9}, {"radius": 0.2}, {"radius": 0.6},
                            {"competitors": "complement", "prior": [2, 2]}):  # fmt: skip
            got = rebound(store, **options)
            for i, r in enumerate(kept):
                top = rsbounds.select_top([r.select], independent=True)
                test = rsbounds.Decide(**{"radius": 0.3, "alpha": 0.001, **options},
                                       top=top, noise=LAW)  # fmt: skip
                test.update(r.estimate)
                assert got.radius[i] == (test.certificates().radius[0])
            assert got.n.tolist() == own.n.tolist()
        assert rebound(store, alpha=1e-9).certified.sum() < own.certified.sum()
        assert rebound(store, radius=0.2).certified.sum() > 0
        with pytest.raises(ValueError, match="method is 'exact'; allowed for decisions"):
            rebound(store, method="exact")
        with pytest.raises(ValueError, match="limit is not an option of decide"):
            rebound(store, limit=10)


@pytest.mark.parametrize(
    "changes", [{"decide": 0.4}, {"prior": [1.0, 1.0]}, {"competitors": "complement"},
                {"no": "proven"}, {"alpha": 0.01}],
)  # fmt: skip
def test_decisions_are_not_resumed_with_another_question(changes, tmp_path):
    run(tmp_path / "run.sqlite", "decide", n=500)
    with pytest.raises(ValueError, match="alpha" if "alpha" in changes else "option ") as error:
        run(tmp_path / "run.sqlite", "decide", n=500, **changes)
    for value in changes.values():
        assert str(value) in str(error.value) or repr(value) in str(error.value)


def test_looks_can_be_bounded_again(tmp_path):
    own = run(tmp_path / "run.sqlite", "adaptive")
    with RunStore(tmp_path / "run.sqlite") as store:
        kept = list(store.rows())
        for method, alpha in [("complement", 0.001), ("runner-up", 1e-6), ("exact", 0.01)]:
            got = rebound(store, method=method, alpha=alpha)
            assert got.n.tolist() == own.n.tolist()
            for i, r in enumerate(kept):
                # The best of all looks, each at its share of alpha.
                sums, best = np.zeros(2, int), 0.0
                for share, votes in zip((200, 1000, 3000), r.evidence["looks"], strict=False):
                    sums = sums + votes
                    part = rsbounds.certify(
                        sums, int(r.select.argmax()), noise=LAW, method=method,
                        alpha=alpha * share / 4200 * (1 - 1e-15),
                    )  # fmt: skip
                    best = max(best, part.radius[0])
                assert got.radius[i] == pytest.approx(best, rel=1e-12)
        for name in ("looks", "shares", "gain"):
            with pytest.raises(ValueError, match=f"{name} is given for draws that are there"):
                rebound(store, **{name: [1]})


def test_scores_cannot_be_bounded_again(tmp_path):
    run(tmp_path / "run.sqlite", "scores")
    with RunStore(tmp_path / "run.sqlite") as store:
        for options in ({"alpha": 0.01}, {"method": "hoeffding"}, {"share": 0.7}):
            with pytest.raises(ValueError, match="the run is one of scores, which are not kept"):
                rebound(store, **options)
        assert len(rebound(store, alpha=0.001)) == 10


# -- attacks: another question to the same store -------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "changes", "message"),
    [
        ("votes", "decide", {"n": 400}, "with kind = 'votes'; this run has kind = 'decide'"),
        ("decide", "votes", {"n": 5000}, "with kind = 'decide'; this run has kind = 'votes'"),
        ("adaptive", "votes", {"n": 3000}, "with kind = 'adaptive'; this run has kind = 'votes'"),
        ("scores", "votes", {"n": 200}, "with kind = 'scores'; this run has kind = 'votes'"),
        ("decide", "decide", {"decide": 0.31}, r"option radius = \[0.1, 0.3\]; .* = \[0.31\]"),
        ("decide", "decide", {"alpha": 0.01}, "alpha = 0.001; this run has alpha = 0.01"),
        ("decide", "decide", {"prior": (1, 1)}, "option prior = .0.5, 0.5.; .* = .1"),
        ("decide", "decide", {"n": 6000}, "n = 5000; this run has n = 6000"),
        ("decide", "decide", {"seed": 6}, "seed = 5; this run has seed = 6"),
        ("adaptive", "adaptive", {"gain": 0.0}, "option gain = 0.03; this run has option gain = 0"),
        ("adaptive", "adaptive", {"looks": [100, 3000]}, "option looks = .200, 1000, 3000."),
        ("adaptive", "adaptive", {"method": "exact"}, "method = 'runner-up'"),
        ("scores", "scores", {"pair": "split", "share": 0.6}, "option share = 0.5"),
        ("scores", "scores", {"method": "hoeffding"}, "method = 'goal'"),
    ],
)  # fmt: skip
def test_another_question_is_refused(tmp_path, first, second, changes, message):
    path = tmp_path / "run.sqlite"
    # A finished run, and one that was stopped.
    run(path, first) if changes.keys() & {"decide", "alpha", "looks"} else begun(path, first)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        run(path, second, **changes)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("decide", {"decide": 0}, "decide is 0; allowed: finite numbers > 0"),
        ("decide", {"decide": float("nan")}, "decide is nan"),
        ("decide", {"decide": [0.25, np.inf]}, r"decide is \[0.25, inf\]; allowed: finite"),
        ("decide", {"decide": []}, r"decide is \[\]"),
        ("decide", {"decide": "wide"}, "decide is 'wide'"),
        ("decide", {"decide": True}, "decide is True; allowed"),
        ("decide", {"decide": [[0.1, 0.2]]}, "decide is .*; allowed: a number > 0, or several"),
        ("decide", {"decide": [0.5, 0.25]}, r"decide is \[0.5, 0.25\]; .* that increase"),
        ("decide", {"decide": [0.25, 0.25]}, r"decide is \[0.25, 0.25\]; .* each once"),
        ("decide", {"decide": 1e-300}, "radius is 1e-300 with gaussian"),
        ("decide", {"radius": 0.3}, "radius is given besides decide"),
        ("decide", {"method": "exact"}, "allowed for decisions"),
        ("decide", {"gain": 1}, "gain is not an option of decide"),
        ("decide", {"prior": [0, 1]}, "prior is 0; allowed"),
        ("adaptive", {"decide": 0.3}, "decide is 0.3 with kind = 'adaptive'; allowed: one of them"),
        ("adaptive", {"looks": [100, 200]}, "the last of which is n"),
        ("adaptive", {"looks": "all"}, "looks is 'all'"),
        ("adaptive", {"looks": [100, "b", 3000]}, "looks is"),
        ("adaptive", {"shares": [1, 2]}, "shares is"),
        ("adaptive", {"depth": 1}, "depth is not an option"),
        ("scores", {"map": "softmax"}, "the classifier returns its scores"),
        ("scores", {"temperature": 2.0}, "the classifier returns its scores"),
        ("scores", {"share": 1}, "share is 1"),
        ("scores", {"pair": "difference"}, "pair is 'difference' with gaussian"),
        ("scores", {"n": 1}, "n is 1"),
        ("scores", {"method": "exact"}, "exact"),
        ("scores", {"classifier": vote}, r"allowed: \(1, K\) scores"),
        ("scores", {"num_classes": 3}, "2 scores per input; allowed: num_classes = 3"),
        ("scores", {"classifier": lambda b: 3 * soft(b)}, r"scores in the support \[0, 1\]"),
        ("votes", {"on_error": "skip"}, "on_error is 'skip'"),
    ],
)  # fmt: skip
def test_settings_are_refused_before_anything_is_written(tmp_path, kind, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run.sqlite", kind, **changes)
    assert not list(tmp_path.iterdir())


def test_decisions_need_radii_and_a_curve(tmp_path):
    with pytest.raises(ValueError, match="kind is 'decide'; allowed: decide="):
        rsbounds.certify_dataset(
            vote, X, store=tmp_path / "run.sqlite", noise=LAW, n=10, num_classes=2, kind="decide"
        )
    with pytest.raises(ValueError, match="radius is not given"):
        RunPlan(kind="decide", noise=LAW, num_classes=2, inputs=3, n=10, seed=1)
    plan = RunPlan(
        kind="decide", noise=LAW, num_classes=2, inputs=3, n=10, seed=1, options={"radius": [1, 2]}
    )
    with pytest.raises(ValueError, match="a law without a curve"):
        plan.work().check_law(Curveless(0.5))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["decide", "adaptive", "scores"])
def test_inputs_with_nan_answers_or_that_cannot_be_read_abstain(tmp_path, kind):
    """A draw that is no answer must count for nobody, whatever the rule that stops."""

    def sometimes(batch):
        # Every copy of input 4, and some of input 7.
        bad = np.abs(batch[:, 1] - 40) < 20
        bad |= (np.abs(batch[:, 1] - 400) < 20) & (batch[:, 0] > 0.8)
        return np.where(bad[:, None], np.nan, soft(batch))

    x = X.copy()
    x[4, 1], x[7] = 40.0, [0.5, 400.0]
    x[2, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="3 of 10 inputs have invalid answers"):
        got = run(tmp_path / "run.sqlite", kind, inputs=x, classifier=sometimes)
    kept = rows(tmp_path / "run.sqlite")
    bad = [2, 4, 7]
    assert np.flatnonzero([r["invalid"] for r in kept]).tolist() == bad
    assert got.abstained[bad].all()
    assert got.radius[bad].tolist() == [0, 0, 0]
    assert kept[4]["error"].startswith("the model answered NaN on ")
    assert kept[2]["error"].startswith("its value at [0] is nan")
    assert (kept[4]["top"], kept[2]["top"]) == (-1, -1)
    if kind != "scores":
        for r in kept:
            assert sum(r["select"]) + sum(r["estimate"]) + r["invalid"] == r["n0"] + r["n"]
    if kind == "decide":
        with RunStore(tmp_path / "run.sqlite") as store:
            assert stored_answers(store)[bad].tolist() == [["undecided"] * 2] * 3
    clean = run(tmp_path / "clean.sqlite", kind, classifier=soft)
    others = [i for i in range(10) if i not in bad]
    assert got.radius[others].tolist() == clean.radius[others].tolist()
    with RunStore(tmp_path / "run.sqlite") as store:
        same(rebound(store), got)
    # The failed input is tried again, the model's NaN is an answer.
    x[2, 0] = X[2, 0]
    with pytest.warns(RuntimeWarning, match="2 of 10 inputs"):
        run(tmp_path / "run.sqlite", kind, inputs=x, classifier=sometimes)
    assert rows(tmp_path / "run.sqlite")[2] == rows(tmp_path / "clean.sqlite")[2]


def forged(path, **changes):
    """Change a stored row and everything that vouches for it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        names = columns(3)
        old = database.execute(f"SELECT {', '.join(names)}, checksum FROM inputs").fetchone()
        new = [changes.get(name, value) for name, value in zip(names, old, strict=False)]
        total = checksum(new)
        pairs = ", ".join(f"{name} = ?" for name in (*names, "checksum"))
        database.execute(f"UPDATE inputs SET {pairs} WHERE idx = ?", (*new, total, old[0]))
        count, sums, rest = seal(database)
        set_seal(database, count, sums - int(old[-1], 16) + int(total, 16), rest)


TOLD = '{"answers":["yes","yes"],"looks":%s}'


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("decide", {"evidence": '{"answers":["no","no"],"looks":[]}'}, "evidence is .*'yes' first"),
        ("decide", {"evidence": '{"answers":["yes","maybe"],"looks":[]}'}, "an answer, yes, no, f"),
        ("decide", {"evidence": '{"answers":["yes"],"looks":[]}'}, "for each radius an answer"),
        ("decide", {"evidence": '{"answers":["yes","no"]}'}, "for each radius an answer"),
        ("decide", {"evidence": '{"answers":[],"looks":[]}'}, "for each radius an answer"),
        ("decide", {"evidence": '{"answers":["no","yes"],"looks":[]}', "abstained": 1,
                    "radius": 0.0, "top": -1}, "'yes' first"),
        ("decide", {"evidence": TOLD % "[[0,5000]]"}, "earlier votes, fewer than the row's"),
        ("decide", {"evidence": TOLD % "[[0,4],[1,2]]"}, "earlier votes, fewer"),
        ("decide", {"evidence": TOLD % "[[0,4.5]]"}, "earlier votes, fewer"),
        ("decide", {"evidence": TOLD % "[[4]]"}, "earlier votes, fewer"),
        ("decide", {"evidence": TOLD % "7"}, "earlier votes, fewer"),
        ("decide", {"evidence": "null"}, "evidence is None"),
        ("decide", {"kind": "votes"}, "kind is 'votes'; allowed: 'decide'"),
        ("decide", {"n": 6}, "the sum of its counts"),
        ("adaptive", {"evidence": '{"looks":[[100,100],[1,0]]}'}, "votes of each look, which add"),
        ("adaptive", {"evidence": '{"looks":[[-1,201]]}'}, "votes of each look"),
        ("adaptive", {"evidence": '{"looks":[[0.5,199.5]]}'}, "votes of each look"),
        ("adaptive", {"evidence": '{"looks":3}'}, "votes of each look"),
        ("scores", {"evidence": '{"margin":3.0}'}, "evidence is"),
        ("scores", {"estimate_counts": "[3,4]"}, "none in a run of scores"),
        ("votes", {"evidence": '{"answer":"yes"}'}, "allowed: none in a run of votes"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_true_are_refused(tmp_path, kind, changes, message):
    # Input 0 has a radius.
    path = tmp_path / "run.sqlite"
    run(path, kind, inputs=np.array([[0.9, 0.1]]), labels=[1])
    assert rows(path)[0]["radius"] > 0
    forged(path)
    rows(path)
    forged(path, **changes)
    with pytest.raises(ValueError, match=message):
        RunStore(path)


# -- stores of format 2 --------------------------------------------------------------------------


def format2(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(Path(__file__).with_name("format2.sql").read_text())
    return path


def go_on(path, options={"split": 0.75}, **changes):  # noqa: B006
    inputs = np.array([[0.4, 0.1], [-0.7, 0.2], [0.05, 0.0], [0.3, -0.2]])
    settings = {"n": 1000, "n0": 50, "alpha": 0.01, "num_classes": 3}
    settings |= options | {"noise": STORED_LAW, "lattice": None, "seed": 2**62 + 1, **changes}
    return rsbounds.certify_dataset(vote, inputs, [1, 0, 1, 0], store=path, **settings)


def test_a_store_of_format_2_is_read_and_continued(tmp_path):
    path = format2(tmp_path / "old.sqlite")
    with RunStore(path) as store:
        assert (store.format, store.done()) == (2, {0, 1, 2})
        first = [r.estimate.tolist() for r in store.rows()]
        assert [(r.kind, r.evidence) for r in store.rows()] == [("votes", None)] * 3
        assert rebound(store).certified.all()
    got = go_on(path, seed=None)
    with RunStore(path) as store:
        assert (store.format, len(store)) == (2, 4)
        assert [r.estimate.tolist() for r in store.rows()][:3] == first
    same(got, go_on(tmp_path / "new.sqlite"))
    assert content(path)[3][3] | {"seconds": 0} == rows(tmp_path / "new.sqlite")[3]


def test_a_store_of_format_2_takes_no_other_kind(tmp_path):
    path = format2(tmp_path / "old.sqlite")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="kind = 'votes'; this run has kind = 'decide'"):
        go_on(path, {"decide": 0.1})
    edit(path, "UPDATE inputs SET estimate_counts = '[1,999,0]' WHERE idx = 0")
    with pytest.raises(ValueError, match=r"not as it was written \(checksum\)"):
        RunStore(path)
    path.write_bytes(before)


def test_a_plan_fills_in_what_a_kind_leaves_open():
    shared = {"noise": LAW, "num_classes": 2, "inputs": 3, "seed": 1}
    plan = RunPlan(kind="adaptive", n=9000, **shared)
    assert plan.options == {"looks": [1000, 3000, 9000], "shares": None, "gain": 0.03}
    assert RunPlan(kind="adaptive", n=50, **shared).options["looks"] == [50]
    assert plan.method == "runner-up"
    votes = RunPlan(n=10, **shared)
    assert "kind" not in votes.config(), "stores of earlier versions are resumed"
    assert votes.method == "exact"
    with pytest.raises(ValueError, match="kind is 'vote'; allowed: votes, scores, decide, adaptiv"):
        RunPlan(kind="vote", n=10, **shared)
    assert RunPlan(kind="decide", n=10, options={"radius": 1}, **shared).config()["options"] == {
        "radius": [1.0], "competitors": "all", "no": "futile", "futility": 0.01,
        "prior": [0.5, 0.5], "prior_no": [1.0, 0.1],
    }  # fmt: skip
