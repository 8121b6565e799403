"""Runs in which a class need only stay among the k most probable."""

import numpy as np
import pytest

import rsbounds
from rsbounds.runs import remember, stored_answers

X = np.array([[0.4, 0.1], [-0.7, 0.3], [0.0, 0.9]])
LAW = rsbounds.Gaussian(0.5)


def classifier(batch):
    return np.column_stack([batch, np.zeros(len(batch))])


def run(store, **more):
    given = {
        "noise": LAW, "n": 1000, "num_classes": 3, "seed": 1, "kind": "top-k", "k": 2,
        "progress": False, **more,
    }  # fmt: skip
    return rsbounds.certify_dataset(classifier, X, [0, 2, 1], store=store, **given)


def test_a_run_is_what_the_counts_say_and_is_bounded_again(tmp_path):
    store = tmp_path / "run.sqlite"
    found = run(store)
    votes = rsbounds.certify_dataset(
        classifier, X, [0, 2, 1], store=tmp_path / "votes.sqlite", noise=LAW, n=1000,
        num_classes=3, seed=1, progress=False,
    )  # fmt: skip
    assert (found.k, votes.k) == (2, 1)
    assert (found.radius > votes.radius).all()
    assert (found.candidate == votes.candidate).all()
    with rsbounds.RunStore(store) as held:
        rows = list(held.rows())
        expected = rsbounds.certify_top_k(
            [row.estimate for row in rows], found.candidate, 2, noise=LAW
        )
        again = rsbounds.rebound(held)
        theirs = rsbounds.rebound(held, method="bonferroni", over="classes", alpha=0.01)
        with pytest.raises(ValueError, match="method is 'exact' with k = 2"):
            rsbounds.rebound(held, method="exact")
        with pytest.raises(ValueError, match="holds no decisions"):
            stored_answers(held)
    assert found.radius.tolist() == again.radius.tolist()
    # The run's noise is exact, and its inputs are a little off the lattice.
    assert (found.radius <= expected.radius).all()
    np.testing.assert_allclose(found.radius, expected.radius, rtol=1e-6)
    assert theirs.k == 2
    assert theirs.method == "bonferroni"
    # The same call reads what is there.
    assert run(store).radius.tolist() == found.radius.tolist()


def test_no_memory_is_made_of_it(tmp_path):
    run(tmp_path / "run.sqlite")
    with (
        rsbounds.RunStore(tmp_path / "run.sqlite") as held,
        pytest.raises(ValueError, match="about the top k"),
    ):
        remember(held, X, tmp_path / "memory.sqlite")


def test_inputs_that_fail_abstain(tmp_path):
    def broken(batch):
        return np.where(batch[:, :1] < -0.5, np.nan, classifier(batch))

    with pytest.warns(RuntimeWarning, match="input"):
        found = rsbounds.certify_dataset(
            broken, X, store=tmp_path / "run.sqlite", noise=rsbounds.Laplace(0.05), n=200,
            num_classes=3, seed=1, kind="top-k", k=2, progress=False,
        )  # fmt: skip
    assert found.abstained.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": None}, "k is None; allowed: an integer >= 2"),
        ({"k": 1}, "k is 1; allowed: an integer >= 2"),
        ({"k": 3}, "k is 3 of 3 classes"),
        ({"method": "exact"}, "method is 'exact' with k = 2"),
        ({"radius": 0.1}, "radius is not an option of runner-up"),
    ],
)
def test_bad_settings_are_named_before_a_draw(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run.sqlite", **change)


def test_a_store_of_another_kind_is_refused(tmp_path):
    run(tmp_path / "run.sqlite")
    with pytest.raises(ValueError, match="kind"):
        rsbounds.certify_dataset(
            classifier, X, [0, 2, 1], store=tmp_path / "run.sqlite", noise=LAW, n=1000,
            num_classes=3, seed=1, progress=False,
        )  # fmt: skip
