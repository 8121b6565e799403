"""Slices and shadows against points of the region, and closed forms."""

import numpy as np
import pytest

from rsbounds.regions import Ball, CrossPolytope, Ellipsoid, LowRankEllipsoid, half_widths, outline

RNG = np.random.default_rng(2)
AXES = np.array([0.5, 1.0, 2.0])
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
FACTORS = np.linalg.qr(RNG.normal(size=(3, 2)))[0]
WEIGHTS = np.array([-0.7 * AXES.min(), 0.9])
REGIONS = {
    "l1": Ball([0.7], norm="l1", dimension=3),
    "l2": Ball([0.7], norm="l2"),
    "linf": Ball([0.7], norm="linf", dimension=3),
    "axes": Ellipsoid([0.7], axes=AXES),
    "rotated": Ellipsoid([0.7], axes=AXES, rotation=TURN),
    "cross": CrossPolytope([0.7], axes=AXES),
    "low-rank": LowRankEllipsoid([0.7], diagonal=AXES, factors=FACTORS, weights=WEIGHTS),
}
PLANES = {"coordinates": (2, 0), "turned": np.linalg.qr(RNG.normal(size=(3, 2)))[0].T}


def directions(plane):
    return np.eye(3)[list(plane)] if isinstance(plane, tuple) else plane


def within(polygon, points):
    """How far points are outside of a convex counter-clockwise polygon, relative to its size."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    length = np.hypot(*edges.T)
    kept = length > 1e-9 * np.abs(polygon).max()
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)[kept] / length[kept, None]
    beyond = ((points[:, None] - polygon[None, kept]) * normals).sum(axis=2).max(axis=1)
    return beyond / np.abs(polygon).max()


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", REGIONS)
def test_a_slice_is_where_the_region_ends(kind, plane):
    region, at = REGIONS[kind], outline(REGIONS[kind], plane=PLANES[plane], points=40)
    wide = at @ directions(PLANES[plane])
    many = region[[0] * 40]
    assert many.contains(wide * (1 - 1e-9)).all()
    assert not many.contains(wide * (1 + 1e-9)).any()


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", REGIONS)
def test_a_shadow_holds_all_points_and_no_more(kind, plane):
    region, basis = REGIONS[kind], directions(PLANES[plane])
    shadow = outline(region, plane=PLANES[plane], view="shadow")
    # Points of the region: of a box around it, and the corners that reach farthest.
    box = RNG.uniform(-1, 1, (40_000, 3)) * region.circumscribed_radius(3)
    own = box[region[[0] * len(box)].contains(box)]
    assert len(own) > 700
    assert (within(shadow, own @ basis.T) < 2e-4).all()
    # Pushed out to the boundary, points come close to every part of the outline.
    gauge = region._gauge_up(own) / 0.7
    edge = (own / gauge[:, None]) @ basis.T
    near = np.linalg.norm(shadow[::12, None] - edge[None], axis=2).min(axis=1)
    assert near.max() < 0.12 * np.abs(shadow).max()
    # The slice is in the shadow.
    assert (within(shadow, outline(region, plane=PLANES[plane])) < 2e-4).all()


@pytest.mark.parametrize("kind", ["l1", "l2", "axes", "cross"])
def test_along_the_coordinates_slice_and_shadow_are_the_same(kind):
    slice_, shadow = (outline(REGIONS[kind], plane=(0, 1), view=v) for v in ("slice", "shadow"))
    assert (within(shadow, slice_) < 1e-4).all()
    assert (within(slice_, shadow) < 1e-4).all()


@pytest.mark.parametrize("view", ["slice", "shadow"])
def test_a_thin_region_loses_neither_its_ends_nor_its_sides(view):
    # In equal angles, 1 degree apart, the end of a needle that is not along the axes is missed.
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    needle = Ellipsoid([1.0], axes=[1000.0, 1.0], rotation=turn)
    own = outline(needle, view=view) @ turn
    assert np.abs(own).max(axis=0) == pytest.approx([1000.0, 1.0], rel=1e-3)
    assert np.hypot(own[:, 0] / 1000, own[:, 1]) == pytest.approx(np.ones(360), rel=1e-6)
    gaps = np.diff(own / [1000, 1], axis=0)
    assert np.hypot(*gaps.T).max() < 0.02


def test_closed_forms():
    # A square, whose shadow from a corner is a regular hexagon of sides 2 R sqrt(2/3).
    corner = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2.0], [6.0]])
    hexagon = outline(Ball([1.0], norm="linf"), plane=corner, view="shadow")
    assert np.linalg.norm(hexagon, axis=1).max() == pytest.approx(2 * np.sqrt(2 / 3), rel=1e-3)
    # The shadow of C times a ball has the half-width |C u| in every direction u.
    region = REGIONS["low-rank"]
    matrix = np.diag(AXES) + FACTORS * WEIGHTS @ FACTORS.T
    shadow = outline(region, plane=(0, 2), view="shadow", points=3600)
    assert shadow[:, 0].max() == pytest.approx(0.7 * np.linalg.norm(matrix[0]), rel=1e-6)
    assert shadow[:, 1].max() == pytest.approx(0.7 * np.linalg.norm(matrix[2]), rel=1e-6)
    # Of several regions one is meant.
    both = Ellipsoid([1.0, 2.0], axes=[[1.0, 2.0], [3.0, 4.0]])
    assert outline(both, 1, points=8)[0].tolist() == pytest.approx([6.0, 0.0])
    assert (outline(Ball([0.0], norm="l2")) == 0).all()


@pytest.mark.parametrize("kind", REGIONS)
def test_half_widths_are_those_of_the_shadow(kind):
    if kind == "l2":
        with pytest.raises(ValueError, match="region has no dimension"):
            half_widths(REGIONS[kind])
        return
    region = REGIONS[kind][[0, 0]].with_radius([0.7, 1.4])
    widths = half_widths(region)
    assert widths.shape == (2, 3)
    for i in (1, 2):
        shadow = outline(region, 1, plane=(0, i), view="shadow", points=720)
        assert shadow.max(axis=0) == pytest.approx(widths[1, [0, i]], rel=1e-4)
    assert widths[1] == pytest.approx(2 * widths[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": 1}, "row is 1"),
        ({"plane": (0, 3)}, r"plane is \(0, 3\); allowed: two coordinates of 3"),
        ({"plane": (1, 1)}, "plane is"),
        ({"plane": (0.0, 1.0)}, "plane is"),
        ({"plane": np.ones((2, 3))}, "two orthonormal directions"),
        ({"plane": np.eye(2)}, r"in a \(2, 3\) array"),
        ({"view": "top"}, "view is 'top'"),
        ({"points": 10}, "points is 10; allowed: a multiple of 4"),
        ({"points": 4}, "points is 4"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        outline(REGIONS["axes"], **change)
