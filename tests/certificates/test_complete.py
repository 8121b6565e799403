"""Votes that are all there are: what is certified of them, and what is refused."""

import numpy as np
import pytest

import rsbounds
from rsbounds.certificates.complete import AllCells, draws_of
from rsbounds.noises import SplitUniform
from rsbounds.report import report_runs
from rsbounds.runs import RunPlan

LAW = SplitUniform(0.5)
X = np.array([[204, 0], [26, 3], [128, 9]]) / 255


def classify(batch):
    return (batch[:, 0] > 0.5).astype(int)


def all_votes(**options):
    return rsbounds.sample_counts(classify, X, noise=LAW, num_classes=2, **options)


def test_the_votes_are_those_of_every_cell_whatever_the_seed():
    counts = all_votes(seed=1)
    assert counts.cells == 255
    assert (counts.n == 255).all()
    assert (np.asarray(all_votes(seed=2, role="select", batch_size=7)) == counts.values).all()
    assert (np.asarray(all_votes(n=255)) == counts.values).all()


def test_a_certificate_is_the_margin_itself():
    counts = all_votes()
    found = rsbounds.certify(counts, rsbounds.select_top(counts), noise=LAW)
    ahead = np.abs(counts.values[:, 1] - counts.values[:, 0])
    np.testing.assert_allclose(found.radius, ahead / 510, rtol=1e-14)
    assert (found.radius <= ahead / 510).all()
    assert (found.margin_lower * 255 <= ahead).all()
    assert found.alpha == 0.0
    assert found.guarantee == "deterministic"
    assert found.method == "all-cells"
    assert str(found).endswith("alpha 0, guarantee: deterministic, all cells counted")
    assert found[0].guarantee == "deterministic"


def test_ties_go_to_the_lower_index():
    counts = np.array([[5, 5, 0], [5, 5, 0], [4, 3, 3]])
    law = SplitUniform(5.0, levels=2)
    found = rsbounds.certify(counts, [0, 1, 0], noise=law)
    assert found.abstained.tolist() == [True, True, False]
    bound = AllCells().rows(_problem(counts, [0, 1, 0]))
    # One vote more where ties are won.
    assert bound["lead"].tolist() == [1, 0, 2]
    more = AllCells().rows(_problem(np.array([[2, 2, 6], [3, 3, 4], [0, 10, 0]]), [2, 2, 1]))
    assert more["lead"].tolist() == [4, 1, 10]
    assert more["lower"].tolist()[2] == 1.0


def _problem(counts, top):
    from rsbounds.bounds.margin import Problem
    from rsbounds.claims import Top

    counts = np.asarray(counts, dtype=np.int64)
    return Problem(counts, counts.sum(axis=1), Top(np.asarray(top)), 0.0, "linear")


def test_files_and_stores_keep_them(tmp_path):
    found = rsbounds.certify_dataset(
        classify, X, [1, 0, 1], noise=LAW, num_classes=2, store=tmp_path / "run.sqlite", seed=1
    )
    direct = rsbounds.certify(all_votes(), found.candidate, noise=LAW)
    assert (found.radius == direct.radius).all()
    assert (found.alpha, found.guarantee, found.method) == (0.0, "deterministic", "all-cells")
    for name in ("c.tsv", "c.jsonl"):
        found.write(tmp_path / name)
        again = rsbounds.Certificates.read(tmp_path / name)
        assert (again.alpha, again.guarantee) == (0.0, "deterministic")
        assert (again.radius == found.radius).all()
    with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
        assert (rsbounds.rebound(store).radius == found.radius).all()
        assert rsbounds.rebound(store, alpha=0.5).alpha == 0.0
        with pytest.raises(ValueError, match="method is 'runner-up'; allowed with noise split-un"):
            rsbounds.rebound(store, method="runner-up")
    # The same call resumes; another law is another run.
    rsbounds.certify_dataset(
        classify, X, [1, 0, 1], noise=LAW, num_classes=2, store=tmp_path / "run.sqlite"
    )
    with pytest.raises(ValueError, match="noise"):
        rsbounds.certify_dataset(
            classify, X, [1, 0, 1], noise=SplitUniform(0.5, offsets=4), num_classes=2,
            store=tmp_path / "run.sqlite",
        )  # fmt: skip


def test_a_report_shows_them_as_they_are(tmp_path):
    rsbounds.certify_dataset(
        classify, X, [1, 0, 0], noise=LAW, num_classes=2, store=tmp_path / "run.sqlite", seed=1
    )
    made = report_runs([tmp_path / "run.sqlite"], tmp_path / "report")
    assert [line["method"] for line in made.lines] == ["all-cells"]
    assert [line["guarantee"] for line in made.lines] == ["deterministic"]


def test_an_input_without_a_level_is_a_failure_of_its_own(tmp_path):
    x = np.vstack([X, [[0.1234, 0.0]]])
    with pytest.warns(RuntimeWarning, match="input 3: inputs hold 0.1234"):
        found = rsbounds.certify_dataset(
            classify, x, noise=LAW, num_classes=2, store=tmp_path / "run.sqlite"
        )
    assert found.abstained.tolist() == [False, False, False, True]


