"""Certified regions against sampled volumes, closed forms and 50 digits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import stats

from rsbounds.regions import Ball, CrossPolytope, Ellipsoid

mp.dps = 50
AXES = np.array([0.5, 1.0, 2.0])
TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


def regions(radius):
    """One region of each kind, in three dimensions, per radius."""
    return {
        "l1": Ball(radius, norm="l1", dimension=3),
        "l2": Ball(radius, norm="l2", dimension=3),
        "linf": Ball(radius, norm="linf", dimension=3),
        "ellipsoid": Ellipsoid(radius, axes=AXES),
        "rotated": Ellipsoid(radius, axes=AXES, rotation=TURN),
        "cross-polytope": CrossPolytope(radius, axes=AXES),
    }


KINDS = list(regions([1.0]))


def exact_gauge(kind, delta):
    """The region's norm of one perturbation, in 50 digits; with the spread of a rotation."""
    v = [mpf(float(x)) for x in delta]
    if kind == "rotated":
        turn = mp.matrix(TURN.tolist())
        # Not quite orthogonal in floats: the noise is V diag(axes) z with this very V.
        v = list(mp.lu_solve(turn, mp.matrix(v)))
    if kind in ("ellipsoid", "rotated", "cross-polytope"):
        v = [x / mpf(float(a)) for x, a in zip(v, AXES, strict=True)]
    if kind in ("l1", "cross-polytope"):
        return sum(abs(x) for x in v)
    if kind == "linf":
        return max(abs(x) for x in v)
    return mp.sqrt(sum(x * x for x in v))


@pytest.mark.parametrize("kind", KINDS)
def test_volume_is_that_of_the_points_inside(kind):
    # 400,000 points in a cube; a right volume fails with probability 1e-6.
    region = regions([1.3])[kind]
    side = 2 * float(region.semi_axes().max())
    points = np.random.default_rng(2).uniform(-side / 2, side / 2, (400_000, 3))
    many = regions(np.full(len(points), 1.3))[kind]
    inside = int(many.contains(points).sum())
    share = math.exp(region.log_volume()[0]) / side**3
    assert stats.binomtest(inside, len(points), share).pvalue > 1e-6
    assert inside > 1000


@pytest.mark.parametrize("kind", KINDS)
@given(
    delta=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    nudge=st.sampled_from([0.0, 1e-16, -1e-16, 3e-16, 1e-13, -1e-13, 1e-3, -1e-3]),
)
def test_contains_is_never_wrong_and_seldom_timid(kind, delta, nudge):
    gauge = exact_gauge(kind, delta)
    radius = max(float(gauge * (1 + mpf(nudge))), 0.0)
    said = bool(regions([radius])[kind].contains([delta])[0])
    if said:
        assert gauge < mpf(radius)
    elif nudge >= 1e-13 and gauge > mpf(1e-200):
        assert not mpf(radius) > gauge * (1 + mpf(1e-13)) * (1 + mpf(5e-14))


