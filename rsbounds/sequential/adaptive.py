"""Stop when a further look cannot raise the radius by more than a stated fraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Certificates, MarginBound, Selection, plain_options
from rsbounds.bounds.margin import MarginMethod, margin_lower_bound, margin_method
from rsbounds.certificates.exact import check_drawn, level_left
from rsbounds.noises import Noise
from rsbounds.sequential._checked import (
    checked_columns,
    checked_increments,
    checked_law,
    checked_top,
)
from rsbounds.sequential._record import certificates
from rsbounds.sequential.looks import checked_looks, geometric_looks


class Adaptive:
    """Radii from looks at growing sample sizes, until another look is not worth its draws.

    At look l the margin is bounded from all counts so far at level alpha times share_l; the
    shares add to 1, so with probability at least 1 - alpha the bounds of *all* looks hold
    (union bound, with the margin method's theorem), the best of them is reported, and the
    rule that stops may be anything. The rule here asks what every later look would find if the
    votes went on in the same proportions, and stops where none would raise the best radius r by
    more than ``gain`` times max(r, u), u the radius that a margin of one buys. (Without u, rows
    with tiny radii would be drawn to the end.) A bound that holds at every time
    (`MarginSequence`) in place of a few looks takes more draws for the same average radius.

    Parameters
    ----------
    top : int, (B,) integers or Selection
        Class of each input, fixed before the counts are seen; `rsbounds.NO_CLASS` where there is
        none to put to the test, so that the row abstains.
    noise : Noise
        The law the draws come from.
    alpha : float
        Error probability of each row's statement, all looks together.
    looks : sequence of int
        Total draws at each look, increasing; see `geometric_looks`.
    shares : sequence of float, optional
        Share of alpha of each look; by default in proportion to its size, because the largest
        radii are limited by alpha at the last look.
    gain : float
        Fraction of the radius that a further look must promise for a row to go on, >= 0.
    method : str or MarginMethod
        Margin bound, with ``**options``.

    Attributes
    ----------
    offset : (B,) float64 or None
        Where the noise is drawn on a lattice, how far the inputs are from it, once they are
        known; certificates are smaller by it.

    Raises
    ------
    ValueError
        An argument out of range.

    See Also
    --------
    rsbounds.Decide : Is the radius at least r?
    rsbounds.MarginSequence : Radii that hold at every time at once, without a rule that stops.
    rsbounds.sample_until : Draws the votes that a rule asks for.
    rsbounds.geometric_looks : Where to look.

    Examples
    --------
    >>> import rsbounds
    >>> run = rsbounds.Adaptive(0, noise=rsbounds.Gaussian(sigma=0.5), looks=(100, 1000, 10000))
    >>> while run.active.any():
    ...     run.update(run.wanted[:, None] // 10 * [8, 1, 1])
    >>> run.n, f"{run.certificates().radius[0]:.2f}"
    (array([10000]), '0.50')
    """

    def __init__(
        self,
        top: ArrayLike | Selection,
        *,
        noise: Noise,
        alpha: float = 0.001,
        looks: Sequence[int] = geometric_looks(1000, 100_000, 3.0),
        shares: Sequence[float] | None = None,
        gain: float = 0.03,
        method: str | MarginMethod = "runner-up",
        **options: Any,
    ) -> None:
        self.noise = checked_law(noise)
        self.alpha = _validate.alpha(alpha)
        self.looks = checked_looks(looks)
        _validate.unmasked("shares", shares)
        try:
            weights = np.asarray(self.looks if shares is None else shares, dtype=np.float64)
        except (TypeError, ValueError):
            weights = np.empty(0)
        if weights.shape != (len(self.looks),) or not (weights > 0).all():
            raise ValueError(
                f"shares is {shares!r}; allowed: one positive number for each of "
                f"{len(self.looks)} looks"
            )
        if shares is not None and abs(weights.sum() - 1.0) > 1e-9:
            raise ValueError(f"shares is {shares!r}, adding to {weights.sum()}; allowed: sum 1")
        self.shares = weights / weights.sum() * (1.0 - 1e-15)
        self._level = level_left(noise.spacing, self.alpha, self.looks[-1])
        self.offset: NDArray[np.float64] | None = None
        if self._level * self.shares.min() < 1e-300:
            raise ValueError(
                f"alpha is {alpha!r}, of which a look has {self.shares.min():g}; allowed: at least "
                "1e-300 for every look"
            )
        self.gain = _validate.number("gain", gain, "a number >= 0", lambda v: v >= 0)
        self.method = margin_method(method, options)
        self._selection = top if isinstance(top, Selection) else None
        self.top = checked_top(top)
        rows = self.top.size
        noise.check_rows(rows)
        self._counts: NDArray[np.int64] | None = None
        self._look = np.zeros(rows, dtype=np.int64)
        self._stopped = self.top == NO_CLASS
        unknown = -np.inf if noise.scale == "probit" else -1.0
        self._best = np.full(rows, unknown)
        self._proven = np.ones(rows, dtype=bool)

    def __len__(self) -> int:
        return self.top.size

    def __repr__(self) -> str:
        still = int(self.active.sum())
        return (
            f"Adaptive({len(self)} inputs, {still} open, {self.method.name}, alpha {self.alpha:g})"
        )

    @property
    def active(self) -> NDArray[np.bool_]:
        """(B,) True where more draws are wanted."""
        return np.asarray(~self._stopped)

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws used."""
        used = np.concatenate([[0], self.looks])
        return np.asarray(used[self._look])

    @property
    def wanted(self) -> NDArray[np.int64]:
        """(B,) draws wanted before the next look; 0 for a row that has stopped."""
        sizes = np.concatenate([[0], self.looks, self.looks[-1:]])
        return np.asarray(np.where(self._stopped, 0, sizes[self._look + 1] - sizes[self._look]))

    def update(self, counts: ArrayLike) -> None:
        """Add exactly the draws that were wanted, and look.

        Parameters
        ----------
        counts : (K,) or (B, K) integers
            Votes since the last update. Row i sums to ``wanted[i]``.

        Raises
        ------
        ValueError
            Another number of draws or rows, entries that are not whole numbers >= 0, or votes
            that bring all counts so far to those that the class was selected from, as for
            `Decide`; nothing is taken then.
        """
        check_drawn(self.noise, counts)
        fresh, total = checked_increments(counts, self.top, self._selection, self._counts)
        checked_columns(fresh, self._counts)
        wrong = total != self.wanted
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"counts row {row} sums to {total[row]}; allowed: {self.wanted[row]}, the draws "
                "wanted (0 for a row that has stopped)"
            )
        sums = fresh if self._counts is None else self._counts + fresh
        rows = np.flatnonzero(self.active)
        look = self._look.copy()
        best, proven = self._best.copy(), self._proven.copy()
        stopped = self._stopped.copy()
        for level in np.unique(look[rows]):
            here = rows[look[rows] == level]
            self._look_at(int(level), sums[here], here, best, proven)
            stopped[here] = ~self._worth(sums[here], here, int(level), best[here])
        look[rows] += 1
        self._counts, self._look, self._stopped = sums, look, stopped
        self._best, self._proven = best, proven

    def replay(self, looks: Sequence[Sequence[ArrayLike]]) -> None:
        """Take the votes of looks that were taken before, stopping nowhere and asking for no more.

        The bounds of all looks hold together, so that looks that another rule took, with another
        method or alpha but of the same sizes and shares, may be bounded again.

        Parameters
        ----------
        looks : (B,) sequences of (K,) integers
            The votes of each look of each row, from the first on.

        Raises
        ------
        ValueError
            Another number of rows or draws, or votes that were given before.
        """
        if self._counts is not None or len(looks) != len(self):
            raise ValueError(f"looks has {len(looks)} rows; allowed: {len(self)}, before any votes")
        taken = np.array([len(votes) for votes in looks])
        best, proven = self._best.copy(), self._proven.copy()
        sums: Any = 0
        for look in range(int(taken.max(initial=0))):
            here = np.flatnonzero((taken > look) & self.active)
            given = [votes[look] if len(votes) > look else None for votes in looks]
            width = max(np.size(votes) for votes in given if votes is not None)
            fresh = np.array([np.zeros(width) if v is None else v for v in given], dtype=np.int64)
            sums = sums + fresh
            if (sums[here].sum(axis=1) != self.looks[look]).any():
                raise ValueError(
                    f"looks has rows whose first {look + 1} looks have other draws than "
                    f"{self.looks[look]}; allowed: those of the rule"
                )
            if here.size:
                self._look_at(look, sums[here], here, best, proven)
        self._counts = sums if taken.any() else None
        self._look, self._stopped = np.where(self.active, taken, 0), np.ones(len(self), dtype=bool)
        self._best, self._proven = best, proven

    def _look_at(
        self,
        look: int,
        counts: NDArray[np.int64],
        rows: NDArray[np.int64],
        best: NDArray[np.float64],
        proven: NDArray[np.bool_],
    ) -> None:
        """Raise the best bounds of some rows by that of a look."""
        bound = self._bound_at(look, counts, rows)
        better = bound.lower > best[rows]
        best[rows] = np.where(better, bound.lower, best[rows])
        proven[rows] = np.where(better, bound.solved, proven[rows])

    def abstain(self, rows: NDArray[np.bool_], draws: ArrayLike = 0) -> None:
        """Let rows abstain, such as those whose draws were no votes.

        Parameters
        ----------
        rows : (B,) bool
            Which; those that have stopped keep their bound.
        draws : int or (B,) integers
            Draws of those rows since the last update: 0, or those wanted.
        """
        stop = np.asarray(rows, dtype=bool) & self.active
        self._look = self._look + np.where(stop & (np.asarray(draws) > 0), 1, 0)
        self._best[stop] = -np.inf if self.noise.scale == "probit" else -1.0
        self._stopped = self._stopped | stop

    def _bound_at(
        self, look: int, counts: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> MarginBound:
        top: Any = self.top[rows]
        if self._selection is not None:
            top = Selection(self.top[rows], np.asarray(self._selection.counts)[rows], True)
        return margin_lower_bound(
            counts,
            top,
            alpha=float(self._level * self.shares[look]),
            scale=self.noise.scale,
            method=self.method,
        )

    def _worth(
        self,
        counts: NDArray[np.int64],
        rows: NDArray[np.int64],
        look: int,
        best: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Whether some later look is expected to gain enough."""
        worth = np.zeros(len(rows), dtype=bool)
        law = self.noise.at(rows)
        # A radius to measure gains by: some laws have no largest one at the margin 1.
        now, unit = law.radius(best), law.radius(0.5 if law.curve_only else 1.0)
        for later in range(look + 1, len(self.looks)):
            factor = self.looks[later] / self.looks[look]
            expected = np.floor(counts * factor + 0.5).astype(np.int64)
            there = law.radius(self._bound_at(later, expected, rows).lower)
            worth |= there - now > self.gain * np.maximum(now, unit)
        return worth

    def certificates(self) -> Certificates:
        """The best radius of each row over its looks so far; valid at any moment."""
        return certificates(
            self._best.copy(),
            self.top,
            self.n,
            noise=self.noise,
            alpha=self.alpha,
            method=f"adaptive {self.method.name}",
            guarantee=self.method.guarantee,
            solved=self._proven.copy(),
            options=plain_options(self.method),
            votes=np.zeros((0, 0), dtype=np.int64) if self._counts is None else self._counts,
            most=self.looks[-1],
            offset=self.offset,
        )
