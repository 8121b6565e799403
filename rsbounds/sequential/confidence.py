"""Confidence sequences: bounds that hold at every sample size at once.

Contract
--------
A sequence is fed samples in chunks and has, at any time, bounds with

    P( at some t, mu is outside [lower_t, upper_t] ) <= alpha,

so that it may be looked at, and stopped, whenever one likes. Its numbers depend on the
samples and their order, not on how they were cut into chunks; a refused chunk leaves it as it
was; it can be pickled and resumed.
"""

from __future__ import annotations

import abc
import inspect
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._registry import Registry
from rsbounds.bounds.mean._base import (
    SIDES,
    Side,
    checked_cap,
    checked_caps,
    checked_samples,
    checked_support,
    from_unit,
    to_unit,
)
from rsbounds.sequential._one_sided import one_sided_lower

SEQUENCES: Registry[type[ConfidenceSequence]] = Registry("method", "rsbounds.sequences")


class ConfidenceSequence(abc.ABC):
    """A confidence sequence for the means of B streams; see the module's text.

    Attributes
    ----------
    n : int
        Samples seen by each stream.
    lower, upper : (B,) float64
        Current bounds; the end of the support on a side that was not asked for. Before the
        first chunk B is 1.
    closed : bool
        Whether `close` was called.
    """

    #: Registered name.
    name: ClassVar[str]
    #: Theorem that the guarantee rests on, in one line.
    source: ClassVar[str]
    #: Memory it takes, in words.
    memory: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]

    #: How far samples may have been moved to the ends of the support; see `checked_samples`.
    _gap = 0.0

    def __init__(self, alpha: float, side: Side, support: tuple[float, float]) -> None:
        self.alpha = _validate.alpha(alpha)
        self.side = _validate.choice("side", side, SIDES)
        self.support = checked_support(support)
        self.n = 0
        self.closed = False
        self._width: int | None = None

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Names and defaults of the method's own options."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())
        return {p.name: p.default for p in parameters[4:]}

    @property
    def _share(self) -> float:
        return self.alpha / 2 if self.side == "both" else self.alpha

    def update(self, chunk: ArrayLike) -> None:
        """Take more samples.

        Parameters
        ----------
        chunk : (m,) or (B, m) array_like
            The next m >= 1 samples of each stream; B is fixed by the first chunk.

        Raises
        ------
        ValueError
            The sequence was closed, or the chunk is empty, has another number of rows, or
            holds something outside the support. Nothing of it has been taken then.
        """
        if self.closed:
            raise ValueError(
                "chunk was given to a closed sequence; allowed: updates before close()"
            )
        table, gap = checked_samples(chunk, self.support, "chunk")
        if self._width is not None and len(table) != self._width:
            raise ValueError(
                f"chunk has {len(table)} row(s); allowed: {self._width}, as in the first chunk"
            )
        self._take(table)
        self._gap = max(self._gap, gap)
        self._width = len(table)
        self.n += table.shape[1]

    def close(self) -> None:
        """Refuse further samples; the bounds stay."""
        self.closed = True

    @property
    def lower(self) -> NDArray[np.float64]:
        if self.side == "upper" or self.n == 0:
            return np.full(self._width or 1, self.support[0])
        return from_unit(self._bound(False), self.support, False, self._gap)

    @property
    def upper(self) -> NDArray[np.float64]:
        if self.side == "lower" or self.n == 0:
            return np.full(self._width or 1, self.support[1])
        return from_unit(self._bound(True), self.support, True, self._gap)

    @abc.abstractmethod
    def _take(self, table: NDArray[np.float64]) -> None:
        """Take validated samples."""

    @abc.abstractmethod
    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        """Lower bounds for the mean of y in [0, 1], or of 1 - y if ``reflected``."""


class PrPlEBSequence(ConfidenceSequence):
    """Predictable plug-in empirical Bernstein with its running intersection, O(1) memory.

    Source: Waudby-Smith and Ramdas 2023, Theorem 2, with lambda_t =
    min(sqrt(2 ln(1/alpha)/(V_{t-1} t ln(1+t))), cap) for each side.
    """

    name = "prpl-eb"
    source = "Waudby-Smith and Ramdas 2023, Theorem 2"
    memory = "eight numbers per side and stream"
    choose = "when memory must not grow with the stream"

    def __init__(
        self, alpha: float, side: Side, support: tuple[float, float], cap: float = 0.5
    ) -> None:
        super().__init__(alpha, side, support)
        self.cap = checked_cap("cap", cap)
        self._states: dict[bool, NDArray[np.float64]] = {}

    def _take(self, table: NDArray[np.float64]) -> None:
        from rsbounds.bounds.mean.prpl_eb import advance, start_state

        y = to_unit(table, self.support)
        for reflected in (False, True):
            if self.side == ("lower" if reflected else "upper"):
                continue
            if reflected not in self._states:
                self._states[reflected] = np.tile(start_state(), (len(y), 1))
            part = 1.0 - y if reflected else y
            for row, state in zip(part, self._states[reflected], strict=True):
                advance(row, self._share, 0, self.cap, state)

    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        return self._states[reflected][:, 6].copy()


