import numpy as np
import pytest

import rsbounds
from rsbounds.testing import assert_error_rate

LAW = rsbounds.Gaussian(0.5)
X = np.array([[0.4, -0.1], [-0.2, 0.3], [0.05, 0.0]])


def vote(batch):
    return (batch[:, 0] > 0).astype(np.int64)


def counts(classifier=vote, inputs=X, **changes):
    arguments = {"noise": LAW, "n": 1000, "num_classes": 2, "seed": 7, **changes}
    return rsbounds.sample_counts(classifier, inputs, **arguments)


@pytest.mark.parametrize("batch_size", [1, 7, 128, 333, 5000])
def test_counts_do_not_depend_on_the_batch_size(batch_size):
    assert (counts(batch_size=batch_size, n=300).values == counts(n=300).values).all()


def test_counts_do_not_depend_on_where_a_run_is_cut():
    whole = counts()
    parts = [counts(inputs=X[:1]), counts(inputs=X[1:], index=1)]
    assert (np.vstack([p.values for p in parts]) == whole.values).all()


def test_fewer_draws_are_a_prefix_of_more():
    seen = []

    def record(batch):
        seen.append(batch.copy())
        return vote(batch)

    counts(record, X[:1], n=200)
    first = np.vstack(seen)
    seen.clear()
    counts(record, X[:1], n=450, batch_size=99)
    assert (np.vstack(seen)[:200] == first).all()


def test_inputs_have_the_streams_that_index_says():
    whole = counts(n=300).values
    chosen = counts(inputs=X[[2, 0]], index=[2, 0], n=300, batch_size=70)
    assert (chosen.values == whole[[2, 0]]).all()
    for bad in ([0], [0, 1, 2.5], [-1, 0, 1], [0, 1, 2**32], [[0], [1], [2]], "012"):
        with pytest.raises(ValueError, match="index is"):
            counts(index=bad)


def test_every_input_draws_by_its_own_law():
    law = rsbounds.Gaussian([0.5, 2.0, 0.01])
    whole = counts(noise=law)
    for i, sigma in enumerate([0.5, 2.0, 0.01]):
        alone = counts(inputs=X[i : i + 1], index=i, noise=rsbounds.Gaussian(sigma), lattice=None)
        assert (alone.values == whole.values[i]).all()
    with pytest.raises(ValueError, match="noise has parameters for 3 inputs; allowed: one set"):
        counts(inputs=X[:2], noise=law)


def test_scores_and_labels_vote_alike():
    def scores(batch):
        return np.column_stack([-batch[:, 0], batch[:, 0]])

    assert (counts(scores, num_classes=None).values == counts().values).all()
    assert counts(role="select").role == "select"
    assert (counts(role="select").values != counts().values).any()


def test_noise_is_in_the_type_of_the_input():
    kinds = []

    def record(batch):
        kinds.append(batch.dtype)
        return vote(batch)

    for kind in (np.float32, np.float64, np.int64):
        counts(record, np.ones((1, 2), dtype=kind), n=10)
    assert kinds == [np.float32, np.float64, np.float64]


def test_a_fresh_seed_is_recorded():
    first = counts(seed=None)
    assert first.seed != counts(seed=None).seed
    assert (counts(seed=first.seed).values == first.values).all()


def test_certificates_of_a_half_space_cover_its_true_radius():
    # vote() is a linear classifier: the true radius at x is |x_0|. 400 inputs at alpha 0.05;
    # a correct library fails here with probability 1e-9.
    rng = np.random.default_rng(3)
    x = rng.uniform(-0.6, 0.6, (400, 2))
    select = counts(inputs=x, n=50, role="select")
    estimate = counts(inputs=x, n=400)
    result = rsbounds.certify(estimate, rsbounds.select_top(select), noise=LAW, alpha=0.05)
    wrong = (~result.abstained) & (
        (result.top != vote(x)) | (result.radius > np.abs(x[:, 0]) * (1 + 1e-12))
    )
    assert_error_rate(int(wrong.sum()), 400, 0.05, false_alarm=1e-9)
    assert wrong.sum() > 0, "the bound is so loose that this test cannot fail"


def test_sample_scores():
    def soft(batch):
        p = 1 / (1 + np.exp(-3 * batch[:, 0]))
        return np.column_stack([1 - p, p])

    one = rsbounds.sample_scores(soft, X[0], noise=LAW, n=500, seed=1, batch_size=64)
    two = rsbounds.sample_scores(soft, X[0], noise=LAW, n=500, seed=1)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-12)
    assert len(one) == 500
    assert np.asarray(one).shape == (500, 2)
    with pytest.raises(ValueError, match=r"classifier returned .* for class 1; allowed: scores in"):
        rsbounds.sample_scores(lambda b: 3 * soft(b), X[0], noise=LAW, n=10, seed=1)
    with pytest.raises(ValueError, match="support is"):
        rsbounds.sample_scores(soft, X[0], noise=LAW, n=10, seed=1, support=(1, 0))