def test_an_alpha_of_zero_is_for_what_is_deterministic(tmp_path):
    rsbounds.certify([[90, 10]], 0, noise=rsbounds.Gaussian(0.5)).write(tmp_path / "a.jsonl")
    import dataclasses

    lie = dataclasses.replace(
        rsbounds.certify([[90, 10]], 0, noise=rsbounds.Gaussian(0.5)), alpha=0.0
    )
    lie.write(tmp_path / "b.jsonl")
    with pytest.raises(ValueError, match="alpha is 0"):
        rsbounds.Certificates.read(tmp_path / "b.jsonl")


def test_the_answer_is_known():
    answers = rsbounds.predict(all_votes())
    assert answers.top.tolist() == [1, 0, 1]
    assert answers.alpha == 0.0
    assert (answers.p_value == 0).all()
    # The same numbers as a sample abstain where they are close.
    assert rsbounds.predict(np.asarray(all_votes())[2:]).abstained.tolist() == [True]


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ([[200, 54]], {}, r"counts row 0 sums to 254; allowed with noise split-uniform\(.*: 255"),
        ([[200, 55], [255, 1]], {}, "counts row 1 sums to 256"),
        ([[2000, 550]], {}, "counts row 0 sums to 2550"),
        ([[200, 55]], {"method": "runner-up"}, "method is 'runner-up'; allowed with noise"),
        ([[200, 55]], {"alpha": 0.0}, "alpha is 0.0"),
    ],
)
def test_counts_that_are_not_complete_are_refused(counts, options, message):
    with pytest.raises(ValueError, match=message):
        rsbounds.certify(counts, 0, noise=LAW, **options)


def test_counts_of_another_law_are_refused():
    sampled = rsbounds.sample_counts(
        classify, X, noise=rsbounds.Uniform(0.5), n=255, num_classes=2, seed=1
    )
    with pytest.raises(ValueError, match="counts are of samples, and the votes of noise split"):
        rsbounds.certify(sampled, 0, noise=LAW)
    with pytest.raises(ValueError, match=r"counts are of all of 255 cells, .* are of samples"):
        rsbounds.certify(all_votes(), 0, noise=rsbounds.Uniform(0.5))
    law = rsbounds.Uniform(0.5)
    for call in (
        lambda: rsbounds.certify_top_k(all_votes(), 0, 1, noise=law),
        lambda: rsbounds.certify_components(all_votes(), 0, noise=law),
        lambda: rsbounds.compare(all_votes(), 0, noise=law),
    ):
        with pytest.raises(ValueError, match=r"counts are of all of 255 cells, .* are of samples"):
            call()
    with pytest.raises(ValueError, match="are of all of 254 cells"):
        rsbounds.certify(all_votes(), 0, noise=SplitUniform(254 / 510))


@pytest.mark.parametrize(
    "call",
    [
        lambda: rsbounds.Decide(0.1, 0, noise=LAW),
        lambda: rsbounds.Adaptive(0, noise=LAW),
        lambda: rsbounds.MarginSequence(0, noise=LAW),
        lambda: rsbounds.MarginTest(0.1, 0, noise=LAW),
        lambda: rsbounds.compare([[200, 55]], 0, noise=LAW),
        lambda: rsbounds.certify_quantile(np.zeros(255), radii=[0.1], noise=LAW),
        lambda: rsbounds.certify_top_k([[200, 55]], 0, 1, noise=LAW),
        lambda: rsbounds.certify_components([[200, 55]], 0, noise=LAW),
        lambda: rsbounds.certify_soft(np.full((255, 2), 0.5), 0, noise=LAW),
        lambda: rsbounds.sample_scores(lambda b: b, X[0], noise=LAW, n=255),
        lambda: RunPlan(noise=LAW, num_classes=2, inputs=3, seed=1, kind="scores"),
        lambda: RunPlan(
            noise=LAW, num_classes=2, inputs=3, seed=1, kind="decide", options={"radius": 0.1}
        ),
        lambda: RunPlan(noise=LAW, num_classes=2, inputs=3, seed=1, kind="adaptive"),
    ],
)
def test_what_needs_samples_refuses_an_enumerated_law(call):
    with pytest.raises(ValueError, match="255 cells are counted and not sampled; allowed for"):
        call()


def test_the_number_of_draws_is_that_of_the_cells():
    for n in (254, 1000, 0):
        with pytest.raises(ValueError, match=f"n is {n}; allowed with noise split-uniform.*: 255"):
            all_votes(n=n)
    with pytest.raises(ValueError, match="n0 is 100; allowed with noise"):
        RunPlan(noise=LAW, num_classes=2, inputs=3, seed=1, n0=100)
    assert draws_of(LAW, None) == 255
    with pytest.raises(ValueError, match="n is None; allowed: an integer from 1"):
        draws_of(rsbounds.Gaussian(0.5), None)
    with pytest.raises(ValueError, match="n is None; allowed: an integer from 1"):
        rsbounds.sample_counts(classify, X, noise=rsbounds.Gaussian(0.5), num_classes=2)


def test_a_lipschitz_law_around_it_counts_too():
    law = rsbounds.Lipschitz(2.0, LAW)
    counts = rsbounds.sample_counts(classify, X, noise=law, num_classes=2)
    found = rsbounds.certify(counts, rsbounds.select_top(counts), noise=law)
    assert (found.guarantee, found.norm) == ("deterministic", "l2")
    with pytest.raises(ValueError, match="sums to 100"):
        rsbounds.certify([[90, 10]], 0, noise=law)
