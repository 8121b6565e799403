"""Exact noise in the adapter: the core's counts, and what it takes in every kind of answer."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
import rsbounds_torch
from rsbounds.certificates.exact import alpha_of_noise, nearer
from rsbounds.noises import distances
from rsbounds_torch import SmoothedClassifier

LAW = rsbounds.Gaussian(0.5, lattice=1 / 255)
# float64 numbers that are off the lattice, and one that is on it but for float32.
X = np.array([[0.9, 0.1], [-0.4, 0.2], [0.5004, 0.0]])
AWAY = distances(X, 1 / 255, "l2")


def model(batch):
    return torch.stack([-batch[:, 0], batch[:, 0]], 1)


def classifier(law=LAW, **options):
    return SmoothedClassifier(model, num_classes=2, noise=law, **options)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_votes_are_those_of_numpy(batch_size):
    # In each library's float32, through batches of any size.
    found = classifier(batch_size=batch_size).sample_counts(X, n=300, seed=4, index=5)
    core = rsbounds.sample_counts(
        lambda batch: (batch[:, 0] > -batch[:, 0]).astype(int), X.astype(np.float32), noise=LAW,
        n=300, num_classes=2, seed=4, index=5,
    )  # fmt: skip
    assert (found.values == core.values).all()
    assert (found.lattice, core.lattice) == (1 / 255, 1 / 255)
    # Of the inputs as they were given, before they were float32.
    assert found.offset["l2"].tolist() == AWAY.tolist()


def test_certificates_are_smaller_by_the_distance():
    made = classifier()
    found = made.certify(X, n=2000, seed=1)
    counts = made.sample_counts(X, n=2000, seed=1)
    about = rsbounds.certify(counts.values, found.candidate, noise=LAW)
    assert (found.radius == nearer(about.radius, AWAY)).all()
    assert found.details["offset"] == AWAY.max()
    one = made.certify(torch.tensor(X[0]), n=2000, seed=1)
    assert one.details["offset"] == AWAY[0]
    assert "exact noise" in str(one)
    with pytest.raises(ValueError, match="was drawn with noise of a lattice of 1/255"):
        rsbounds.certify(counts, found.candidate, noise=rsbounds.Gaussian(0.5, lattice=1 / 510))


def test_soft_certificates_and_stopping_rules_too():
    made = classifier()
    soft = made.certify_soft(X, n=500, seed=1)
    scores = made.sample_scores(X, n=500, seed=1)
    about = rsbounds.certify_soft(scores.values, soft.candidate, noise=LAW)
    assert (soft.radius == nearer(about.radius, AWAY)).all()
    assert rsbounds.certify_soft(scores, soft.candidate, noise=LAW).radius.tolist() == (
        soft.radius.tolist()
    )
    run = made.adaptive(X, looks=(100, 1000), seed=1).certificates()
    assert run.details["offset"] == AWAY.max()
    test = made.decide(X, 0.3, seed=1)
    said = test.certificates()
    # The question is about the inputs: what was asked for is left.
    assert (said.radius[test.status == "yes"] >= 0.3).all()
    assert (said.radius < 0.3 + 1e-12).all()
    assert said.details == {
        "lattice": 1 / 255, "alpha_of_noise": alpha_of_noise(1 / 255, 10**12),
        "offset": AWAY.max(),
    }  # fmt: skip


def test_predict_pays_for_it():
    with pytest.raises(ValueError, match=r"alpha is 1e-26, of which exact noise takes 5.6e-26"):
        classifier().predict(X, alpha=1e-26)
    assert classifier().predict(X, seed=1).top.tolist() == [1, 0, 1]


def test_training_draws_floats():
    from rsbounds_torch.training import TrainingNoise

    x = torch.zeros(3, 4)
    made = [TrainingNoise(law, seed=1).copies(x, 2) for law in (LAW, rsbounds.Gaussian(0.5))]
    assert torch.equal(*made)
    outer = TrainingNoise(rsbounds.Lipschitz(1.0, LAW), seed=1)
    assert torch.equal(outer.copies(x, 2), made[0])


def test_noise_is_exact_unless_told_otherwise():
    plain = rsbounds.Gaussian(0.5)
    made = classifier(plain)
    assert made.noise == plain.on_lattice()
    arguments = {"n": 300, "num_classes": 2, "seed": 4, "index": 5}
    core = rsbounds.sample_counts(
        lambda batch: (batch[:, 0] > -batch[:, 0]).astype(int), X.astype(np.float32), noise=plain,
        **arguments,
    )  # fmt: skip
    found = made.sample_counts(X, n=300, seed=4, index=5)
    assert (found.values == core.values).all()
    assert found.lattice == core.lattice == made.noise.spacing
    # The law that was given, and the classifier's, are the same to whoever certifies the counts.
    told, said = (rsbounds.certify(found, [1, 0, 1], noise=law) for law in (plain, made.noise))
    assert (told.radius == said.radius).all()
    assert "exact noise" in str(told)
    floats = classifier(plain, lattice=None)
    assert floats.noise == plain
    assert str(floats.certify(X, n=300, seed=4)).endswith("proven in real arithmetic")
    assert classifier(plain, lattice=1 / 64).noise.spacing == 1 / 64
    for law in (rsbounds.Gaussian([0.5, 0.25, 0.5]), rsbounds.noises.DiagonalGaussian([0.5, 0.1])):
        assert classifier(law).noise == law
    with pytest.raises(ValueError, match=r"lattice is 0\.1; allowed with noise gaussian"):
        classifier(LAW, lattice=0.1)


@pytest.mark.parametrize("method", ["search", "ddrs"])
def test_a_law_that_was_found_is_on_the_lattice_of_its_start(method):
    made = classifier(rsbounds.Gaussian(0.05))
    # The best scale of the first is a hundred times the start's, for which there is no room.
    x = torch.tensor([[8.0, 0.0], [-0.1, 0.2]])
    law = rsbounds_torch.optimize_noise(made, x, method=method, n=1000, seed=1)
    assert law.spacing == made.noise.spacing
    assert law.sigma.max() <= made.noise.room(law.spacing)[1] * 0.05
    both = [
        rsbounds_torch.optimize_noise(
            made, x[row : row + 1], method=method, n=1000, seed=1, index=row
        )
        for row in range(2)
    ]
    assert [float(one.sigma[0]) for one in both] == law.sigma.tolist()
    assert "exact noise" in str(made.certify(x, noise=law, n=1000, seed=1))
    floats = rsbounds_torch.optimize_noise(
        classifier(rsbounds.Gaussian(0.05), lattice=None), x, method=method, n=1000, seed=1
    )
    assert floats.spacing is None
    if method == "search":
        assert floats.sigma[0] > law.sigma[0]


def test_a_scale_too_small_for_the_lattice_gives_way_to_the_start():
    # All that is certified is nearer to the boundary than a spacing.
    made = classifier(rsbounds.Gaussian(0.5, lattice=0.2))
    law = rsbounds_torch.optimize_noise(made, torch.tensor([[0.05, 0.0]]), n=1000, seed=1)
    floats = rsbounds_torch.optimize_noise(
        classifier(rsbounds.Gaussian(0.5), lattice=None), torch.tensor([[0.05, 0.0]]), n=1000,
        seed=1,
    )  # fmt: skip
    assert floats.sigma[0] < 0.4
    assert (law.sigma[0], law.spacing) == (0.5, 0.2)