def test_results_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        counts().values[0, 0] = 5


def test_a_scikit_learn_model_votes():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2))
    model = LogisticRegression().fit(points, (points[:, 0] > 0).astype(int))
    labels = counts(model.predict)
    probabilities = counts(model.predict_proba, num_classes=None)
    assert (labels.values == probabilities.values).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"n": 10.0}, "n is 10.0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"index": -1}, "index is -1"),
        ({"index": 2**32 - 2}, "index is 4294967294"),
        ({"role": "both"}, "role is 'both'"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"num_classes": None}, "num_classes is None"),
        ({"noise": None}, "noise is None"),
        ({"inputs": np.array([[np.nan, 0]])}, r"inputs\[0, 0\] is nan"),
        ({"inputs": np.empty((0, 2))}, r"inputs have shape \(0, 2\)"),
        ({"inputs": np.array([["a"]])}, "inputs have type"),
        # Pixels were certified at 0..255.
        ({"inputs": np.array([[200, 9]], np.uint8)}, "have type uint8 and nothing says their sc"),
        ({"classifier": lambda b: np.zeros(3)}, r"returned shape \(3,\) for a batch of"),
        ({"classifier": lambda b: np.full(len(b), 2)}, "class indices from 0 to 1"),
        ({"classifier": lambda b: np.full(len(b), 0.5)}, "class indices from 0 to 1"),
        ({"classifier": lambda b: np.full((len(b), 2), np.nan)}, "NaN scores at input 0"),
        ({"classifier": lambda b: np.zeros((len(b), 3))}, "returned 3 scores per input"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        counts(**change)


def test_a_stopping_rule_sees_the_draws_of_sample_counts():
    select = counts(role="select", n=100)
    law = LAW.on_lattice()
    test = rsbounds.Decide(0.1, rsbounds.select_top(select), noise=law, alpha=0.01, limit=3000)
    done = rsbounds.sample_until(test, vote, X, num_classes=2, seed=7, batch_size=50)
    assert done is test
    assert not test.active.any()
    by_hand = rsbounds.Decide(0.1, rsbounds.select_top(select), noise=law, alpha=0.01, limit=3000)
    while by_hand.active.any():
        more = np.zeros((3, 2), dtype=np.int64)
        for i in np.flatnonzero(by_hand.active):
            stop = int(by_hand.n[i] + by_hand.wanted[i])
            more[i] = counts(inputs=X[i : i + 1], n=stop, index=int(i)).values[0]
            if by_hand.n[i]:
                so_far = counts(inputs=X[i : i + 1], n=int(by_hand.n[i]), index=int(i))
                more[i] -= so_far.values[0]
        by_hand.update(more)
    assert (by_hand.n == test.n).all()
    assert (by_hand.status == test.status).all()
    assert test.status.tolist()[0] == "yes"
    assert test.n.max() <= 3000


def test_adaptive_sampling_reports_its_draws():
    select = rsbounds.select_top(counts(role="select", n=100))
    run = rsbounds.Adaptive(select, noise=LAW, looks=(500, 1000, 2000), gain=0.2)
    rsbounds.sample_until(run, vote, X, num_classes=2, seed=7)
    result = run.certificates()
    assert set(run.n.tolist()) <= {500, 1000, 2000}
    assert (result.n == run.n).all()
    assert (result.radius <= np.abs(X[:, 0])).all()
    with pytest.raises(ValueError, match=r"inputs have shape \(1, 2\); allowed: \(3, ...\)"):
        rsbounds.sample_until(
            rsbounds.Adaptive(select, noise=LAW), vote, X[:1], num_classes=2, seed=7
        )


def test_nan_scores_abstain_in_a_sequential_run():
    # One input with NaN ended the run of all others with an error.
    def classifier(batch):
        scores = np.column_stack([-batch[:, 0], batch[:, 0]])
        return np.where(batch[:, :1] > 1.5, np.nan, scores)

    x = np.array([[0.9, 0.0], [-0.9, 0.0], [9.0, 0.0]])
    law = rsbounds.Gaussian(0.5)
    test = rsbounds.Decide(0.5, [1, 0, 1], noise=law)
    with pytest.warns(RuntimeWarning, match=r"NaN on 2 of 3 inputs \(0, 2\); they abstain"):
        rsbounds.sample_until(test, classifier, x, num_classes=2, seed=1)
    assert test.status.tolist() == ["undecided", "yes", "undecided"]
    assert test.certificates().abstained.tolist() == [True, False, True]
    run = rsbounds.Adaptive([1, 0, 1], noise=law, looks=(100, 300))
    with pytest.warns(RuntimeWarning, match="they abstain"):
        rsbounds.sample_until(run, classifier, x, num_classes=2, seed=1)
    assert run.certificates().abstained.tolist() == [True, False, True]
