"""The memory of disjoint regions: its invariant, its answers, and what others got wrong."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds import NO_CLASS, Certificates, MemoryClassifier
from rsbounds.certificates import family_alpha
from rsbounds.certificates._memory_index import Index
from rsbounds.regions import Ball, CrossPolytope, Ellipsoid, LowRankEllipsoid, disjoint

some = settings(max_examples=6)


def empty(dimension=2, **more):
    return MemoryClassifier(model="m", noise="gaussian", dimension=dimension, **more)


def ball(radius, norm="l2"):
    return Ball([radius], norm=norm)


def region(kind, rng, radius):
    axes = np.exp(0.5 * rng.normal(size=2))
    if kind == "ellipsoid":
        return Ellipsoid([radius], axes=axes)
    if kind == "rotated":
        return Ellipsoid([radius], axes=axes, rotation=np.linalg.qr(rng.normal(size=(2, 2)))[0])
    if kind == "low-rank":
        # Axes that are longer or shorter than the diagonal's.
        turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
        weights = axes.min() * rng.uniform(-0.9, 2.0, 2)
        return LowRankEllipsoid([radius], diagonal=axes, factors=turn, weights=weights)
    if kind == "cross-polytope":
        return CrossPolytope([radius], axes=axes)
    return ball(radius, kind)


def overlaps(memory):
    """Pairs of stored balls of different classes that meet, in exact arithmetic."""
    found = []
    stored = [
        (i, a.candidate, memory.point_of(i), Fraction(a.radius), memory.region_of(i).norm)
        for i, a in enumerate(memory)
        if not a.abstained
    ]
    for i, c, x, r, norm in stored:
        for j, k, y, s, _ in stored[:i]:
            if c == k:
                continue
            gaps = [abs(Fraction(float(p)) - Fraction(float(q))) for p, q in zip(x, y, strict=True)]
            if norm == "l2":
                meets = sum(g * g for g in gaps) < (r + s) ** 2
            else:
                meets = (sum(gaps) if norm == "l1" else max(gaps)) < r + s
            if meets:
                found.append((i, j))
    return found


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@some
@given(seed=st.integers(0, 10**6), single=st.booleans())
def test_no_two_balls_of_different_classes_meet_in_any_order(norm, seed, single):
    rng = np.random.default_rng(seed)
    memory = empty()
    # A coarse grid: inputs that coincide, and regions that touch to the last bit.
    points = rng.integers(0, 12, size=(30, 2)) / 8.0
    points = points.astype(np.float32) if single else points
    for x in points:
        memory.add(x, int(rng.integers(0, 3)), ball(float(rng.integers(0, 6)) / 8.0, norm))
    assert overlaps(memory) == []
    assert len(memory) == len({tuple(x) for x in points.tolist()})


@pytest.mark.parametrize("kind", ["l2", "ellipsoid", "rotated", "low-rank", "cross-polytope"])
def test_the_answer_is_constant_on_every_stored_region(kind):
    rng = np.random.default_rng(4)
    memory = empty()
    for _ in range(24):
        memory.add(rng.uniform(-1, 1, 2), int(rng.integers(0, 3)), region(kind, rng, 0.4))
    kinds = {answer.adjusted for answer in memory}
    assert kinds == {"no", "shrunk", "relabelled"}
    for i, answer in enumerate(memory):
        assert answer.radius <= answer.own_radius
        assert (answer.adjusted == "no") == (answer.by is None)
        if answer.abstained:
            continue
        held = memory.region_of(i)
        u = rng.normal(size=(4, 2))
        copies = held[np.zeros(4, dtype=int)]
        gauge = copies.with_radius(np.ones(4))._gauge_up(u)
        inside = memory.point_of(i) + u / gauge[:, None] * answer.radius * rng.uniform(0, 0.999)
        assert (memory.predict(inside) == answer.candidate).all()
        for j in range(i):
            if memory[j].candidate != answer.candidate and not memory[j].abstained:
                pair = disjoint(held, memory.point_of(i), memory.region_of(j), memory.point_of(j))
                assert pair.proven[0]


def test_every_region_is_avoided_not_only_the_nearest():
    # The nearest centre is harmless; the region beyond it is in the way.
    memory = empty()
    memory.add([0.0, 0.0], 0, ball(0.1))
    memory.add([3.0, 0.0], 1, ball(2.0))
    answer = memory.add([0.5, 0.0], 0, ball(1.0))
    assert answer.adjusted == "shrunk"
    assert answer.by == 1
    assert 0.5 - 1e-12 < answer.radius < 0.5


def test_a_point_in_a_farther_and_bigger_region_gets_its_class():
    memory = empty()
    memory.add([0.0, 0.0], 0, ball(0.1))
    memory.add([3.0, 0.0], 1, ball(2.8))
    answer = memory.add([0.5, 0.0], 0, ball(1.0))
    assert (answer.adjusted, answer.candidate, answer.by) == ("relabelled", 1, 1)
    assert 0.3 - 1e-12 < answer.radius < 0.3


def test_what_is_stored_is_the_adjusted_region():
    memory = empty()
    memory.add([0.0, 0.0], 0, ball(1.0))
    memory.add([1.5, 0.0], 1, ball(1.0))
    # It would be cut at 0.5 if the second one were kept at its own radius of 1.
    answer = memory.add([2.5, 0.0], 0, ball(1.0))
    assert (answer.adjusted, answer.by) == ("shrunk", 1)
    assert abs(answer.radius - 0.5) < 1e-12
    assert memory.region_of(1).radius[0] == memory[1].radius < 0.5


def test_regions_of_one_class_may_overlap_and_share():
    memory = empty()
    memory.add([0.0, 0.0], 0, ball(1.0))
    assert memory.add([0.5, 0.0], 0, ball(2.0)).adjusted == "no"
    # In two stored regions: the one where more is left.
    answer = memory.add([0.6, 0.0], 1, ball(3.0))
    assert (answer.adjusted, answer.candidate, answer.by) == ("relabelled", 0, 1)
    assert 1.9 - 1e-12 < answer.radius < 1.9


def test_the_same_input_gets_the_same_answer():
    memory = empty()
    first = memory.add(np.float32([0.1, -0.0]), 3, ball(0.5))
    assert memory.add(np.float64(np.float32([0.1, 0.0])), 1, ball(9.0)) is first
    memory.add([9.0, 0.0], None, ball(0.0))
    assert memory.add([9.0, 0.0], 2, ball(1.0)).abstained
    assert len(memory) == 2
    assert memory.predict([[9.0, 0.0]]).tolist() == [NO_CLASS]


def test_abstained_inputs_keep_nobody_away():
    memory = empty()
    memory.add([0.0, 0.0], 1, ball(0.0))
    memory.add([0.1, 0.0], NO_CLASS, ball(0.7))
    assert [a.abstained for a in memory] == [True, True]
    assert [a.top for a in memory] == [None, None]
    answer = memory.add([0.5, 0.0], 2, ball(1.0))
    assert (answer.adjusted, answer.radius) == ("no", 1.0)
    # They lie in a certified region now, whose certificate says 2.
    assert memory.predict([[0.0, 0.0], [0.1, 0.0]]).tolist() == [2, 2]
    # One that abstains inside a stored region has the region's class, at no radius of its own.
    inner = memory.add([0.6, 0.0], None, ball(0.0))
    assert (inner.candidate, inner.adjusted, inner.by, inner.radius) == (2, "relabelled", 2, 0.0)


def test_on_the_border_nothing_is_certified():
    memory = empty()
    memory.add([0.0, 0.0], 0, ball(1.0))
    answer = memory.add([1.0, 0.0], 1, ball(1.0))
    assert answer.abstained
    assert answer.own_radius == 1.0
    near = memory.add([np.nextafter(1.0, 2.0), 0.0], 1, ball(1.0))
    assert near.radius < 1e-15
    assert overlaps(memory) == []


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([1, 2, 64, 65, 200]),
    scale=st.sampled_from([1e-300, 1e-22, 1e-19, 1.0, 255.0, 1e20, 1e300]),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
)
def test_the_search_loses_no_region_within_reach(seed, d, scale, offset):
    rng = np.random.default_rng(seed)
    points = (offset + rng.normal(size=(30, d)) * rng.choice([1e-3, 1.0])) * scale
    # Reaches that fall short of the first point by little, and such as just get there.
    away = np.sqrt((((points[0] - points) / scale) ** 2).sum(axis=1))
    short = rng.random(30) < 0.3
    reaches = scale * np.maximum(away - 0.1 * away[1], 0.0) * np.where(short, 0.9, 1 + 1e-9)
    index = Index(d)
    for point, reach in zip(points, reaches, strict=True):
        index.append(point, float(reach))
    found = index.near(points[0], float(0.1 * away[1] * scale))
    assert set(np.flatnonzero(~short)) <= set(found)
    spread = rng.normal(size=(50, d)) * 100
    plain = Index(d)
    for point in spread:
        plain.append(point, 1.0)
    if d >= 64:
        # It is of use, too: hardly any of these is looked at.
        assert len(plain.near(spread[0], 1.0)) < 5


@pytest.mark.parametrize(
    ("place", "point", "reach"),
    [([1e-23, 0.0], [1.001e-23, 0.0], 1e-25), ([1e20, 0.0], [-1e20, 0.0], 3e20)],
)
def test_the_search_is_right_where_single_precision_ends(place, point, reach):
    index = Index(2)
    index.append(np.zeros(2), 0.0)
    index.append(np.array(place), reach)
    assert 1 in index.near(np.array(point), reach)


def test_certificates_say_which_classifier_they_are_about(tmp_path):
    law = rsbounds.noises.DiagonalGaussian(axes=[[0.2, 0.8], [0.5, 0.3]], batched=True)
    own = rsbounds.certify([[990, 10], [10, 990]], [0, 1], noise=law)
    assert own.about == "fixed noise"
    memory = MemoryClassifier(model="m", noise="diagonal-gaussian", dimension=2)
    found = memory.certify([[0.0, 0.0], [0.9, 0.9]], own, noise=law)
    assert found.about == "memory"
    assert str(found).endswith("about the memory classifier")
    assert "memory" not in str(own)
    assert found.radius[1] < own.radius[1]
    shrunk = found.radius[1] / own.radius[1]
    for size in ("inscribed_radius", "proxy_radius"):
        mine, before = getattr(found, size), getattr(own, size)
        assert mine.tolist() == pytest.approx([before[0], before[1] * shrunk], rel=1e-12)
    assert [a.adjusted for a in memory] == ["no", "shrunk"]
    for ending in ("tsv", "jsonl"):
        path = tmp_path / f"c.{ending}"
        found.write(path)
        back = Certificates.read(path)
        assert back.about == "memory"
        assert back.radius.tolist() == found.radius.tolist()
    with pytest.raises(ValueError, match="about the classifier with a memory"):
        memory.certify([[0.0, 0.0], [0.9, 0.9]], found, noise=law)
    other = rsbounds.noises.DiagonalGaussian(axes=[[0.2, 9.0], [0.5, 0.3]], batched=True)
    with pytest.raises(ValueError, match="as certified"):
        memory.certify([[0.0, 0.0], [0.9, 0.9]], own, noise=other)
    with pytest.raises(ValueError, match="diagonal-gaussian noise, that of the memory"):
        memory.certify([[0.0, 0.0], [0.9, 0.9]], own, noise=rsbounds.Gaussian(0.5))
    with pytest.raises(ValueError, match="one for each of 2"):
        memory.certify([[0.0, 0.0]], own, noise=law)
    with pytest.raises(ValueError, match="x holds nan"):
        memory.certify([[5.0, 0.0], [np.nan, 0.9]], own, noise=law)
    # All or none: the first one was in order.
    assert len(memory) == 2


def test_outside_of_all_regions_the_base_answers():
    asked = []

    def base(batch):
        asked.append(batch.shape)
        return np.full(len(batch), 7)

    memory = MemoryClassifier(model="m", noise="gaussian", dimension=4, base=base)
    memory.add(np.zeros((2, 2)), 1, ball(1.0))
    inputs = np.stack([np.full((2, 2), 0.4), np.full((2, 2), 0.6), np.zeros((2, 2))])
    assert memory.predict(inputs).tolist() == [1, 7, 1]
    assert asked == [(1, 2, 2)]
    assert len(memory) == 1
    assert memory.find(inputs[0]) == 0
    assert memory.find(inputs[1]) is None
    for wrong in (lambda b: [0.5], lambda b: [-1], lambda b: [1, 2]):
        bad = MemoryClassifier(model="m", noise="gaussian", dimension=4, base=wrong)
        with pytest.raises(ValueError, match="base returned"):
            bad.predict(inputs[:1])
    alone = empty(4)
    alone.add(np.zeros(4), 1, ball(1.0))
    with pytest.raises(ValueError, match=r"x\[1\] lies in no stored region"):
        alone.predict(inputs)


def test_float32_inputs_may_be_followed_by_others():
    memory = empty(1)
    for i in range(40):
        memory.add(np.float32([i]), i % 2, ball(0.6))
    memory.add([0.1], 0, ball(0.01))
    assert memory.point_of(40).tolist() == [0.1]
    assert memory.point_of(39).tolist() == [39.0]
    assert overlaps(memory) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.add([0.0], 1, ball(1.0)), "x has 1 numbers; allowed: 2"),
        (lambda m: m.add([0.0, np.inf], 1, ball(1.0)), "x holds inf"),
        (lambda m: m.add([0.0, 9.0], -1, ball(1.0)), "candidate is -1"),
        (lambda m: m.add([0.0, 9.0], 1, Ball([1.0, 2.0], norm="l2")), "allowed: one region"),
        (lambda m: m.add([0.0, 9.0], 1, ball(1.0, "l1")), "region is Ball l1"),
        (lambda m: m.add([0.0, 9.0], 1, Ellipsoid([1.0], axes=[1, 1])), "region is Ellipsoid"),
        (lambda m: m.add([0.0, 9.0], 1, CrossPolytope([1.0], axes=[1] * 3)), "3 coordinates"),
        (lambda m: m.predict([0.0, 0.0]), "x has shape"),
        (lambda m: MemoryClassifier(model=1, noise="g", dimension=2), "model is 1"),
        (lambda m: MemoryClassifier(model="m", noise="g", dimension=0), "dimension is 0"),
        (lambda m: MemoryClassifier(model="m", noise="g", dimension=1, base=3), "base is 3"),
        (lambda m: m.restore([0.0, 9.0], ball(1.0), m[0]), "the next one"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    memory = empty()
    memory.add([0.0, 0.0], 1, ball(1.0))
    with pytest.raises(ValueError, match=message):
        call(memory)
    assert len(memory) == 1


@pytest.mark.parametrize("inputs", [1, 3, 7, 1000, None])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 1 / 3])
def test_shares_of_alpha_add_up_to_no_more(alpha, inputs):
    shares = family_alpha(alpha, inputs) if inputs else family_alpha(alpha, index=range(2000))
    total = sum(Fraction(float(share)) for share in shares)
    assert Fraction(alpha) * Fraction(999, 1000) < total <= Fraction(alpha)
    assert family_alpha(alpha, 5, index=[4]).tolist() == [family_alpha(alpha, 5)[0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 3), "alpha is 0.0"),
        ((0.1,), "inputs and index are None"),
        ((0.1, 0), "inputs is 0"),
        ((1e-299, 100), "smallest share"),
    ],
)
def test_bad_shares_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        family_alpha(*arguments)
    with pytest.raises(ValueError, match="index holds 3; allowed: 0 to 2"):
        family_alpha(0.1, 3, index=[3])
    with pytest.raises(ValueError, match="index is"):
        family_alpha(0.1, index=[-1])
