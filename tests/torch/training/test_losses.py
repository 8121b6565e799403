"""Losses: the contract, Gaussian augmentation by hand, and a gain that certificates show."""

import dataclasses
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds_torch import SmoothedClassifier
from rsbounds_torch.contracts import LOSS_CHECKS
from rsbounds_torch.training import LOSSES, TrainingLoss, TrainingNoise


@dataclasses.dataclass(frozen=True)
class Hinge(TrainingLoss):
    """A multi-class hinge on one noisy copy: a loss of a third party."""

    name: ClassVar[str] = "hinge"
    source: ClassVar[str] = "Crammer and Singer 2001"
    cost: ClassVar[str] = "one forward-backward pass"
    choose: ClassVar[str] = "never: it is here to be checked"

    def __call__(self, model, x, y, noise):
        if len(x) != len(y) or y.is_floating_point():
            raise ValueError("y; allowed: a label for each input")
        scores = model(noise.copies(x, 1)[0])
        if y.min() < 0 or y.max() >= scores.shape[1]:
            raise ValueError("y; allowed: labels of the classes")
        # The floor gives a parameter of a class that is never wrong its gradient, zero.
        return torch.nn.functional.multi_margin_loss(scores, y) + 0 * scores.sum()


MEMBERS = [
    *(pytest.param(LOSSES[name](), id=name) for name in LOSSES),
    pytest.param(Hinge(), id="a third party's"),
]


@pytest.mark.parametrize("check", LOSS_CHECKS)
@pytest.mark.parametrize("loss", MEMBERS)
def test_every_loss_keeps_the_contract(loss, check):
    LOSS_CHECKS[check](loss)


def climbing(self, model, x, y, noise):
    value = Hinge()(model, x, y, noise)
    return 2 * value.detach() - value


@pytest.mark.parametrize(
    ("call", "check"),
    [
        (climbing, "descends"),
        (lambda self, m, x, y, noise: Hinge()(m.eval(), x, y, noise), "scalar with gradients"),
        (lambda self, m, x, y, noise: m(x).softmax(1).log().mean(), "confident answers"),
        (lambda self, m, x, y, noise: m(x + torch.randn_like(x)).sum(), "same noise same loss"),
        (lambda self, m, x, y, noise: m(x).sum(), "refuses bad batches"),
    ],
)
def test_a_broken_loss_is_caught(call, check):
    name = next(name for name in LOSS_CHECKS if check in name)
    broken = type("Broken", (Hinge,), {"__call__": call, "__doc__": Hinge.__doc__})
    with pytest.raises((AssertionError, RuntimeError)):
        LOSS_CHECKS[name](broken())


def test_gaussian_augmentation_by_hand():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 4).double()
    x, y = torch.randn(5, 3).double(), torch.tensor([0, 3, 1, 2, 2])
    value = LOSSES["gaussian"](copies=3)(model, x, y, TrainingNoise(rsbounds.Gaussian(0.5), seed=4))
    noisy = TrainingNoise(rsbounds.Gaussian(0.5), seed=4).copies(x, 3)
    terms = []
    for copy in noisy:
        for i in range(5):
            logits = model(copy[i : i + 1])[0]
            terms.append(torch.logsumexp(logits, 0) - logits[y[i]])
    assert value.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-12)


def test_training_noise_is_the_law_and_never_the_certificates():
    from rsbounds.streams import base_draws

    noise = TrainingNoise(rsbounds.Gaussian([0.5, 2.0]), seed=9)
    x = torch.zeros(2, 1000)
    drawn = noise.copies(x, 4)
    assert drawn[:, 0].std().item() == pytest.approx(0.5, rel=0.06)
    assert drawn[:, 1].std().item() == pytest.approx(2.0, rel=0.06)
    for role in ("estimate", "select", "optimize", "judge"):
        other = base_draws("normal", 4, 1000, seed=9, role=role, dtype="float32")
        assert not (drawn[:, 0].numpy() == 0.5 * other).any()
    same = base_draws("normal", 4, 1000, seed=9, role="train", dtype="float32")
    assert (drawn[:, 0].numpy() == 0.5 * same).all()
    # A training that is resumed sets what was drawn and goes on.
    later = TrainingNoise(rsbounds.Gaussian([0.5, 2.0]), seed=9)
    later.drawn = noise.drawn
    assert torch.equal(later.copies(x, 1), noise.copies(x, 1))
    with pytest.raises(ValueError, match="parameters for 2 inputs"):
        noise.copies(torch.zeros(3, 4), 1)
    with pytest.raises(ValueError, match=r"type torch.int64; allowed: \(B, ...\) of floats"):
        noise.copies(torch.zeros(2, 4, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"law is 0.25"):
        TrainingNoise(0.25)
    with pytest.raises(ValueError, match="copies is 0"):
        LOSSES["gaussian"](copies=0)


def trained(loss, law):
    """A classifier of two rings, of which the outer one is thin; its certificates."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    angle = 6.2832 * torch.rand(400, generator=generator)
    size = torch.where(y == 0, 0.3, 1.0) + 0.05 * torch.randn(400, generator=generator)
    x = torch.stack([size * angle.cos(), size * angle.sin()], 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    noise = TrainingNoise(law, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss(model, x, y, noise).backward()
        optimizer.step()
    classifier = SmoothedClassifier(model, num_classes=2, noise=rsbounds.Gaussian(0.25))
    certificates = classifier.certify(x[:60], n=1000, seed=3, progress=False)
    return rsbounds.average_certified_radius(certificates, y[:60].numpy())


def test_training_under_noise_certifies_more():
    loss = LOSSES["gaussian"](copies=2)
    assert trained(loss, rsbounds.Gaussian(0.25)) > trained(loss, rsbounds.Gaussian(1e-3))
