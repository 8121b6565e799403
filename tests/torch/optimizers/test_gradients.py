"""Optimizers with gradients: the soft objective, and problems whose best law is known."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import beta, norm

import rsbounds
from rsbounds.noises import DiagonalGaussian, DiagonalUniform
from rsbounds_torch import SmoothedClassifier, optimize_noise
from rsbounds_torch.optimizers import OPTIMIZERS, NoiseOptimizer
from rsbounds_torch.optimizers._ascent import ascend, best_of, noise_problem
from rsbounds_torch.optimizers._foretold import Foretold
from rsbounds_torch.optimizers._soft import SoftModel

GRADIENT = [name for name in OPTIMIZERS if OPTIMIZERS[name].needs_gradients]


def alone(name, **options):
    """The method without the one that may run before it."""
    fields = {field.name for field in dataclasses.fields(OPTIMIZERS[name])}
    return OPTIMIZERS[name](**options, **({"first": None} if "first" in fields else {}))


def linear(weight, bias=0.0, sharp=50.0):
    """Class 1 where weight . x + bias > 0; its soft answers are nearly votes."""
    model = torch.nn.Linear(len(weight), 2).double()
    with torch.no_grad():
        rows = torch.tensor([[-w for w in weight], list(weight)], dtype=torch.float64)
        model.weight.copy_(0.5 * sharp * rows)
        model.bias.copy_(torch.tensor([-0.5 * sharp * bias, 0.5 * sharp * bias]))
    return model


def problem_of(model, x, law, classes=2, n=10_000, **options):
    classifier = SmoothedClassifier(model, num_classes=classes, noise=law, batch_size=64, **options)
    x = classifier.batch_of(x)
    start = law.scaled(np.ones(len(x)))
    return noise_problem(
        classifier, x, start, n=n, alpha=0.001, seed=1, streams=list(range(len(x))), draws=200
    )


@pytest.mark.parametrize("scale", ["probit", "linear"])
def test_the_foretold_margin_is_that_of_the_counts_between_whole_ones_too(scale):
    n, alpha = 1000, 0.001
    foretold = Foretold(n, alpha, scale)
    k = np.array([0.0, 1.0, 2.5, 40.0, 400.0])
    upper = beta.ppf(1 - alpha, k + 1, n - k)
    expected = -norm.ppf(upper) if scale == "probit" else 0.5 - upper
    found, slope = foretold.part(k / n)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    # No clamp: the first lost vote costs as much as the count says.
    assert (slope < -1.0).all()
    above = foretold.part(k / n + 1e-7)[0]
    np.testing.assert_allclose((above - found) / 1e-7, slope, rtol=1e-3)
    full = rsbounds.margin_lower_bound([[n, 0]], 0, alpha=alpha, scale=scale).lower[0]
    np.testing.assert_allclose(foretold.largest, full, rtol=1e-9)


@pytest.mark.parametrize("scale", ["probit", "linear"])
def test_the_weights_are_the_margins_derivatives(scale):
    foretold = Foretold(1000, 0.01, scale)
    shares = np.array([[0.7, 0.2, 0.06, 0.04], [0.1, 0.15, 0.72, 0.03], [0.002, 0.997, 0.001, 0.0]])
    top = np.array([0, 2, 1])
    _, weights = foretold.margin(shares, top)
    for column in range(4):
        change = np.zeros(4)
        change[column] = 1e-6
        up = foretold.margin(shares + change, top)[0]
        down = foretold.margin(shares - change, top)[0]
        np.testing.assert_allclose((up - down) / 2e-6, weights[:, column], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("base", ["normal", "uniform"])
def test_gradients_are_those_of_finite_differences(base):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    ).double()
    law = rsbounds.Gaussian(0.3) if base == "normal" else rsbounds.Uniform(0.3)
    problem = problem_of(model, torch.randn(2, 3).double(), law, classes=3)
    soft = SoftModel(problem, lambda z, rows, axes: z * axes[:, None], 40)
    axes = torch.tensor([[0.2, 0.4, 0.6], [0.5, 0.1, 0.3]], dtype=torch.float64)
    weights = np.array([[1.0, -2.0, 0.5, 0.0], [0.3, 0.1, -1.0, 0.0]])
    _, (slope,) = soft.answers([axes], 0, weights)

    def value(at):
        z = soft.base(range(2), 0)
        p = torch.softmax(model(problem.x[:, None] + z * at[:, None]), -1).mean(1)
        return (p * torch.as_tensor(weights[:, :3])).sum(1)

    for i in range(3):
        change = torch.zeros(3, dtype=torch.float64)
        change[i] = 1e-6
        expected = (value(axes + change) - value(axes - change)) / 2e-6
        torch.testing.assert_close(slope[:, i], expected, rtol=1e-6, atol=1e-9)


def test_draws_are_the_streams_in_pairs_and_others_at_each_step():
    problem = problem_of(linear([1.0, 0.0]), torch.ones(2, 2).double(), rsbounds.Gaussian(0.3))
    soft = SoftModel(problem, lambda z, rows, axes: z * axes[:, None], 6)
    base = soft.base(range(2), 0)
    assert torch.equal(base[:, :3], -base[:, 3:])
    assert not torch.equal(base, soft.base(range(2), 6))
    assert torch.equal(base[1:], soft.base(range(1, 2), 0))


def best_sigma(distance, n=10_000, alpha=0.001):
    """The best radius at this distance from the middle of a slab of half-width 1."""
    grid = np.exp(np.linspace(np.log(0.05), np.log(2), 200))
    radius = [slab_radius(s, distance, n, alpha) for s in grid]
    return max(radius)


def slab_radius(sigma, distance, n=10_000, alpha=0.001):
    p = norm.cdf((1 - distance) / sigma) - norm.cdf((-1 - distance) / sigma)
    lost = (1 - p) * n
    return sigma * -norm.ppf(beta.ppf(1 - alpha, lost + 1, n - lost))


class Slab(torch.nn.Module):
    def forward(self, batch):
        inside = 30.0 * (1.0 - batch[:, 0].abs())
        return torch.stack([-inside, inside], 1)


def test_ddrs_finds_the_best_sigma_of_a_slab_from_either_side():
    classifier = SmoothedClassifier(
        Slab(), num_classes=2, noise=rsbounds.Gaussian(0.2), batch_size=500
    )
    x = torch.tensor([[0.0], [0.3], [0.0], [0.3]])
    start = rsbounds.Gaussian([0.2, 0.2, 0.8, 0.6])
    law = optimize_noise(classifier, x, method="ddrs", noise0=start, n=10_000, seed=1)
    for at, sigma in zip([0.0, 0.3, 0.0, 0.3], law.sigma, strict=True):
        assert slab_radius(sigma, at) > 0.93 * best_sigma(at)


def test_ddrs_does_not_drift_where_every_sample_agrees():
    # A half-space at distance 1: the radius has its supremum at every small sigma, and the
    # published step goes on growing sigma after the votes are lost.
    classifier = SmoothedClassifier(
        linear([1.0]), num_classes=2, noise=rsbounds.Gaussian(0.25), batch_size=500
    )
    x = torch.ones(1, 1).double()
    law = optimize_noise(classifier, x, method="ddrs", n=10_000, seed=1)
    found = classifier.certify(x, noise=law, n=10_000, seed=2)
    assert found.radius[0] > 0.93
    assert 0.28 < law.sigma[0] < 0.6


@pytest.mark.parametrize(
    ("law", "kind"),
    [(rsbounds.Gaussian(0.3), DiagonalGaussian), (rsbounds.Uniform(0.5), DiagonalUniform)],
    ids=str,
)
def test_ancer_grows_what_a_linear_classifier_does_not_feel(law, kind):
    classifier = SmoothedClassifier(
        linear([1.0, 0.0, 0.0]), num_classes=2, noise=law, batch_size=500, input_bounds=(-3.0, 3.0)
    )
    x = torch.tensor([[1.0, 0.0, 0.0], [0.7, 1.0, -1.0]]).double()
    iso = law.scaled(np.ones(2))
    found = optimize_noise(
        classifier, x, method="ancer", first=None, n=10_000, seed=1, steps=40, draws=50
    )
    assert isinstance(found, kind)
    before = classifier.certify(x, noise=iso, n=10_000, seed=2)
    after = classifier.certify(x, noise=found, n=10_000, seed=2)
    region = found.region(after.margin_lower)
    assert (region.proxy_radius() > 2.0 * before.radius).all()
    assert (region.inscribed_radius() >= 0.96 * before.radius).all()
    # True distance to the boundary, and the largest semi-axis that was allowed.
    assert (region.inscribed_radius() <= [1.0, 0.7]).all()
    diameter = 18.0 if kind is DiagonalUniform else 6.0 * np.sqrt(3.0)
    assert (region.semi_axes() <= diameter * (1 + 1e-9)).all()


def test_equal_axes_have_the_value_and_the_gradient_of_one_scale():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    problem = problem_of(model.double(), torch.randn(2, 3).double(), rsbounds.Gaussian(0.3))
    ddrs = OPTIMIZERS["ddrs"](draws=30)
    ancer = OPTIMIZERS["ancer"](draws=30)
    spread = dataclasses.replace(problem, start=ancer.start(problem.start, (3,)))
    weights = np.array([[1.0, -2.0, 0.0], [0.3, 0.1, 0.0]])
    factor, axes = np.array([1.5, 0.5]), torch.tensor([[0.45] * 3, [0.15] * 3], dtype=torch.float64)
    seen, (slope,) = ddrs._model(problem).answers([torch.as_tensor(factor)], 0, weights)
    same, (slopes,) = ancer._model(spread, None).answers([axes], 0, weights)
    np.testing.assert_allclose(same, seen, rtol=1e-12)
    np.testing.assert_allclose(0.3 * slopes.sum(1).numpy(), slope.numpy(), rtol=1e-10)


@pytest.mark.parametrize("name", GRADIENT)
def test_a_model_without_gradients_is_told_of_search(name):
    def frozen(batch):
        with torch.no_grad():
            return Slab()(batch)

    def votes(batch):
        return torch.sign(Slab()(batch)) + 0.0 * batch.sum()

    for model, what in ((frozen, "keeps no graph"), (votes, "has the gradient 0 everywhere")):
        classifier = SmoothedClassifier(
            model, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500
        )
        with pytest.raises(ValueError, match=f"model {what}.*method='search', which needs none"):
            optimize_noise(
                classifier, torch.zeros(1, 1), method=alone(name, steps=2), seed=1, judge_draws=10
            )


@pytest.mark.parametrize("name", GRADIENT)
def test_a_model_that_saturates_gives_a_law(name):
    def model(batch):
        return 1e6 * torch.stack([-batch[:, 0], batch[:, 0]], 1)

    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500, input_shape=(2,)
    )
    x = torch.tensor([[0.5, 0.0], [-0.1, 0.2]])
    law = optimize_noise(
        classifier, x, method=alone(name, steps=3, draws=10), seed=1, judge_draws=50
    )
    margin = classifier.certify(x, noise=law, n=1000, seed=1).margin_lower
    assert np.isfinite(law.region(margin).proxy_radius()).all()


@pytest.mark.parametrize("name", GRADIENT)
def test_inputs_that_answer_nan_do_not_disturb_the_others(name):
    def model(batch):
        scores = torch.stack([-batch[:, 0], batch[:, 0]], 1)
        return torch.where(batch[:, :1] > 2.0, torch.nan, scores)

    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500, input_shape=(2,)
    )
    given = {"method": alone(name, steps=3, draws=10), "seed": 1, "judge_draws": 50}
    x = torch.tensor([[1.9, 0.0], [0.5, 0.2]])
    both = optimize_noise(classifier, x, **given)
    single = optimize_noise(classifier, x[1:], index=1, **given)
    ones = [law.region(np.ones(len(law))).proxy_radius() for law in (both, single)]
    np.testing.assert_allclose(ones[0][1], ones[1][0], rtol=1e-4)


@pytest.mark.parametrize("name", GRADIENT)
def test_optimising_spends_no_alpha(name):
    # A linear classifier: the truth is known for every law that may be found. Certificates that
    # claim more than the truth happen with probability alpha each, whatever the search saw.
    weight = np.array([1.0, 0.4])
    classifier = SmoothedClassifier(
        linear(weight, sharp=8.0), num_classes=2, noise=rsbounds.Gaussian(0.5), batch_size=500
    )
    x = torch.tensor([[0.35, 0.1]]).double().expand(60, 2)
    law = optimize_noise(
        classifier, x, method=alone(name, steps=2, draws=10), seed=1, n=200, alpha=0.05,
        judge_draws=30,
    )  # fmt: skip
    found = classifier.certify(x, noise=law, n=200, alpha=0.05, seed=1, method="complement")
    size = [np.linalg.norm(law[i].transform(np.eye(2)) @ weight) for i in range(60)]
    # Twice Phi^-1 of the true p_A; a wrong certificate says more.
    truth = 2.0 * float(weight @ [0.35, 0.1]) / np.array(size)
    wrong = int((found.margin_lower > truth).sum())
    # 60 inputs at 0.05: more than 9 are wrong less than once in 1,000 times.
    assert wrong <= 9
    assert (found.margin_lower > 0).mean() > 0.9


def test_settings_are_checked():
    for name in GRADIENT:
        for bad in ({"draws": 0}, {"rate": 0.0}, {"antithetic": 1}, {"scores": "hardmax"}):
            with pytest.raises(ValueError, match=f"{next(iter(bad))} is "):
                OPTIMIZERS[name](**bad)
    with pytest.raises(ValueError, match="slack is 1"):
        OPTIMIZERS["ancer"](slack=1.0)
    with pytest.raises(ValueError, match=r"first is 'up'; .*search"):
        OPTIMIZERS["ancer"](first="up")


def test_a_law_that_a_method_cannot_start_from_is_named_before_any_draw():
    def never(batch):
        raise AssertionError("the model was asked")

    classifier = SmoothedClassifier(
        never, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500, input_shape=(2,)
    )
    classifier._probed.add(((2,), torch.float32))
    with pytest.raises(ValueError, match=r"noise0 is gaussian.*allowed with never: nothing"):
        optimize_noise(classifier, torch.zeros(1, 2), method=Never(), seed=1)


@dataclasses.dataclass(frozen=True)
class Never(NoiseOptimizer):
    steps: int = 1
    name, source, cost = "never", "nobody's paper", "nothing at all"
    choose, needs_gradients = "never: it is here to be refused", False

    def start(self, law, shape):
        raise ValueError(f"noise0 is {law}; allowed with never: nothing")

    def init(self, problem):
        raise AssertionError

    step = done = law = init


def test_the_box_of_the_inputs_is_the_end_of_growth():
    # Nothing but the cap ends the growth of sigma where one class is everywhere.
    def always(batch):
        return torch.stack([0.0 * batch[:, 0] - 9.0, 0.0 * batch[:, 0] + 9.0], 1)

    x = torch.full((1, 4), 0.5)
    classifier = SmoothedClassifier(
        always, num_classes=2, noise=rsbounds.Gaussian(0.3), lattice=None, batch_size=500,
        input_bounds=(0.0, 1.0),
    )  # fmt: skip
    law = optimize_noise(classifier, x, n=1000, seed=1)
    radius = classifier.certify(x, noise=law, n=1000, seed=1).radius
    assert 1.5 < radius[0] <= 2.0 * (1 + 1e-9)
    free = optimize_noise(classifier, x, n=1000, seed=1, cap=False)
    assert free.sigma[0] > 3 * law.sigma[0]


def test_stages_share_the_steps_that_stop_is_told():
    classifier = SmoothedClassifier(
        linear([1.0, 0.0]), num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500
    )
    x = torch.ones(1, 2).double()
    seen = []
    law = optimize_noise(
        classifier, x, method="ancer", seed=1, judge_draws=20, draws=10, steps=4,
        stop=lambda step: seen.append(step) or step == 3,
    )  # fmt: skip
    assert seen == [1, 2, 3]
    # Stopped while it searched for the isotropic region; the kind of law is what was asked for.
    assert isinstance(law, DiagonalGaussian)
    assert np.ptp(law.axes) == 0


def test_ascent_ends_where_it_is_done():
    problem = problem_of(linear([1.0, 0.0]), torch.ones(1, 2).double(), rsbounds.Gaussian(0.3))
    state = ascend(OPTIMIZERS["ddrs"](steps=2, draws=4), problem, progress=False)
    assert state.number == 2


def test_the_judge_refuses_volume_that_the_inscribed_ball_pays_for():
    # Growing what is felt or not felt: the published code's proxy of 4.7 beside a radius of 0.36.
    classifier = SmoothedClassifier(
        linear([1.0, 0.0, 0.0]), num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500
    )
    x = classifier.batch_of(torch.tensor([[1.0, 0.0, 0.0]]).double())
    start = DiagonalGaussian(np.full((1, 3), 0.3), batched=True)
    problem = noise_problem(
        classifier, x, start, n=10_000, alpha=0.001, seed=1, streams=[0], draws=200
    )
    flat = DiagonalGaussian([[0.1, 50.0, 50.0]], batched=True)
    grown = DiagonalGaussian([[0.3, 5.0, 5.0]], batched=True)
    assert best_of(problem, [flat], 500, start) == start
    assert best_of(problem, [flat, grown], 500, start) == grown
    assert best_of(problem, [flat], 500, start, slack=0.9) == flat


def test_a_stochastic_model_has_its_own_seeds():
    class Dropped(torch.nn.Module):
        def forward(self, batch):
            kept = torch.nn.functional.dropout(batch, 0.2)
            return torch.stack([-kept[:, 0], kept[:, 0]], 1)

    laws = []
    for other in (0, 5):
        torch.manual_seed(other)
        classifier = SmoothedClassifier(
            Dropped(), num_classes=2, noise=rsbounds.Gaussian(0.3), stochastic=True
        )
        laws.append(
            optimize_noise(
                classifier, torch.tensor([[1.0, 0.2]]), method="ddrs", seed=1, n=1000, steps=2,
                draws=6, judge_draws=10,
            )
        )  # fmt: skip
    assert laws[0] == laws[1]
