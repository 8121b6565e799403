"""The contract of a noise law, check by check.

What fails says the same under pytest as elsewhere: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri

from rsbounds.noises import NOISES, Noise, noise_from_dict
from rsbounds.regions import Region
from rsbounds.streams import BASES, CounterStream
from rsbounds.testing.contracts._declared import Case, by_name, member_cases

#: A sampler that follows its law fails `draws_follow_the_density` with this probability.
FALSE_ALARM = 1e-6
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
#: Norms whose radii are whole numbers, of things that may be changed altogether.
_WHOLE = ("l0", "patch")
_LEVELS = np.array([1e-6, 0.01, 0.1, 0.3, 0.5, 0.8, 0.97, 1.0 - 1e-6])


def declares_itself(law: Noise) -> None:
    """Name, norm, scale, base draw, batch, and a text that names it."""
    assert isinstance(law, Noise), f"{law!r} is no Noise"
    for word in ("name", "norm", "scale", "base"):
        assert isinstance(getattr(law, word, None), str), f"{word} is not declared"
    assert law.name in str(law)
    assert law.scale in ("linear",) if law.curve_only else ("linear", "probit")
    assert law.base in BASES
    assert law.batch_shape == () or (len(law.batch_shape) == 1 and len(law) == law.batch_shape[0])
    assert (law.base == "draw") == (law.cells is not None)


def is_read_back_from_plain_values(law: Noise) -> None:
    """Lossless through JSON, with equality and hash; registered under its name."""
    assert law.name in NOISES, f"{law.name} is not registered"
    again = noise_from_dict(json.loads(json.dumps(law.to_dict(), allow_nan=False)))
    assert again == law
    assert hash(again) == hash(law)
    assert str(again) == str(law)
    assert law != object()


def rows_of_a_batch_are_laws(law: Noise) -> None:
    """``law[i]`` is the law of input i, in radii and in draws."""
    if not law.batch_shape:
        assert law.at([0]) is law
        return
    rows = len(law)
    parts = [law[i] for i in range(rows)]
    assert all(part.batch_shape == () for part in parts)
    assert all(law[[i]][0] == part for i, part in enumerate(parts))
    assert law[:] == law
    shape = _shape(law, (3,))
    for i, part in enumerate(parts):
        assert (_draws(law, shape, 5, row=i) == _draws(part, shape, 5)).all()
    margins = np.linspace(0.1, 0.9, rows)
    together = law.radius(margins)
    assert together.tolist() == [float(p.radius(m)) for p, m in zip(parts, margins, strict=True)]


def refuses_another_number_of_inputs(law: Noise) -> None:
    """Radii for more margins than the law has inputs are refused, not broadcast."""
    if not law.batch_shape:
        return
    for rows in {1, len(law) + 1} - {len(law)}:
        try:
            law.radius(np.full(rows, 0.5))
        except ValueError:
            continue
        raise AssertionError(f"{rows} margins for {len(law)} inputs were taken")


def radius_is_rounded_down_and_finite(law: Noise) -> None:
    """Zero without margin, increasing, never infinite; a NaN is refused."""
    rows = len(law) if law.batch_shape else 1
    for margin in (0.0, -1.0, -np.inf):
        assert (law.radius(np.full(rows, margin)) == 0).all(), f"margin {margin}"
    radii = [law.radius(np.full(rows, m)) for m in (1e-9, 0.1, 0.7, 1.0, 40.0, 1e300, np.inf)]
    assert (np.diff(radii, axis=0) >= 0).all()
    assert np.isfinite(radii).all()
    if not law.curve_only:
        unit = np.asarray(law.radius_per_margin)
        assert (radii[3] <= unit).all()
        assert (radii[3] >= unit * (1 - 1e-14)).all()
    try:
        law.radius(np.full(rows, np.nan))
    except ValueError:
        return
    raise AssertionError("a NaN margin was taken")


def curve_is_a_curve(law: Noise) -> None:
    """``roc(0, b)`` is b; it grows with r and b, stays in [b, 1], and is concave in b.

    Of a law that says it is not, it is the largest of several.
    """
    one = _one(law)
    grid = np.linspace(0.0, 1.0, 201)
    np.testing.assert_allclose(one.roc(0.0, grid), grid, rtol=0, atol=1e-14)
    before = grid
    for r in _unit(one) * np.array([0.01, 0.3, 1.0, 3.0]):
        now = one.roc(r, grid)
        assert ((now >= before - 1e-14) & (now <= 1.0)).all(), f"r = {r}"
        assert (np.diff(now) >= -1e-14).all(), f"r = {r}"
        # A probit curve rises within a grid step from 0.
        assert not one.concave or (np.diff(now, 2) <= 1e-12).all(), f"r = {r}"
        before = now


def two_steps_reach_at_least_as_far_as_one(law: Noise) -> None:
    """``roc(r, roc(s, b)) >= roc(r + s, b)``: the triangle inequality of the norm."""
    one = _one(law)
    if one.norm in _WHOLE:
        # Changes of r and s pixels are one of r + s; patches do not add up.
        for r, s in itertools.product((1, 2, 3) if one.norm == "l0" else (), (1, 4)):
            there = one.roc(r, one.roc(s, _LEVELS))
            assert (there >= one.roc(r + s, _LEVELS) - 1e-12).all(), f"r = {r}, s = {s}"
        return
    for r in _unit(one) * np.array([0.1, 0.7, 2.0]):
        for s in _unit(one) * np.array([0.05, 0.9]):
            there = one.roc(r, one.roc(s, _LEVELS))
            assert (there >= one.roc(r + s, _LEVELS) - 1e-12).all(), f"r = {r}, s = {s}"


def inverse_undoes_the_curve(law: Noise) -> None:
    """``roc_inverse`` is the largest b whose image is at most c, from below."""
    one = _one(law)
    for r in _unit(one) * np.array([0.0, 0.2, 1.0]):
        found = one.roc_inverse(r, _LEVELS)
        possible = one.roc(r, 0.0) <= _LEVELS - 1e-12
        assert (one.roc(r, found) <= _LEVELS)[possible].all(), f"r = {r}"
        assert (one.roc(r, found + 1e-9) >= _LEVELS - 1e-12)[possible].all(), f"r = {r}"
        assert (found[~possible] == 0).all()


def radius_follows_from_the_curve(law: Noise) -> None:
    """By the margin scale as by bisection of the curve, which is never above."""
    one = _one(law)
    pairs = np.array([[0.9, 0.05], [0.6, 0.4], [0.7, 0.1], [0.999, 0.001], [0.3, 0.2]])
    low, high = pairs.T
    curve = one.radius_of_pair(low, high)
    if one.concave:
        sums = one.roc(curve, 1 - low) + one.roc(curve, high)
        assert (sums < 1).all()
    else:
        assert (curve >= Noise._radius_of_pair(one, low, high)).all()
    assert (one.radius_of_pair([0.5, 0.2], [0.5, 0.3]) == 0).all()
    if one.curve_only:
        # A margin has the radius of its hardest pair, which is around 1/2.
        radius = one.radius(low - high)
        assert (radius <= curve * (1 + 1e-12)).all()
        even = 0.5 * (low - high)
        assert (radius >= one.radius_of_pair(0.5 + even, 0.5 - even) * (1 - 1e-9)).all()
        return
    margin = ndtri(low) - ndtri(high) if one.scale == "probit" else low - high
    radius = one.radius(margin)
    assert (curve <= radius * (1 + 1e-12)).all()
    if one.tight:
        assert (curve >= radius * (1 - 1e-9)).all()


def curve_is_that_of_neyman_and_pearson(law: Noise) -> None:
    """In one dimension the likelihood-ratio sets attain the curve, integrated to 1e-10."""
    line = _line(law)
    if line is None:
        return
    for r in _unit(line.law) * np.array([0.2, 1.0, 2.5]):
        line.check_ratio(r)
        for cut in np.linspace(-2.0, 2.0, 9) * line.width:
            b, c = line.above(cut), line.above(cut - r)
            expected = float(line.law.roc(r, b))
            assert abs(c - expected) < 1e-10, f"r = {r}, b = {b}: {c}, roc {expected}"


def curve_covers_every_direction_of_the_plane(law: Noise) -> None:
    """In two dimensions no set gains more than the curve says, and some direction attains it."""
    line = _line(law)
    if line is None:
        return
    one = _sized(line.law, 2)
    reach = line.reach + float(_unit(one))
    step = 2.0 * reach / 800
    axis = -reach + step * (np.arange(800) + 0.5)
    plane = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    base = one.log_density(plane)
    for r in _unit(one) * np.array([0.4, 0.9]):
        gains = []
        for angle in np.pi * np.array([0.0, 0.1, 0.25, 0.4]):
            way = np.array([np.cos(angle), np.sin(angle)])
            moved = one.log_density(plane - r * way / _norm(way, one.norm))
            gains.append(_power(base, moved, _LEVELS[1:-1]))
        best, curve = np.max(gains, axis=0), one.roc(r, _LEVELS[1:-1])
        # The grid is good to about its step.
        assert (best <= curve + 4e-3).all(), f"r = {r}: {best}, roc {curve}"
        assert (best >= curve - 4e-3).all(), f"r = {r}: {best}, roc {curve}"


def worst_classifier_flips_at_the_radius(law: Noise) -> None:
    """The likelihood-ratio set keeps its class up to the radius, and loses it right after."""
    line = _line(law)
    if line is None:
        return
    for cut in np.array([0.1, 0.5, 1.2]) * line.width:
        p_a = 1.0 - line.above(cut)
        radius = float(line.law.radius_of_pair(p_a, 1.0 - p_a))
        assert line.above(cut - radius * (1 - 1e-9)) < 0.5, f"p_A = {p_a}: lost within the radius"
        assert line.above(cut - radius * (1 + 1e-9)) > 0.5, f"p_A = {p_a}: kept beyond it"


def draws_follow_the_density(law: Noise) -> None:
    """Kolmogorov and Smirnov on 20,000 draws of one coordinate, in both float types."""
    line = _line(law, tight=False)
    if line is None:
        return
    grid = np.linspace(-line.extent, line.extent, 200_001)
    cdf = np.cumsum(np.exp(line.law.log_density(grid[:, None])))
    cdf /= cdf[-1]
    for kind in (np.float32, np.float64):
        noise = _draws(line.law, (1,), 20_000, kind=kind)[:, 0]
        result = stats.kstest(noise, lambda t: np.interp(t, grid, cdf))
        assert result.pvalue > FALSE_ALARM / 2, f"{np.dtype(kind).name}: p = {result.pvalue}"


def draws_do_not_depend_on_the_cut(law: Noise) -> None:
    """Noisy copies are finite, of the input's type, and keyed draw by draw."""
    one = _one(law)
    shape = _shape(one, (2, 3))
    for kind in (np.float32, np.float64):
        whole = _draws(one, shape, 40, kind=kind)
        assert whole.dtype == kind
        assert np.isfinite(whole).all()
        parts = [_draws(one, shape, b - a, first=a, kind=kind) for a, b in [(0, 7), (7, 40)]]
        assert (np.vstack(parts) == whole).all()


