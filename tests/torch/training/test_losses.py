"""Losses: the contract, Gaussian augmentation by hand, and a gain that certificates show."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
import rsbounds.noises
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


def problem(kind=torch.float32, classes=3, size=6):
    """A model with dropout and batch norm in eval mode, inputs, labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.Tanh(),
            torch.nn.Dropout(), torch.nn.Linear(16, classes),
        )  # fmt: skip
        x, y = torch.randn(size, 4), torch.arange(size) % classes
        for _ in range(3):
            model(torch.randn(32, 4))
    return model.to(kind).eval(), x.to(kind), y


def step(loss, model, x, y, law=rsbounds.Gaussian(0.3), seed=5):  # noqa: B008
    """The value of a loss, and the gradient of every parameter."""
    model.zero_grad()
    value = loss(model, x, y, TrainingNoise(law, seed=seed))
    value.backward()
    return [value.detach(), *(p.grad.clone() for p in model.parameters())]


# A loss with settings at their end, and the parent that it then is.
ENDS = [
    ("adre-reg", {"copies": 3, "weight": 0.0}, "gaussian", {"copies": 3}),
    ("smoothadv", {"copies": 3, "epsilon": 0.0}, "gaussian", {"copies": 3}),
    ("smoothadv", {"copies": 3, "epsilon": 0.0, "attack": "ddn"}, "gaussian", {"copies": 3}),
    ("adre-adv", {"copies": 3, "weight": 0.0}, "smoothadv", {"copies": 3}),
    ("adre-adv", {"weight": 0.0, "attack": "ddn"}, "smoothadv", {"attack": "ddn"}),
    ("adre-adv", {"copies": 3, "epsilon": 0}, "adre-reg", {"copies": 3, "weight": 0.1}),
    ("macer", {"copies": 1, "weight": 0.0}, "gaussian", {"copies": 1}),
    ("consistency", {"weight": 0.0, "entropy_weight": 0.0}, "gaussian", {"copies": 2}),
    ("smoothmix", {"copies": 3, "weight": 0.0}, "gaussian", {"copies": 3}),
]


@pytest.mark.parametrize(("name", "settings", "parent", "others"), ENDS)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_at_the_end_of_its_settings_it_is_its_parent_exactly(name, settings, parent, others, kind):
    mine = step(LOSSES[name](**settings), *problem(kind))
    theirs = step(LOSSES[parent](**others), *problem(kind))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_single_draw_is_gaussian_with_one_copy_and_the_term_of_all():
    # To rounding: the model multiplies three copies in one matrix, or one.
    single = LOSSES["adre-reg"](copies=3, weight=0.0, single_draw=True)
    one = LOSSES["gaussian"](copies=1)
    for a, b in zip(*(step(loss, *problem()) for loss in (single, one)), strict=True):
        torch.testing.assert_close(a, b)
    all_, weighted = LOSSES["adre-reg"](copies=3, weight=0.0), {"copies": 3, "weight": 0.5}
    with_term = LOSSES["adre-reg"](**weighted, single_draw=True)
    values = [
        step(made, *problem())[0] for made in (with_term, single, LOSSES["adre-reg"](**weighted))
    ]
    assert values[0] - values[1] == pytest.approx(values[2] - step(all_, *problem())[0])


BAD_SETTINGS = [
    ("gaussian", {"copies": 0}, "copies is 0; allowed: an integer >= 1"),
    ("adre-reg", {"copies": 0}, "copies is 0; allowed: an integer >= 1"),
    ("adre-reg", {"weight": -1}, "weight is -1; allowed: a finite number >= 0"),
    ("adre-reg", {"weight": float("nan")}, "weight is nan"),
    ("adre-reg", {"weight": float("inf")}, "weight is inf"),
    ("adre-reg", {"single_draw": 1}, "single_draw is 1; allowed: True, False"),
    ("smoothadv", {"copies": 0}, "copies is 0"),
    ("smoothadv", {"epsilon": -0.5}, "epsilon is -0.5; allowed: a finite number >= 0"),
    ("smoothadv", {"steps": 0}, "steps is 0; allowed: an integer >= 1"),
    ("smoothadv", {"attack": "fgsm"}, "attack is 'fgsm'; allowed: pgd, ddn"),
    ("smoothadv", {"input_bounds": (1, 0)}, r"input_bounds is \(1, 0\); allowed: \(low, high\)"),
    ("adre-adv", {"epsilon": float("inf")}, "epsilon is inf"),
    ("adre-adv", {"weight": -1e-9}, "weight is -1e-09"),
    ("macer", {"copies": 0}, "copies is 0"),
    ("macer", {"weight": -1.0}, "weight is -1.0"),
    ("macer", {"gamma": -1.0}, "gamma is -1.0"),
    ("macer", {"beta": 0}, "beta is 0; allowed: a finite number > 0"),
    ("consistency", {"copies": 1}, "copies is 1; allowed: an integer >= 2"),
    ("consistency", {"weight": -1}, "weight is -1"),
    ("consistency", {"entropy_weight": -1}, "entropy_weight is -1"),
    ("smoothmix", {"copies": 0}, "copies is 0"),
    ("smoothmix", {"weight": -1}, "weight is -1"),
    ("smoothmix", {"steps": 0}, "steps is 0"),
    ("smoothmix", {"step_size": 0}, "step_size is 0; allowed: a finite number > 0"),
    ("smoothmix", {"clean_step": 4}, "clean_step is 4; allowed: an integer from 0 to 3"),
    ("smoothmix", {"input_bounds": 1}, "input_bounds is 1"),
    ("stability", {"copies": 0}, "copies is 0"),
    ("stability", {"weight": -1}, "weight is -1"),
]


