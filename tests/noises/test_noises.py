import json
import math

import numpy as np
import pytest
from mpmath import mp, mpf, ncdf

import rsbounds
from rsbounds.noises import DiagonalGaussian, DiagonalUniform, Noise, noise_from_dict
from rsbounds.testing import assert_error_rate

LAWS = [
    rsbounds.Gaussian(0.25),
    rsbounds.Uniform(0.5),
    rsbounds.Lipschitz(2.0, rsbounds.Gaussian(0.25)),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
class TestEveryLaw:
    def test_radius_is_rounded_down_and_zero_without_margin(self, law):
        exact = {
            "gaussian": mpf(0.25) / 2,
            "uniform": mpf(0.5),
            "lipschitz": 1 / (mp.sqrt(2) * 2),
        }[law.name]
        for margin in (1e-9, 0.1, 0.7, 1.0):
            radius = float(law.radius(margin))
            assert 0 <= (exact * mpf(margin) - mpf(radius)) <= 1e-14 * exact * mpf(margin)
        assert law.radius([0.0, -1.0, -np.inf]).tolist() == [0.0, 0.0, 0.0]
        with pytest.raises(ValueError, match="margin is NaN"):
            law.radius([float("nan")])

    def test_samples_have_shape_type_and_spread(self, law):
        for kind in (np.float32, np.float64):
            noise = law.sample(np.random.default_rng(0), (40_000, 2), kind)
            assert noise.shape == (40_000, 2)
            assert noise.dtype == kind
            spread = {"gaussian": 0.25, "uniform": 0.5 / math.sqrt(3), "lipschitz": 0.25}
            # 80,000 draws: the relative error of the spread is below 1 % at 4 sigma.
            assert noise.std() == pytest.approx(spread[law.name], rel=0.01)
            assert abs(noise.mean()) < 4 * spread[law.name] / math.sqrt(80_000)
        if law.name == "uniform":
            assert abs(noise).max() <= 0.5

    def test_says_its_scale_and_norm(self, law):
        assert isinstance(law, Noise)
        assert law.scale in ("linear", "probit")
        assert law.norm in ("l1", "l2")
        assert law.name in str(law)


def test_gaussian_radius_is_where_a_half_space_flips():
    # A linear classifier is the worst case: its smoothed answer flips exactly at the radius.
    sigma, distance = 0.5, 0.8
    p = float(ncdf(mpf(distance) / mpf(sigma)))
    margin = 2 * float(mp.sqrt(2) * mp.erfinv(2 * mpf(p) - 1))
    assert rsbounds.Gaussian(sigma).radius(margin) == pytest.approx(distance, rel=1e-9)


def test_uniform_radius_is_where_a_slab_flips():
    # One coordinate, classifier 1[x > 0] at x = 0.3, noise on [-0.5, 0.5]: p_A = 0.8.
    assert rsbounds.Uniform(0.5).radius(0.8 - 0.2) == pytest.approx(0.3, rel=1e-12)


def test_lipschitz_radius_is_the_law():
    law = rsbounds.Lipschitz(3.0, rsbounds.Uniform(1.0))
    assert rsbounds.lipschitz_radius([0.5, -1], 3.0).tolist() == law.radius([0.5, -1]).tolist()
    assert law.norm == "l2"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rsbounds.Gaussian(0), "sigma is 0; allowed: a finite number > 0"),
        (lambda: rsbounds.Gaussian(-1), "sigma is -1"),
        (lambda: rsbounds.Gaussian(float("nan")), "sigma is nan"),
        (lambda: rsbounds.Gaussian(float("inf")), "sigma is inf"),
        (lambda: rsbounds.Gaussian("0.5"), "sigma is '0.5'"),
        (lambda: rsbounds.Gaussian(True), "sigma is True"),
        (lambda: rsbounds.Uniform(0.0), "half_width is 0.0"),
        (lambda: rsbounds.Lipschitz(0, rsbounds.Gaussian(1)), "constant is 0"),
        (lambda: rsbounds.Lipschitz(1, 0.5), "noise is 0.5"),
        (lambda: rsbounds.certify([3, 1], 0, noise=0.25), "noise is 0.25"),
    ],
)
def test_bad_parameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# The product overflowed, and an infinite ball was certified.
@pytest.mark.parametrize(
    "law",
    [
        rsbounds.Gaussian(1e308),
        rsbounds.Uniform(1.7e308),
        rsbounds.Lipschitz(1e-308, rsbounds.Gaussian(1.0)),
        rsbounds.Lipschitz(5e-324, rsbounds.Gaussian(1.0)),
    ],
    ids=str,
)
def test_no_radius_is_infinite(law):
    for margin in ([40.0, 1.0], [1e308, np.inf]):
        radius = law.radius(margin)
        assert np.isfinite(radius).all()
        assert (radius > 1e307).all()
    assert law.radius([0.0, -np.inf]).tolist() == [0.0, 0.0]