def multiplier_is_the_transform(law: Noise) -> None:
    """What streams write in one pass is what `perturb` gives, where it is not on a lattice."""
    one = _one(law)
    if one.multiplier() is None or one.spacing is not None:
        return
    shape = _shape(one, (2, 3))
    base = _base_law(one)
    x = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    draws = _draws(base, shape, 20).reshape(20, *shape)
    fast = _draws(one, shape, 20, x=x.ravel())
    assert (fast.reshape(20, *shape) == one.perturb(x, draws)).all()


def lattice_noise_is_made_of_integers(law: Noise) -> None:
    """Table and spacing come together; a copy is an integer of the table's times the spacing."""
    one = _sized(_one(law), 4)
    table = one.table()
    assert (table is None) == (one.spacing is None)
    assert law.spacing == one.spacing
    if table is None or one.spacing is None:
        return
    # Inputs off the lattice are rounded to it, and nothing else of them is left in the copies.
    x = np.array([0.0, 0.3, -1.7, 1.0])
    points = np.rint(x / one.spacing)
    for kind in (np.float32, np.float64):
        noisy = _draws(one, (4,), 500, kind=kind, x=x.astype(kind))
        cells = np.rint(noisy.astype(np.float64) / one.spacing)
        assert (noisy == np.multiply(cells, one.spacing, dtype=kind)).all()
        assert (np.abs(cells - points) <= table.reach).all()
        here = _draws(one, (4,), 500, kind=kind, x=(points * one.spacing).astype(kind))
        assert (here == noisy).all()


