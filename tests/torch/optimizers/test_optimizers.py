"""Noise found per input: the contract, and a problem whose best sigma is known."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import binom, norm

import rsbounds
from rsbounds_torch import SmoothedClassifier, optimize_noise
from rsbounds_torch.contracts import OPTIMIZER_CHECKS
from rsbounds_torch.optimizers import OPTIMIZERS, NoiseOptimizer
from rsbounds_torch.optimizers._ascent import ascend, noise_problem


@dataclasses.dataclass(frozen=True)
class Double(NoiseOptimizer[int]):
    """Doubles every scale, once: an optimizer of a third party."""

    steps: int = 1

    name: ClassVar[str] = "double"
    source: ClassVar[str] = "nobody's paper"
    cost: ClassVar[str] = "nothing at all"
    choose: ClassVar[str] = "never: it is here to be checked"
    needs_gradients: ClassVar[bool] = False

    def init(self, problem):
        return 0

    def step(self, problem, state):
        return state + 1

    def done(self, state):
        return np.array([state > 0])

    def law(self, problem, state):
        return problem.start.scaled(np.full(len(problem), 2.0**state))


def quick(optimizer):
    """The same method with few steps and draws."""
    if not optimizer.needs_gradients:
        return optimizer
    fewer = {"gradients": 50} if hasattr(optimizer, "gradients") else {}
    first = {"first": "search"} if hasattr(optimizer, "first") else {}
    return dataclasses.replace(optimizer, steps=6, draws=20, **fewer, **first)


MEMBERS = [
    *(pytest.param(quick(OPTIMIZERS[name]()), id=name) for name in OPTIMIZERS),
    pytest.param(Double(), id="a third party's"),
]


@pytest.mark.parametrize("check", OPTIMIZER_CHECKS)
@pytest.mark.parametrize("optimizer", MEMBERS)
def test_every_optimizer_keeps_the_contract(optimizer, check):
    OPTIMIZER_CHECKS[check](optimizer)


@pytest.mark.parametrize(
    ("law", "check"),
    [
        (
            lambda self, p, s: p.start.scaled(1 + np.arange(3)[: len(p)]),
            "inputs do not matter",
        ),
        (lambda self, p, s: p.start[0], "one law per input"),
        (
            lambda self, p, s: p.start.scaled(np.random.default_rng().random(len(p)) + 1),
            "same seed",
        ),
    ],
)
def test_a_broken_optimizer_is_caught(law, check):
    name = next(name for name in OPTIMIZER_CHECKS if check in name)
    broken = type("Broken", (Double,), {"law": law, "__doc__": Double.__doc__})
    with pytest.raises((AssertionError, ValueError)):
        OPTIMIZER_CHECKS[name](broken())


def shell(batch):
    """Class 1 in a slab around the origin, of half-width 1."""
    inside = 1.0 - batch[:, 0].abs()
    return torch.stack([-inside, inside], 1)


def expected_radius(sigma, at, n=100_000, alpha=0.001):
    """What a certificate of n draws gives at distance ``at`` from the slab's middle."""
    p = norm.cdf((1 - at) / sigma) - norm.cdf((-1 - at) / sigma)
    k = np.minimum(np.round(p * n), n - 1)
    return sigma * norm.ppf(rsbounds.clopper_pearson_lower(k, n, alpha=alpha))


def test_search_finds_the_best_sigma_of_a_slab():
    classifier = SmoothedClassifier(shell, num_classes=2, noise=rsbounds.Gaussian(0.1))
    x = torch.tensor([[0.0], [0.3], [0.8]])
    law = optimize_noise(classifier, x, n=100_000, seed=1, draws=1000)
    grid = np.exp(np.linspace(np.log(0.02), np.log(3), 400))
    for at, sigma in zip([0.0, 0.3, 0.8], law.sigma, strict=True):
        best = max(expected_radius(s, at) for s in grid)
        assert expected_radius(sigma, at) > 0.93 * best
        assert best > 1.2 * expected_radius(0.1, at) or at == 0.8


@pytest.mark.parametrize("law", [rsbounds.Gaussian(0.02), rsbounds.Uniform(0.05)], ids=str)
def test_the_result_is_a_law_like_any_other(law):
    classifier = SmoothedClassifier(shell, num_classes=2, noise=law)
    x = torch.tensor([[0.0], [0.3]])
    found = optimize_noise(classifier, x, n=10_000, seed=1)
    assert type(found) is type(law)
    fixed = classifier.certify(x, n=10_000, seed=2)
    larger = classifier.certify(x, noise=found, n=10_000, seed=2)
    assert larger.top.tolist() == [1, 1]
    assert (larger.radius > fixed.radius).all()
    # The true distance to the slab's edge.
    assert (larger.radius < [1.0, 0.7]).all()


def test_the_class_that_grows_is_the_answer_at_the_start():
    # Under much noise the slab's outside wins, with a large radius: that is another answer.
    classifier = SmoothedClassifier(shell, num_classes=2, noise=rsbounds.Uniform(0.8))
    x = torch.tensor([[0.3]])
    law = optimize_noise(classifier, x, n=10_000, seed=1)
    assert classifier.certify(x, noise=law, n=10_000, seed=2).top.tolist() == [1]
    outside = classifier.certify(x, noise=rsbounds.Uniform(16.0), n=10_000, seed=2)
    assert outside.top.tolist() == [0]
    assert outside.radius[0] > 5


