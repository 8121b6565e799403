"""Proofs of disjointness against 50 digits, linear programs, grids and sampled points."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import optimize

from rsbounds.regions import (
    Ball,
    CrossPolytope,
    Ellipsoid,
    LowRankEllipsoid,
    disjoint,
    inside,
    shrink_into,
    shrink_to_avoid,
)
from rsbounds.regions.disjoint import _checked

mp.dps = 50
KINDS = ["l1", "l2", "linf", "ellipsoid", "rotated", "low-rank", "cross-polytope"]
#: Pairs for which a proof is found wherever there is one.
COMPLETE = [
    ("l1", "l1"), ("l2", "l2"), ("linf", "linf"), ("l2", "ellipsoid"), ("rotated", "l2"),
    ("ellipsoid", "ellipsoid"), ("ellipsoid", "rotated"), ("rotated", "rotated"),
    ("cross-polytope", "cross-polytope"), ("l1", "cross-polytope"),
    ("low-rank", "low-rank"), ("low-rank", "ellipsoid"), ("rotated", "low-rank"),
]  # fmt: skip
MIXED = [("l1", "l2"), ("linf", "cross-polytope"), ("rotated", "linf"), ("l2", "linf")]


def one(kind, rng, d=3, radius=None):
    """A region of a kind with axes of its own."""
    radius = [float(rng.uniform(0.3, 1.5)) if radius is None else radius]
    axes = np.exp(rng.normal(size=d) * 0.7)
    if kind in ("l1", "l2", "linf"):
        return Ball(radius, norm=kind, dimension=d)
    if kind == "cross-polytope":
        return CrossPolytope(radius, axes=axes)
    if kind == "low-rank":
        axes, turn = axes * 0.7, np.linalg.qr(rng.normal(size=(d, 2)))[0]
        weights = [2.0 * rng.uniform(), -rng.uniform(0.3, 0.98) * axes.min()]
        return LowRankEllipsoid(radius, diagonal=axes, factors=turn, weights=weights)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0] if kind == "rotated" else None
    return Ellipsoid(radius, axes=axes, rotation=turn)


def exact_support(region, w):
    """The largest w . delta over a set, in 50 digits."""
    w = [mpf(float(x)) for x in w]
    r, d = mpf(float(region.radius[0])), len(w)
    if isinstance(region, Ball):
        size = [abs(x) for x in w]
        return (
            r
            * {"l1": max(size), "linf": sum(size), "l2": mp.sqrt(sum(x * x for x in w))}[
                region.norm
            ]
        )
    if isinstance(region, LowRankEllipsoid):
        D, U = region.diagonal[0], mp.matrix(region.factors[0].tolist())
        moved = U * mp.diag([mpf(float(x)) for x in region.weights[0]]) * (U.T * mp.matrix(w))
        return r * mp.sqrt(sum((mpf(float(D[i])) * w[i] + moved[i]) ** 2 for i in range(d)))
    axes = [mpf(float(x)) for x in region.axes[0]]
    if isinstance(region, CrossPolytope):
        return r * max(a * abs(x) for a, x in zip(axes, w, strict=True))
    if region.rotation is not None:
        # The set is V^-T diag(axes) times a ball: floats are not quite a rotation.
        w = list(mp.lu_solve(mp.matrix(region.rotation[0].tolist()), mp.matrix(w)))
    return r * mp.sqrt(sum((w[i] * axes[i]) ** 2 for i in range(d)))


def exact_gap(a, at_a, b, at_b, w):
    """w . v - h_A(w) - h_B(w) in 50 digits."""
    apart = sum(
        mpf(float(x)) * (mpf(float(q)) - mpf(float(p)))
        for x, p, q in zip(w, at_a, at_b, strict=True)
    )
    return apart - exact_support(a, w) - exact_support(b, w)


def matrix(region):
    """A of {delta : delta^T A^-1 delta < 1} of a ball or an ellipsoid, dense."""
    d = region.dimension
    if isinstance(region, LowRankEllipsoid):
        D, U, weights = region.diagonal[0], region.factors[0], region.weights[0]
        whole = np.diag(D) + U * weights @ U.T
        return region.radius[0] ** 2 * whole @ whole
    axes = np.ones(d) if isinstance(region, Ball) else region.axes[0]
    turn = getattr(region, "rotation", None)
    turn = np.eye(d) if turn is None else np.linalg.inv(turn[0]).T
    return region.radius[0] ** 2 * turn @ np.diag(axes**2) @ turn.T


def margin(a, b, v):
    """Above 0 exactly where two regions of one norm are disjoint, to about 1e-6."""
    if a.norm == "l2":
        A, B = matrix(a), matrix(b)

        def value(s):
            return -s * (1 - s) * v @ np.linalg.solve((1 - s) * A + s * B, v)

        found = optimize.minimize_scalar(value, bounds=(1e-9, 1 - 1e-9), method="bounded",
                                         options={"xatol": 1e-10})  # fmt: skip
        return float(np.sqrt(-found.fun)) - 1
    if a.norm == "linf":
        return float(np.abs(v).max() / (a.radius[0] + b.radius[0])) - 1
    # The smallest common factor at which two cross-polytopes touch: a linear program in the
    # weights of the vertices of both.
    axes = [r.radius[0] * (np.ones(len(v)) if isinstance(r, Ball) else r.axes[0]) for r in (a, b)]
    d = len(v)
    vertices = np.hstack([np.diag(axes[0]), -np.diag(axes[0]), np.diag(axes[1]), -np.diag(axes[1])])
    cost = np.append(np.zeros(4 * d), 1.0)
    equal = np.hstack([vertices, np.zeros((d, 1))])
    sums = np.zeros((2, 4 * d + 1))
    sums[0, : 2 * d], sums[1, 2 * d : 4 * d], sums[:, -1] = 1, 1, -1
    found = optimize.linprog(cost, A_ub=sums, b_ub=np.zeros(2), A_eq=equal, b_eq=v)
    return float(found.fun) - 1


seeds = st.integers(0, 10**6)
some = settings(max_examples=8)


@pytest.mark.parametrize("kinds", COMPLETE + MIXED)
@some
@given(seed=seeds, apart=st.floats(0.2, 3.0))
def test_a_proof_holds_in_50_digits_and_one_is_found_where_there_is_one(kinds, seed, apart):
    rng = np.random.default_rng(seed)
    a, b = (one(kind, rng) for kind in kinds)
    at_a = rng.normal(size=3)
    at_b = at_a + apart * rng.normal(size=3)
    found = disjoint(a, at_a, b, at_b)
    w = found.direction[0]
    gap = exact_gap(a, at_a, b, at_b, w)
    if found.proven[0]:
        assert gap > 0
        if found.scale[0] > 1 + 1e-9:
            bigger = a.with_radius(a.radius * found.scale[0] * (1 - 1e-12))
            assert exact_gap(bigger, at_a, b, at_b, w) > 0
    else:
        assert found.scale[0] <= 1
    if kinds in COMPLETE:
        true = margin(a, b, at_b - at_a)
        assert bool(found.proven[0]) == (true > 0) or abs(true) < 1e-6


@pytest.mark.parametrize("kinds", [k for k in COMPLETE if not {"rotated", "low-rank"} & set(k)])
@some
@given(
    seed=seeds,
    nudge=st.sampled_from([0.0, 1e-16, -1e-16, 3e-16, 1e-15, 1e-13, 1e-12, -1e-12, 1e-9]),
)
def test_near_touching_the_safe_side_is_taken(kinds, seed, nudge):
    rng = np.random.default_rng(seed)
    # Inputs are often float32.
    at_a, at_b = rng.normal(size=(2, 3)).astype(np.float32)
    a, b = one(kinds[0], rng), one(kinds[1], rng, radius=0.1)
    reach = disjoint(a, at_a, b, at_b).scale[0]
    if not 0 < reach < np.inf:
        return
    touching = a.with_radius(a.radius * reach * (1 + nudge))
    found = disjoint(touching, at_a, b, at_b)
    if found.proven[0]:
        assert exact_gap(touching, at_a, b, at_b, found.direction[0]) > 0
    assert bool(found.proven[0]) or nudge > -1e-12
    assert not (found.proven[0] and nudge >= 1e-12)


@pytest.mark.parametrize(
    "kinds", [k for k in COMPLETE if {"ellipsoid", "rotated", "low-rank"} & set(k)]
)
@some
@given(seed=seeds)
def test_s_is_a_witness_of_the_ellipsoids(kinds, seed):
    rng = np.random.default_rng(seed)
    a, b = (one(kind, rng) for kind in kinds)
    at_b = 3.0 * rng.normal(size=3)
    found = disjoint(a, np.zeros(3), b, at_b)
    if not found.proven[0]:
        return
    s = mpf(float(found.s[0]))
    A, B = (mp.matrix(matrix(r).tolist()) for r in (a, b))
    v = mp.matrix(at_b.tolist())
    value = s * (1 - s) * (v.T * mp.lu_solve((1 - s) * A + s * B, v))[0]
    # The matrices were rounded when they were formed.
    assert value > 1 - mpf(1e-12)
    assert (found.scale[0] < 1.001) or value > 1


@pytest.mark.parametrize("kinds", COMPLETE + MIXED)
def test_sampled_points_lie_on_their_sides(kinds):
    rng = np.random.default_rng(7)
    for _ in range(8):
        a, b = (one(kind, rng) for kind in kinds)
        at_b = 3.0 * rng.normal(size=3)
        found = disjoint(a, np.zeros(3), b, at_b)
        if not found.proven[0]:
            continue
        points = rng.uniform(-4, 4, size=(4_000, 3))
        in_a = a[np.zeros(4_000, dtype=int)].contains(points)
        in_b = b[np.zeros(4_000, dtype=int)].contains(points - at_b)
        assert not (in_a & in_b).any()
        w = found.direction[0]
        if in_a.any() and in_b.any():
            assert (points[in_a] @ w).max() < (points[in_b] @ w).min()


@pytest.mark.parametrize("kind", KINDS)
@some
@given(seed=seeds)
def test_shrunk_regions_avoid_the_others_and_not_more_than_needed(kind, seed):
    rng = np.random.default_rng(seed)
    region, many = one(kind, rng), [one(kind, rng) for _ in range(4)]
    arrays = [other.arrays() for other in many]
    others = many[0].of_arrays({k: np.concatenate([x[k] for x in arrays]) for k in arrays[0]})
    centre, places = np.zeros(3), 1.5 * rng.normal(size=(4, 3))
    shrunk, which = shrink_to_avoid(region, centre, others, places)
    assert shrunk.radius[0] <= region.radius[0]
    assert disjoint(shrunk, centre, others, places).proven.all()
    for i in range(4):
        w = disjoint(shrunk, centre, others[i], places[i]).direction[0]
        assert shrunk.radius[0] == 0 or exact_gap(shrunk, centre, many[i], places[i], w) > 0
    if which is None:
        assert shrunk is region
    elif shrunk.radius[0] > 0:
        larger = shrunk.with_radius(shrunk.radius * (1 + 1e-9))
        assert not disjoint(larger, centre, others[which], places[which]).proven[0]
    else:
        assert not disjoint(
            region.with_radius([1e-3]), centre, others[which], places[which]
        ).proven[0]


@pytest.mark.parametrize("host_kind", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_regions_shrunk_into_a_host_lie_in_it(kind, host_kind):
    rng = np.random.default_rng(5)
    for _ in range(12):
        region, host = one(kind, rng), one(host_kind, rng)
        centre = 0.4 * rng.normal(size=3)
        shrunk = shrink_into(region, centre, host, np.zeros(3))
        assert shrunk.radius[0] <= region.radius[0]
        if not inside(host, np.zeros(3), centre)[0]:
            assert shrunk.radius[0] == 0
            continue
        assert shrunk.radius[0] > 0
        # The border of the region, in directions where it sticks out farthest.
        u = rng.normal(size=(4000, 3))
        u[:6] = np.vstack([np.eye(3), -np.eye(3)])
        copies = np.zeros(len(u), dtype=int)
        unit = shrunk.with_radius([1.0])[copies]._gauge_up(u)
        border = u / unit[:, None] * shrunk.radius[0] * (1 - 1e-9)
        assert host[copies].contains(centre + border).all()
        if (
            kind == host_kind
            and kind not in ("rotated", "low-rank")
            and shrunk.radius[0] < region.radius[0]
        ):
            larger = u / unit[:, None] * shrunk.radius[0] * 1.02
            assert not host[copies].contains(centre + larger).all()


def test_few_directions_in_many_coordinates_are_the_dense_ellipsoid():
    rng = np.random.default_rng(11)
    d = 40
    low = [one("low-rank", rng, d) for _ in range(2)]
    values, vectors = zip(*(np.linalg.eigh(matrix(r)) for r in low), strict=True)
    dense = [
        Ellipsoid([1.0], axes=np.sqrt(x), rotation=y) for x, y in zip(values, vectors, strict=True)
    ]
    for size in (0.2, 0.5, 1.0, 4.0):
        at = size * rng.normal(size=d)
        few = disjoint(low[0], np.zeros(d), low[1], at)
        many = disjoint(dense[0], np.zeros(d), dense[1], at)
        assert few.proven[0] == many.proven[0]
        assert few.scale[0] == pytest.approx(many.scale[0], rel=1e-6, abs=1e-9)
        around = low[0].circumscribed_radius()[0]
        assert around >= dense[0].semi_axes().max()
        longest = low[0].diagonal.max() + low[0].weights.max()
        assert around < low[0].radius[0] * longest * (1 + 1e-9)


def farthest(region, host, v):
    """The largest host gauge, squared, over an ellipsoid at v, in 50 digits.

    A convex function over a sphere: a trust-region problem with a secular equation.
    """
    scale = mpf(float(host.radius[0]))
    hosts = [scale * mpf(float(x)) for x in host.axes[0]]
    axes = [mpf(float(region.radius[0])) * mpf(float(x)) for x in region.axes[0]]
    rho = [(x / y) ** 2 for x, y in zip(axes, hosts, strict=True)]
    u = [mpf(float(x)) / y for x, y in zip(v, hosts, strict=True)]

    def excess(m):
        return sum(r * x * x / (m - r) ** 2 for r, x in zip(rho, u, strict=True)) - 1

    low, high = max(rho), max(rho) + 1
    while excess(high) > 0:
        high *= 2
    for _ in range(150):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return sum((x + r * x / (high - r)) ** 2 for r, x in zip(rho, u, strict=True))


@some
@given(seed=seeds, spread=st.sampled_from([0.1, 1.0, 4.0]), d=st.sampled_from([1, 2, 7]))
def test_an_ellipsoid_shrunk_into_another_touches_its_border(seed, spread, d):
    rng = np.random.default_rng(seed)
    region, host = (
        Ellipsoid([float(np.exp(rng.normal()))], axes=np.exp(spread * rng.normal(size=d)))
        for _ in range(2)
    )
    v = rng.uniform(-0.9, 0.9) * host.radius[0] * host.axes[0] / np.sqrt(d)
    shrunk = shrink_into(region, v, host, np.zeros(d))
    assert shrunk.radius[0] > 0
    size = farthest(shrunk, host, v)
    assert size < 1
    # No larger one lies inside; the triangle inequality alone would lose much of it.
    assert shrunk.radius[0] == region.radius[0] or size > 1 - mpf(1e-11)


def test_empty_sets_huge_and_tiny_ones():
    zero = Ball([0.0], norm="l2")
    assert disjoint(zero, [0.0, 0.0], Ball([1.0], norm="l2"), [0.0, 0.0]).proven[0]
    for size in (1e-300, 1e-200, 1e-150, 1.0, 1e150, 1e300):
        for norm in ("l1", "l2", "linf"):
            a, b = Ball([size], norm=norm), Ball([0.9 * size], norm=norm)
            met = disjoint(a, [0.0, 0.0], b, [1.8 * size, 0.0])
            assert not met.proven[0]
            clear = disjoint(a, [0.0, 0.0], b, [2.0 * size, 0.0])
            assert clear.proven[0] == (size > 1e-280)
            smaller, _ = shrink_to_avoid(a, [0.0, 0.0], b, [1.8 * size, 0.0])
            assert smaller.radius[0] <= 0.9 * size
            assert disjoint(smaller, [0.0, 0.0], b, [1.8 * size, 0.0]).proven[0]
    wide = Ellipsoid([1e150], axes=[1e150, 1e-150])
    for other in (wide, Ball([1.0], norm="l2"), CrossPolytope([1.0], axes=[1e150, 1.0])):
        found = disjoint(wide, [0.0, 0.0], other, [0.0, 3.0])
        assert np.isfinite(found.direction).all()
        assert not np.isnan(found.scale).any()
    huge = disjoint(Ball([1.0], norm="l2"), [-1.7e308, 0.0], Ball([1.0], norm="l2"), [1.7e308, 0.0])
    assert not huge.proven[0]
    # The same place: nothing keeps two sets around it apart.
    same = Ball([0.3], norm="l2")
    assert shrink_to_avoid(same, [1.0, 1.0], same, [[1.0, 1.0]])[0].radius[0] == 0
    assert shrink_into(same, [9.0, 9.0], same, [1.0, 1.0]).radius[0] == 0
    assert shrink_into(same, [1.0, 1.0], same, [1.0, 1.0]).radius[0] == pytest.approx(0.3)


def test_a_batch_is_its_rows():
    rng = np.random.default_rng(3)
    a = Ellipsoid([0.5, 1.0, 0.2], axes=np.exp(rng.normal(size=(3, 4))))
    b = Ellipsoid([0.4, 0.3, 2.0], axes=np.exp(rng.normal(size=(3, 4))))
    places = rng.normal(size=(2, 3, 4))
    whole = disjoint(a, places[0], b, places[1])
    into = shrink_into(a, places[0] * 0.1, b, np.zeros(4))
    for i in range(3):
        row = disjoint(a[i], places[0, i], b[[i]], places[1, i])
        assert row.proven[0] == whole.proven[i]
        assert row.scale[0] == pytest.approx(whole.scale[i], rel=1e-12)
        alone = shrink_into(a[i], places[0, i] * 0.1, b[i], np.zeros(4))
        assert alone.radius[0] == pytest.approx(into.radius[i], rel=1e-12)


def test_points_on_a_border_are_not_inside():
    ball = Ball([1.0], norm="l2")
    assert inside(ball, [0.0, 0.0], [[0.6, 0.8], [0.6, 0.79]]).tolist() == [False, True]
    assert not inside(ball, [0.0, 0.0], [1e308, -1e308])[0]
    # The difference of the two places is rounded: here down to what would be inside.
    tiny = Ball([1e-17], norm="l2")
    assert not inside(tiny, [1.0, 0.0], [1.0 + 2.3e-16, 0.0])[0]
    turned = Ellipsoid([1.0], axes=[1e6, 1e-6], rotation=[[0.6, -0.8], [0.8, 0.6]])
    point = np.array([0.6, 0.8]) * 5e5 + np.array([-0.8, 0.6]) * 0.99e-6
    exact = mp.lu_solve(
        mp.matrix(turned.rotation[0].T.tolist()) ** -1, mp.matrix([float(x) for x in point])
    )
    size = mp.sqrt((exact[0] / mpf(1e6)) ** 2 + (exact[1] / mpf(1e-6)) ** 2)
    assert not inside(turned, [0.0, 0.0], point)[0] or size < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: disjoint(a, [0.0], a, [[0.0, 1.0]]), "of the same d"),
        (lambda a: disjoint(a, [0.0, np.nan], a, [0.0, 1.0]), "centre_a is"),
        (lambda a: disjoint(a, [0.0, 0.0], a, [np.inf, 1.0]), "centre_b is"),
        (lambda a: disjoint(1.0, [0.0, 0.0], a, [0.0, 1.0]), "region is 1.0"),
        (lambda a: disjoint(a, np.zeros((2, 2)), a, np.zeros((3, 2))), "allowed: one or B"),
        (lambda a: disjoint(Ellipsoid([1.0], axes=[1, 1]), [0.0], a, [1.0]), "1 coordinates"),
        (lambda a: shrink_to_avoid(a[[0, 0]], [0.0], a, [[0.0]]), "allowed: one"),
        (lambda a: a.with_radius([1.0, 2.0]), "radius has 2 numbers"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Ball([1.0], norm="l2"))


def test_a_direction_proves_only_what_it_does_in_exact_arithmetic():
    # Terms that cancel: the sum as floats has it was often above two radii that were larger. The
    # support of an l1 ball in a direction whose largest number is 1 is its radius.
    rng = np.random.default_rng(0)
    proofs = near = 0
    for _ in range(400):
        d = int(rng.integers(2, 12))
        w = rng.uniform(-1.0, 1.0, (1, d))
        w[0, rng.integers(d)] = 1.0
        v = rng.normal(size=(1, d)) * 1e8
        v[0, -1] -= (w @ v.T)[0, 0] / w[0, -1]
        v[0, -1] += 1.0 / w[0, -1]
        terms = zip(w[0].tolist(), v[0].tolist(), strict=True)
        exact = sum(Fraction(a) * Fraction(b) for a, b in terms)
        found = float((w * v).sum())
        for reach in (0.5 * found, found, found * (1 - 4e-15), found * (1 - 1e-6)):
            if not reach > 0:
                continue
            a, b = Ball([0.25 * reach], norm="l1"), Ball([0.75 * reach], norm="l1")
            if _checked(a, b, v, w).proven[0]:
                proofs += 1
                assert exact > Fraction(float(a.radius[0])) + Fraction(float(b.radius[0]))
            near += exact <= Fraction(reach)
    # Both kinds were met.
    assert proofs > 100
    assert near > 100
