"""What a margin method is (`MarginMethod` has the contract), and the one public call around it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._parallel import map_rows
from rsbounds._registry import Registry
from rsbounds._types import Guarantee, MarginBound, Scale, Selection, plain_options
from rsbounds.bounds.margin._copies import refuse_copies
from rsbounds.claims import Claim, Top, checked_claim

MARGIN_METHODS: Registry[type[MarginMethod]] = Registry(
    "method", "rsbounds.margin_bounds", "rsbounds.testing.contracts:margin_cases"
)


@dataclass(frozen=True, eq=False)
class Problem:
    """Some rows of a table of counts, and what is to be bounded about them.

    Attributes
    ----------
    counts : (b, K) int64
        Validated counts, C-contiguous, K >= 2.
    n : (b,) int64
        Draws of each row.
    claim : Claim
        What is claimed of each row; of a kind that the method declares in ``claims``.
    alpha : float
        Error probability of each row's statement.
    scale : {"linear", "probit"}
        Scale of the margin.
    selection : (b, K) int64 or None
        Selection counts of the same inputs, independent of ``counts``.
    """

    counts: NDArray[np.int64]
    n: NDArray[np.int64]
    claim: Claim
    alpha: float
    scale: Scale
    selection: NDArray[np.int64] | None = None

    @property
    def top(self) -> NDArray[np.int64]:
        """(b,) int64, the class that each row's claim is about."""
        return self.claim.classes

    @property
    def probit(self) -> bool:
        """Whether the margin is measured on the probit scale."""
        return self.scale == "probit"

    @property
    def top_counts(self) -> NDArray[np.int64]:
        """(b,) int64, votes for the class that each row's claim is about."""
        return self.counts[np.arange(len(self.n)), self.top]

    @property
    def other_counts(self) -> NDArray[np.int64]:
        """(b,) int64, votes for the strongest other class of each row."""
        others = self.counts.copy()
        others[np.arange(len(self.n)), self.top] = -1
        return np.asarray(others.max(axis=1))

    def margin(self, p_a: ArrayLike, p_b: ArrayLike) -> NDArray[np.float64]:
        """The margin on ``scale`` where p_A >= ``p_a`` and p_c <= ``p_b``, rounded down.

        Parameters
        ----------
        p_a, p_b : (b,) float array_like
            Lower and upper bounds on probabilities, from 0 to 1.

        Returns
        -------
        (b,) float64
            At most g(p_a, p_b) in exact arithmetic; -inf on the probit scale where p_a is 0 or
            p_b is 1.

        Raises
        ------
        ValueError
            A number outside [0, 1].
        """
        # Here, since compiling is for those who ask.
        from rsbounds.bounds.margin._pair import margin_of_pair

        return margin_of_pair(p_a, p_b, self.probit)


