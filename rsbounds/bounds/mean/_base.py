"""The contract of a mean method, and the one public call around it.

Contract
--------
Given independent samples X_1..X_n of one distribution on [0, 1] with mean mu, n fixed in
advance, a method returns a number L in [0, 1] with

    P( L <= mu ) >= 1 - alpha        for every such distribution,

never NaN and rounded down. It writes only `MeanMethod.lower`; supports other than [0, 1],
upper bounds (one minus the lower bound of the reflected samples), validation, chunks and
threads are done here. The methods that bet need less than independence: a mean that is mu
given the past is enough.

A method is a frozen dataclass; its fields are its options.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._parallel import map_rows
from rsbounds._registry import Registry
from rsbounds._types import Guarantee, MeanBound

MEAN_METHODS: Registry[type[MeanMethod]] = Registry("method", "rsbounds.mean_bounds")

Side = Literal["lower", "upper", "both"]
SIDES = ("lower", "upper", "both")

_EPS = float(np.finfo(np.float64).eps)
_CHUNK_SAMPLES = 1 << 19


class MeanMethod(abc.ABC):
    """Base of the mean methods; see the module's text for the contract."""

    #: Registered name.
    name: ClassVar[str]
    #: Theorem or equation that the guarantee rests on, in one line.
    source: ClassVar[str]
    #: What it costs, in words ("one pass per row").
    cost: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]
    #: True where only the two ends of the support are allowed as samples.
    two_point: ClassVar[bool] = False
    #: What rounding to a grid may cost: a smaller alpha raises no bound by more than this.
    grain: ClassVar[float] = 1e-12
    #: Settings that comparisons show and contract tests check, the defaults first.
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    @classmethod
    def usable(cls) -> bool:
        """Whether the packages that the method needs are installed."""
        return True

    @property
    def guarantee(self) -> Guarantee:
        """Whether the returned bound is proven with these options; every method declares it."""
        return "none"

    @abc.abstractmethod
    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        """Lower bounds on the means of some rows.

        Parameters
        ----------
        y : (b, n) float64
            Validated samples in [0, 1], C-contiguous, n >= 2.
        alpha : float
            Error probability of each row's statement.

        Returns
        -------
        (b,) float64
            Bounds in [0, 1], rounded down.
        """


MEAN_METHODS.require(MeanMethod, "name", "source", "cost", "choose", "guarantee")


def mean_method(method: str | MeanMethod, options: Mapping[str, Any]) -> MeanMethod:
    """The method of that name with those options, or ``method`` itself if it is one."""
    if isinstance(method, MeanMethod):
        _validate.known_options(f"{method.name} (already built)", options, ())
        return method
    kind = MEAN_METHODS[method]
    # Methods are frozen dataclasses: their fields are their options.
    _validate.known_options(method, options, (f.name for f in fields(kind)))  # type: ignore[arg-type]
    return kind(**options)


def checked_cap(name: str, value: Any) -> float:
    """A share of the largest bet: above 0, at most 0.999 (rounding errors grow beyond)."""
    return _validate.number(
        name, value, "a number with 0 < value <= 0.999", lambda v: 0 < v <= 0.999
    )


