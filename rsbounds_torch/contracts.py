"""The contracts of the adapter's registries, as checks for members of anybody's.

As in `rsbounds.testing.contracts`: ``OPTIMIZER_CHECKS`` and ``LOSS_CHECKS`` map names to
functions that take a member and raise AssertionError where it breaks the contract.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch

from rsbounds.noises import Gaussian, Noise
from rsbounds.testing.contracts import Case, by_name, check_texts, member_cases
from rsbounds_torch.model import SmoothedClassifier
from rsbounds_torch.optimizers import NoiseOptimizer, NoiseProblem, optimize_noise
from rsbounds_torch.optimizers._ascent import noise_problem
from rsbounds_torch.training import TrainingLoss, TrainingNoise

_X = torch.tensor([[2.0, 0.3], [0.1, -0.4], [-1.5, 0.2]])


def _classifier(batch_size: int = 64) -> SmoothedClassifier:
    """Two classes, the sign of the first coordinate; differentiable."""
    model = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    return SmoothedClassifier(
        model, num_classes=2, noise=Gaussian(0.25), lattice=None, batch_size=batch_size,
        input_shape=(2,),
    )  # fmt: skip


def _found(optimizer: NoiseOptimizer[Any], **changes: Any) -> Noise:
    given: dict[str, Any] = {"seed": 1, "n": 1000, "judge_draws": 400, "progress": False}
    classifier = changes.pop("classifier", None) or _classifier()
    return optimize_noise(
        classifier, changes.pop("inputs", _X), method=optimizer, **{**given, **changes}
    )


def _problem() -> NoiseProblem:
    start = Gaussian(0.25).scaled(np.ones(3))
    return noise_problem(
        _classifier(), _X, start, n=1000, alpha=0.001, seed=1, streams=[0, 1, 2], draws=100
    )


def optimizer_declares_itself(optimizer: NoiseOptimizer[Any]) -> None:
    """Name, source, cost, advice, and whether it needs gradients."""
    check_texts(optimizer)
    assert isinstance(optimizer.needs_gradients, bool)
    assert dataclasses.is_dataclass(optimizer), "an optimizer's fields are its settings"
    assert optimizer.steps >= 0


def gives_one_law_per_input(optimizer: NoiseOptimizer[Any]) -> None:
    """The result is a law with the batch shape (B,) that can be written down and certified with."""
    law = _found(optimizer)
    assert law.batch_shape == (3,), f"batch shape {law.batch_shape} for 3 inputs"
    radius = _classifier().certify(_X, noise=law, n=1000, seed=2, progress=False).radius
    assert np.isfinite(radius).all(), radius


def same_seed_same_law(optimizer: NoiseOptimizer[Any]) -> None:
    """The law depends on the seed, and on nothing else that a caller does not give."""
    law = _found(optimizer)
    torch.manual_seed(5)
    assert _found(optimizer) == law, "another law for the same seed"
    other = _found(optimizer, classifier=_classifier(batch_size=7))
    assert _same(optimizer, other, law), f"{other} with another batch size, {law}"


def inputs_do_not_matter_to_each_other(optimizer: NoiseOptimizer[Any]) -> None:
    """An input gets the law alone that it gets in a batch."""
    law = _found(optimizer)
    # The last one: there is a better law for it than the start's.
    alone = _found(optimizer, inputs=_X[2:], index=2)
    assert _same(optimizer, alone, law[2:]), f"{alone[0]} alone, {law[2]} in a batch"


def _same(optimizer: NoiseOptimizer[Any], one: Noise, other: Noise) -> bool:
    """The same law; to rounding, where gradients are summed in another order."""
    if not optimizer.needs_gradients:
        return one == other
    a, b = (law.region(np.ones(len(law))) for law in (one, other))
    pairs = ((a.proxy_radius(), b.proxy_radius()), (a.inscribed_radius(), b.inscribed_radius()))
    return all(np.allclose(p, q, rtol=1e-3) for p, q in pairs)


def a_step_leaves_the_state_it_was_given(optimizer: NoiseOptimizer[Any]) -> None:
    """Two steps from one state are the same step."""
    problem = _problem()
    problem = dataclasses.replace(problem, start=optimizer.start(problem.start, (2,)))
    state = optimizer.init(problem)
    before = optimizer.law(problem, state)
    first, second = optimizer.step(problem, state), optimizer.step(problem, state)
    assert optimizer.law(problem, first) == optimizer.law(problem, second)
    assert optimizer.law(problem, state) == before


def never_worse_than_its_start(optimizer: NoiseOptimizer[Any]) -> None:
    """On the draws that judge, no input's law is worth less than the one it started from."""
    law, problem = _found(optimizer), _problem()
    worth, was = (problem.worth(one, 400, "judge").proxy for one in (law, problem.start))
    assert (worth >= was).all(), f"{worth} against {was}"


def no_steps_give_the_start(optimizer: NoiseOptimizer[Any]) -> None:
    """Without a step the law is the start's, and a stop after one ends it.

    The start is what the optimizer before this one found, as a law of this one's kind.
    """
    before = optimizer.before()
    first = Gaussian(0.25).scaled(np.ones(3)) if before is None else _found(before)
    start = optimizer.start(first, (2,))
    assert _found(dataclasses.replace(cast(Any, optimizer), steps=0)) == start
    seen: list[int] = []
    _found(optimizer, stop=lambda step: not seen.append(step))  # type: ignore[func-returns-value]
    assert seen == [1], f"stop was asked after steps {seen}"