class MarginMethod(abc.ABC):
    """Base of the margin methods: lower bounds on p_A - p_c, or on Phi^-1(p_A) - Phi^-1(p_c).

    Contract
    --------
    Given counts X ~ Multinomial(n, p) of one input and a class A fixed before X was seen, a method
    returns a number L with

        P( L <= min over c != A of g(p_A, p_c) ) >= 1 - alpha        for every p,

    where g is p_A - p_c (scale ``linear``) or Phi^-1(p_A) - Phi^-1(p_c) (scale ``probit``). n is
    fixed in advance. L is never NaN, is rounded down, and is -1 or -inf where nothing is known.

    What you write: a frozen dataclass below this class, whose fields are its options; the texts
    ``name``, ``source``, ``cost`` and ``choose``; a ``guarantee``: "proven" (the docstring names
    the theorem, and says "probability"), "enumerated" (no proof, and no violation found) or
    "none"; and `rows`, which gets a validated `Problem` with some rows of the table. A method with
    ``seconds_per_row``, ``max_n`` or options without defaults (in ``variants``) says so.
    Validation, chunks, threads, the result record and radii are done around it.

    What is checked: at registration, that all of that is there; on every call, that there is one
    number for each row; by `rsbounds.testing.contracts.check_margin_method` (on the command line
    ``rsbounds check-plugin NAME``) that rows and the order of classes do not matter to each
    other, that more draws and a larger alpha never hurt, that hard rows stay in range, and, by
    enumeration of every outcome of small n, that the error probability is at most alpha.

    See Also
    --------
    rsbounds.clopper_pearson_lower : Bounds on one proportion to build on.
    rsbounds.testing.margin_coverage : The enumeration, at any n and p.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import rsbounds
    >>> from rsbounds.bounds.margin import MARGIN_METHODS, MarginMethod
    >>> @dataclass(frozen=True)
    ... class Union(MarginMethod):
    ...     '''With probability 1 - alpha all K Clopper-Pearson bounds hold (union bound).'''
    ...     name = "union-of-all"
    ...     guarantee = "proven"
    ...     source = "Bonferroni 1936"
    ...     cost = "two tail inversions per row"
    ...     choose = "never: bonferroni with over='classes' is this one"
    ...     def rows(self, problem):
    ...         share = problem.alpha / problem.counts.shape[1]
    ...         p_a = rsbounds.clopper_pearson_lower(problem.top_counts, problem.n, alpha=share)
    ...         p_b = rsbounds.clopper_pearson_upper(problem.other_counts, problem.n, alpha=share)
    ...         return {"lower": problem.margin(p_a, p_b)}
    >>> one = rsbounds.certify([90, 8, 2], 0, noise=rsbounds.Gaussian(0.5), method=Union())
    >>> print(f"{one.radius[0]:.3f}")
    0.377

    From here on it goes by its name, as after `pip install` of a package with an entry point of
    the group ``rsbounds.margin_bounds``:
    ``MARGIN_METHODS.register("union-of-all", Union)``.
    """

    #: Registered name.
    name: ClassVar[str]
    #: Theorem or equation that the guarantee rests on, in one line.
    source: ClassVar[str]
    #: What it costs, in words ("one tail inversion per row").
    cost: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]
    #: Rows per chunk; methods that are slow per row say fewer, for progress and balance.
    chunk: ClassVar[int] = 4096
    #: Seconds that a row takes, roughly, for a method that needs more than 10 ms; else 0. A slow
    #: method is left out of comparisons unless it is named, and tests give it fewer rows.
    seconds_per_row: ClassVar[float] = 0.0
    #: Draws per row up to which the method is usable; None where there is no limit.
    max_n: ClassVar[int | None] = None
    #: Kinds of claim that the method can prove.
    claims: ClassVar[tuple[type[Claim], ...]] = (Top,)
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
    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        """Bounds for some rows.

        Parameters
        ----------
        problem : Problem
            The rows, validated.

        Returns
        -------
        mapping of str to (b,) arrays
            ``lower`` (see `Problem.margin`), and optionally ``solved`` (bool, False where an
            inner solver could not prove its answer) and any further details.
        """


MARGIN_METHODS.require(MarginMethod, "name", "source", "cost", "choose", "guarantee")


def margin_method(method: str | MarginMethod, options: Mapping[str, Any]) -> MarginMethod:
    """The method of that name with those options, or ``method`` itself if it is one."""
    if isinstance(method, MarginMethod):
        MARGIN_METHODS.refuse_impostor(method)
        _validate.known_options(f"{method.name} (already built)", options, ())
        return method
    kind = MARGIN_METHODS[method]
    # Methods are frozen dataclasses: their fields are their options.
    _validate.known_options(method, options, (f.name for f in fields(kind)))  # type: ignore[arg-type]
    return kind(**options)


def claimed(
    top: ArrayLike | Selection | Claim, counts: NDArray[Any], method: MarginMethod
) -> Claim:
    """What is claimed of the rows of ``counts``; refuses counts used twice."""
    claim = checked_claim(top, *counts.shape)
    if not isinstance(claim, method.claims):
        kinds = ", ".join(kind.__name__ for kind in method.claims)
        raise ValueError(
            f"top is a claim of kind {type(claim).__name__}; method {method.name!r} can prove: "
            f"{kinds}"
        )
    if claim.selection is not None and np.shares_memory(claim.selection, counts):
        raise ValueError(
            "top was selected from the same counts that are to be bounded; allowed: a selection "
            "from an independent sample (the top class must be fixed before the counts are seen)"
        )
    if isinstance(top, Selection) and not top.independent:
        refuse_copies(top.counts, counts)
    return claim