class _Remembering(ConfidenceSequence):
    """A sequence whose candidates can only be judged by the whole history."""

    def __init__(self, alpha: float, side: Side, support: tuple[float, float]) -> None:
        super().__init__(alpha, side, support)
        self._store: NDArray[np.float64] = np.empty((1, 0))
        self._known: dict[bool, tuple[int, NDArray[np.float64]]] = {}

    def _take(self, table: NDArray[np.float64]) -> None:
        y = to_unit(table, self.support)
        needed = self.n + y.shape[1]
        if self.n == 0 or needed > self._store.shape[1]:
            grown = np.empty((len(y), max(needed, 2 * self._store.shape[1])))
            if self.n > 0:
                grown[:, : self.n] = self._store[:, : self.n]
            self._store = grown
        self._store[:, self.n : needed] = y

    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        known = self._known.get(reflected)
        if known is None or known[0] != self.n:
            y = np.ascontiguousarray(self._store[:, : self.n])
            known = (self.n, self._invert(1.0 - y if reflected else y))
            self._known[reflected] = known
        return known[1].copy()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        # The spare room at the end holds whatever the memory held before.
        state["_store"] = self._store[:, : self.n].copy()
        return state

    @abc.abstractmethod
    def _invert(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lower bounds from the whole history."""


class BettingSequence(_Remembering):
    """Betting with the predictable plug-in; remembers every sample.

    Source: Waudby-Smith and Ramdas 2023, section 4, one side at a time, bets
    min(sqrt(2 ln(1/alpha)/(V_{t-1} t ln(1+t))), cap/m). A bound is computed when it is asked
    for, from the whole history, in about 60 ns per sample.
    """

    name = "betting"
    source = "Waudby-Smith and Ramdas 2023, section 4"
    memory = "8 to 16 bytes per sample"
    choose = "to compare with the literature"

    def __init__(
        self, alpha: float, side: Side, support: tuple[float, float], cap: float = 0.5
    ) -> None:
        super().__init__(alpha, side, support)
        self.cap = checked_cap("cap", cap)

    def _invert(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        from rsbounds.bounds.mean._capital import plug_in_rows

        lower = np.empty(len(y))
        plug_in_rows(y, self._share, False, self.cap, lower)
        return lower


class MixtureSequence(_Remembering):
    """Average capital over constant bets; remembers every sample.

    Source: Ville's inequality for the average of the capitals (see the method ``mixture`` of
    `mean_bound`). A bound is computed when it is asked for, from the whole history, in about
    a microsecond per sample.
    """

    name = "mixture"
    source = "Ville's inequality for an average of capitals (method of mixtures)"
    memory = "8 to 16 bytes per sample"
    choose = "by default: near the normal width at every sample size"

    def __init__(
        self,
        alpha: float,
        side: Side,
        support: tuple[float, float],
        caps: tuple[float, ...] | None = None,
        weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(alpha, side, support)
        if (caps is None) != (weights is None):
            raise ValueError("caps is given without weights, or the reverse; allowed: both or none")
        self._given = None if caps is None else checked_caps(caps, weights)

    def _invert(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        from rsbounds.bounds.mean._capital import constant_rows
        from rsbounds.bounds.mean.mixture import CAPS, WEIGHTS

        caps, weights = self._given or (CAPS, WEIGHTS)
        lower = np.empty(len(y))
        constant_rows(y, self._share, np.array(caps), np.array(weights), lower)
        return lower


class BetaBinomialSequence(ConfidenceSequence):
    """Beta-binomial mixture for samples that are one of the two ends of the support.

    With side "both" the two bounds hold together at level alpha: P(at some t,
    B(a+S, b+F) / (B(a, b) p^S (1-p)^F) >= 1/alpha) <= alpha (Ville; the mixture of
    likelihood ratios over a Beta(a, b) prior is a martingale under p). One side spends all of
    alpha on that side: the prior is cut to what lies beyond p, over its mass there. The prior
    (1/2, 1/2) is Krichevsky and Trofimov's. The bounds are those of the counts at the time,
    with no running intersection, because counts do not remember their order.
    """

    name = "beta-binomial"
    source = "Ville's inequality for a beta mixture (Robbins 1970)"
    memory = "one count per stream"
    choose = "for votes: samples that are one of the two ends of the support"

    def __init__(
        self,
        alpha: float,
        side: Side,
        support: tuple[float, float],
        prior: tuple[float, float] = (0.5, 0.5),
    ) -> None:
        super().__init__(alpha, side, support)
        self.prior = checked_prior(prior)
        self._successes: NDArray[np.int64] = np.zeros(1, dtype=np.int64)

    def _take(self, table: NDArray[np.float64]) -> None:
        ends = self.support
        inside = (table != ends[0]) & (table != ends[1])
        if inside.any():
            where = tuple(int(i) for i in np.argwhere(inside)[0])
            raise ValueError(
                f"chunk[{', '.join(map(str, where))}] is {table[where]}; allowed: "
                f"{ends[0]:g} and {ends[1]:g} only"
            )
        self._successes = self._successes + (table == ends[1]).sum(axis=1)

    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        successes = self.n - self._successes if reflected else self._successes
        prior = self.prior[::-1] if reflected else self.prior
        bound = beta_binomial_lower if self.side == "both" else one_sided_lower
        return bound(successes, self.n, self.alpha, prior)


class CountSequence:
    """Confidence sequences for every class of a count stream.

    With probability at least 1 - alpha, for each class on its own (``simultaneous=False``) or
    for all of them together (at alpha/K each), its probability lies in [lower, upper] at
    every time at once. Source: as `BetaBinomialSequence`, applied to "this class or not".
    Memory: one count per class.

    Parameters
    ----------
    alpha : float
        Error probability, in (0, 1).
    classes : int
        Number of classes K >= 2.
    prior : (float, float)
        Beta prior of each class against the rest.
    simultaneous : bool
        Whether alpha is shared by all classes.

    Examples
    --------
    >>> from rsbounds.sequential import CountSequence
    >>> votes = CountSequence(alpha=0.001, classes=3)
    >>> votes.update([90, 8, 2])
    >>> votes.update([95, 5, 0])
    >>> votes.n, f"{votes.lower[0]:.3f}"
    (200, '0.816')
    """

    def __init__(
        self,
        *,
        alpha: float,
        classes: int,
        prior: tuple[float, float] = (0.5, 0.5),
        simultaneous: bool = False,
    ) -> None:
        self.alpha = _validate.alpha(alpha)
        self.classes = _validate.integer("classes", classes, low=2)
        self.prior = checked_prior(prior)
        self.simultaneous = bool(simultaneous)
        self.counts = np.zeros(self.classes, dtype=np.int64)
        self.closed = False

    @property
    def n(self) -> int:
        """Draws seen."""
        return int(self.counts.sum())

    def update(self, counts: ArrayLike) -> None:
        """Add (K,) votes; ValueError and no change if they are not."""
        if self.closed:
            raise ValueError(
                "counts were given to a closed sequence; allowed: updates before close()"
            )
        table = _validate.count_table(counts)
        if table.shape != (1, self.classes):
            raise ValueError(
                f"counts has shape {np.shape(counts)}; allowed: ({self.classes},), one per class"
            )
        rows, _ = _validate.count_rows(table)
        self.counts = self.counts + rows[0]

    def close(self) -> None:
        """Refuse further counts; the bounds stay."""
        self.closed = True

    @property
    def _share(self) -> float:
        return self.alpha / self.classes if self.simultaneous else self.alpha

    @property
    def lower(self) -> NDArray[np.float64]:
        """(K,) lower bounds."""
        if self.n == 0:
            return np.zeros(self.classes)
        return beta_binomial_lower(self.counts, self.n, self._share, self.prior)

    @property
    def upper(self) -> NDArray[np.float64]:
        """(K,) upper bounds."""
        if self.n == 0:
            return np.ones(self.classes)
        low = beta_binomial_lower(self.n - self.counts, self.n, self._share, self.prior[::-1])
        return from_unit(low, (0.0, 1.0), True)


def checked_prior(prior: Any) -> tuple[float, float]:
    """Two positive parameters of a beta distribution."""
    allowed = "two numbers from 1e-3 to 1e6"
    try:
        a, b = prior
    except (TypeError, ValueError):
        raise ValueError(f"prior is {prior!r}; allowed: {allowed}") from None
    pair = [_validate.number("prior", v, allowed, lambda v: 1e-3 <= v <= 1e6) for v in (a, b)]
    return pair[0], pair[1]


def beta_binomial_lower(
    successes: NDArray[np.int64], n: int, alpha: float, prior: tuple[float, float]
) -> NDArray[np.float64]:
    """Lower end of {p : mixture likelihood ratio against p < 1/alpha}, rounded down."""
    from rsbounds.sequential._beta_binomial import lower_rows

    lower = np.empty(successes.size)
    lower_rows(successes.astype(np.float64), float(n), alpha, prior[0], prior[1], lower)
    return lower


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
        Unknown method, bad alpha, side, support or option.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> stream = rsbounds.confidence_sequence("prpl-eb", alpha=0.01, side="lower")
    >>> for chunk in np.random.default_rng(0).beta(20, 2, size=(5, 200)):
    ...     stream.update(chunk)
    >>> stream.n, f"{stream.lower[0]:.3f}"
    (1000, '0.901')
    """
    kind = SEQUENCES[method]
    _validate.known_options(method, options, kind.options())
    return kind(alpha, side, support, **options)
