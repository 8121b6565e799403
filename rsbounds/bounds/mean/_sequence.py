"""Confidence sequences: bounds that hold at every sample size at once."""

from __future__ import annotations

import abc
import inspect
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Guarantee
from rsbounds.bounds.mean._samples import (
    SIDES,
    Side,
    checked_ends,
    checked_samples,
    checked_support,
    from_unit,
    to_unit,
)


class ConfidenceSequence(abc.ABC):
    """Base of the confidence sequences: bounds that hold at every sample size at once.

    Contract
    --------
    This is the any-time form of a mean method (`MeanMethod.sequence`), in the method's file. A
    sequence is fed samples in chunks and has, at any time, bounds with

        P( at some t, mu is outside [lower_t, upper_t] ) <= alpha,

    so that it may be looked at, and stopped, whenever one likes. Its numbers depend on the
    samples and their order, not on how they were cut into chunks; a refused chunk leaves it as it
    was; it can be pickled and resumed. Where it is ``nested`` a bound never gets worse with time.

    What you write: the texts ``name``, ``source``, ``memory`` and ``choose``; a ``guarantee``
    ("proven" or "enumerated", which the docstring names); `_take`, which is given validated samples
    in [0, 1]; and `_bound`, lower bounds there, or for 1 - y where it is asked to reflect. ``n`` is
    counted for you, and ``_share`` is the error probability of one side. Options are further
    parameters of ``__init__``, with defaults that treat both sides alike. Validation, other
    supports, upper bounds and rounding to the support are done around it.

    What is checked: by `rsbounds.testing.contracts.check_sequence` (with its method, on the
    command line ``rsbounds check-plugin NAME``) that chunks, rows, supports, sides, pickles and
    refusals are treated as above, and, over every path of a few votes and by simulation of
    longer streams, that the mean is left with at most the stated probability.

    Examples
    --------
    Hoeffding's bound with alpha / (t (t + 1)) for time t, which adds to alpha over all of them.

    >>> import numpy as np
    >>> from rsbounds.bounds.mean import AnyTimeOnly, ConfidenceSequence
    >>> class Union(ConfidenceSequence):
    ...     '''With probability 1 - alpha the mean is never outside (Hoeffding, a union bound).'''
    ...     name, guarantee, source = "union", "proven", "Hoeffding 1963, with a union bound"
    ...     memory, choose = "a sum and two bounds per stream", "never: mixture is far tighter"
    ...     def __init__(self, alpha, side, support):
    ...         super().__init__(alpha, side, support)
    ...         self.sums, self.best = np.zeros(1), {False: np.zeros(1), True: np.zeros(1)}
    ...     def _take(self, y):
    ...         for t, column in enumerate(y.T, start=self.n + 1):
    ...             self.sums = self.sums + column
    ...             width = np.sqrt(-np.log(self._share / (t * (t + 1.0))) / (2 * t)) + 1e-12
    ...             for reflected, mean in ((False, self.sums / t), (True, 1 - self.sums / t)):
    ...                 self.best[reflected] = np.maximum(self.best[reflected], mean - width)
    ...     def _bound(self, reflected):
    ...         return self.best[reflected].copy()
    >>> stream = Union(0.05, "both", (0.0, 1.0))
    >>> stream.update(np.random.default_rng(0).beta(20, 2, size=1000))
    >>> print(f"{stream.lower[0]:.3f} to {stream.upper[0]:.3f}")
    0.818 to 1.000

    A method that has only this form is a dataclass below `AnyTimeOnly` with ``sequence = Union``,
    registered like any other mean method.

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
    #: Whether the bounds are proven; a member that does not say so promises nothing.
    guarantee: ClassVar[Guarantee] = "none"
    #: Theorem that the guarantee rests on, in one line.
    source: ClassVar[str]
    #: Memory it takes, in words.
    memory: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]
    #: True where only the two ends of the support are allowed as samples.
    two_point: ClassVar[bool] = False
    #: True where the bounds are running intersections, each within the one before.
    nested: ClassVar[bool] = True

    #: How far samples may have been moved to the ends of the support; see `checked_samples`.
    _gap = 0.0

    def __init__(self, alpha: float, side: Side, support: tuple[float, float]) -> None:
        self.alpha = _validate.alpha(alpha)
        self.side = _validate.choice("side", side, SIDES)
        self.support = checked_support(support)
        self.n = 0
        self.closed = False
        self._width: int | None = None

    def __repr__(self) -> str:
        seen = "before the first chunk"
        if self._width is not None:
            seen = f"{self._width} streams, {self.n} samples"
        return (
            f"{type(self).__name__}({seen}, side {self.side}, alpha {self.alpha:g}, "
            f"{self.guarantee})"
        )

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
        if self.two_point:
            checked_ends(table, self.support, "chunk")
        if self._width is not None and len(table) != self._width:
            raise ValueError(
                f"chunk has {len(table)} row(s); allowed: {self._width}, as in the first chunk"
            )
        self._take(to_unit(table, self.support))
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
        return self._on_support(False)

    @property
    def upper(self) -> NDArray[np.float64]:
        if self.side == "lower" or self.n == 0:
            return np.full(self._width or 1, self.support[1])
        return self._on_support(True)

    def _on_support(self, reflected: bool) -> NDArray[np.float64]:
        bound = self._bound(reflected)
        if np.isnan(bound).any():
            raise ArithmeticError(f"method {self.name} returned NaN; please report this")
        return from_unit(bound, self.support, reflected, self._gap)

    @abc.abstractmethod
    def _take(self, y: NDArray[np.float64]) -> None:
        """Take (B, m) validated samples in [0, 1]; ``n`` is still their number before."""

    @abc.abstractmethod
    def _bound(self, reflected: bool) -> NDArray[np.float64]:
        """Lower bounds for the mean of y in [0, 1], or of 1 - y if ``reflected``."""


class Remembering(ConfidenceSequence):
    """A sequence whose candidates can only be judged by the whole history."""

    def __init__(self, alpha: float, side: Side, support: tuple[float, float]) -> None:
        super().__init__(alpha, side, support)
        self._store: NDArray[np.float64] = np.empty((1, 0))
        self._known: dict[bool, tuple[int, NDArray[np.float64]]] = {}

    def _take(self, y: NDArray[np.float64]) -> None:
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
        # Beyond n the store is spare room that was never written: not to be saved.
        state["_store"] = self._store[:, : self.n].copy()
        return state

    @abc.abstractmethod
    def _invert(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lower bounds from the whole history."""