def margin_lower_bound(
    counts: ArrayLike,
    top: ArrayLike | Selection | Claim,
    *,
    alpha: float,
    scale: Scale,
    method: str | MarginMethod = "exact",
    progress: bool | None = False,
    **options: Any,
) -> MarginBound:
    """Lower confidence bound on the margin between a top class and every other class.

    With probability at least ``1 - alpha`` over the draws, for each row on its own, the
    margin of ``top`` against every other class is at least ``lower``. Source: the method's
    (see ``rsbounds methods``); each states whether it is proven.

    Parameters
    ----------
    counts : (B, K) or (K,) integers
        Votes for each class; rows may have different totals n. K >= 2, n >= 1.
    top : int, (B,) integers, Selection or Claim
        Class that each bound is about, fixed before ``counts`` were seen: a label, or
        `select_top` of an independent selection sample.
    alpha : float
        Error probability of each row's statement, in (0, 1).
    scale : {"linear", "probit"}
        Margin p_A - p_c, or Phi^-1(p_A) - Phi^-1(p_c).
    method : str or MarginMethod
        A registered name, or a method object.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    **options
        Options of the method.

    Returns
    -------
    MarginBound
        Arrays with one entry per row.

    Raises
    ------
    ValueError
        Bad counts, top, alpha, scale, method or option; the message names the row.

    See Also
    --------
    rsbounds.certify : Radii from this bound.
    rsbounds.compare : Every method on the same counts.
    rsbounds.soft_margin_bound : The same for scores in place of votes.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.
    .. [2] H. Feng et al., "Regularized training and tight certification for randomized smoothed
       classifier with provable robustness", AAAI 2020.

    Examples
    --------
    >>> import rsbounds
    >>> bound = rsbounds.margin_lower_bound(
    ...     [[990, 8, 2]], 0, alpha=0.001, scale="probit", method="runner-up")
    >>> print(f"{bound.lower[0]:.3f}")
    3.950
    """
    table = _validate.count_table(counts)
    level = _validate.alpha(alpha)
    _validate.choice("scale", scale, ("linear", "probit"))
    chosen = margin_method(method, options)
    return bound_of_claim(
        table, claimed(top, table, chosen), alpha=level, scale=scale, method=chosen,
        progress=progress,
    )  # fmt: skip


def _checked_part(method: MarginMethod, found: Any, rows: int) -> dict[str, NDArray[Any]]:
    """What `MarginMethod.rows` returned; raises ArithmeticError where it is no bound for each."""
    if not isinstance(found, Mapping) or "lower" not in found:
        what = sorted(found) if isinstance(found, Mapping) else type(found).__name__
        raise ArithmeticError(
            f"method {method.name}: rows returned {what}; allowed: a mapping with 'lower'"
        )
    lower = np.asarray(found["lower"], dtype=np.float64)
    if lower.shape != (rows,):
        raise ArithmeticError(
            f"method {method.name}: rows returned 'lower' of shape {lower.shape}; allowed: one "
            f"number for each row, ({rows},)"
        )
    if np.isnan(lower).any():
        raise ArithmeticError(f"method {method.name} returned NaN; please report this")
    return {**found, "lower": lower}


def bound_of_claim(
    table: NDArray[Any],
    claim: Claim,
    *,
    alpha: float,
    scale: Scale,
    method: MarginMethod,
    progress: bool | None = False,
) -> MarginBound:
    """`margin_lower_bound` where all but the entries of the counts has been checked."""

    def work(start: int, stop: int) -> dict[str, NDArray[Any]]:
        rows, n = _validate.count_rows(table[start:stop], start)
        if method.max_n is not None and n.max() > method.max_n:
            row = start + int(np.argmax(n > method.max_n))
            raise ValueError(
                f"counts row {row} sums to n = {n[row - start]}; allowed for method "
                f"{method.name!r}: up to {method.max_n} draws (method 'exact' has no such limit)"
            )
        part_claim, picked = claim[start:stop], None
        if part_claim.selection is not None:
            picked, _ = _validate.count_rows(part_claim.selection, start, "selection counts")
        problem = Problem(rows, n, part_claim, alpha, scale, picked)
        part = _checked_part(method, method.rows(problem), n.size)
        part["n"] = n
        return part

    joined = map_rows(work, len(table), chunk=method.chunk, label=method.name, progress=progress)
    lower, n = joined.pop("lower"), joined.pop("n")
    solved = joined.pop("solved", np.ones(len(lower), dtype=bool))
    return MarginBound(
        lower, claim.classes, n, alpha, scale, method.name, method.guarantee, solved, joined,
        plain_options(method),
    )  # fmt: skip
