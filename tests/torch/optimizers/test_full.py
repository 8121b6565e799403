"""Full matrices: steps on the manifold, and regions that turn with the inputs."""

import numpy as np
import pytest
import scipy.linalg

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds.noises import DiagonalGaussian, FullGaussian, LowRankGaussian
from rsbounds_torch import SmoothedClassifier, optimize_noise
from rsbounds_torch.optimizers import OPTIMIZERS, _spd
from rsbounds_torch.optimizers._ascent import ascend, noise_problem


def spd(rng, d, spread=3.0):
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (turn * np.exp(spread * rng.uniform(-1, 1, d))) @ turn.T


def symmetric(rng, d, size):
    values = size * rng.standard_normal((d, d))
    return 0.5 * (values + values.T)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_the_exponential_map_is_that_of_matrix_functions(d):
    rng = np.random.default_rng(d)
    for _ in range(5):
        c, slope = spd(rng, d), symmetric(rng, d, 0.3)
        at = _spd.eigen(torch.tensor(c)[None])
        # Exp_C(C S C) by scipy's matrix functions; root real for a positive definite matrix.
        root = np.real(scipy.linalg.sqrtm(c))
        back = np.linalg.inv(root)
        expected = root @ scipy.linalg.expm(back @ (c @ slope @ c) @ back) @ root
        step = _spd.ascent_direction(at, torch.tensor(slope)[None], "affine-invariant")
        found = _spd.moved(at, step, 1e3, "affine-invariant")[0].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())


def test_the_exponential_map_in_fifty_digits():
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(5)
    c, slope = spd(rng, 3), symmetric(rng, 3, 0.5)
    with mpmath.workdps(50):
        big = mpmath.matrix(c.tolist())
        root = mpmath.sqrtm(big)
        inner = root * mpmath.matrix(slope.tolist()) * root
        exact = root * mpmath.expm(inner) * root
        expected = np.array([[float(exact[i, j]) for j in range(3)] for i in range(3)])
    at = _spd.eigen(torch.tensor(c)[None])
    step = _spd.ascent_direction(at, torch.tensor(slope)[None], "affine-invariant")
    found = _spd.moved(at, step, 1e3, "affine-invariant")[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * abs(expected).max())


