"""Low-rank ellipsoids against 40 digits, dense ellipsoids and the sizes they are for."""

import numpy as np
import pytest
import scipy.linalg
from mpmath import mp, mpf

from rsbounds.regions import Ball, Ellipsoid, LowRankEllipsoid
from rsbounds.regions.low_rank import log_determinant, smallest_axis_down

RNG = np.random.default_rng(4)


def parameters(trial):
    """Diagonals that are equal, close or wide apart, and factors from small to dominant.

    From trial 20 on some weights are below 0: C is from a share of 1e-6 to half of what the
    diagonal and the other factors make.
    """
    rng = np.random.default_rng(trial)
    d, r = int(rng.choice([1, 2, 7, 24, 30])), int(rng.integers(1, 4))
    diagonal = np.exp(rng.normal(size=d) * rng.choice([0.0, 0.1, 2.0]))
    factors = rng.normal(size=(d, r)) * 10.0 ** rng.integers(-3, 2)
    if trial % 3 == 0:
        factors[: d - 2] = 0.0
    if trial % 3 == 1:
        # A few coordinates of little noise that the factors lift.
        diagonal[: r + 1] *= 1e-3
    if trial < 20:
        return diagonal, factors, np.ones(r)
    weights = rng.choice([-1.0, 1.0], r) * rng.uniform(0.1, 2.0, r)
    weights[0] = -abs(weights[0])
    grown = np.diag(diagonal) + (factors * np.maximum(weights, 0.0)) @ factors.T
    shrunk = (factors * np.maximum(-weights, 0.0)) @ factors.T
    most = scipy.linalg.eigh(shrunk, grown, eigvals_only=True)[-1]
    weights[weights < 0] *= (1.0 - 10.0 ** rng.uniform(-6.0, -0.3)) / most
    return diagonal, factors, weights


def exact_matrix(diagonal, factors, weights):
    u, w = mp.matrix(factors.tolist()), mp.diag([mpf(float(x)) for x in weights])
    return mp.diag([mpf(float(x)) for x in diagonal]) + u * w * u.T


@pytest.mark.parametrize("trial", [0, 1, 2, 4, 8, 20, 22, 25, 40, 46])
def test_axes_volume_and_gauge_are_on_the_safe_side(trial):
    diagonal, factors, weights = given = parameters(trial)
    with mp.workdps(40):
        matrix = exact_matrix(*given)
        axes = mp.eigsy(matrix, eigvals_only=True)
        smallest, found = min(axes), mpf(smallest_axis_down(*given))
        size = float(mp.norm(matrix, mp.inf))
        assert found <= smallest * (1 + mpf(10) ** -30)
        assert float(smallest - found) <= 1e-9 * float(smallest) + 1e-9 * size
        volume = mp.log(mp.det(matrix))
        near, down = (mpf(x) for x in log_determinant(*given))
        assert down <= volume <= down + mpf("1e-6")
        assert abs(near - volume) < 1e-9
        delta = np.random.default_rng(trial).normal(size=len(diagonal))
        for scale in (1e-300, 1e-20, 1.0, 1e150):
            point = delta * scale
            gauge = mp.norm(mp.lu_solve(matrix, mp.matrix(point.tolist())))
            outside, inside = float(gauge * (1 - mpf("1e-14"))), float(gauge * (1 + mpf("1e-5")))
            for radius, expected in ((outside, False), (inside, True)):
                region = LowRankEllipsoid(
                    [radius], diagonal=diagonal, factors=factors, weights=weights
                )
                assert region.contains([point]).tolist() == [expected], scale
        around = mpf(float(region._unit_circumscribed_up(len(diagonal))[0]))
        assert max(axes) <= around


@pytest.mark.parametrize("diagonal", [RNG.uniform(0.2, 2.0, 12), np.full(12, 0.4)])
@pytest.mark.parametrize("weights", [None, [1.0, -0.01, 0.3], [-0.005, -0.02, -0.001]])
def test_it_is_the_ellipsoid_of_its_matrix(weights, diagonal):
    d, r = 12, 3
    factors = RNG.normal(size=(d, r))
    signed = factors if weights is None else factors * weights
    values, vectors = np.linalg.eigh(np.diag(diagonal) + signed @ factors.T)
    low = LowRankEllipsoid(np.full(50, 0.7), diagonal=diagonal, factors=factors, weights=weights)
    full = Ellipsoid(np.full(50, 0.7), axes=values, rotation=vectors)
    np.testing.assert_allclose(low.semi_axes()[0], np.sort(full.semi_axes()[0]), rtol=1e-10)
    for name in ("log_volume", "proxy_radius", "inscribed_radius"):
        np.testing.assert_allclose(getattr(low, name)(), getattr(full, name)(), rtol=1e-9)
    # Half of the points inside, half outside.
    unit = RNG.normal(size=(50, d))
    unit *= (0.7 * RNG.choice([0.999, 1.001], 50) / np.linalg.norm(unit, axis=1))[:, None]
    points = (unit @ vectors.T) @ (vectors * values) @ vectors.T
    assert 5 < low.contains(points).sum() < 45
    assert (low.contains(points) == full.contains(points)).all()