def cells_are_all_there_are(law: Noise) -> None:
    """Of an enumerated law the draws after the last cell begin again."""
    one = _one(law)
    if one.cells is not None:
        shape, some = one.event_shape or (2, 3), min(one.cells, 5000)
        assert (_draws(one, shape, some, first=one.cells) == _draws(one, shape, some)).all()


def region_has_the_radius(law: Noise) -> None:
    """`region` has one entry per input, holds no less than nothing, and not its boundary."""
    if law.norm in _WHOLE:
        return
    rows = len(law) if law.batch_shape else 2
    region = law.region(np.full(rows, 0.8))
    assert isinstance(region, Region)
    assert (region.radius == law.radius(np.full(rows, 0.8))).all()
    shape = _shape(law, (3,))
    assert region.contains(np.zeros((rows, *shape))).all()
    assert not law.region(np.zeros(rows)).contains(np.zeros((rows, *shape))).any()


NOISE_CHECKS: dict[str, Callable[[Noise], None]] = by_name(
    declares_itself,
    is_read_back_from_plain_values,
    rows_of_a_batch_are_laws,
    refuses_another_number_of_inputs,
    radius_is_rounded_down_and_finite,
    curve_is_a_curve,
    two_steps_reach_at_least_as_far_as_one,
    inverse_undoes_the_curve,
    radius_follows_from_the_curve,
    curve_is_that_of_neyman_and_pearson,
    curve_covers_every_direction_of_the_plane,
    worst_classifier_flips_at_the_radius,
    draws_follow_the_density,
    draws_do_not_depend_on_the_cut,
    multiplier_is_the_transform,
    lattice_noise_is_made_of_integers,
    cells_are_all_there_are,
    region_has_the_radius,
)


