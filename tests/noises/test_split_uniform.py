"""Splitting noise against the paper's formula, and against every perturbation of tiny inputs."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import rsbounds
from rsbounds.noises import SplitUniform
from rsbounds.noises.split_uniform import _places
from rsbounds.streams import CounterStream


def copies(law, x, kind=np.float64):
    x = np.asarray(x, dtype=kind)
    out = np.empty((law.cells, x.size), dtype=kind)
    CounterStream(law, x.shape, seed=1, role="estimate").add(out, x.ravel(), 0, 0)
    return out


def by_the_formula(level, place, cell, cells, top):
    """Levine and Feizi 2021, equation of the quantised theorem, in steps and in fractions."""
    s = Fraction((cell + place) % cells) + Fraction(1, 2)
    up = math.ceil((level - s) / cells)
    high = min(cells * up + s, Fraction(top))
    low = max(cells * (up - 1) + s, Fraction(0))
    return (high + low) / 2


@pytest.mark.parametrize("offsets", [None, 0, 7])
@pytest.mark.parametrize(("levels", "cells"), [(2, 1), (4, 3), (5, 2), (6, 9), (256, 40)])
def test_copies_are_those_of_the_paper(levels, cells, offsets):
    top = levels - 1
    law = SplitUniform(0.5 * cells / top, levels=levels, offsets=offsets)
    assert law.cells == cells
    level = np.array([0, top, top // 2, 1])
    places = _places(offsets, 4, cells)
    assert ((places >= 0) & (places < cells)).all()
    found = copies(law, level / top)
    for t in range(cells):
        expected = [
            by_the_formula(int(v), int(p), t, cells, top) / top
            for v, p in zip(level, places, strict=True)
        ]
        np.testing.assert_allclose(found[t], [float(e) for e in expected], rtol=1e-15, atol=0)


@pytest.mark.parametrize("offsets", [None, 3])
def test_each_coordinate_has_every_place_once(offsets):
    # The theorem asks that the place of a threshold is uniform in each coordinate: an input one
    # level away has other copies in exactly one cell, one k levels away in min(k, cells).
    law = SplitUniform(2.5 / 7, levels=8, offsets=offsets)
    for coordinate, start, to in itertools.product(range(5), range(8), range(8)):
        x = np.zeros(5)
        x[coordinate] = start / 7
        y = x.copy()
        y[coordinate] = to / 7
        differ = (copies(law, x) != copies(law, y)).any(axis=1).sum()
        assert differ == min(abs(start - to), law.cells)


def answers(law, table, points):
    """Counts at all points of a classifier that is a table of its noisy copies."""
    found = []
    for x in points:
        votes = [table[tuple(c)] for c in copies(law, x).tolist()]
        found.append(np.bincount(votes, minlength=3))
    return np.array(found)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("cells", "offsets"), [(2, None), (3, 0), (5, 1), (7, None)])
def test_no_perturbation_within_a_radius_changes_the_answer(cells, offsets, seed):
    # Every perturbation of every input of 2 numbers with 4 levels, random classifiers with a
    # leaning so that some radii are large.
    law = SplitUniform(cells / 6, levels=4, offsets=offsets)
    points = np.array(list(itertools.product(range(4), repeat=2))) / 3
    rng = np.random.default_rng(seed)
    share = rng.dirichlet([3.0, 1.0, 0.5])
    every = sorted({tuple(c) for x in points for c in copies(law, x).tolist()})
    table = {c: int(rng.choice(3, p=share)) for c in every}
    counts = answers(law, table, points)
    found = rsbounds.certify(counts, rsbounds.select_top(counts), noise=law)
    assert (found.candidate == counts.argmax(axis=1)).all()
    distance = np.abs(points[:, None] - points[None]).sum(axis=2)
    for i, c in enumerate(found):
        inside = distance[i] < c.radius
        assert inside.any() or c.abstained
        assert (counts.argmax(axis=1)[inside] == c.candidate).all()


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("wins_ties", [True, False])
def test_the_worst_classifier_loses_at_the_radius(k, wins_ties):
    # The k cells that tell 0 from k vote for the class at 0 and for the other at k. Where a tie is
    # lost a lead of 2 k is just not enough for k levels, where it is won one of 2 k - 2 is not.
    law = SplitUniform(0.5, levels=11)
    here, there = copies(law, [0.0]).ravel(), copies(law, [k / 10]).ravel()
    own, rival = (0, 1) if wins_ties else (1, 0)
    apart = here != there
    assert apart.sum() == k
    table = {float(v): own for v in here[apart]} | {float(v): rival for v in there[apart]}
    shared = sorted(set(here[~apart].tolist()) - set(table))
    assert len(shared) == 10 - k
    mine = 4 if wins_ties else 5
    table |= {v: own if i < mine else rival for i, v in enumerate(shared)}
    before, after = (
        np.bincount([table[float(v)] for v in part], minlength=2) for part in (here, there)
    )
    lead = 2 * k - 2 * wins_ties
    assert before[own] - before[rival] == lead
    assert after.argmax() == rival
    found = rsbounds.certify(before, own, noise=law)
    assert found.radius[0] <= lead / 20 <= k / 10
    assert found.radius[0] >= lead / 20 * (1 - 1e-12)
    assert before.argmax() == own


def test_copies_say_nothing_of_an_input_but_their_interval():
    # A classifier that reads the last bits of its input gets the same bits from every input of the
    # interval, in either type: no rounding is left that could tell them.
    for kind in (np.float32, np.float64):
        law = SplitUniform(0.1, levels=256)
        a, b = copies(law, np.array([30, 77]) / 255, kind), copies(law, [40 / 255, 77 / 255], kind)
        same = (np.abs(a - b) < 1e-4).all(axis=1)
        assert 0 < same.sum() < law.cells
        assert (a[same].view(np.uint8) == b[same].view(np.uint8)).all()


def test_float32_pictures_are_taken_for_their_levels():
    law = SplitUniform(0.5)
    picture = np.arange(256, dtype=np.uint8)
    exact = copies(law, picture / 255.0)
    for given in (
        picture.astype(np.float32) / np.float32(255),
        picture.astype(np.float32) * np.float32(1 / 255),
    ):
        np.testing.assert_array_equal(copies(law, given), exact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"half_width": 0.25},
            r"half_width is 0.25; allowed: multiples of half a step, 0.00196078",
        ),
        ({"half_width": 1e-4}, "such as 1 "),
        ({"half_width": 1e9}, "up to 16777216 of them"),
        ({"half_width": 0.0}, "half_width is 0.0"),
        ({"levels": 1}, "levels is 1; allowed: an integer from 2 to 65536"),
        ({"levels": 255.5}, "levels is 255.5"),
        ({"largest": -1.0}, "largest is -1.0"),
        ({"offsets": -1}, "offsets is -1"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        SplitUniform(**{"half_width": 0.5, **change})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.1234, 0.0]], r"inputs hold 0.1234 at \[0\] with noise split-uniform"),
        ([[0.0, 1.2]], r"inputs hold 1.2 at \[1\]"),
        ([[-1 / 255, 0.0]], "inputs hold -0.00392157"),
        ([[0.0, 200.0]], "largest=255 where pixels go up to 255"),
        (np.array([[3, 200]], dtype=np.uint8), "inputs have type uint8"),
        ([[0.0, np.nan]], "inputs.*nan; allowed: finite"),
    ],
)
def test_inputs_without_a_level_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        rsbounds.sample_counts(
            lambda b: (b[:, 0] > 0.5).astype(int), x, noise=SplitUniform(0.5), num_classes=2
        )