def test_without_factors_it_is_a_ball():
    radius = np.array([0.0, 0.3])
    low = LowRankEllipsoid(radius, diagonal=np.full(5, 0.5), factors=np.zeros((5, 2)))
    ball = Ball(0.5 * radius, norm="l2", dimension=5)
    np.testing.assert_allclose(low.log_volume(), ball.log_volume(), rtol=1e-14)
    np.testing.assert_allclose(low.semi_axes(), ball.semi_axes(), rtol=1e-14)
    assert (low.inscribed_radius() <= ball.radius).all()
    assert (low.inscribed_radius() >= ball.radius * (1 - 1e-15)).all()
    assert low.contains(np.zeros((2, 5))).tolist() == [False, True]
    for far in (np.inf, 1e308):
        assert not low.contains(np.full((2, 5), far)).any()


def test_every_region_of_a_batch_has_its_own_parameters():
    diagonal = RNG.uniform(0.2, 2.0, (3, 6))
    factors = RNG.normal(size=(3, 6, 2))
    weights = np.array([[1.0, 0.3], [-0.01, 0.5], [-0.01, -0.02]])
    given = {"diagonal": diagonal, "factors": factors, "weights": weights}
    whole = LowRankEllipsoid([0.5, 1.0, 2.0], **given)
    points = 0.2 * RNG.normal(size=(3, 6))
    for i, radius in enumerate((0.5, 1.0, 2.0)):
        one = LowRankEllipsoid([radius], **{key: value[i] for key, value in given.items()})
        assert one.contains(points[i : i + 1])[0] == whole.contains(points)[i]
        for name in ("log_volume", "proxy_radius", "inscribed_radius", "semi_axes"):
            assert (getattr(one, name)()[0] == getattr(whole, name)()[i]).all()
    shared = LowRankEllipsoid(
        [0.5, 1.0, 2.0], diagonal=diagonal, factors=factors[0], weights=weights[0]
    )
    assert shared.proxy_radius()[0] == whole.proxy_radius()[0]
    assert shared.semi_axes().shape == (3, 6)


def test_the_size_of_a_photograph():
    d, r = 150_528, 16
    diagonal = np.full(d, 0.25)
    factors = np.zeros((d, r))
    factors[np.arange(r), np.arange(r)] = 2.0
    region = LowRankEllipsoid([1.0], diagonal=diagonal, factors=factors)
    # Sixteen axes of 4.25, the rest of 0.25.
    proxy = 0.25 * 17.0 ** (r / d)
    assert proxy * (1 - 1e-9) < region.proxy_radius()[0] <= proxy
    assert 0.25 * (1 - 1e-12) < region.inscribed_radius()[0] <= 0.25
    point = np.zeros((1, d))
    point[0, [3, 20]] = 4.2, 0.03
    assert region.contains(point)[0]
    point[0, 3] = 4.3
    assert not region.contains(point)[0]
    assert region.semi_axes().shape == (1, d)
    # Half of them shorter than the rest, which differ a little, in place of longer.
    weights = np.repeat([-0.06, 1.0], 8)
    diagonal[100:] = 0.26
    region = LowRankEllipsoid([1.0], diagonal=diagonal, factors=factors, weights=weights)
    proxy = 0.26 * (0.01 / 0.26 * 4.25 / 0.26) ** (8 / d) * (0.25 / 0.26) ** (84 / d)
    assert proxy * (1 - 1e-9) < region.proxy_radius()[0] <= proxy
    assert 0.01 * (1 - 1e-7) < region.inscribed_radius()[0] <= 0.01
    assert 4.25 <= region.circumscribed_radius()[0] < 4.27
    point[0, :] = 0.0
    for at, axis in ((3, 0.01), (12, 4.25), (200, 0.26)):
        point[0, at] = axis * (1 - 1e-6)
        assert region.contains(point)[0]
        point[0, at] = axis * (1 + 1e-6)
        assert not region.contains(point)[0]
        point[0, at] = 0.0
    with pytest.raises(ValueError, match="semi-axes of 150528 coordinates are too many"):
        region.semi_axes()