#: Each check of the contract of an optimizer, by name.
OPTIMIZER_CHECKS: dict[str, Callable[[NoiseOptimizer[Any]], None]] = by_name(
    optimizer_declares_itself,
    gives_one_law_per_input,
    same_seed_same_law,
    inputs_do_not_matter_to_each_other,
    a_step_leaves_the_state_it_was_given,
    never_worse_than_its_start,
    no_steps_give_the_start,
)


def optimizer_cases(kind: type[NoiseOptimizer[Any]]) -> Iterator[Case]:
    """Every check of an optimizer with its default settings."""
    return member_cases(kind, ({},), OPTIMIZER_CHECKS)


def _toy() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        y = torch.arange(64) % 3
        x = torch.nn.functional.one_hot(y, 4).float() + 0.1 * torch.randn(64, 4)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        )
    return model, x, y


def loss_declares_itself(loss: TrainingLoss) -> None:
    """Name, source, cost and advice."""
    check_texts(loss)
    assert dataclasses.is_dataclass(loss), "a loss's fields are its settings"


def is_a_finite_scalar_with_gradients(loss: TrainingLoss) -> None:
    """A number, and a finite gradient for every parameter, in the mode that was set."""
    model, x, y = _toy()
    for training in (True, False):
        model.train(training).zero_grad()
        value = loss(model, x, y, TrainingNoise(Gaussian(0.25), seed=1))
        assert value.shape == (), f"shape {tuple(value.shape)}"
        assert bool(torch.isfinite(value)), value
        value.backward()  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, f"no gradient for {name}"
            assert bool(torch.isfinite(parameter.grad).all()), f"gradient of {name}"
        assert model.training == training, "the loss changed the model's mode"


def same_noise_same_loss(loss: TrainingLoss) -> None:
    """The seed of the noise decides; the labels and inputs are left as they were."""
    model, x, y = _toy()
    kept = x.clone(), y.clone()
    model.eval()
    values = [loss(model, x, y, TrainingNoise(Gaussian(0.25), seed=1)).item() for _ in range(2)]
    assert values[0] == values[1], values
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


def confident_answers_stay_finite(loss: TrainingLoss) -> None:
    """Logits of ten thousand, right and wrong, give no NaN and no infinite gradient."""
    _, x, y = _toy()
    for sign in (1.0, -1.0):
        weight = (sign * 1e4 * torch.eye(4)[:, :3]).requires_grad_()
        value = loss(weight.__rmatmul__, x, y, TrainingNoise(Gaussian(0.1), seed=1))
        value.backward()  # type: ignore[no-untyped-call]
        assert bool(torch.isfinite(value)), value
        assert weight.grad is not None
        assert bool(torch.isfinite(weight.grad).all()), "gradient"


def no_number_in_no_number_out(loss: TrainingLoss) -> None:
    """A logit that is NaN makes the loss NaN, so that a loop can refuse the step."""
    _, x, y = _toy()
    weight = torch.eye(4)[:, :3].requires_grad_()

    def spoilt(batch: torch.Tensor) -> torch.Tensor:
        logits = batch @ weight
        return torch.where(torch.arange(len(logits))[:, None] == 5, math.nan, logits)

    value = loss(spoilt, x, y, TrainingNoise(Gaussian(0.1), seed=1))
    assert bool(torch.isnan(value)), value


def takes_what_comes(loss: TrainingLoss) -> None:
    """One input, two classes, float64, and a law with parameters for each row of the batch."""
    x, y = torch.tensor([[1.0, 0.2], [-1.0, 0.1], [0.8, -0.3]]).double(), torch.tensor([1, 0, 1])
    weight = torch.eye(2).double().requires_grad_()
    for rows in (1, 3):
        law = Gaussian(np.array([0.1, 0.2, 0.5])[:rows])
        value = loss(lambda batch: batch @ weight, x[:rows], y[:rows], TrainingNoise(law, seed=1))
        (gradient,) = torch.autograd.grad(value, weight)
        assert value.dtype == torch.float64, value.dtype
        assert bool(torch.isfinite(value)), value
        assert bool(torch.isfinite(gradient).all()), gradient


def descends(loss: TrainingLoss) -> None:
    """Thirty steps on a problem that can be learned make it smaller."""
    model, x, y = _toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    noise = TrainingNoise(Gaussian(0.1), seed=1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(model, x, y, noise)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        values.append(value.item())
    assert np.mean(values[-5:]) < np.mean(values[:5]), values


def refuses_bad_batches(loss: TrainingLoss) -> None:
    """Labels out of range or of another number than the inputs, and whole numbers as inputs."""
    model, x, y = _toy()
    for bad_x, bad_y in ((x, y + 1), (x, y - 1), (x, y[:-1]), (x.long(), y), (x, y.float())):
        try:
            loss(model, bad_x, bad_y, TrainingNoise(Gaussian(0.1), seed=1))
        except ValueError:
            continue
        raise AssertionError(f"x of type {bad_x.dtype}, y {bad_y[:3].tolist()} ... was taken")


#: Each check of the contract of a loss, by name.
LOSS_CHECKS: dict[str, Callable[[TrainingLoss], None]] = by_name(
    loss_declares_itself,
    is_a_finite_scalar_with_gradients,
    same_noise_same_loss,
    confident_answers_stay_finite,
    no_number_in_no_number_out,
    takes_what_comes,
    descends,
    refuses_bad_batches,
)


def loss_cases(kind: type[TrainingLoss]) -> Iterator[Case]:
    """Every check of a loss with its default settings."""
    return member_cases(kind, ({},), LOSS_CHECKS)