@pytest.mark.parametrize(("name", "settings", "said"), BAD_SETTINGS)
def test_bad_settings(name, settings, said):
    with pytest.raises(ValueError, match=said):
        LOSSES[name](**settings)


@pytest.mark.parametrize("name", list(LOSSES))
def test_under_autocast(name):
    model, x, y = problem()
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        value = LOSSES[name]()(model, x, y, TrainingNoise(rsbounds.Gaussian(0.3), seed=5))
    value.backward()
    assert value.dtype == torch.float32
    for part in (0, 1, 4):
        gradient = model[part].weight.grad
        assert bool(torch.isfinite(gradient).all())
        assert gradient.abs().sum() > 0


LAWS = [
    rsbounds.Uniform(0.5),
    rsbounds.Lipschitz(1.0, rsbounds.Gaussian(0.2)),
    rsbounds.noises.DiagonalGaussian(np.array([0.1, 0.2, 0.3, 0.4])),
    rsbounds.Gaussian(np.linspace(0.1, 0.6, 6)),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("name", list(LOSSES))
def test_other_laws_work_or_are_refused_with_the_reason(name, law):
    model, x, y = problem()
    if name == "macer" and not isinstance(law, rsbounds.Gaussian):
        with pytest.raises(ValueError, match=r"allowed: Gaussian\(sigma\), whose l2 radius"):
            step(LOSSES[name](), model, x, y, law)
        return
    assert all(torch.isfinite(part).all() for part in step(LOSSES[name](), model, x, y, law))


def test_macer_weighs_the_hinge_of_each_row_with_its_sigma():
    model, x, _ = problem(torch.float64)
    mixed = rsbounds.Gaussian(np.array([0.2, 0.2, 0.2, 0.6, 0.6, 0.6]))
    with torch.no_grad():
        noisy = TrainingNoise(mixed, seed=5).copies(x, 4)
        average = torch.stack([torch.softmax(16 * model(copy), 1) for copy in noisy]).mean(0)
    y = average.argmax(1)
    loss, plain = LOSSES["macer"](copies=4), LOSSES["macer"](copies=4, weight=0.0)
    equal = rsbounds.Gaussian(np.full(6, 0.2))
    assert step(loss, model, x, y, equal)[0] == step(loss, model, x, y, rsbounds.Gaussian(0.2))[0]
    hinge = step(loss, model, x, y, mixed)[0] - step(plain, model, x, y, mixed)[0]
    parts = []
    for rows in (slice(0, 3), slice(3, 6)):
        # The noise of a row is that of its place in the batch: no row may move.
        keep = torch.zeros(6, dtype=torch.bool)
        keep[rows] = True
        wrong = torch.where(keep, y, average.argmin(1))
        parts.append(step(loss, model, x, wrong, mixed)[0] - step(plain, model, x, wrong, mixed)[0])
    assert hinge.item() == pytest.approx(sum(parts).item())
    assert min(parts) > 0


def test_stability_without_its_term_sees_no_noise():
    model, x, y = problem()
    value = step(LOSSES["stability"](weight=0.0), model, x, y)[0]
    assert value == torch.nn.functional.cross_entropy(model(x), y)


def test_fractions_are_uniform_reproducible_and_no_input_s_noise():
    noise = TrainingNoise(rsbounds.Uniform(1.0), seed=3)
    few, more = noise.fractions(5), TrainingNoise(rsbounds.Uniform(1.0), seed=3).fractions(4000)
    assert torch.equal(few, more[:5])
    assert noise.drawn == 1
    assert not torch.equal(few, noise.fractions(5))
    sorted_, _ = more.sort()
    # Kolmogorov and Smirnov: above 0.031 once in a thousand.
    assert (sorted_ - (torch.arange(4000) + 0.5) / 4000).abs().max() < 0.031
    # Not the numbers that the noise of an input is made of.
    copies = TrainingNoise(rsbounds.Uniform(1.0), seed=3).copies(torch.zeros(8, 4000).double(), 1)
    assert not ((copies + 1) / 2 == more).any()


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


@pytest.mark.parametrize("name", list(LOSSES))
def test_training_turns_a_linear_classifier_to_the_largest_radius_there_is(name):
    # Of a linear classifier the certified radius is known, the distance from its border, and its
    # largest value is the length of x. Both inputs are right from the start, by a border that
    # passes near them: what turns it away from them is the noise.
    x = torch.tensor([[1.0, 0.25], [-1.0, -0.25]]).repeat(4, 1)
    y = torch.tensor([1, 0]).repeat(4)
    weight = torch.tensor([[-0.3, -1.0], [0.3, 1.0]]).requires_grad_()

    def radius():
        normal = (weight[1] - weight[0]).detach()
        return float((x @ normal * (2 * y - 1)).min() / normal.norm())

    noise = TrainingNoise(rsbounds.Gaussian(0.5), seed=1)
    optimizer = torch.optim.Adam([weight], lr=0.1)
    assert radius() < 0.55 * x[0].norm()
    for _ in range(60):
        optimizer.zero_grad()
        LOSSES[name]()(lambda batch: batch @ weight.T, x, y, noise).backward()
        optimizer.step()
    assert radius() > 0.95 * x[0].norm()