def test_a_matrix_that_is_not_positive_definite_is_refused():
    # One direction, whose weight takes all of the diagonal there, a little more or less.
    unit = np.linspace(1.0, 2.0, 30)[:, None] / np.linalg.norm(np.linspace(1.0, 2.0, 30))
    for share, good in ((1.1, False), (1.0, False), (1 - 1e-10, False), (1 - 1e-7, True)):
        given = {"diagonal": np.full(30, 0.3), "factors": unit, "weights": [-0.3 * share]}
        if not good:
            with pytest.raises(ValueError, match=r"weights hold -0\.\d+, with which the matrix is"):
                LowRankEllipsoid([1.0], **given)
            continue
        axis = LowRankEllipsoid([1.0], **given).inscribed_radius()[0]
        assert 0.3e-7 * (1 - 1e-4) < axis <= 0.3e-7
    # The second direction holds up what the first pulls down; without it nothing does.
    both = np.hstack([unit, unit])
    held = LowRankEllipsoid([1.0], diagonal=np.full(30, 0.3), factors=both, weights=[-5.0, 5.0])
    assert 0.3 * (1 - 1e-4) < held.inscribed_radius()[0] <= 0.3
    with pytest.raises(ValueError, match="weights hold -5, with which"):
        LowRankEllipsoid([1.0], diagonal=np.full(30, 0.3), factors=both, weights=[-5.0, 4.0])
    # Only one of several regions.
    with pytest.raises(ValueError, match="weights hold -5, with which"):
        LowRankEllipsoid(
            [1.0, 1.0], diagonal=np.full(30, 0.3), factors=both, weights=[[1.0, 1.0], [-5.0, 4.0]]
        )


@pytest.mark.parametrize("share", [1e-15, -1e-15, 1e-12, 1e-9, 2e-8, 1e-7])
def test_what_is_accepted_is_positive_definite_in_forty_digits(share):
    # Weights at the very edge, where rounding decides; some sums of signs cancel.
    for seed in range(4):
        rng = np.random.default_rng(seed)
        d, r = 9, 3
        diagonal, factors = np.exp(3 * rng.normal(size=d)), rng.normal(size=(d, r))
        grown = np.diag(diagonal) + 1e3 * seed * factors[:, 1:] @ factors[:, 1:].T
        most = factors[:, 0] @ np.linalg.solve(grown, factors[:, 0])
        weights = np.array([-(1.0 - share) / most, 1e3 * seed, 1e3 * seed])
        given = {"diagonal": diagonal, "factors": factors, "weights": weights}
        with mp.workdps(40):
            smallest = min(mp.eigsy(exact_matrix(*given.values()), eigvals_only=True))
        # What `inscribed_radius` rests on; 0 is what the region refuses.
        found = smallest_axis_down(**given)
        assert (found > 0) == (share > 1e-9)
        assert 0 <= found <= max(smallest, 0)
        if found == 0:
            with pytest.raises(ValueError, match="not proven to be positive definite"):
                LowRankEllipsoid([1.0], **given)


def test_extreme_parameters_give_answers_on_the_safe_side():
    # Two equal columns, so that the small matrix is singular in floats.
    for size in (1e-60, 1e20, 1e60):
        factors = np.full((40, 2), size)
        region = LowRankEllipsoid([1.0], diagonal=np.full(40, 1e-3), factors=factors)
        assert 0 < region.inscribed_radius()[0] <= 1e-3
        assert np.isfinite(region.log_volume())
        assert region.contains(np.zeros((1, 40)))[0]
        # Across the factors the semi-axis is 1e-3.
        point = np.zeros((1, 40))
        point[0, :2] = 1e-3, -1e-3
        assert not region.contains(point)[0]
    tiny = LowRankEllipsoid([1e-300], diagonal=[1e-60, 1.0], factors=[[0.0], [1.0]])
    assert tiny.inscribed_radius()[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": [-1.0]}, "radius is"),
        ({"diagonal": [1.0, 0.0]}, r"diagonal holds 0\.0; allowed: numbers from 1e-70"),
        ({"diagonal": [1.0, np.nan]}, "diagonal hold a number beyond 1e"),
        ({"factors": [[np.inf], [0.0]]}, "factors hold a number beyond 1e"),
        ({"factors": [[1.0]]}, r"factors have shape \(1, 1\); allowed: 2 rows"),
        ({"factors": [1.0, 2.0]}, r"factors have shape \(2,\); allowed: \(d, r\), or one"),
        ({"factors": np.ones((2, 2, 1))}, r"one for each of 1 regions"),
        ({"factors": np.ones((2, 0))}, r"factors have shape \(2, 0\)"),
        ({"weights": [1.0, 1.0]}, r"weights have shape \(2,\); allowed: 1 numbers, one for each"),
        ({"weights": 1.0}, r"weights have shape \(\); allowed: \(r,\), or one for each of 1"),
        ({"weights": [np.nan]}, "weights hold a number beyond 1e"),
        ({"weights": [1e71]}, "weights hold a number beyond 1e"),
        ({"factors": [[1e60], [0.0]], "weights": [1e30]}, r"their weights reach 1e\+75; allowed"),
        ({"weights": [-1.0]}, "weights hold -1, with which the matrix is not proven"),
    ],
)
def test_bad_arguments_are_named(change, message):
    given = {"radius": [1.0], "diagonal": [1.0, 2.0], "factors": [[1.0], [0.0]], **change}
    with pytest.raises(ValueError, match=message):
        LowRankEllipsoid(given.pop("radius"), **given)