# Where floats run out of digits a rounding is no longer relative.
@pytest.mark.parametrize("ulps", [1, 2, 3, 5, 7])
def test_no_radius_is_rounded_up_where_floats_are_subnormal(ulps):
    tiny = mpf(ulps) * mpf(2) ** -1074
    for margin in (1.5, 40.0, 1e12, 1e304):
        for law, exact in (
            (rsbounds.Gaussian(float(tiny)), tiny / 2),
            (rsbounds.Uniform(float(tiny)), tiny),
            (rsbounds.Lipschitz(1.7e308, rsbounds.Gaussian(1.0)), mp.sqrt(0.5) / mpf(1.7e308)),
        ):
            assert mpf(float(law.radius(margin))) <= exact * mpf(margin)
    assert rsbounds.Gaussian(5e-324).radius(np.inf) == 0.0


class TestPlainValues:
    @pytest.mark.parametrize("law", [*LAWS, rsbounds.Gaussian(0.1 + 0.2)], ids=str)
    def test_a_law_is_built_again_from_its_values(self, law):
        values = json.loads(json.dumps(law.to_dict()))
        assert noise_from_dict(values) == law
        assert values["name"] == law.name

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"sigma": 1.0}, "allowed: a mapping with the name of a law"),
            ("gaussian", "allowed: a mapping with the name"),
            ({"name": "other"}, "noise is 'other'; known: gaussian"),
            ({"name": "gaussian"}, "the parameters of that law"),
            ({"name": "gaussian", "sigma": 1.0, "mean": 0.0}, "the parameters of that law"),
            ({"name": "gaussian", "sigma": -1.0}, "sigma is -1.0"),
        ],
    )
    def test_bad_values_are_refused(self, values, message):
        with pytest.raises(ValueError, match=message):
            noise_from_dict(values)


class TestAxes:
    def test_equal_axes_are_the_isotropic_law(self):
        for diagonal, plain in (
            (DiagonalGaussian(np.full((2, 3), 0.25)), rsbounds.Gaussian(0.25)),
            (DiagonalUniform(np.full((2, 3), 0.25)), rsbounds.Uniform(0.25)),
        ):
            region, ball = diagonal.region([0.4, 0.9]), plain.region([0.4, 0.9])
            assert region.inscribed_radius() == pytest.approx(ball.radius, rel=1e-13)
            assert (region.inscribed_radius() <= ball.radius * (1 + 1e-15)).all()
            points = np.random.default_rng(0).normal(size=(2, 2, 3)) / 30
            assert (region.contains(points) == ball.contains(points)).all()

    def test_batch_and_event_are_told_apart(self):
        axes = np.arange(1.0, 7.0).reshape(2, 3)
        one, two = DiagonalGaussian(axes), DiagonalGaussian(axes, batched=True)
        assert (one.batch_shape, one.event_shape) == ((), (2, 3))
        assert (two.batch_shape, two.event_shape) == ((2,), (3,))
        assert two[1] == DiagonalGaussian([4.0, 5.0, 6.0])
        assert two[[1]].batch_shape == (1,)
        assert two.region([0.5, 0.5]).semi_axes().shape == (2, 3)
        with pytest.raises(ValueError, match="parameters for 2 inputs; allowed: one set, or one"):
            two.region([0.5])
        for bad in (lambda: DiagonalGaussian(0.5), lambda: DiagonalUniform([1.0], batched=True)):
            with pytest.raises(ValueError, match="axes have shape"):
                bad()
        with pytest.raises(ValueError, match="axes hold a number outside"):
            DiagonalUniform([1.0, 1e-200])

    def test_certified_ellipsoids_keep_out_of_the_other_class(self):
        # A half-space w x > 0 and noise of its own axes at each input: the scaled distance to
        # the boundary is |w x| / ||w axes||. 300 inputs at alpha 0.05; a right library fails
        # with probability 1e-9.
        rng = np.random.default_rng(5)
        w, x = np.array([1.0, -0.5, 0.2]), rng.uniform(-0.6, 0.6, (300, 3))
        law = DiagonalGaussian(rng.uniform(0.1, 0.9, (300, 3)), batched=True)

        def vote(batch):
            return (batch @ w > 0).astype(int)

        arguments = {"noise": law, "num_classes": 2, "seed": 4}
        select = rsbounds.sample_counts(vote, x, n=50, role="select", **arguments)
        estimate = rsbounds.sample_counts(vote, x, n=400, **arguments)
        found = rsbounds.certify(estimate, rsbounds.select_top(select), noise=law, alpha=0.05)
        truth = np.abs(x @ w) / np.linalg.norm(law.axes * w, axis=1)
        wrong = (~found.abstained) & ((found.top != vote(x)) | (found.radius > truth))
        assert_error_rate(int(wrong.sum()), 300, 0.05, false_alarm=1e-9)
        assert wrong.sum() > 0, "the bound is so loose that this test cannot fail"
        assert found.norm == "scaled l2"
