"""Tables of lattice noise: cell probabilities as integers, and the alias table drawn from.

For a spacing h let Q round every coordinate to the nearest multiple of h. For a law eps of one
coordinate, Q(x + eps) = x + h eta for x on the lattice, with P(eta = k) the mass of the cell
[(k - 1/2) h, (k + 1/2) h): one discrete law, the same for every x. Its probabilities are computed
here in integers of 160 bits below the point, by arithmetic of Python whole numbers alone, so that
every machine has the same table.

`Table` is Walker's alias table (1977): 2^bits columns, each of which keeps its own cell with
probability threshold / 2^(160 - bits) and else gives its alias. The thresholds are integers and
their sum is 2^160: what is drawn from uniform bits has exactly the law of those integers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bits below the point of a cell's probability, and of the arithmetic that finds it.
RESOLUTION, _WORKING = 160, 256
#: What a threshold has beyond the bits of a draw's own word: two words of 64 bits.
REST = 128
#: Columns of a table are 2^1 to 2^16: a column number and the part of a threshold that is compared
#: first share one word of 32 bits.
MAX_BITS = 16
#: Set in the fourth word of the counters that those come from; draws are far below 2^63.
FURTHER = 1 << 31
#: Gaussian cells reach so many standard deviations, or more.
GAUSSIAN_REACH = 13.0
#: Laplace cells reach so many widths, or more.
LAPLACE_REACH = 88.0
#: No table is further than this from the law of its cells, in total variation.
DISTANCE = 1.3e-38
#: Numbers of an input that a draw has counters for.
NUMBERS = 1 << 32
#: Sums of an input and its noise, in spacings, stay below 2^24: as many whole numbers float32 has.
_FLOAT32_CELLS, _FLOAT64_CELLS = 1 << 24, 1 << 31
#: Terms of a cell's series that are left out add up to less than 2 to minus this.
_LEFT_OUT = 200


@dataclass(frozen=True, eq=False)
class Table:
    """Integers -reach to reach, drawn by columns.

    Attributes
    ----------
    bits : int
        The first bits of a word choose one of 2^bits columns.
    packed : (2^bits,) uint32
        Of each column, the first 32 - bits bits of its threshold, then its alias in ``bits``.
    rest : (2^bits, 2) uint64
        The other 128 bits of its threshold.
    reach : int
        Column c gives the integer c - reach.
    distance : float
        Total variation distance to the law of the cells, rounded up.
    """

    bits: int
    packed: NDArray[np.uint32]
    rest: NDArray[np.uint64]
    reach: int
    distance: float


def columns_for(reach: float) -> int:
    """Bits of the smallest table whose integers reach so far on both sides."""
    bits = max(1, math.ceil(math.log2(reach + 1.0)) + 1)
    if bits > MAX_BITS:
        raise ValueError(f"the table has 2^{bits} columns; allowed: at most 2^{MAX_BITS}")
    return bits


@functools.lru_cache(maxsize=32)
def gaussian_table(sigma: float, spacing: float) -> Table:
    """The table of N(0, sigma^2) in cells of a spacing of at most sigma / 2.

    The law drawn is that of the cells given |eta| <= reach. It differs from that of all cells by
    P(|eta| > reach), and by the rounding to integers, less than 2^-160 for each column.
    """
    ratio = Fraction(spacing) / Fraction(sigma)
    if not ratio <= Fraction(1, 2):
        raise ValueError(f"spacing is {spacing!r}; allowed: at most sigma / 2 = {sigma / 2!r}")
    bits = columns_for(GAUSSIAN_REACH / float(ratio))
    reach = (1 << (bits - 1)) - 1
    masses = gaussian_masses(ratio, bits)
    total = masses[0] + 2 * sum(masses[1:])
    one = 1 << RESOLUTION
    weights = [mass * one // total for mass in masses]
    end = (reach + 0.5) * float(ratio)
    # Mills' ratio: P(|Z| > z) < 2 phi(z) / z.
    beyond = math.exp(-0.5 * end * end) / (end * math.sqrt(0.5 * math.pi))
    return _table(weights, bits, beyond * (1.0 + 1e-9))


def gaussian_masses(ratio: Fraction, bits: int) -> list[int]:
    """Masses of the cells 0 to reach, up to a common factor, with 256 bits below the point.

    With a = h / sigma and c = k a, a cell's mass is a phi(c) S(c), where (Hermite polynomials)
    S(c) = sum over j of He_2j(c) (a/2)^2j / (2j + 1)!. By Cramer's inequality
    |He_n(c)| <= 1.0865 exp(c^2/4) sqrt(n!) the terms from J + 1 on, times exp(-c^2/2), add up to
    less than 3 (a/2)^(2J+2) / sqrt((2J + 2)!). phi(c) / phi(0) = q^(k k) with q = exp(-a^2/2)
    comes from products; every product is rounded down by less than one unit of 2^-256, and the
    errors of k steps add up to less than 4 k^2 units (`tests/streams/test_cells.py` compares).
    """
    half = math.log2(float(ratio)) - 1.0
    terms = 1
    while 2 * terms * half - 0.5 * math.lgamma(2 * terms + 1) / math.log(2.0) + 2 > -_LEFT_OUT:
        terms += 1
    shift = bits - 1
    fine = _WORKING + 2 * terms * shift + 16
    square = ratio * ratio
    up, down = square.numerator, square.denominator
    powers = [(up**m << fine) // down**m for m in range(max(2 * terms, 80))]
    series = []
    for i in range(terms):
        value = 0
        for j in range(i, terms):
            below = math.factorial(2 * i) * math.factorial(j - i) * (2 * j + 1)
            part = (powers[i + j] << (2 * i * shift)) // (below << (j - i + 2 * j))
            value += part if (j - i) % 2 == 0 else -part
        series.append(value >> (fine - _WORKING))
    q = 0
    for m, power in enumerate(powers):
        part = power // (math.factorial(m) << m)
        q += part if m % 2 == 0 else -part
    q >>= fine - _WORKING
    twice = q * q >> _WORKING
    density, step = 1 << _WORKING, q
    masses = []
    for k in range(1 << shift):
        shape = series[-1]
        for value in reversed(series[:-1]):
            shape = (shape * (k * k) >> (2 * shift)) + value
        masses.append(max(density * shape >> _WORKING, 0))
        density = density * step >> _WORKING
        step = step * twice >> _WORKING
    return masses


@functools.lru_cache(maxsize=32)
def laplace_table(width: float, spacing: float) -> Table:
    """The table of the Laplace law of a width in cells of a spacing of at most the width.

    As `gaussian_table`: the law of the cells given |eta| <= reach, with P(|eta| > reach) =
    exp(-(reach + 1/2) spacing / width).
    """
    ratio = Fraction(spacing) / Fraction(width)
    if not ratio <= 1:
        raise ValueError(f"spacing is {spacing!r}; allowed: at most the width = {width!r}")
    bits = columns_for(LAPLACE_REACH / float(ratio))
    masses = laplace_masses(ratio, bits)
    total = masses[0] + 2 * sum(masses[1:])
    weights = [(mass << RESOLUTION) // total for mass in masses]
    beyond = math.exp(-(len(masses) - 0.5) * float(ratio))
    return _table(weights, bits, beyond * (1.0 + 1e-9))


def laplace_masses(ratio: Fraction, bits: int) -> list[int]:
    """Masses of the cells 0 to reach, up to a common factor, with 256 bits below the point.

    With q = exp(-spacing / width) the cell 0 has 1 - sqrt(q), and the cell k > 0 has
    q^k (1 / sqrt(q) - sqrt(q)) / 2. Every product is rounded down by less than one unit of 2^-256,
    and the errors of k of them add up to less than k + 2 units.
    """
    fine = _WORKING + 16
    # exp(-ratio / 2), its series cut where terms are below 2^-fine.
    half, part, j = 0, 1 << fine, 0
    while part:
        half += part if j % 2 == 0 else -part
        j += 1
        part = part * ratio.numerator // (2 * j * ratio.denominator)
    half >>= fine - _WORKING
    one = 1 << _WORKING
    step, side = half * half >> _WORKING, ((one << _WORKING) // half - half) >> 1
    masses = [one - half]
    power = one
    for _ in range((1 << (bits - 1)) - 1):
        power = power * step >> _WORKING
        masses.append(power * side >> _WORKING)
    return masses


@functools.lru_cache(maxsize=32)
def uniform_table(half_width: float, spacing: float) -> Table:
    """The table of the uniform law on (-half_width, half_width) in cells of a spacing.

    The cells at the ends are cut by them; any half width will do.
    """
    edge = Fraction(half_width) / Fraction(spacing)
    # The cell of k begins at k - 1/2.
    reach = max(0, math.ceil(edge - Fraction(1, 2)))
    one = 1 << RESOLUTION
    whole, last = int(one / (2 * edge)), int((edge - reach + Fraction(1, 2)) * one / (2 * edge))
    return _table([whole] * reach + [last], columns_for(float(reach)), 0.0)


def _table(weights: Sequence[int], bits: int, beyond: float) -> Table:
    """The alias table of a symmetric law, from weights of 0, 1, 2, ... rounded down.

    Cell 0 takes what rounding left. The distance is ``beyond`` and less than one unit of 2^-160
    for each column, and as much again for the error of the weights.
    """
    columns, reach = 1 << bits, (1 << (bits - 1)) - 1
    left = [0] * columns
    for k, weight in enumerate(weights):
        left[reach + k] = left[reach - k] = weight
    left[reach] = 0
    left[reach] = (1 << RESOLUTION) - sum(left)
    kept, alias = _paired(left, 1 << (RESOLUTION - bits))
    parts = np.frombuffer(
        b"".join(t.to_bytes(20, "little") for t in kept),
        [("low", "<u8"), ("high", "<u8"), ("top", "<u4")],
    )
    packed = parts["top"] << np.uint32(bits) | np.array(alias, np.uint32)
    rest = np.stack([parts["high"], parts["low"]], axis=1).astype(np.uint64)
    for array in (packed, rest):
        array.flags.writeable = False
    distance = (beyond + 2.0 * columns * 2.0**-RESOLUTION) * (1.0 + 1e-9)
    if not distance <= DISTANCE:
        raise ArithmeticError(f"a table at distance {distance:g}; allowed: {DISTANCE:g}")
    return Table(bits, packed, rest, reach, distance)


def lattice_point(x: NDArray[Any], spacing: float, reach: int) -> NDArray[np.int32]:
    """The nearest lattice point of (d,) numbers, in spacings, where there is room for the noise.

    Raises
    ------
    ValueError
        Numbers so large that they, with noise, are more spacings than the type has integers, or
        more than `NUMBERS` of them.
    """
    if x.size > NUMBERS:
        raise ValueError(f"inputs have {x.size} numbers; allowed: at most {NUMBERS}")
    cells = np.rint(np.asarray(x, dtype=np.float64) / spacing)
    room = (_FLOAT32_CELLS if x.dtype == np.float32 else _FLOAT64_CELLS) - 1 - reach
    far = ~(np.abs(cells) <= room)
    if far.any():
        raise ValueError(
            f"inputs hold {x[int(np.argmax(far))]:g} with noise on a lattice of {spacing:g}; "
            f"allowed in {x.dtype}: numbers up to {room * spacing:g}, or a coarser lattice"
        )
    return cells.astype(np.int32)


def _paired(left: list[int], full: int) -> tuple[list[int], list[int]]:
    """Thresholds and aliases of columns whose weights add up to so many times ``full``.

    A column that keeps its cell for certain is its own alias, with the threshold 0.
    """
    kept, alias = [0] * len(left), list(range(len(left)))
    small = [c for c, weight in enumerate(left) if weight < full]
    large = [c for c, weight in enumerate(left) if weight >= full]
    while small:
        low, high = small.pop(), large[-1]
        kept[low], alias[low] = left[low], high
        left[high] -= full - left[low]
        if left[high] < full:
            small.append(large.pop())
    return kept, alias