def checked_caps(caps: Any, weights: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Caps in (0, 0.999] and as many positive weights that add to 1."""
    try:
        chosen = tuple(checked_cap("caps", c) for c in caps)
        shares = tuple(_validate.positive("weights", w) for w in weights)
    except TypeError:
        raise ValueError(
            f"caps and weights are {caps!r} and {weights!r}; allowed: two sequences of numbers"
        ) from None
    if not chosen or len(chosen) != len(shares) or abs(math.fsum(shares) - 1.0) > 1e-9:
        raise ValueError(
            f"weights is {weights!r} for {len(chosen)} caps; allowed: one positive number for "
            "each cap, adding to 1"
        )
    return chosen, shares


def checked_support(support: Any) -> tuple[float, float]:
    """A finite interval (a, b) with a < b."""
    try:
        a, b = (float(v) for v in support)
    except (TypeError, ValueError):
        a, b = math.nan, math.nan
    if not (math.isfinite(a) and math.isfinite(b) and a < b and math.isfinite(b - a)):
        raise ValueError(f"support is {support!r}; allowed: (a, b) with a < b, both finite")
    return a, b


def checked_samples(
    samples: ArrayLike, support: tuple[float, float], name: str = "samples"
) -> tuple[NDArray[np.float64], float]:
    """(B, n) float64 samples inside the support, and how far some may have been moved.

    A single row comes back as (1, n). Samples of a smaller floating-point type are compared
    in that type, in which the ends of the support are other numbers: whatever equals one
    becomes that end exactly. The second value is the largest such move; 0 for float64.
    """
    table = _validate.array(name, samples)
    if table.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {table.dtype}; allowed: real numbers")
    if table.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {table.shape}; allowed: (n,) or (B, n)")
    shape = table.shape
    if 0 in shape:
        raise ValueError(f"{name} is empty (shape {shape}); allowed: at least one sample per row")
    low, high = support
    if table.dtype.kind == "f" and table.dtype.itemsize < 8:
        with np.errstate(over="ignore"):
            low, high = (float(table.dtype.type(v)) for v in support)
    rows = np.atleast_2d(np.ascontiguousarray(table, dtype=np.float64))
    outside = ~((rows >= low) & (rows <= high)).reshape(shape)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        value = table[where]
        raise ValueError(
            f"{name}[{', '.join(map(str, where))}] is {value}; allowed: numbers in "
            f"[{support[0]:g}, {support[1]:g}]"
        )
    if (low, high) == support:
        return rows, 0.0
    moved = np.where(rows == low, support[0], np.where(rows == high, support[1], rows))
    return moved, max(abs(low - support[0]), abs(high - support[1]))


def _draws_last(
    table: NDArray[np.float64], axis: Literal[0, 1] | None, single: bool
) -> NDArray[np.float64]:
    """The (B, n) table, one quantity per row, wherever its draws lay."""
    if axis is not None and (isinstance(axis, bool) or axis not in (0, 1)):
        raise ValueError(f"axis is {axis!r}; allowed: 0 or 1")
    if single:
        if axis == 1:
            raise ValueError("axis is 1 for a single row of samples; allowed: 0, or none")
        return table
    if axis is None:
        a, b = table.shape
        raise ValueError(
            f"axis is None for samples of shape ({a}, {b}); allowed: 0 ({a} draws of {b} "
            f"quantities) or 1 ({b} draws of {a} quantities)"
        )
    return table if axis == 1 else np.ascontiguousarray(table.T)


def to_unit(table: NDArray[np.float64], support: tuple[float, float]) -> NDArray[np.float64]:
    """(x - a)/(b - a) in [0, 1], off by at most 2 EPS; exact for the support [0, 1]."""
    a, b = support
    if (a, b) == (0.0, 1.0):
        return table
    return np.asarray(np.clip((table - a) / (b - a), 0.0, 1.0))


def from_unit(
    value: NDArray[np.float64], support: tuple[float, float], reflected: bool, gap: float = 0.0
) -> NDArray[np.float64]:
    """A lower bound on the unit scale, back on the support and rounded outward.

    ``reflected`` says that it bounds the mean of 1 - y, so that an upper bound comes back;
    ``gap`` is how far a sample may have been moved on the support.
    """
    a, b = support
    if (a, b) == (0.0, 1.0) and not reflected:
        return value
    # 1 - y and the map to [0, 1] moved each sample, and so the mean, by at most 4 EPS.
    safe = np.maximum(value - 4.0 * _EPS, 0.0)
    slack = 4.0 * _EPS * (abs(a) + abs(b)) + gap
    if reflected:
        upper = np.minimum(b - (b - a) * safe + slack, b)
        return np.asarray(np.where(value > 4.0 * _EPS, upper, b))
    lower = np.maximum(a + (b - a) * safe - slack, a)
    return np.asarray(np.where(value > 4.0 * _EPS, lower, a))


def mean_bound(
    samples: ArrayLike,
    *,
    alpha: float,
    side: Side = "lower",
    method: str | MeanMethod = "goal",
    support: tuple[float, float] = (0.0, 1.0),
    axis: Literal[0, 1] | None = None,
    progress: bool | None = False,
    **options: Any,
) -> MeanBound:
    """Confidence bound on the mean of independent bounded samples.

    With probability at least ``1 - alpha`` over the samples, for each quantity on its own, the
    mean is at least ``lower`` (side "lower"), at most ``upper`` (side "upper"), or both at
    once (side "both", at alpha/2 each). Source: the method's (see ``rsbounds methods``).

    Parameters
    ----------
    samples : (n,), (n, B) or (B, n) array_like
        Independent samples of one quantity, or of B; n >= 2 was fixed before they were seen.
    alpha : float
        Error probability of each quantity's statement, in (0, 1).
    side : {"lower", "upper", "both"}
        Which bound.
    method : str or MeanMethod
        A registered name, or a method object. It is chosen before the samples are seen.
    support : (float, float)
        Interval that every possible sample lies in, known in advance.
    axis : {0, 1}, optional
        Axis of a table along which the draws lie: 0 for an (n, B) table with one draw per row,
        1 for a (B, n) table with one quantity per row. A table needs it, since neither reading
        can be told from the other; a single row of samples does not.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    **options
        Options of the method.

    Returns
    -------
    MeanBound
        One entry per quantity. ``details["two_point"]`` marks those that hold nothing but the two
        ends of the support: if that is known of the distribution (votes, not scores),
        ``method="clopper-pearson"`` is exact and tighter. It must be known, not seen: the
        better of two bounds after a look at the data is not covered by either theorem.

    Raises
    ------
    ValueError
        Samples that are empty, single, not numbers or outside the support (the message
        gives the first index and value); a table without ``axis``; bad alpha, side, support,
        method or option.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> scores = np.random.default_rng(0).beta(20, 2, size=1000)
    >>> bound = rsbounds.mean_bound(scores, alpha=0.001)
    >>> print(f"mean {scores.mean():.3f}, at least {bound.lower[0]:.3f}")
    mean 0.912, at least 0.904
    """
    level = _validate.alpha(alpha)
    _validate.choice("side", side, SIDES)
    ends = checked_support(support)
    chosen = mean_method(method, options)
    table, gap = checked_samples(samples, ends)
    single = np.ndim(samples) == 1
    if chosen.two_point:
        inside = (table > ends[0]) & (table < ends[1])
        if inside.any():
            where = tuple(int(i) for i in np.argwhere(inside)[0])
            shown = where[-1:] if single else where
            raise ValueError(
                f"samples[{', '.join(map(str, shown))}] is {table[where]}; allowed with method "
                f"{chosen.name}: {ends[0]:g} and {ends[1]:g} only"
            )
    table = _draws_last(table, axis, single)
    rows, n = table.shape
    if n < 2:
        raise ValueError(f"samples has n = {n} draws; allowed: n >= 2")
    share = level / 2 if side == "both" else level

    def work(start: int, stop: int) -> dict[str, NDArray[Any]]:
        part = table[start:stop]
        y = to_unit(part, ends)
        lower = np.full(stop - start, ends[0])
        upper = np.full(stop - start, ends[1])
        if side != "upper":
            lower = from_unit(chosen.lower(y, share), ends, False, gap)
        if side != "lower":
            upper = from_unit(chosen.lower(1.0 - y, share), ends, True, gap)
        if np.isnan(lower).any() or np.isnan(upper).any():
            raise ArithmeticError(f"method {chosen.name} returned NaN; please report this")
        two_point = ((part == ends[0]) | (part == ends[1])).all(axis=1)
        return {"lower": lower, "upper": upper, "two_point": two_point}

    chunk = max(1, _CHUNK_SAMPLES // n)
    joined = map_rows(work, rows, chunk=chunk, label=chosen.name, progress=progress)
    return MeanBound(
        joined["lower"],
        joined["upper"],
        side,
        np.full(rows, n, dtype=np.int64),
        level,
        ends,
        chosen.name,
        chosen.guarantee,
        {"two_point": joined["two_point"]},
    )
