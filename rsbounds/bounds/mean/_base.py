"""What a mean method is (`MeanMethod` has the contract), and the two public calls around it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._parallel import map_rows
from rsbounds._registry import Registry
from rsbounds._types import Guarantee, MeanBound
from rsbounds.bounds.mean._samples import (
    SIDES,
    Side,
    checked_ends,
    checked_samples,
    checked_support,
    from_unit,
    to_unit,
)
from rsbounds.bounds.mean._sequence import ConfidenceSequence

MEAN_METHODS: Registry[type[MeanMethod]] = Registry(
    "method", "rsbounds.mean_bounds", "rsbounds.testing.contracts:mean_cases"
)

_CHUNK_SAMPLES = 1 << 19


class MeanMethod(abc.ABC):
    """Base of the mean methods: bounds on the mean of independent bounded samples.

    Contract
    --------
    A method has one or both of two forms, and says which: `lower` for samples whose number was
    fixed in advance (not where `fixed_n` is False: see `AnyTimeOnly`), and `sequence`, a class
    whose bounds hold at every sample size at once (None where there is none; `ConfidenceSequence`
    has its contract). What follows is the first form's.

    Given independent samples X_1..X_n of one distribution on [0, 1] with mean mu, n >= 2 fixed in
    advance, `lower` returns a number L in [0, 1] with

        P( L <= mu ) >= 1 - alpha        for every such distribution,

    never NaN and rounded down. The methods that bet need less than independence: a mean that is
    mu given the past is enough.

    What you write: a frozen dataclass below this class, whose fields are the options of this
    form; the texts ``name``, ``source``, ``cost`` and ``choose``; a ``guarantee``: "proven" (the
    docstring names the theorem, and says "probability"), "enumerated" or "none"; and `lower`.
    Supports other than [0, 1], upper bounds (one minus the lower bound of the reflected samples),
    validation, chunks and threads are done around it. Python adds n numbers with an error of up
    to about n times the spacing at one: take that off.

    What is checked: at registration, that all of that is there; on every call, that there is one
    number for each row; by `rsbounds.testing.contracts.check_mean_method` (on the command line
    ``rsbounds check-plugin NAME``) that rows, threads, support and reflection are treated alike,
    that a larger alpha never hurts, that extreme rows stay in range, and, by enumeration of every
    outcome of a few votes, that the error probability is at most alpha.

    See Also
    --------
    rsbounds.testing.exact_coverage : Error probabilities by enumeration.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np, rsbounds
    >>> from rsbounds.bounds.mean import MEAN_METHODS, MeanMethod
    >>> @dataclass(frozen=True)
    ... class Smallest(MeanMethod):
    ...     '''With probability 1 - alpha the mean is at least this (Markov, of the product).
    ...
    ...     P(product of n samples >= mu^n / alpha) <= alpha, by independence.
    ...     '''
    ...     name = "product"
    ...     guarantee = "proven"
    ...     source = "Markov's inequality"
    ...     cost = "one pass per row"
    ...     choose = "never: betting is the same idea, with a stake"
    ...     def lower(self, y, alpha):
    ...         n = y.shape[1]
    ...         with np.errstate(divide="ignore"):
    ...             logs = np.log(y).sum(axis=1)
    ...         return np.exp((logs + np.log(alpha)) / n) * (1 - 1e-12)
    >>> x = np.random.default_rng(0).beta(20, 2, size=1000)
    >>> print(f"{rsbounds.mean_bound(x, alpha=0.001, method=Smallest()).lower[0]:.3f}")
    0.903

    By its name: ``MEAN_METHODS.register("product", Smallest)``, or an entry point of the group
    ``rsbounds.mean_bounds``.
    """

    #: Registered name.
    name: ClassVar[str]
    #: Theorem or equation that the guarantee rests on, in one line.
    source: ClassVar[str]
    #: What it costs, in words ("one pass per row").
    cost: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]
    #: False where there is no form for an n fixed in advance; see `AnyTimeOnly`.
    fixed_n: ClassVar[bool] = True
    #: The any-time form, or None where there is none.
    sequence: ClassVar[type[ConfidenceSequence] | None] = None
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


class AnyTimeOnly(MeanMethod):
    """Base of the methods that have no form for an n fixed in advance, only the any-time one."""

    fixed_n: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.sequence is None:
            raise TypeError(f"{cls.__name__}.sequence is None; allowed: a ConfidenceSequence class")

    def lower(self, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
        raise _no_form(self.name, "form for a fixed n", lambda kind: kind.fixed_n)


def _no_form(name: str, form: str, has: Callable[[type[MeanMethod]], bool]) -> ValueError:
    """The refusal of a method without some form, naming those that have it."""
    known = ", ".join(other for other in MEAN_METHODS.working() if has(MEAN_METHODS[other]))
    return ValueError(f"method is {name!r}, which has no {form}; allowed: {known}")


MEAN_METHODS.require(MeanMethod, "name", "source", "cost", "choose", "guarantee")


def mean_method(method: str | MeanMethod, options: Mapping[str, Any]) -> MeanMethod:
    """The method of that name with those options, or ``method`` itself if it is one.

    Raises
    ------
    ValueError
        Unknown method or option, or a method that has no form for a fixed n.
    """
    kind = type(method) if isinstance(method, MeanMethod) else MEAN_METHODS[method]
    if not kind.fixed_n:
        raise _no_form(kind.name, "form for a fixed n", lambda other: other.fixed_n)
    if isinstance(method, MeanMethod):
        MEAN_METHODS.refuse_impostor(method)
        _validate.known_options(f"{method.name} (already built)", options, ())
        return method
    # Methods are frozen dataclasses: their fields are their options.
    _validate.known_options(kind.name, options, (f.name for f in fields(kind)))  # type: ignore[arg-type]
    return kind(**options)


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


def _checked_lower(method: MeanMethod, y: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """`MeanMethod.lower`; raises ArithmeticError where it is not one number for each row."""
    found = np.asarray(method.lower(y, alpha), dtype=np.float64)
    if found.shape != (len(y),):
        raise ArithmeticError(
            f"method {method.name}: lower returned shape {found.shape}; allowed: one number for "
            f"each row, ({len(y)},)"
        )
    if np.isnan(found).any():
        raise ArithmeticError(f"method {method.name} returned NaN; please report this")
    return found


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

    See Also
    --------
    rsbounds.confidence_sequence : Bounds that hold at every sample size at once.
    rsbounds.clopper_pearson_lower : Samples that can only be 0 or 1.

    References
    ----------
    .. [1] I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
       Journal of the Royal Statistical Society B 86 (2024).

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
        checked_ends(table, ends, "samples", single, chosen.name)
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
            lower = from_unit(_checked_lower(chosen, y, share), ends, False, gap)
        if side != "lower":
            upper = from_unit(_checked_lower(chosen, 1.0 - y, share), ends, True, gap)
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


def confidence_sequence(
    method: str = "mixture",
    *,
    alpha: float,
    side: Side = "both",
    support: tuple[float, float] = (0.0, 1.0),
    **options: Any,
) -> ConfidenceSequence:
    """A confidence sequence for the mean of a stream of bounded samples.

    With probability at least ``1 - alpha`` the mean is never outside ``[lower, upper]``, at
    any time (side "both": both bounds together). Source: the method's.

    Parameters
    ----------
    method : {"mixture", "betting", "prpl-eb", "beta-binomial"} or another registered name
        ``mixture`` keeps near the normal width at every sample size; ``prpl-eb`` takes
        constant memory; ``beta-binomial`` is for votes (samples that are one of the two ends
        of the support).
    alpha : float
        Error probability, in (0, 1), of all times together.
    side : {"lower", "upper", "both"}
        Which bounds.
    support : (float, float)
        Interval that every possible sample lies in.
    **options
        Options of the method (``cap``; ``caps`` and ``weights``; ``prior``).

    Returns
    -------
    ConfidenceSequence
        With ``update(chunk)``, ``lower``, ``upper``, ``n`` and ``close()``.

    Raises
    ------
    ValueError
        Unknown method, a method without an any-time form, bad alpha, side, support or option.

    See Also
    --------
    rsbounds.mean_bound : A tighter bound where n is fixed in advance.
    rsbounds.CountSequence : Votes for every class.

    References
    ----------
    .. [1] J. Ville, "Etude critique de la notion de collectif", 1939.
    .. [2] H. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
       Mathematical Statistics 41 (1970).
    .. [3] I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
       Journal of the Royal Statistical Society B 86 (2024).

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> stream = rsbounds.confidence_sequence("prpl-eb", alpha=0.01, side="lower")
    >>> for chunk in np.random.default_rng(0).beta(20, 2, size=(5, 200)):
    ...     stream.update(chunk)
    >>> stream.n, f"{stream.lower[0]:.3f}"
    (1000, '0.901')
    """
    kind = MEAN_METHODS[method].sequence
    if kind is None:
        raise _no_form(method, "any-time form", lambda other: other.sequence is not None)
    _validate.known_options(method, options, kind.options())
    return kind(alpha, side, support, **options)