def test_draws_that_certify_are_not_those_that_search():
    classifier = SmoothedClassifier(shell, num_classes=2, noise=rsbounds.Gaussian(0.5))
    x = torch.tensor([[0.6]])
    seen = []

    def spy(batch):
        seen.append(batch.clone())
        return shell(batch)

    watched = SmoothedClassifier(
        spy, num_classes=2, noise=rsbounds.Gaussian(0.5), lattice=None, input_shape=(1,),
        batch_size=64,
    )  # fmt: skip
    optimize_noise(watched, x, n=1000, seed=7, draws=50, judge_draws=50, steps=0)
    searched = torch.cat(seen).ravel()
    seen.clear()
    watched.certify(x, n=1000, n0=100, seed=7)
    certified = torch.cat(seen).ravel()
    common = np.intersect1d(searched.numpy(), certified.numpy())
    # The input itself may be probed by both.
    assert set(common.tolist()) <= {float(np.float32(0.6))}
    assert classifier.certify(x, n=1000, seed=7).n.tolist() == [1000]


def test_a_model_that_answers_nan_somewhere_keeps_its_start():
    def model(batch):
        scores = shell(batch)
        return torch.where(batch[:, :1].abs() > 2.0, torch.nan, scores)

    classifier = SmoothedClassifier(model, num_classes=2, noise=rsbounds.Gaussian(1.5))
    law = optimize_noise(classifier, torch.tensor([[0.0]]), n=1000, seed=1)
    # Only where no draw is NaN is there anything to certify.
    assert law.sigma[0] < 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "climb"}, "method is 'climb'; known: search, ddrs"),
        ({"noise0": 0.25}, "noise0 is 0.25; allowed: a noise law"),
        ({"noise0": rsbounds.Gaussian([0.1, 0.2, 0.3])}, "parameters for 3 inputs"),
        (
            {"noise0": rsbounds.Lipschitz(1.0, rsbounds.Gaussian(0.2))},
            "which has no scale",
        ),
        ({"n": 0}, "n is 0"),
        ({"alpha": 2}, "alpha is 2"),
        ({"judge_draws": 0}, "judge_draws is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"speed": 3}, "speed is not an option of search"),
        ({"refine": 0}, "refine is 0"),
    ],
)
def test_bad_input_is_named(change, message):
    classifier = SmoothedClassifier(shell, num_classes=2, noise=rsbounds.Gaussian(0.5))
    with pytest.raises(ValueError, match=message):
        optimize_noise(classifier, torch.zeros(2, 1), **{"seed": 1, **change})


@dataclasses.dataclass(frozen=True)
class Greedy(Double):
    """Takes, of scales that are as good as the same, the one whose votes happened to be best."""

    role: str = "optimize"

    name: ClassVar[str] = "greedy"

    def init(self, problem):
        tried = 1.0 + 1e-3 * np.arange(40)
        votes = [
            problem.model.under(problem.start.scaled(np.full(len(problem), factor))).votes_on(
                problem.x, problem.n, seed=problem.seed, role=self.role, streams=problem.streams
            )
            for factor in tried
        ]
        return tried[np.argmax([v[np.arange(len(problem)), problem.top] for v in votes], axis=0)]

    def step(self, problem, state):
        return state

    def done(self, state):
        return np.full(len(state), True)

    def law(self, problem, state):
        return problem.start.scaled(state)


@pytest.mark.parametrize(("role", "honest"), [("optimize", True), ("estimate", False)])
def test_a_law_that_fits_the_draws_it_saw_costs_no_alpha(role, honest):
    # The class is 1 with probability 0.8 under any law so wide, and votes of two laws have
    # nothing to do with each other: what is best is so by chance. On draws of its own a
    # certificate claims more than 0.8 with probability alpha; on those of the search, nearly
    # always (which is what the second case shows: this test can fail).
    def model(batch):
        right = torch.frac(batch[:, 0].abs() * 1e6) < 0.8
        return torch.stack([(~right).double(), right.double()], 1)

    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(1.0), batch_size=2000
    )
    x, n, alpha = torch.zeros(300, 1).double(), 60, 0.05
    problem = noise_problem(
        classifier, x, classifier.noise.scaled(np.ones(300)), n=n, alpha=alpha, seed=1,
        streams=list(range(300)), draws=100,
    )  # fmt: skip
    method = Greedy(role=role)
    # Without the judge, who would keep the start of most.
    law = method.law(problem, ascend(method, problem))
    found = classifier.certify(
        x, noise=law, n=n, alpha=alpha, seed=1, method="complement", index=range(300)
    )
    wrong = int((found.margin_lower > 2 * norm.ppf(0.8)).sum())
    assert (wrong <= binom.ppf(1 - 1e-4, 300, alpha)) == honest


@pytest.mark.parametrize("role", ["estimate", "select"])
def test_a_problem_shows_no_draws_of_certificates(role):
    classifier = SmoothedClassifier(
        lambda b: torch.stack([b[:, 0], -b[:, 0]], 1), num_classes=2, noise=rsbounds.Gaussian(1.0),
        input_shape=(1,),
    )  # fmt: skip
    x = torch.ones(1, 1)
    problem = noise_problem(
        classifier, x, classifier.noise.scaled([1.0]), n=10, alpha=0.1, seed=1, streams=[0],
        draws=10,
    )  # fmt: skip
    assert problem.votes(problem.start, 10, "judge").sum() == 10
    with pytest.raises(ValueError, match=f"role is '{role}'; allowed: optimize, judge"):
        problem.votes(problem.start, 10, role)