def noise_cases(kind: type[Noise]) -> Iterator[Case]:
    """Every check of a noise law with each of the parameters in its ``variants``."""
    if not kind.variants:
        raise ValueError(
            f"{kind.__name__}.variants is empty; allowed: parameters to check it with, such as "
            "({'width': 0.5},)"
        )
    return member_cases(kind, kind.variants, NOISE_CHECKS)


def check_noise_law(law: Noise) -> None:
    """Put a law through every check of its contract.

    Parameters
    ----------
    law : Noise
        The law, registered under its name.

    Raises
    ------
    AssertionError
        It breaks the contract; the message says where. A law that keeps it fails with
        probability at most 1e-6 (the draws are tested, with a fixed seed).

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.testing.contracts import check_noise_law
    >>> check_noise_law(rsbounds.Uniform(half_width=0.5))
    """
    for check in NOISE_CHECKS.values():
        check(law)


# -- helpers -----------------------------------------------------------------------------


def _one(law: Noise) -> Noise:
    return law[0] if law.batch_shape else law


def _sized(law: Noise, numbers: int) -> Noise:
    """The law for inputs of another size, where it is for one size."""
    if law.dimension is None:
        return law
    return cast(Noise, dataclasses.replace(cast(Any, law), dimension=numbers))


def _shape(law: Noise, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that inputs of a law may have."""
    return law.event_shape or (otherwise if law.dimension is None else (law.dimension,))


def _unit(law: Noise) -> float:
    """A distance that moves probabilities by an amount that shows."""
    return float(law.radius_of_pair(0.8, 0.2))


def _draws(
    law: Noise,
    shape: tuple[int, ...],
    count: int,
    *,
    first: int = 0,
    row: int | None = None,
    kind: Any = np.float64,
    x: NDArray[Any] | None = None,
) -> NDArray[Any]:
    size = int(np.prod(shape))
    out = np.empty((count, size), dtype=kind)
    at = np.zeros(size, dtype=kind) if x is None else x
    CounterStream(law, shape, seed=1, role="estimate").add(out, at, 0, first, row)
    return out


class _Base(Noise):
    """The base draw itself."""

    name, norm = "base", "l2"

    def __init__(self, base: str) -> None:
        self._base = base

    @property
    def base(self) -> str:
        return self._base

    def multiplier(self, **parameters: Any) -> Any:
        return 1.0


def _base_law(law: Noise) -> Noise:
    return _Base(law.base)


class _Line:
    """One coordinate of a law with a density, integrated by Gauss and Legendre's rule."""

    def __init__(self, law: Noise, width: float) -> None:
        self.law, self.width = law, width
        self.extent = 60.0 * width
        grid = np.linspace(-self.extent, self.extent, 20_001)
        finite = np.isfinite(self._log(grid))
        self._breaks = [0.0, *(self._jump(grid[i], grid[i + 1]) for i in np.flatnonzero(
            finite[1:] != finite[:-1]
        ))]  # fmt: skip
        #: Where the noise ends, or is next to nothing.
        self.reach = max(self._breaks) if len(self._breaks) > 1 else 9.0 * width
        self._total = self._mass(-self.extent, self.extent)

    def _log(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.law.log_density(t[:, None]))

    def _jump(self, low: float, high: float) -> float:
        inside = np.isfinite(self._log(np.array([low])))[0]
        for _ in range(80):
            middle = 0.5 * (low + high)
            same = np.isfinite(self._log(np.array([middle])))[0] == inside
            low, high = (middle, high) if same else (low, middle)
        return low

    def _mass(self, low: float, high: float) -> float:
        ends = sorted({low, high, *(b for b in self._breaks if low < b < high)})
        total = 0.0
        for a, b in itertools.pairwise(ends):
            edges = np.linspace(a, b, 201)
            half = 0.5 * (edges[1] - edges[0])
            points = (edges[:-1, None] + half * (1.0 + _NODES)).ravel()
            total += half * float(np.exp(self._log(points)) @ np.tile(_WEIGHTS, 200))
        return total

    def above(self, cut: float) -> float:
        """P(noise > cut)."""
        edge = min(max(cut, -self.extent), self.extent)
        return self._mass(edge, self.extent) / self._total if edge < self.extent else 0.0

    def check_ratio(self, r: float) -> None:
        """The likelihood ratio grows along the line, so that half-lines are its sets."""
        grid = np.linspace(-0.5, 0.5, 2001) * self.extent
        here, there = self._log(grid), self._log(grid - r)
        seen = np.isfinite(here) | np.isfinite(there)
        with np.errstate(invalid="ignore"):
            ratio = (there - here)[seen]
        assert (np.diff(np.clip(ratio, -1e300, 1e300)) >= -1e-9).all(), "ratio is not monotone"


def _line(law: Noise, *, tight: bool = True) -> _Line | None:
    """A law on the line, where it is one that has a density (and a curve that is attained)."""
    one = _sized(_one(law), 1)
    if one.event_shape is not None or one.norm == "l0" or (tight and not one.tight):
        return None
    try:
        one.log_density(np.zeros((1, 1)))
    except NotImplementedError:
        return None
    return _Line(one, float(np.median(np.abs(_draws(one, (1,), 1001)))))


def _norm(way: NDArray[np.float64], norm: str) -> float:
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    return float(np.linalg.norm(way, order))


def _power(
    base: NDArray[np.float64], moved: NDArray[np.float64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Largest probability under ``moved`` of sets of points with given probabilities."""
    f, g = np.exp(base), np.exp(moved)
    f, g = f / f.sum(), g / g.sum()
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isfinite(base), moved - base, np.where(g > 0, np.inf, -np.inf))
    order = np.argsort(-ratio, kind="stable")
    chance = np.concatenate([[0.0], np.cumsum(f[order])])
    power = np.concatenate([[0.0], np.cumsum(g[order])])
    return np.asarray(np.interp(levels, chance, power))
