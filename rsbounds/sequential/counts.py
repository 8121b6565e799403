"""Confidence sequences for every class of a stream of votes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds.bounds.mean._samples import from_unit
from rsbounds.bounds.mean.beta_binomial import beta_binomial_lower, checked_prior


class CountSequence:
    """Confidence sequences for every class of a count stream.

    With probability at least 1 - alpha, for each class on its own (``simultaneous=False``) or
    for all of them together (at alpha/K each), its probability lies in [lower, upper] at
    every time at once. Source: as the sequence ``beta-binomial``, applied to "this class or not".
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

    def __repr__(self) -> str:
        return f"CountSequence({self.classes} classes, {self.n} draws, alpha {self.alpha:g})"

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