@pytest.mark.parametrize("kind", KINDS)
def test_the_empty_set_and_far_points(kind):
    assert not regions([0.0])[kind].contains([[0.0, 0.0, 0.0]]).any()
    region = regions([1.0, 1.0, 1e-200, 1.0])[kind]
    points = [[np.inf, 0, 0], [1e308, 1e308, 1e308], [1e-199, 0, 0], [1e-200, 1e-320, 0]]
    assert region.contains(points).tolist() == [False, False, False, True]
    with pytest.raises(ValueError, match="delta holds a NaN"):
        region.contains(np.full((4, 3), np.nan))
    for wrong in (np.zeros(3), np.zeros((3, 3))):
        with pytest.raises(ValueError, match="one for each region"):
            region.contains(wrong)
    with pytest.raises(ValueError, match="delta has 2 coordinates; allowed: 3"):
        region.contains(np.zeros((4, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_inscribed_and_proxy_radii_are_rounded_down(kind):
    axes = [mpf(1)] * 3 if kind in ("l1", "l2", "linf") else [mpf(float(a)) for a in AXES]
    for radius in (1e-9, 0.3, 1.0, 7.0, 1e200):
        region = regions([radius])[kind]
        inscribed, proxy = region.inscribed_radius()[0], region.proxy_radius()[0]
        exact = mpf(radius) * min(axes)
        assert exact * (1 - mpf(1e-13)) <= mpf(float(inscribed)) <= exact
        exact = mpf(radius) * mp.cbrt(mp.fprod(axes))
        assert exact * (1 - mpf(1e-13)) <= mpf(float(proxy)) <= exact
        # The ball of the proxy radius has the region's volume.
        ball = Ball([proxy], norm=region.norm, dimension=3)
        assert ball.log_volume()[0] == pytest.approx(region.log_volume()[0], abs=1e-10)
        # The inscribed ball's nearest boundary points are inside.
        if kind in ("l1", "cross-polytope", "ellipsoid"):
            tips = inscribed * (1 - 1e-12) * np.eye(3)
            assert regions([radius] * 3)[kind].contains(tips).all()


def test_closed_forms_of_volumes():
    d = 784
    assert Ball([1.0], norm="linf", dimension=d).log_volume()[0] == pytest.approx(d * math.log(2))
    simplex = float(d * mp.log(2) - mp.loggamma(d + 1))
    assert Ball([1.0], norm="l1", dimension=d).log_volume()[0] == pytest.approx(simplex, rel=1e-13)
    ball = float(mpf(d) / 2 * mp.log(mp.pi) - mp.loggamma(mpf(d) / 2 + 1))
    axes = np.linspace(0.1, 3, d)
    exact = float(ball + sum(mp.log(mpf(float(a))) for a in axes) + d * mp.log(mpf(0.7)))
    assert Ellipsoid([0.7], axes=axes).log_volume()[0] == pytest.approx(exact, rel=1e-12)
    assert Ball([0.0], norm="l2", dimension=2).log_volume()[0] == -np.inf


def test_equal_axes_are_a_ball():
    radius = np.array([0.2, 1.0, 3.0])
    points = np.random.default_rng(3).normal(size=(3, 5))
    for region, norm in ((Ellipsoid, "l2"), (CrossPolytope, "l1")):
        same = region(radius / 0.5, axes=np.full(5, 0.5))
        ball = Ball(radius, norm=norm, dimension=5)
        assert (same.contains(points) == ball.contains(points)).all()
        np.testing.assert_allclose(same.log_volume(), ball.log_volume(), rtol=1e-12)
        np.testing.assert_allclose(same.semi_axes(), ball.semi_axes(), rtol=1e-12)


def test_every_region_of_a_batch_has_its_own_axes():
    axes = np.array([[1.0, 2.0], [3.0, 0.5]])
    turns = np.stack([np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]])])
    whole = Ellipsoid([1.0, 2.0], axes=axes, rotation=turns)
    assert len(whole) == 2
    assert whole.inscribed_radius().round(6).tolist() == [1.0, 1.0]
    # The second one's long axis lies along the second coordinate.
    assert whole.contains([[0.9, 0.1], [0.1, 5.9]]).tolist() == [True, True]
    assert whole.contains([[1.1, 0.1], [5.9, 0.1]]).tolist() == [False, False]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ball([-1.0], norm="l2"), r"radius is \[-1.0\]; allowed"),
        (lambda: Ball([np.nan], norm="l2"), "radius is"),
        (lambda: Ball([np.inf], norm="l2"), "radius is"),
        (lambda: Ball([[1.0]], norm="l2"), "radius is"),
        (lambda: Ball([1.0], norm="l0"), "norm is 'l0'"),
        (lambda: Ball([1.0], norm="l2", dimension=0), "dimension is 0"),
        (lambda: Ball([1.0], norm="l2").log_volume(), "dimension is None"),
        (lambda: Ellipsoid([1.0], axes=[1.0, 0.0]), r"outside \[1e-150"),
        (lambda: Ellipsoid([1.0], axes=[1.0, np.nan]), r"outside \[1e-150"),
        (lambda: Ellipsoid([1.0], axes=np.ones((2, 2))), r"axes have shape \(2, 2\)"),
        (lambda: Ellipsoid([1.0], axes=[1, 1], rotation=np.ones((2, 2))), "not orthogonal"),
        (lambda: Ellipsoid([1.0], axes=[1, 1], rotation=np.eye(3)), "rotation has shape"),
        (lambda: CrossPolytope([1.0], axes=[]), "axes have shape"),
    ],
)
def test_bad_regions_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
