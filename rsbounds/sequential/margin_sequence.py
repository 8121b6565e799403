"""A lower bound on the margin, and so a radius, that holds at every time at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Certificates, Selection
from rsbounds.certificates.exact import check_drawn, level_left, nearer
from rsbounds.noises import Noise
from rsbounds.sequential._checked import (
    checked_law,
    checked_sums,
    checked_top,
)
from rsbounds.sequential._margin_sequence import SLOPES, lower_rows, stakes
from rsbounds.sequential._record import certificates
from rsbounds.sequential._state import compared, plain
from rsbounds.sequential.margin import checked_index, three_cells


class MarginSequence:
    """Lower confidence sequence for the margin of a class, and for its radius.

    With probability at least 1 - alpha, for each row on its own, the margin of the class against
    every other class is at least ``lower`` at *every* time at once: look as often as you like,
    stop when you like, and the radius that is shown is valid.

    For each margin m there is a mixture of tangent bets as in `MarginTest`; the bets of all m
    have the same slopes and stakes, so that the capital falls as m grows, and ``lower`` is the
    largest m whose capital has reached 1/alpha at some time so far. That it lies above the true
    margin takes the capital against the true margin to reach 1/alpha, which has a probability of
    at most alpha (Ville 1939). Against all competitors the largest other count is enough, as there.

    The stakes are the best ones around ``n_target`` draws, where the bound lacks about 1.2 to 1.4
    times what one by ``exact`` at that n alone would lack; it is valid, and wider, everywhere else.

    Parameters
    ----------
    top : int, (B,) integers or Selection
        Class of each input, fixed before the counts are seen. A selection sample also says which
        slopes and stakes to favour.
    noise : Noise
        The law the draws come from.
    alpha : float
        Error probability of each row's statement, all times together.
    n_target : int
        Draws around which the bound is to be tightest.
    index : (B,) integers, optional
        Which inputs the rows are, kept in the state.

    Attributes
    ----------
    offset : (B,) float64 or None
        Where the noise is drawn on a lattice, how far the inputs are from it, if they are known;
        radii are smaller by it, or else about the inputs rounded to the lattice.

    Raises
    ------
    ValueError
        An argument out of range.

    See Also
    --------
    rsbounds.MarginTest : Is the radius above one r? With fewer draws.
    rsbounds.Adaptive : Radii from a few looks, and a rule that stops.

    References
    ----------
    .. [1] J. Ville, "Etude critique de la notion de collectif", 1939.

    Examples
    --------
    >>> import rsbounds
    >>> run = rsbounds.MarginSequence(0, noise=rsbounds.Gaussian(sigma=0.5), n_target=1000)
    >>> for _ in range(10):
    ...     run.update([97, 2, 1])
    >>> print(f"{run.radius[0]:.2f}")
    0.81
    """

    def __init__(
        self,
        top: ArrayLike | Selection,
        *,
        noise: Noise,
        alpha: float = 0.001,
        n_target: int = 10_000,
        index: ArrayLike | None = None,
    ) -> None:
        self.noise = checked_law(noise)
        self.alpha = _validate.alpha(alpha)
        self._level = level_left(noise.spacing, self.alpha, _validate.MAX_N)
        self.offset: NDArray[np.float64] | None = None
        self.n_target = _validate.integer("n_target", n_target, low=1, high=_validate.MAX_N)
        self._selection = top if isinstance(top, Selection) else None
        self.top = checked_top(top)
        rows = self.top.size
        noise.check_rows(rows)
        self.index = checked_index(index, rows)
        self._counts: NDArray[np.int64] | None = None
        self._probit = noise.scale == "probit"
        self._slopes = SLOPES if self._probit else SLOPES[:1]
        self._stakes = stakes(self._slopes, self.n_target, self.alpha)
        self._earlier = np.zeros((rows, 3))
        if self._selection is not None:
            picked = np.asarray(self._selection.counts)
            self._earlier = three_cells(picked, self.top).astype(np.float64)
        self._lower = np.full(rows, self._unknown)

    @property
    def _unknown(self) -> float:
        return -math.inf if self._probit else -1.0

    def __len__(self) -> int:
        return self.top.size

    def __repr__(self) -> str:
        draws = int(self.n.sum())
        return f"MarginSequence({len(self)} inputs, {draws} draws, alpha {self.alpha:g})"

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws seen."""
        if self._counts is None:
            return np.zeros(len(self), dtype=np.int64)
        return np.asarray(self._counts.sum(axis=1))

    @property
    def lower(self) -> NDArray[np.float64]:
        """(B,) lower bounds on the margin, on the law's scale; they never fall.

        Margins at or below 0 are not told apart: the bound is -inf (or -1) until it is above 0.
        """
        return self._lower.copy()

    @property
    def radius(self) -> NDArray[np.float64]:
        """(B,) certified radii, rounded down."""
        return nearer(self.noise.radius(self._lower), self.offset)

    def update(self, counts: ArrayLike) -> None:
        """Add votes, and look.

        Parameters
        ----------
        counts : (K,) or (B, K) integers
            Votes since the last update; a row may have none.

        Raises
        ------
        ValueError
            Wrong number of rows or classes, entries that are not whole numbers >= 0, or votes
            that bring all counts so far to those that the class was selected from, as for
            `Decide`; nothing is taken then.
        """
        check_drawn(self.noise, counts)
        self._counts, total = checked_sums(counts, self.top, self._selection, self._counts)
        self._look(np.flatnonzero((total > 0) & (self.top != NO_CLASS)))

    def _look(self, rows: NDArray[np.int64]) -> None:
        assert self._counts is not None
        votes = three_cells(self._counts[rows], self.top[rows]).astype(np.float64)
        lower = self._lower[rows]
        level = -math.log(self._level) * (1.0 + 1e-15)
        lower_rows(
            votes, self._earlier[rows], float(self.n_target), level, self._slopes, self._stakes,
            self._probit, lower,
        )  # fmt: skip
        self._lower[rows] = lower

    def certificates(self) -> Certificates:
        """The radius of each row; valid at any moment."""
        return certificates(
            self.lower,
            self.top,
            self.n,
            noise=self.noise,
            alpha=self.alpha,
            method="margin sequence",
            guarantee="proven",
            solved=np.ones(len(self), dtype=bool),
            options={"n_target": self.n_target},
            votes=np.zeros((0, 0), dtype=np.int64) if self._counts is None else self._counts,
            most=_validate.MAX_N,
            offset=self.offset,
        )

    def state(self) -> dict[str, Any]:
        """What a later `restore` needs, as plain values: the question, counts and bounds."""
        prior = None if self._selection is None else np.asarray(self._selection.counts)
        return {
            "alpha": self.alpha,
            "n_target": self.n_target,
            "law": plain(self.noise),
            "top": self.top.tolist(),
            "prior": None if prior is None else prior.tolist(),
            "index": None if self.index is None else self.index.tolist(),
            "counts": None if self._counts is None else self._counts.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the counts of a `state`, with the bound that they give.

        Parameters
        ----------
        state : mapping
            Of a sequence with the same settings.

        Raises
        ------
        ValueError
            Another alpha, target, law, class, selection sample or input, or counts smaller than
            those that are here already; the difference is named.
        """
        self._counts = compared(self.state(), state)
        if self._counts is not None:
            self._look(np.flatnonzero((self.n > 0) & (self.top != NO_CLASS)))