def test_the_log_euclidean_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(2)
    c, slope = spd(rng, 4, 1.0), symmetric(rng, 4, 1.0)
    # Two equal eigenvalues: the divided difference has its limit there.
    c = np.block([[c, np.zeros((4, 2))], [np.zeros((2, 4)), 0.7 * np.eye(2)]])
    slope = symmetric(rng, 6, 1.0)
    at = _spd.eigen(torch.tensor(c)[None])
    step = _spd.ascent_direction(at, torch.tensor(slope)[None], "log-euclidean")[0].numpy()
    turned = at.vectors[0].numpy()
    gradient = turned @ step @ turned.T
    log = np.real(scipy.linalg.logm(c))
    for _ in range(4):
        change = symmetric(rng, 6, 1.0)
        up, down = (scipy.linalg.expm(log + sign * 1e-6 * change) for sign in (1, -1))
        expected = (slope * (up - down)).sum() / 2e-6
        np.testing.assert_allclose((gradient * change).sum(), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", _spd.METRICS)
def test_a_step_is_never_longer_than_asked_and_stays_positive_definite(metric):
    rng = np.random.default_rng(3)
    c = spd(rng, 5, 8.0)
    at = _spd.eigen(torch.tensor(c)[None])
    step = torch.tensor(symmetric(rng, 5, 1e6))[None]
    new = _spd.moved(at, step, 0.1, metric)
    values = _spd.eigen(new).values[0].numpy()
    old = at.values[0].numpy()
    # No eigenvalue changes by more than the length, in the logarithm.
    assert (np.abs(np.log(values / old)) <= 0.1 + 1e-9).all()


def test_the_geodesic_goes_from_start_to_end_through_the_geometric_mean():
    rng = np.random.default_rng(4)
    a, b = (torch.tensor(spd(rng, 3))[None] for _ in range(2))
    torch.testing.assert_close(_spd.between(a, b, 1.0), b, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(_spd.between(a, b, 0.0), a, rtol=1e-9, atol=1e-9)
    mean = _spd.between(a, b, 0.5)
    # The geometric mean G solves G A^-1 G = B.
    torch.testing.assert_close(mean @ torch.linalg.inv(a) @ mean, b, rtol=1e-7, atol=1e-8)


def slabs(angle):
    """Class 1 in |u| < 1, |v| < 4, with u, v the coordinates turned by an angle."""
    c, s = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)

    def model(batch):
        u, v = (batch @ turn.to(batch.dtype).T).unbind(1)
        inside = 20.0 * torch.minimum(1.0 - u.abs(), 0.25 * (4.0 - v.abs()))
        return torch.stack([-inside, inside], 1)

    return model


def areas(method, angle, **options):
    classifier = SmoothedClassifier(
        slabs(angle), num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=500
    )
    x = torch.zeros(1, 2).double()
    law = optimize_noise(
        classifier, x, method=method, n=10_000, seed=1, judge_draws=500, progress=False, **options
    )
    margin = classifier.certify(x, noise=law, n=10_000, seed=1).margin_lower
    return law.region(margin).proxy_radius()[0] ** 2


def test_regions_turn_with_the_inputs_and_are_larger_with_more_freedom():
    found = {}
    for angle in (0.0, np.pi / 8, np.pi / 4):
        found[angle] = [
            areas("search", angle),
            areas("ancer", angle, steps=50),
            areas("rotated", angle, steps=50, gradients=200),
            areas("rddrs", angle, steps=5, draws=100),
        ]
        isotropic, _, rotated, rddrs = found[angle]
        assert rotated > 1.5 * isotropic
        assert rddrs > isotropic
    # Along the coordinates there is nothing to turn; in between ANCER has less to gain.
    assert found[np.pi / 4][2] > 1.2 * found[np.pi / 4][1]


@pytest.mark.parametrize("name", ["rotated", "rddrs"])
def test_a_full_matrix_starts_from_gaussian_laws_with_a_ball_or_a_matrix(name):
    method = OPTIMIZERS[name](first=None)
    law = method.start(rsbounds.Gaussian([0.2, 0.4]), (2,))
    assert law == FullGaussian(np.array([0.2, 0.4])[:, None, None] * np.eye(2), (2,))
    assert method.start(law, (2,)) is law
    low = LowRankGaussian([[0.2, 0.3]], [[[1.0], [0.5]]], [[-0.05]])
    dense = np.diag([0.2, 0.3]) - 0.05 * np.outer([1.0, 0.5], [1.0, 0.5])
    np.testing.assert_allclose(method.start(low, (2,)).matrix, dense[None], rtol=1e-14)
    for other in (rsbounds.Uniform([0.3]), DiagonalGaussian(np.ones((1, 2)), batched=True)):
        with pytest.raises(ValueError, match=f"allowed with {name}: gaussian, full-gaussian"):
            method.start(other, (2,))


def test_rddrs_at_equal_eigenvalues_has_the_gradient_of_one_scale():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    classifier = SmoothedClassifier(
        model.double(), num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=64
    )
    x = classifier.batch_of(torch.randn(2, 3).double())
    problem = noise_problem(
        classifier, x, rsbounds.Gaussian([0.3, 0.3]), n=1000, alpha=0.001, seed=1, streams=[0, 1],
        draws=50,
    )  # fmt: skip
    weights = np.array([[1.0, -2.0, 0.0], [0.3, 0.1, 0.0]])
    ddrs, rddrs = OPTIMIZERS["ddrs"](draws=30), OPTIMIZERS["rddrs"](draws=30)
    matrix = 0.45 * torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    factor = torch.full((2,), 1.5, dtype=torch.float64)
    seen, (slope,) = ddrs._model(problem).answers([factor], 0, weights)
    same, (slopes,) = rddrs._model(problem).answers([matrix], 0, weights)
    np.testing.assert_allclose(same, seen, rtol=1e-10)
    trace = slopes.diagonal(dim1=1, dim2=2).sum(1)
    np.testing.assert_allclose(0.3 * trace.numpy(), slope.numpy(), rtol=1e-9)


def test_rddrs_with_wild_steps_stays_finite_and_positive_definite():
    classifier = SmoothedClassifier(
        slabs(0.3), num_classes=2, noise=rsbounds.Gaussian(0.3), batch_size=64,
        input_bounds=(-5.0, 5.0),
    )  # fmt: skip
    method = OPTIMIZERS["rddrs"](first=None, steps=30, draws=4, rate=1e6, longest=5.0)
    x = classifier.batch_of(torch.zeros(1, 2).double())
    start = method.start(rsbounds.Gaussian([0.3]), (2,))
    problem = noise_problem(
        classifier, x, start, n=1000, alpha=0.001, seed=1, streams=[0], draws=50, diameter=14.2
    )
    state = ascend(method, problem, progress=False)
    values = _spd.eigen(state.matrix).values
    assert bool(torch.isfinite(state.matrix).all())
    # Between the floor and the axis at which a certificate reaches across the box.
    assert float(values.min()) > 0.01
    assert float(values.max()) <= 14.2 / (0.5 * problem.foretold.largest) * (1 + 1e-9)
    method.law(problem, state)
