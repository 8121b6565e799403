"""Leading directions with axes of their own: the law, its draws and volume, and known optima."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import norm

import rsbounds
import rsbounds_torch
from rsbounds.noises import DiagonalGaussian, FullGaussian, LowRankGaussian, noise_from_dict
from rsbounds.regions.low_rank import log_determinant
from rsbounds.runs import load_memory, remember
from rsbounds_torch import SmoothedClassifier, optimize_noise
from rsbounds_torch.optimizers import OPTIMIZERS, _soft, low_rank
from rsbounds_torch.optimizers._ascent import ascend, noise_problem
from rsbounds_torch.optimizers.rotated import directions, start_matrices

LowRank, Rotated = OPTIMIZERS["low-rank"], OPTIMIZERS["rotated"]
FORMS = [(2, "shared"), (2, "diagonal"), (6, "shared"), (9, "diagonal")]


def turned(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def quadratic(d, seed=0):
    """Class 1 where sum (a_i u_i)^2 < 1, u the coordinates turned and a from 3 down to 0.05."""
    turn = torch.tensor(turned(d, seed)) * torch.linspace(np.log(3.0), np.log(0.05), d).exp()

    def model(batch):
        inside = 10.0 * (1.0 - (batch @ turn.to(batch.dtype)).square().sum(1))
        return torch.stack([-inside, inside], 1)

    return model


def problem_of(model, x, law, optimizer):
    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(1.0), batch_size=64
    )
    x = classifier.batch_of(x)
    start = optimizer.start(law, tuple(x.shape[1:]))
    return noise_problem(
        classifier, x, start, n=10_000, alpha=0.001, seed=1, streams=list(range(len(x))), draws=50
    )


def dense(law):
    diagonal = law.diagonal.reshape(len(law), -1)
    return diagonal[:, None] * np.eye(diagonal.shape[1]) + (
        law.factors * law.weights[:, None] @ np.swapaxes(law.factors, 1, 2)
    )


def some_state(rank, complement, d=6, inputs=2):
    """A problem in 2 x 3 coordinates, bases and axes of that form."""
    method = LowRank(first=None, rank=rank, complement=complement, draws=9)
    x = torch.randn(inputs, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    model = quadratic(d)
    problem = problem_of(
        lambda batch: model(batch.flatten(1)), x, rsbounds.Gaussian([0.3, 0.2]), method
    )
    basis = torch.tensor(np.stack([turned(d, s)[:, : min(rank, d)] for s in range(inputs)]))
    many = basis.shape[2] + (0 if rank >= d else d if complement == "diagonal" else 1)
    axes = torch.tensor(np.exp(np.random.default_rng(3).uniform(-2, 2, (inputs, many))))
    return method, problem, basis, axes


@pytest.mark.parametrize(("rank", "complement"), FORMS)
def test_the_law_has_the_axes_and_the_ascent_its_noise(rank, complement):
    method, problem, basis, axes = some_state(rank, complement)
    law = method._law(problem, basis, axes)
    assert law.event_shape == (2, 3)
    assert law.factors.shape[2] == problem.start.factors.shape[2]
    V, own, rest = basis.numpy(), axes[:, : basis.shape[2]].numpy(), axes[:, basis.shape[2] :]
    along = V * own[:, None] @ np.swapaxes(V, 1, 2)
    aside = np.eye(6) - V @ np.swapaxes(V, 1, 2)
    middle = rest.numpy() if rest.shape[1] else np.ones((2, 1))
    expected = along + aside @ (middle[:, :, None] * np.eye(6)) @ aside
    np.testing.assert_allclose(dense(law), expected, atol=1e-12)
    # The same matrix makes the noise that gradients are taken through.
    model = method._model(problem, basis)
    base = model.base(range(2), 0)
    found = model.spread(base, range(2), axes)
    np.testing.assert_allclose(found.numpy(), base.numpy() @ expected, atol=1e-12)
    drawn = law.transform(base.reshape(2, -1, 2, 3)).reshape(found.shape)
    np.testing.assert_allclose(drawn.numpy(), found.numpy(), atol=1e-12)


@pytest.mark.parametrize(("rank", "complement"), FORMS)
def test_the_slope_of_the_volume_is_that_of_finite_differences(rank, complement):
    method, problem, basis, axes = some_state(rank, complement)
    slope = method._volume_slope(basis, axes)
    np.testing.assert_allclose(slope.sum(1), [1.0, 1.0], rtol=1e-12)

    def volume(change):
        law = method._law(problem, basis, axes * torch.exp(change))
        parts = zip(law.diagonal.reshape(2, -1), law.factors, law.weights, strict=True)
        return np.array([log_determinant(*part)[0] for part in parts]) / 6

    for i in range(axes.shape[1]):
        change = torch.zeros_like(axes)
        change[:, i] = 1e-5
        found = (volume(change) - volume(-change)) / 2e-5
        np.testing.assert_allclose(found, slope[:, i], rtol=1e-6, atol=1e-9)


def test_the_directions_are_the_leading_ones_of_rotated():
    d, rank = 8, 3
    x = 0.1 * torch.randn(2, d, generator=torch.Generator().manual_seed(2)).double()
    law = rsbounds.Gaussian([0.1, 0.2])
    low, full = LowRank(first=None, rank=rank, gradients=120), Rotated(first=None, gradients=60)
    by_low, _ = low._leading(problem_of(quadratic(d), x, law, low))
    problem = problem_of(quadratic(d), x, law, full)
    by_full = directions(full, problem, start_matrices(problem), 120)[0][:, :, -rank:].flip(2)
    # The same up to signs.
    overlap = (by_low.mT @ by_full).abs()
    torch.testing.assert_close(
        overlap, torch.eye(rank).double().expand(2, -1, -1), atol=1e-7, rtol=0
    )


@pytest.mark.parametrize("antithetic", [True, False])
def test_blocks_of_gradients_find_what_all_at_once_find(antithetic, monkeypatch):
    # Three directions are felt, so that what is kept between blocks loses nothing.
    d = 30
    turn = torch.tensor(turned(d)[:, :3]) * torch.tensor([3.0, 1.0, 0.3])

    def model(batch):
        inside = 1.0 - (batch @ turn).square().sum(1)
        return torch.stack([-inside, inside], 1)

    method = LowRank(first=None, rank=3, gradients=50, antithetic=antithetic)
    problem = problem_of(model, 0.1 * torch.ones(1, d).double(), rsbounds.Gaussian([0.3]), method)
    whole, felt = method._leading(problem)
    monkeypatch.setattr(low_rank, "_HELD_NUMBERS", 14 * d)
    if not antithetic:
        # Pairs are made within a block: with them the draws are others.
        parts, also = method._leading(problem)
        # In units of their own.
        torch.testing.assert_close(also / also.sum(), felt / felt.sum(), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close((whole.mT @ parts).abs(), torch.eye(3).double()[None])
    span = turn @ torch.linalg.pinv(turn)
    for basis in (whole, method._leading(problem)[0]):
        torch.testing.assert_close(span @ basis, basis)


def test_draws_beyond_what_is_held_are_asked_in_parts(monkeypatch):
    for antithetic in (True, False):
        method, problem, basis, axes = some_state(2, "shared")
        model = dataclasses.replace(method._model(problem, basis), antithetic=antithetic)
        weights = np.array([[1.0, -1.0, 0.0], [0.5, 0.0, 0.0]])
        shares, (slope,) = model.answers([axes], 0, weights)
        # Two draws of one input, and one for the last part.
        with monkeypatch.context() as patch:
            patch.setattr(_soft, "_HELD_NUMBERS", 12)
            parts, (slopes,) = model.answers([axes], 0, weights)
            seen, nothing = model.answers([axes], 0)
        assert nothing == []
        np.testing.assert_array_equal(parts, seen)
        if antithetic:
            continue
        np.testing.assert_allclose(parts, shares, rtol=1e-12)
        torch.testing.assert_close(slopes, slope)


@pytest.mark.parametrize("complement", ["shared", "diagonal"])
def test_it_grows_what_a_linear_classifier_does_not_feel(complement):
    # In any direction: the axis along the weights stays, all others reach the cap.
    d = 5
    weight = torch.tensor(turned(d)[:, 0])
    model = torch.nn.Linear(d, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([-25.0 * weight, 25.0 * weight]))
    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(0.3), lattice=None, batch_size=500,
        input_bounds=(-3.0, 3.0),
    )  # fmt: skip
    x = torch.stack([weight, 0.7 * weight + torch.tensor(turned(d)[:, 1])])
    found = optimize_noise(
        classifier, x, method="low-rank", rank=1, complement=complement, n=10_000, seed=1,
        steps=60, draws=50, gradients=20, slack=0.1,
    )  # fmt: skip
    assert isinstance(found, LowRankGaussian)
    isotropic = optimize_noise(classifier, x, method="search", n=10_000, seed=1)
    before = classifier.certify(x, noise=isotropic, n=10_000, seed=2)
    after = classifier.certify(x, noise=found, n=10_000, seed=2)
    region = found.region(after.margin_lower)
    diameter = 6.0 * np.sqrt(d)
    # The axis at which n votes of n are a certificate that reaches across the box.
    cap = diameter / float(norm.ppf(0.001 ** (1 / 10_000)))
    for matrix, sigma in zip(dense(found), isotropic.sigma, strict=True):
        values, vectors = np.linalg.eigh(matrix)
        assert abs(vectors[:, 0] @ weight.numpy()) > 1 - 1e-9
        # The radius is the same at every axis along the weights that is small enough.
        assert 0.1 * sigma < values[0] < 1.1 * sigma
        assert (values[1:] > 0.75 * cap).all()
        assert (values[1:] <= cap * (1 + 1e-6)).all()
    # True distance to the boundary, and the largest semi-axis that was allowed.
    assert (region.inscribed_radius() >= 0.88 * before.radius).all()
    assert (region.inscribed_radius() <= [1.0, 0.7]).all()
    assert (region.proxy_radius() > 2.5 * before.radius).all()
    assert (region.semi_axes() <= diameter * (1 + 1e-9)).all()


def ascended(optimizer, model, x, turn):
    """Bases, axes and weights at the end, from base draws that are turned by (B, d, d)."""
    problem = problem_of(model, x, rsbounds.Gaussian([0.1, 0.2]), optimizer)
    drawn = _soft.SoftModel.base
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _soft.SoftModel, "base",
            lambda self, rows, first: drawn(self, rows, first)
            @ turn(first)[rows.start : rows.stop].to(x.dtype),
        )  # fmt: skip
        state = ascend(optimizer, problem, progress=False)
    return state.basis, state.log_axes, state.weight


@pytest.mark.parametrize(("rank", "complement"), [(2, "shared"), (5, "diagonal")])
def test_it_turns_with_the_inputs(rank, complement):
    # The same draws, turned as the inputs are: the same axes along turned directions.
    d = 5
    method = LowRank(first=None, rank=rank, complement=complement, gradients=60, steps=12, draws=30)
    x = 0.05 * torch.randn(2, d, generator=torch.Generator().manual_seed(3)).double()
    quarter = torch.tensor(turned(d, 7))
    model, plain = quadratic(d), torch.eye(d).double().expand(2, d, d)
    basis, log_axes, weight = ascended(method, model, x, lambda first: plain)
    other, same, weights = ascended(
        method, lambda batch: model(batch @ quarter.T), x @ quarter,
        lambda first: quarter.expand(2, d, d),
    )  # fmt: skip
    torch.testing.assert_close(same, log_axes, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(weights, weight, rtol=1e-6)
    overlap = (other.mT @ (quarter.T @ basis)).abs()
    eye = torch.eye(rank).double().expand(2, -1, -1)
    torch.testing.assert_close(overlap, eye, rtol=0, atol=1e-6)
    # Something was found: axes apart by more than a fifth.
    assert (log_axes.amax(1) - log_axes.amin(1) > 0.2).all()


def test_with_all_directions_it_is_rotated():
    d = 4
    settings = {"first": None, "gradients": 60, "steps": 12, "draws": 30, "slack": 0.02}
    x = 0.05 * torch.randn(2, d, generator=torch.Generator().manual_seed(3)).double()
    plain = torch.eye(d).double().expand(2, d, d)
    low = ascended(LowRank(rank=d, **settings), quadratic(d), x, lambda first: plain)
    # `rotated` has its base draws along the axes; directions are found with draws far behind.
    full = ascended(
        Rotated(**settings), quadratic(d), x,
        lambda first: plain if first >= 1 << 30 else low[0].flip(2),
    )  # fmt: skip
    torch.testing.assert_close(full[1].flip(1), low[1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(full[2], low[2], rtol=1e-6)


def test_what_it_starts_from():
    method = LowRank(first=None, rank=2, complement="shared")
    law = method.start(rsbounds.Gaussian([0.2, 0.4]), (2, 3))
    assert law.event_shape == (2, 3)
    assert law.factors.shape == (2, 6, 2)
    np.testing.assert_array_equal(dense(law), np.array([0.2, 0.4])[:, None, None] * np.eye(6))
    axes = DiagonalGaussian(np.arange(1.0, 13.0).reshape(2, 2, 3), batched=True)
    for kind, width in (("shared", 2), ("diagonal", 4)):
        law = LowRank(first=None, rank=2, complement=kind).start(axes, (2, 3))
        assert law.factors.shape == (2, 6, width)
        np.testing.assert_array_equal(law.diagonal, axes.axes)
    # Another's factors are kept, fewer or more of them than it looks for.
    for width in (1, 5):
        factors = np.random.default_rng(0).normal(size=(2, 6, width))
        given = LowRankGaussian(axes.axes, factors, np.full(width, -0.01))
        law = method.start(given, (2, 3))
        assert law.factors.shape[2] == max(width, 2)
        np.testing.assert_array_equal(dense(law), dense(given))
        assert method.start(law, (2, 3)) == law
    for other in (rsbounds.Uniform([0.3]), FullGaussian(np.eye(6)[None])):
        with pytest.raises(ValueError, match="allowed with low-rank: gaussian, diagonal-gaussian"):
            method.start(other, (2, 3))


@pytest.mark.parametrize(("rank", "complement"), FORMS)
def test_a_start_that_is_not_isotropic_is_met_on_the_diagonal_of_the_basis(rank, complement):
    method, problem, _, _ = some_state(rank, complement)
    rng = np.random.default_rng(4)
    law = LowRankGaussian(
        rng.uniform(0.2, 0.4, (2, 2, 3)), rng.normal(size=(2, 6, 2)), [0.1, -0.01]
    )
    problem = dataclasses.replace(problem, start=method.start(law, (2, 3)))
    state = method.init(problem)
    start = dataclasses.replace(state, log_axes=state.log_start)
    found, given = dense(method.law(problem, start)), dense(law)
    V = state.basis.numpy()
    along = np.einsum("bji,bjk,bki->bi", V, found, V)
    np.testing.assert_allclose(along, np.einsum("bji,bjk,bki->bi", V, given, V), rtol=1e-9)
    if complement == "shared":
        np.testing.assert_allclose(np.trace(found, 0, 1, 2), np.trace(given, 0, 1, 2), rtol=1e-9)
    # And what is found of it replaces it, input by input.
    few = dataclasses.replace(method, steps=1, gradients=10)
    mixed = few.law(problem, ascend(few, problem, progress=False)).where(
        [True, False], problem.start
    )
    assert mixed[1] == problem.start[1]


def test_directions_that_are_not_felt_are_still_a_basis():
    # One direction is felt, then none at all.
    def one(batch):
        return torch.stack([-batch[:, 0], batch[:, 0]], 1)

    def none(batch):
        return torch.stack([0.0 * batch[:, 0], 0.0 * batch[:, 0] + 1.0], 1)

    for model, felt in ((one, 1), (none, 0)):
        method = LowRank(first=None, rank=4, gradients=20)
        x = torch.ones(1, 7).double()
        problem = problem_of(model, x, rsbounds.Gaussian([0.3]), method)
        basis = method._leading(problem)[0][0]
        torch.testing.assert_close(basis.T @ basis, torch.eye(4).double())
        assert felt == 0 or basis[0, 0].abs() > 1 - 1e-12


def test_wild_axes_are_a_law_that_is_proven_positive_definite():
    for rank, complement in FORMS:
        method, problem, basis, axes = some_state(rank, complement)
        wild = axes.clone()
        wild[:, ::2] *= 1e-12
        wild[:, -1] *= 1e9
        law = method._law(problem, basis, wild)
        inscribed = law.region([1.0, 1.0]).inscribed_radius()
        assert (inscribed > 1e-7 * wild.amax(1).numpy()).all()


@pytest.mark.parametrize(
    "bad", [{"rank": 0}, {"rank": 2.5}, {"complement": "none"}, {"gradients": 0}, {"kappa": -1.0}]
)
def test_settings_are_checked(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is "):
        LowRank(**bad)


@pytest.mark.parametrize("complement", ["shared", "diagonal"])
def test_the_size_of_a_photograph_needs_no_matrix(complement):
    # A d x d matrix has 181 GB, in single precision 91 GB.
    shape = (3, 224, 224)
    along = torch.linspace(-1.0, 1.0, 150_528).reshape(shape)

    def model(batch):
        inside = 0.02 * (batch * along).flatten(1).sum(1)
        return torch.stack([-inside, inside], 1)

    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(0.25), batch_size=8, input_bounds=(0.0, 1.0)
    )
    x = 0.5 + 0.1 * along[None]
    method = LowRank(
        first=None, rank=2, complement=complement, gradients=8, steps=1, draws=2, slack=0.5
    )
    law = optimize_noise(classifier, x, method=method, n=1000, seed=1, judge_draws=4)
    assert law.event_shape == shape
    found = classifier.certify(x, noise=law, n=8, n0=2, seed=2, alpha=0.1)
    assert found.proxy_radius[0] > 0


def half_space(d):
    along = torch.linspace(-1.0, 1.0, d)
    along = along / along.norm()

    def model(batch):
        inside = 20.0 * (batch @ along.to(batch.dtype))
        return torch.stack([-inside, inside], 1)

    return model, along


def test_a_run_of_it_has_a_memory(tmp_path):
    # The memory was said to be of the law that the search began with, and refused these.
    model, along = half_space(4)
    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=100
    )
    x = np.stack([(s * along).numpy() for s in (0.8, -0.5, 0.3)])
    smoothing = LowRank(first=None, rank=1, gradients=10, steps=10, draws=10, slack=0.3)
    own = rsbounds_torch.certify_dataset(
        classifier, list(zip(x, [1, 0, 1], strict=True)), store=tmp_path / "run.sqlite", n=300,
        n0=20, seed=3, progress=False, smoothing=smoothing,
    )  # fmt: skip
    with rsbounds.RunStore(tmp_path / "run.sqlite") as store:
        laws = [noise_from_dict(row.law) for row in store.rows()]
        kept = remember(store, x, tmp_path / "memory.sqlite")
    assert all(law.weights[0] < 0 for law in laws)
    assert (kept.radius <= own.radius).all()
    assert (kept.radius > 0).all()
    memory = load_memory(
        tmp_path / "memory.sqlite", noise="low-rank-gaussian", dimension=4, **_model_of(tmp_path)
    )
    assert memory.predict(x + 1e-3).tolist() == [1, 0, 1]
    for i, law in enumerate(laws):
        region = memory.region_of(i)
        assert (region.weights == law.weights).all()
        same = law.region([2.0 * kept.radius[i]]).inscribed_radius()
        assert region.inscribed_radius() == pytest.approx(same, rel=1e-12)


def _model_of(folder):
    with rsbounds.RunStore(folder / "run.sqlite") as store:
        return {"model": str(store.config.get("model_id") or store.config["model"])}


def test_a_law_of_its_own_kind_is_scaled_and_improved_at_a_size_without_semi_axes():
    # The search before it asked for all semi-axes, of which there are none beyond 4,096.
    d = 4100
    model, along = half_space(d)
    classifier = SmoothedClassifier(
        model, num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=100, input_bounds=(-1.0, 1.0)
    )
    rng = np.random.default_rng(0)
    start = LowRankGaussian(
        rng.uniform(0.2, 0.3, d), rng.normal(size=(d, 2)) / np.sqrt(d), [-0.1, 0.2]
    )
    x = torch.stack([0.8 * along, -0.6 * along])
    found = optimize_noise(
        classifier, x, method="low-rank", noise0=start, n=1000, seed=1, rank=2, gradients=10,
        steps=3, draws=10, judge_draws=50, slack=0.3,
    )  # fmt: skip
    before = classifier.certify(x, noise=start, n=1000, seed=2)
    after = classifier.certify(x, noise=found, n=1000, seed=2)
    assert (after.proxy_radius > before.proxy_radius).all()
