"""What a model is certified for besides its answer: top-k, components, quantiles, stores."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
import rsbounds_torch
from rsbounds import NO_CLASS
from rsbounds_torch import SmoothedClassifier, SmoothedRegressor

LAW = rsbounds.Gaussian(0.5)
X = np.array([[1.0, 0.8, 0.0], [0.0, 0.1, 2.0]], dtype=np.float32)


def scores(batch):
    """Three scores: the coordinates themselves."""
    return batch


def pixels(batch):
    """(m, 3, 2, 2) scores of four pixels with three classes."""
    return torch.stack([batch, -batch, torch.full_like(batch, -0.5)], 1)


def test_top_k_is_that_of_the_counts():
    classifier = SmoothedClassifier(scores, num_classes=3, noise=LAW)
    found = classifier.certify_top_k(X, 2, n=2000, seed=3)
    select = classifier.sample_counts(X, n=100, role="select", seed=3)
    estimate = classifier.sample_counts(X, n=2000, seed=3)
    expected = rsbounds.certify_top_k(estimate, rsbounds.select_top(select), 2, noise=LAW)
    assert found.radius.tolist() == expected.radius.tolist()
    assert found.k == 2
    # The distance at which two other coordinates are as large bounds what can be true.
    assert (found.radius > classifier.certify(X, n=2000, seed=3).radius).all()
    assert found.radius[0] < np.linalg.norm([0.4, 0.2, 0.6])
    law = rsbounds.Gaussian([0.25, 0.5]).on_lattice(classifier.noise.spacing)
    each = classifier.certify_top_k(X, 2, n=2000, seed=3, noise=law)
    assert each.radius[1] == found.radius[1]
    flat = classifier.certify_top_k(X, 2, n=2000, seed=3, noise=rsbounds.Laplace(0.5))
    assert (flat.norm, flat.certified.all()) == ("l1", True)


def test_an_input_with_nan_answers_abstains():
    def broken(batch):
        return torch.where(batch[:, :1] > 0.9, torch.nan, batch)

    classifier = SmoothedClassifier(broken, num_classes=3, noise=LAW)
    with pytest.warns(RuntimeWarning, match="the model"):
        found = classifier.certify_top_k(X, 2, n=500, seed=3)
    assert found.abstained[0]
    segmenter = SmoothedClassifier(
        lambda batch: torch.where(batch[:, None] > 3.2, torch.nan, pixels(batch)), num_classes=3,
        noise=LAW,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="the model"):
        many = segmenter.certify_components([[3.0, 1.0], [-2.0, 0.0]], seed=1)
    assert many.candidate[0] == NO_CLASS
    assert many.certified.tolist() == [False, True, True, False]
    regressor = SmoothedRegressor(lambda batch: 1 / batch.clamp(min=0), outputs=3, noise=LAW)
    with pytest.warns(RuntimeWarning, match="the model"):
        bands = regressor.certify_quantile(np.array([[0.1, 1, 1], [9, 9, 9]]), 0.1, n=500, seed=1)
    assert np.isinf(bands.lower[0]).all()
    assert np.isinf(bands.upper[0]).all()
    assert np.isfinite(bands.lower[1]).all()


BAD = [
    ((3,), {}, "k is 3 of 3 classes"),
    ((1,), {}, "k is 1; allowed: an integer >= 2"),
    ((2,), {"method": "exact"}, "method is 'exact' with k = 2"),
    ((2,), {"alpha": 0}, "alpha is 0"),
    ((2,), {"n": 0}, "n is 0"),
]


@pytest.mark.parametrize(("arguments", "options", "message"), BAD)
def test_bad_input_is_named(arguments, options, message):
    classifier = SmoothedClassifier(scores, num_classes=3, noise=LAW)
    with pytest.raises(ValueError, match=message):
        classifier.certify_top_k(X, *arguments, **options)


@pytest.mark.parametrize("batch_size", [1, 7, "auto"])
def test_components_do_not_depend_on_the_batch(batch_size):
    x = torch.tensor([[1.0, 0.1], [-1.5, -0.05]])
    segmenter = SmoothedClassifier(pixels, num_classes=3, noise=LAW, batch_size=batch_size)
    found = segmenter.certify_components(x, n=200, seed=1)
    assert found.top.tolist() == [0, NO_CLASS, 1, NO_CLASS]
    assert found.family == "bonferroni"
    assert (found.radius[[0, 2]] > 0.3).all()
    assert (found.radius < [1.0, 0.1, 1.5, 0.05]).all()
    # By hand, with the same noise: a draw is the same for all pixels.
    one = SmoothedClassifier(
        lambda batch: pixels(batch)[:, :, 0, 0], num_classes=3, noise=LAW, batch_size=batch_size
    )
    plain = one.certify(x[None], n=200, n0=30, seed=1, method="runner-up", alpha=0.001 / 4)
    assert found.radius[0] == pytest.approx(plain.radius[0], rel=1e-12)
    holm = segmenter.certify_components(x[None], n=200, seed=1, family="holm", tau=0.6)
    assert holm.certified.tolist() == [True, False, True, False]


def test_components_of_other_models_are_refused_by_shape():
    plain = SmoothedClassifier(scores, num_classes=3, noise=LAW)
    with pytest.raises(ValueError, match=r"allowed: \(1, 3, ...\), scores for each component"):
        plain.certify_components(X[0])
    segmenter = SmoothedClassifier(pixels, num_classes=4, noise=LAW)
    with pytest.raises(ValueError, match=r"allowed: \(1, 4, ...\)"):
        segmenter.certify_components([[1.0, 0.1], [-1.5, -0.05]])
    with pytest.raises(ValueError, match="family is 'none'"):
        SmoothedClassifier(pixels, num_classes=3, noise=LAW).certify_components(
            [[1.0, 0.1], [-1.5, -0.05]], family="none"
        )


def test_components_of_a_network_on_exact_noise():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 3, 1)
    )
    law = rsbounds.Gaussian(0.25, lattice="auto")
    segmenter = SmoothedClassifier(network, num_classes=3, noise=law)
    found = segmenter.certify_components(torch.rand(1, 6, 5), n=50, seed=2)
    assert len(found) == 30
    assert found.details["alpha_of_noise"] > 0
    assert network.training
    assert found.details["offset"] > 0


def test_quantiles_are_those_of_the_samples():
    model = SmoothedRegressor(lambda batch: batch @ torch.ones(3, 2), outputs=2, noise=LAW)
    found = model.certify_quantile(X, [0.1, 0.3], n=4000, seed=1, family="input")
    samples = model.sample_outputs(X, n=4000, seed=1)
    expected = rsbounds.certify_quantile(samples, [0.1, 0.3], noise=LAW, family="input")
    assert (found.lower == expected.lower).all()
    # The median of the sum moves by sqrt(3) times the l2 radius.
    middle, reach = X.sum(1)[:, None], np.array([0.1, 0.3]) * 3**0.5
    assert (found.lower[:, 0] < middle - reach).all()
    assert (found.upper[:, 0] > middle + reach).all()
    assert (found.lower[:, 0] > middle - reach - 0.15).all()
    other = SmoothedRegressor(
        lambda batch: batch @ torch.ones(3, 2), outputs=2, noise=LAW, batch_size=3
    ).certify_quantile(X, [0.1, 0.3], n=4000, seed=1, family="input")
    np.testing.assert_allclose(other.lower, found.lower, rtol=1e-5)
    with pytest.raises(ValueError, match="outputs is 0"):
        SmoothedRegressor(scores, outputs=0, noise=LAW)
    with pytest.raises(ValueError, match="radii is -1"):
        model.certify_quantile(X, -1, n=10)


def test_a_store_of_top_k_on_torch(tmp_path):
    classifier = SmoothedClassifier(scores, num_classes=3, noise=LAW)
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor([0, 2]))
    arguments = {"n": 1000, "seed": 3, "kind": "top-k", "k": 2, "progress": False}
    found = rsbounds_torch.certify_dataset(
        classifier, data, store=tmp_path / "run.sqlite", **arguments
    )
    assert found.radius.tolist() == classifier.certify_top_k(X, 2, n=1000, seed=3).radius.tolist()
    assert found.k == 2
