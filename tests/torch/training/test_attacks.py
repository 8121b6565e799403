"""Attacks: the ball in exact arithmetic, what they raise, and what they leave alone."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds.noises import Noise
from rsbounds_torch.training import LOSSES, TrainingNoise
from rsbounds_torch.training.attacks import ddn, pgd

ATTACKS = {"pgd": pgd, "ddn": ddn}
each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def network(train=False):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = torch.nn.Sequential(
            torch.nn.Linear(6, 20), torch.nn.BatchNorm1d(20), torch.nn.Tanh(),
            torch.nn.Dropout(0.3), torch.nn.Linear(20, 3),
        )  # fmt: skip
        model(torch.randn(50, 6))
    return model.train(train)


def inputs(size=7, kind=torch.float32):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(size, 6, generator=generator).to(kind), torch.arange(size) % 3


def of_model(model, y):
    def objective(point):
        logits = model(point)
        losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
        return losses, logits.argmax(1) != y

    return objective


def inside(point, x, epsilon):
    """Is each row within epsilon, with no rounding at all?"""
    for a, b in zip(point.flatten(1).tolist(), x.flatten(1).tolist(), strict=True):
        square = sum((Fraction(i) - Fraction(j)) ** 2 for i, j in zip(a, b, strict=True))
        if square > Fraction(epsilon) ** 2:
            return False
    return True


@each_attack
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 1e-3, 1e-7])
@pytest.mark.parametrize("offset", [0.0, 255.0, -1e6])
def test_stays_in_its_ball_in_exact_arithmetic(attack, kind, epsilon, offset):
    # Far from zero, adding a small step rounds by more than the step's last digits: the point
    # was outside by up to the spacing of the numbers there.
    x, y = inputs(kind=kind)
    x = x + offset
    weight = torch.linspace(-1, 1, 18, dtype=kind).reshape(6, 3)
    objective = of_model(lambda at: torch.tanh((at - offset) @ weight), y)
    point = attack(objective, x, epsilon=epsilon, steps=3)
    assert point.dtype == kind
    assert not point.requires_grad
    assert inside(point, x, epsilon)
    if offset == 0.0 and epsilon > 1e-6:
        moved = (point - x).double().norm(dim=1)
        fooled = objective(x)[1]
        if attack is pgd:
            assert (moved > 0.3 * epsilon).all()
        assert (moved > 0).any() == (attack is pgd or not fooled.all())


@each_attack
def test_stays_within_the_bounds_and_the_ball(attack):
    x, y = inputs()
    x[0], x[1] = 0.0, 1.0
    point = attack(of_model(network(), y), x, epsilon=2.0, steps=4, input_bounds=(0.0, 1.0))
    assert inside(point, x, 2.0)
    assert point.min() >= 0.0
    assert point.max() <= 1.0
    free = attack(of_model(network(), y), x, epsilon=2.0, steps=4)
    assert free.min() < 0.0
    # Bounds that float32 does not hold exactly keep what is at them.
    x = torch.full((1, 6), 0.1)
    kept = attack(of_model(network(), y[:1]), x, epsilon=1.0, steps=2, input_bounds=(0.1, 0.1001))
    assert kept.min() >= x.min()


@each_attack
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_raises_what_it_is_to_raise(attack, steps):
    model = network()
    x, y = inputs(40)
    objective = of_model(model, y)
    (before, wrong), (after, fooled) = (
        objective(at) for at in (x, attack(objective, x, epsilon=0.5, steps=steps))
    )
    # An input that is wrong already is its own nearest point for ddn.
    moved = ~wrong if attack is ddn else torch.ones_like(wrong)
    assert moved.sum() > 10
    assert (after > before)[moved].all()
    assert (after - before)[moved].mean() > 0.04
    assert torch.equal(after[~moved], before[~moved])
    assert (fooled | ~wrong).all()
    # What is convex in the input can only rise along its gradient.
    weight = torch.linspace(-1, 1, 18).reshape(6, 3) ** 3
    objective = of_model(lambda at: at @ weight, y)
    point = attack(objective, x, epsilon=0.5, steps=steps)
    assert (objective(point)[0] >= objective(x)[0]).all()


@each_attack
def test_an_input_is_moved_as_it_would_be_alone(attack):
    model, (x, y) = network().double(), inputs(kind=torch.float64)
    together = attack(of_model(model, y), x, epsilon=0.5, steps=4)
    for i in (0, 3, 6):
        alone = attack(of_model(model, y[i : i + 1]), x[i : i + 1], epsilon=0.5, steps=4)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-9, atol=1e-12)


def test_ddn_finds_the_nearest_point_across_a_plane():
    # The sign of the first coordinate: the nearest wrong point is as far as that is large.
    x = torch.tensor([[0.2, 5.0], [0.7, -1.0], [2.0, 0.0], [-0.3, 1.0]])
    y = torch.ones(4, dtype=torch.int64)
    weight = torch.tensor([[-1.0, 1.0], [0.0, 0.0]])
    point = ddn(of_model(lambda at: at @ weight, y), x, epsilon=1.0, steps=60)
    distance = (point - x).norm(dim=1)
    assert 0.2 < distance[0] < 0.22
    assert 0.7 < distance[1] < 0.75
    # Out of reach: the last point, on the sphere; wrong already: the input itself.
    assert distance[2] == pytest.approx(1.0, abs=1e-6)
    assert distance[3] == 0.0


@each_attack
def test_the_gradient_s_size_does_not_matter_and_none_is_no_step(attack):
    x, y = inputs(4)
    weight = torch.linspace(-1, 1, 18).reshape(6, 3)
    plain = of_model(lambda at: at @ weight, y)

    def scaled(at):
        values, fooled = plain(at)
        factor = torch.tensor([1.0, 1e-30, 0.0, math.nan])
        return values * factor, fooled & False

    point = attack(scaled, x, epsilon=0.5, steps=3)
    reference = attack(lambda at: (plain(at)[0], plain(at)[1] & False), x, epsilon=0.5, steps=3)
    torch.testing.assert_close(point[:2], reference[:2])
    assert torch.equal(point[2:], x[2:])


@each_attack
def test_no_radius_no_call(attack):
    x, _ = inputs()
    point = attack(lambda at: pytest.fail("called"), x, epsilon=0.0, steps=3)
    assert torch.equal(point, x)
    assert point.data_ptr() != x.data_ptr()


@each_attack
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1; allowed: a finite number >= 0"),
        ({"epsilon": math.nan}, "epsilon is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"input_bounds": (0.0, 0.5)}, r"x\[0, \d\] is 0.\d+; allowed: 0 to 0.5 \(input_bounds\)"),
        ({"input_bounds": 3}, "input_bounds is 3"),
        ({"x": torch.full((1, 6), math.nan)}, r"x\[0, 0\] is nan; allowed: finite numbers"),
        ({"x": torch.zeros(2, 6).half()}, r"type torch.float16; allowed: \(B, ...\) of float32"),
        ({"objective": lambda at: (torch.zeros(7), at[:, 0] > 0)}, "does not depend on its input"),
        (
            {"objective": lambda at: (torch.zeros(7, requires_grad=True), at[:, 0] > 0)},
            "does not depend on its input",
        ),
    ],
)
def test_bad_arguments(attack, changes, said):
    x, y = inputs()
    given = {"objective": of_model(network(), y), "x": x, "epsilon": 0.5, "steps": 2, **changes}
    with pytest.raises(ValueError, match=said):
        attack(**given)
    if attack is ddn:
        with pytest.raises(ValueError, match="factor is 1; allowed"):
            ddn(of_model(network(), y), x, epsilon=0.5, steps=2, factor=1)


# -- losses with an attack ---------------------------------------------------------------------

ATTACKED = [
    ("smoothadv", {"attack": "pgd", "steps": 3}, 3, 4),
    ("smoothadv", {"attack": "ddn", "steps": 5}, 5, 6),
    ("adre-adv", {"steps": 2}, 2, 3),
    ("smoothmix", {"steps": 3}, 3, 5),
    ("smoothmix", {"steps": 3, "clean_step": 1}, 3, 5),
]
each_attacked = pytest.mark.parametrize(("name", "settings", "asked", "passes"), ATTACKED)


def noise(law=None):
    return TrainingNoise(rsbounds.Gaussian(0.3) if law is None else law, seed=5)


@each_attacked
def test_passes_are_counted_and_the_model_is_left_alone(name, settings, asked, passes):
    model = network(train=True)
    model[0].eval()
    modes = [part.training for part in model.modules()]
    seen, back = [], []

    def after(module, given, out):
        seen.append((model.training, model[1].num_batches_tracked.item(), len(out)))
        out.register_hook(lambda gradient: back.append(len(gradient)))

    model[4].register_forward_hook(after)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = model[1].num_batches_tracked.item()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        value = LOSSES[name](copies=2, **settings)(model, *inputs(), noise())
        drawn = torch.get_rng_state()
        # As many passes of all copies: the attack's in eval mode, which leave the statistics.
        trained = [(True, before + i + 1, 14) for i in range(passes - asked)]
        assert seen == [(False, before, 14)] * asked + trained
        assert len(back) == asked
        # Dropout drew for the training step alone.
        torch.manual_seed(0)
        for _ in trained:
            torch.nn.functional.dropout(torch.zeros(14, 20), 0.3)
        assert torch.equal(drawn, torch.get_rng_state())
    assert [part.training for part in model.modules()] == modes
    assert all((parameter.grad == 7.0).all() for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    value.backward()
    assert len(back) == passes
    assert all((model[layer].weight.grad != 7.0).any() for layer in (0, 1, 4))


@each_attacked
def test_sure_inputs_are_attacked_in_half_precision(name, settings, asked, passes):
    # The gradient of a probability of 1 - 1e-9 is zero in float16: the attack did not move.
    weight = torch.tensor([[-10.0, 10.0], [3.0, -3.0]])
    x, y = torch.tensor([[1.0, 0.0], [-1.0, 0.1]]), torch.tensor([1, 0])
    seen = []

    def model(batch):
        seen.append(batch.detach())
        return (batch @ weight).half()

    law = rsbounds.Gaussian(1e-3)
    LOSSES[name](copies=2, **settings)(model, x, y, noise(law))
    moved = (seen[1] - seen[0])[:2]
    assert (moved.norm(dim=1) > 0.1).all()
    assert (moved @ (weight[:, 1] - weight[:, 0]) * (2 * y - 1) < 0).all()


def slow_attacked(model, x, y, copies, epsilon, steps, weight):
    """Algorithm 1 of adre-t-certify, with normalised steps, one input after the other."""
    deltas = noise().copies(torch.zeros_like(x), copies)
    points = []
    for i in range(len(x)):
        at = x[i].clone()
        for _ in range(steps):
            at.requires_grad_()
            g = sum(torch.softmax(model((at + d[i])[None])[0], 0) for d in deltas) / copies
            rival = max((c for c in range(3) if c != y[i]), key=lambda c: g[c].item())
            raised = -torch.log(g[y[i]]) + weight * torch.log(g[rival])
            (gradient,) = torch.autograd.grad(raised, at)
            at = at.detach() + 2 * epsilon / steps * gradient / gradient.norm()
            if (at - x[i]).norm() > epsilon:
                at = x[i] + epsilon * (at - x[i]) / (at - x[i]).norm()
        points.append(at.detach())
    total = 0.0
    for i, at in enumerate(points):
        rows = [torch.softmax(model((at + d[i])[None])[0], 0) for d in deltas]
        g = sum(rows) / copies
        rival = max((c for c in range(3) if c != y[i]), key=lambda c: g[c].item())
        total = total + sum(-torch.log(row[y[i]]) for row in rows) / copies
        total = total - weight * -torch.log(g[rival])
    return total / len(x)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_value_and_gradients_are_the_algorithm_s(weight):
    model = network().double()
    x, y = inputs(5, torch.float64)
    settings = {"copies": 3, "epsilon": 0.4, "steps": 3}
    name, more = ("adre-adv", {"weight": weight}) if weight else ("smoothadv", {})
    mine = LOSSES[name](**settings, **more)(model, x, y, noise())
    slow = slow_attacked(model, x, y, 3, 0.4, 3, weight)
    # The ball is smaller by what its proof takes, 1e-9.
    assert mine.item() == pytest.approx(slow.item(), rel=1e-8)
    for a, b in zip(
        *(torch.autograd.grad(value, list(model.parameters())) for value in (mine, slow)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def slow_smoothmix(model, x, y, copies, steps, length, weight, clean_step):
    """SmoothMix, one input after the other: the attack, the mixture and its target."""
    given = noise()
    deltas = given.copies(torch.zeros_like(x), copies)
    parts = given.fractions(len(x)) / 2
    total = 0.0
    for i in range(len(x)):
        path = [x[i]]
        for _ in range(steps):
            at = path[-1].clone().requires_grad_()
            g = sum(torch.softmax(model((at + d[i])[None])[0], 0) for d in deltas) / copies
            (gradient,) = torch.autograd.grad(-torch.log(g[y[i]]), at)
            path.append(at.detach() + length * gradient / gradient.norm())
        clean, far = path[clean_step], path[-1]
        rows = [torch.softmax(model((clean + d[i])[None])[0], 0) for d in deltas]
        g = sum(rows) / copies
        total = total + sum(-torch.log(row[y[i]]) for row in rows) / copies
        mixed = (1 - parts[i]) * clean + parts[i] * far
        target = (1 - parts[i]) * g + parts[i] / 3
        for d in deltas:
            f = torch.softmax(model((mixed + d[i])[None])[0], 0)
            if g.argmax() == y[i]:
                apart = (target * (torch.log(target) - torch.log(f))).sum()
                total = total + weight * apart / copies
    return total / len(x)


@pytest.mark.parametrize("clean_step", [0, 1])
def test_smoothmix_is_the_paper_s(clean_step):
    model = network().double()
    x, y = inputs(6, torch.float64)
    loss = LOSSES["smoothmix"](copies=2, weight=3.0, steps=3, step_size=0.4, clean_step=clean_step)
    mine = loss(model, x, y, noise())
    slow = slow_smoothmix(model, x, y, 2, 3, 0.4, 3.0, clean_step)
    assert mine.item() == pytest.approx(slow.item(), rel=1e-8)
    for a, b in zip(
        *(torch.autograd.grad(value, list(model.parameters())) for value in (mine, slow)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@each_attacked
def test_a_model_in_a_function_is_put_in_eval_mode_too(name, settings, asked, passes):
    model = network(train=True)
    modes = []

    def wrapped(batch):
        modes.append(model.training)
        return model(2.0 * batch)

    LOSSES[name](**settings)(wrapped, *inputs(), noise())
    assert modes == [False] * asked + [True] * (passes - asked)
    # Also where the model fails in the attack.
    broken = torch.nn.Sequential(model, torch.nn.Linear(5, 5))
    with pytest.raises(RuntimeError):
        LOSSES[name](**settings)(broken, *inputs(), noise())
    assert model.training


@each_attacked
def test_a_value_without_gradients_is_the_same(name, settings, asked, passes):
    # A validation loss: there attacks need gradients all the same.
    loss, model = LOSSES[name](**settings), network()
    values = [loss(model, *inputs(), noise()).item()]
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            value = loss(model, *inputs(), noise())
        assert not value.requires_grad
        values.append(value.item())
    assert values[0] == values[1] == values[2]


@dataclasses.dataclass(frozen=True, eq=False)
class Hidden(Noise):
    """Hides what its base draw is negative at: no noise that is added."""

    name = "hidden"
    norm = "l2"
    scale = "linear"

    @property
    def radius_per_margin(self):
        return 1.0

    def perturb(self, x, base):
        return x * (base > 0)


@each_attacked
def test_laws(name, settings, asked, passes):
    loss, model, (x, y) = LOSSES[name](**settings), network(), inputs()
    with pytest.raises(ValueError, match=r"noise is hidden\(\), which is not added to the input"):
        loss(model, x, y, noise(Hidden()))
    if name != "smoothmix":
        # Without an attack there is nothing to refuse.
        without = dataclasses.replace(loss, epsilon=0)(model, x, y, noise(Hidden()))
        assert math.isfinite(without.item())
    per_row = rsbounds.Gaussian(np.linspace(0.1, 0.4, 7))
    assert math.isfinite(loss(model, x, y, noise(per_row)).item())
    with pytest.raises(ValueError, match="parameters for 7 inputs"):
        loss(model, x[:3], y[:3], noise(per_row))


def test_a_distributed_model_is_attacked_without_waiting(tmp_path):
    from torch.nn.parallel import DistributedDataParallel

    if not torch.distributed.is_gloo_available():
        pytest.skip("no gloo here")
    loss = LOSSES["smoothadv"](steps=2)
    alone = network(train=True)[:2]
    loss(alone, *inputs(), noise()).backward()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        model = DistributedDataParallel(network(train=True)[:2])
        exchanged = []
        model.register_forward_pre_hook(
            lambda module, given: exchanged.append(module.require_backward_grad_sync)
        )
        loss(model, *inputs(), noise()).backward()
        assert exchanged == [False, False, True]
        for a, b in zip(alone.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)
        loss(model, *inputs(), noise()).backward()
    finally:
        torch.distributed.destroy_process_group()
