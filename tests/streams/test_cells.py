"""Tables of lattice noise against 60 digits of mpmath and against fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from rsbounds.streams import DISTANCE, gaussian_table, laplace_table, uniform_table
from rsbounds.streams._cells import RESOLUTION, lattice_point

LAWS = [(0.25, 1 / 255), (1.0, 0.5), (3.0, 1 / 7), (0.1 + 0.2, 2.0**-6)]


def weights(table):
    """Whole-number weights of the integers -reach to reach, as the columns give them."""
    full = 1 << (RESOLUTION - table.bits)
    found = [0] * (1 << table.bits)
    for column, (held, rest) in enumerate(
        zip(table.packed.tolist(), table.rest.tolist(), strict=True)
    ):
        kept = (held >> table.bits) << 128 | rest[0] << 64 | rest[1]
        found[column] += kept
        found[held & ((1 << table.bits) - 1)] += full - kept
    assert found[-1] == 0
    return found[:-1]


def mass(low, high):
    """P(low < Z < high), to 60 digits."""
    if low < 0:
        return mp.ncdf(high) - mp.ncdf(low)
    return mp.ncdf(-low) - mp.ncdf(-high)


@pytest.mark.parametrize(("sigma", "spacing"), LAWS)
def test_gaussian_cells_are_those_of_60_digits(sigma, spacing):
    table = gaussian_table(sigma, spacing)
    found = weights(table)
    assert sum(found) == 1 << RESOLUTION
    assert len(found) == 2 * table.reach + 1
    assert found == found[::-1]
    with mp.workdps(70):
        step = mp.mpf(spacing) / mp.mpf(sigma)
        one = mp.mpf(2) ** -RESOLUTION
        beyond = 2 * mp.ncdf(-(table.reach + 0.5) * step)
        exact = [mass((k - 0.5) * step, (k + 0.5) * step) for k in range(table.reach + 1)]
        # Each cell, beyond any rounding of its own, is that of the law within the reach.
        for k, value in enumerate(exact[1:], start=1):
            got = found[table.reach + k] * one
            assert abs(got - value / (1 - beyond)) <= one * (1 + mp.mpf(2) ** -30), k
        gap = [abs(found[table.reach + k] * one - value) for k, value in enumerate(exact)]
        distance = (gap[0] + 2 * sum(gap[1:]) + beyond) / 2
        assert distance <= table.distance <= DISTANCE


@pytest.mark.parametrize(
    ("half", "spacing"), [(0.5, 1 / 512), (0.5, 1 / 255), (0.3, 0.1), (1.0, 1.0), (0.7, 0.69)]
)
def test_uniform_cells_are_fractions(half, spacing):
    table = uniform_table(half, spacing)
    found = weights(table)
    assert sum(found) == 1 << RESOLUTION
    h, edge = Fraction(spacing), Fraction(half)
    exact = []
    for k in range(-table.reach, table.reach + 1):
        low, high = max((k - Fraction(1, 2)) * h, -edge), min((k + Fraction(1, 2)) * h, edge)
        exact.append(max(high - low, 0) / (2 * edge))
    assert sum(exact) == 1
    gap = sum(abs(Fraction(a, 1 << RESOLUTION) - b) for a, b in zip(found, exact, strict=True))
    assert gap / 2 <= table.distance <= DISTANCE


@settings(max_examples=30, deadline=None)
@given(sigma=st.floats(0.01, 10.0), cells=st.floats(2.0, 40.0))
def test_any_table_adds_up_and_is_near(sigma, cells):
    spacing = sigma / cells
    table = gaussian_table(sigma, min(spacing, sigma / 2))
    found = weights(table)
    assert sum(found) == 1 << RESOLUTION
    assert min(found) >= 0
    assert found == found[::-1]
    middle = len(found) // 2
    assert all(a >= b for a, b in zip(found[middle:], found[middle + 1 :], strict=False))
    assert table.reach * spacing >= 13.0 * sigma
    # Sheppard's correction: the variance of a rounded variable.
    square = sum(w * (k - middle) ** 2 for k, w in enumerate(found)) / 2.0**RESOLUTION
    assert square == pytest.approx(cells**2 + 1 / 12, rel=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"spacing is 0.6; allowed: at most sigma / 2 = 0.5"):
        gaussian_table(1.0, 0.6)
    with pytest.raises(ValueError, match=r"the table has 2\^19 columns; allowed: at most 2\^16"):
        gaussian_table(1.0, 1 / 20000)
    x = np.array([0.5, -9000.0])
    with pytest.raises(
        ValueError, match=r"hold -9000 with noise on a lattice of 0.000490196; .*32"
    ):
        lattice_point(x.astype(np.float32), 1 / 2040, 8191)
    assert lattice_point(x, 1 / 2040, 8191).tolist() == [1020, -9000 * 2040]
    for bad in (1e9, np.nan, np.inf):
        with pytest.raises(ValueError, match="allowed in float64"):
            lattice_point(np.array([bad]), 1 / 2040, 8191)


@pytest.mark.parametrize(("width", "spacing"), [(0.5, 1 / 255), (1.0, 1.0), (0.1 + 0.2, 2.0**-10)])
def test_laplace_cells_are_those_of_60_digits(width, spacing):
    table = laplace_table(width, spacing)
    found = weights(table)
    assert sum(found) == 1 << RESOLUTION
    assert found == found[::-1]
    with mp.workdps(90):
        step = mp.mpf(spacing) / mp.mpf(width)
        one = mp.mpf(2) ** -RESOLUTION
        beyond = mp.exp(-(table.reach + 0.5) * step)
        exact = [1 - mp.exp(-step / 2)]
        exact += [mp.exp(-k * step) * mp.sinh(step / 2) for k in range(1, table.reach + 1)]
        for k, value in enumerate(exact[1:], start=1):
            got = found[table.reach + k] * one
            assert abs(got - value / (1 - beyond)) <= one * (1 + mp.mpf(2) ** -30), k
        gap = [abs(found[table.reach + k] * one - value) for k, value in enumerate(exact)]
        assert (gap[0] + 2 * sum(gap[1:]) + beyond) / 2 <= table.distance <= DISTANCE
    with pytest.raises(ValueError, match=r"spacing is 0.6; allowed: at most the width = 0.5"):
        laplace_table(0.5, 0.6)
