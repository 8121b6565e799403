"""Laws on a lattice: spacings, texts and plain values, and distances to the lattice."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rsbounds
from rsbounds.noises import noise_from_dict
from rsbounds.noises._lattice import distances


def test_auto_is_a_lattice_of_pictures_that_depends_on_the_law_alone():
    for sigma in (0.05, 0.12, 0.25, 0.5, 1.0, 5.0):
        law = rsbounds.Gaussian(sigma, lattice="auto")
        halvings = math.log2(1 / 255 / law.lattice)
        assert halvings == int(halvings) >= 0
        assert law.table().bits <= 16
        # The next finer one has more columns than are fast, or than there may be.
        if law.table().bits <= 14:
            assert rsbounds.Gaussian(sigma, lattice=law.lattice / 2).table().bits == 15
        pixels = np.arange(256) / 255
        assert distances(pixels[None].astype(np.float32), law.lattice, "l2") < 1e-6
        assert distances(np.arange(256)[None] / 255.0, law.lattice, "l2") < 1e-6
    # Pixels from 0 to 255.
    assert rsbounds.Gaussian(64.0, lattice="auto").lattice == 1 / 8
    assert rsbounds.Uniform(0.5, lattice="auto").lattice == 1 / 16320
    assert rsbounds.Gaussian([0.25, 0.5], lattice="auto").lattice == 1 / 1020


def test_a_law_is_known_with_its_lattice_and_without_one_as_before():
    plain = rsbounds.Gaussian(0.25)
    assert plain.to_dict() == {"name": "gaussian", "sigma": 0.25}
    assert (str(plain), repr(plain)) == ("gaussian(sigma=0.25)", "Gaussian(sigma=0.25)")
    assert plain == noise_from_dict(plain.to_dict())
    law = rsbounds.Gaussian(0.25, lattice=2.0**-8)
    assert law.to_dict() == {"name": "gaussian", "sigma": 0.25, "lattice": 2.0**-8}
    assert str(law) == "gaussian(sigma=0.25, lattice=1/256)"
    assert repr(law) == "Gaussian(sigma=0.25, lattice=0.00390625)"
    assert law != plain
    assert law.scaled(2.0) == rsbounds.Gaussian(0.5, lattice=2.0**-8)
    assert law.scaled([1.0, 2.0])[1] == rsbounds.Gaussian(0.5, lattice=2.0**-8)
    outer = rsbounds.Lipschitz(2.0, law)
    assert (outer.spacing, outer.table()) == (law.spacing, law.table())


@pytest.mark.parametrize(
    "bad", [0.2, 1e-7, 0.0, -1.0, math.nan, math.inf, True, "fine", [0.01], (1, 255)]
)
def test_spacings_that_cannot_be_are_refused(bad):
    with pytest.raises(
        ValueError, match=r"lattice is .*; allowed: a spacing from 9.92e-05 to 0.12"
    ):
        rsbounds.Gaussian(0.25, lattice=bad)


def test_sizes_that_have_no_lattice_in_common_are_refused():
    with pytest.raises(ValueError, match=r"allowed: 'auto' or None, for sigma = 0.001 to 100"):
        rsbounds.Gaussian([0.001, 100.0], lattice="auto")
    with pytest.raises(ValueError, match=r"lattice is 0.6; .* for half_width = 0.5"):
        rsbounds.Uniform(0.5, lattice=0.6)


def exact_distance(x, spacing, norm):
    """Of the points that float32 and float64 inputs are rounded to, the farther, exactly."""
    found = []
    for kind in (np.float32, np.float64):
        cells = np.rint(x.astype(kind).astype(np.float64) / spacing)
        away = [
            abs(Fraction(v) - int(c) * Fraction(spacing))
            for v, c in zip(x.tolist(), cells.tolist(), strict=True)
        ]
        found.append(sum(away) if norm == "l1" else sum(a * a for a in away))
    return max(found)


def test_an_input_on_a_lattice_of_halves_is_at_no_distance():
    x = np.arange(-64, 65)[None] / 16
    for kind in (np.float32, np.float64):
        for norm in ("l1", "l2"):
            assert distances(x.astype(kind), 1 / 256, norm) == 0
            assert distances(x.astype(kind) + kind(2**-12), 1 / 256, norm) > 0


@pytest.mark.parametrize("far", [1e9, 1e300])
def test_inputs_too_far_for_the_lattice_are_refused(far):
    law = rsbounds.Gaussian(0.25, lattice=1 / 255)
    with pytest.raises(ValueError, match=r"inputs hold 1e.* with noise on a lattice of 0.00392"):
        rsbounds.sample_counts(np.argmax, [[0.0, -far]], noise=law, n=9, num_classes=2)


@settings(max_examples=200, deadline=None)
@given(
    spacing=st.one_of(
        st.sampled_from([1 / 255, 1 / 2040, 2.0**-10, 2.0**-3, 0.1]), st.floats(1e-4, 1.0)
    ),
    x=st.lists(st.floats(-40, 40), min_size=1, max_size=6),
    middles=st.lists(st.integers(-9000, 9000), min_size=1, max_size=3),
    norm=st.sampled_from(["l1", "l2"]),
)
def test_distances_are_rounded_up(spacing, x, middles, norm):
    values = np.array(x + [(k + 0.5) * spacing for k in middles])
    bound = Fraction(distances(values[None], spacing, norm)[0])
    true = exact_distance(values, spacing, norm)
    assert (bound if norm == "l1" else bound * bound) >= true
    # And not by much.
    slack = Fraction(2 * (1 + float(np.abs(values).sum())) * 2.0**-22 + spacing * 2.0**-13)
    assert float(bound) <= float(true) ** (1 if norm == "l1" else 0.5) + float(slack)
