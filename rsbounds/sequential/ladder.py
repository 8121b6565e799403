"""Several radii of each input at once: which of them are certified, from the same draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Certificates, Selection, content_hash
from rsbounds.certificates.ball import plain_law
from rsbounds.certificates.exact import check_drawn
from rsbounds.noises import Noise
from rsbounds.sequential._checked import checked_columns
from rsbounds.sequential.decide import Decide


class Ladder:
    """Is the certified radius at least r, for several r of each input?

    Every radius has the test of `Decide` with the whole of alpha, and all tests of an input see
    the same draws, until each has its answer. "Yes" at a radius is given where its own test and
    those of *all smaller radii* have said so. Then, for each input on its own, the probability
    that any of its "yes" is ever wrong is at most alpha, however many radii there are: the first
    wrong one in the order of the radii needs the test of the smallest radius that is above the
    true one, and that test errs with probability at most alpha (Ville 1939). Likewise "no" is
    given where all larger radii are refuted too, and any of them is wrong with probability at
    most alpha. So an input's answers rise no further once they fall, and each of them, "yes" or
    "no", has error probability at most alpha. Answers of tests that contradict one another are
    given as undecided.

    A later "yes" at a radius that was given up as ``futile`` cannot come, nor at larger ones.

    Parameters
    ----------
    radius : (B, J) float array_like
        The radii of each input, above 0 and increasing, in units of the raw input.
    top, noise, alpha
        As in `Decide`.
    **options
        Further arguments of `Decide`.

    Attributes
    ----------
    offset : (B,) float64 or None
        As in `Decide`: the radii are then those about the lattice points.

    Raises
    ------
    ValueError
        An argument out of range.

    See Also
    --------
    rsbounds.Decide : One radius for each input.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.sequential import Ladder
    >>> test = Ladder([[0.25, 0.5, 1.0]], [0], noise=rsbounds.Gaussian(sigma=0.5))
    >>> while test.active.any():
    ...     test.update([[97, 2, 1]])
    >>> test.status.tolist(), test.certificates().radius
    ([['yes', 'yes', 'no']], array([0.5]))
    """

    def __init__(
        self,
        radius: ArrayLike,
        top: NDArray[np.int64] | Selection,
        *,
        noise: Noise,
        alpha: float = 0.001,
        **options: Any,
    ) -> None:
        radii = _validate.real_array("radius", radius)
        if radii.ndim != 2 or radii.size == 0 or not (np.diff(radii, axis=1) > 0).all():
            raise ValueError(f"radius is {radius!r}; allowed: a row of increasing numbers each")
        self._inputs: int = radii.shape[0]
        self._steps: int = radii.shape[1]
        each = np.repeat(np.arange(self._inputs), self._steps)
        noise.check_rows(self._inputs)
        self._test = Decide(
            radii.reshape(-1), _repeated(top, self._steps), noise=noise.at(each.tolist()),
            alpha=alpha, **options,
        )  # fmt: skip
        self.noise, self.alpha = noise, self._test.alpha
        self.offset: NDArray[np.float64] | None = None
        self._counts: NDArray[np.int64] | None = None
        self._futile = np.zeros(radii.shape, dtype=bool)
        self._void = np.zeros(self._inputs, dtype=bool)

    def __len__(self) -> int:
        return self._inputs

    def __repr__(self) -> str:
        still = int(self.active.sum())
        return (
            f"Ladder({len(self)} inputs, {self._steps} radii, {still} open, alpha {self.alpha:g})"
        )

    def _by_input(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(self._inputs, self._steps, *values.shape[1:])

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws used."""
        return np.asarray(self._by_input(self._test.n).max(axis=1))

    @property
    def active(self) -> NDArray[np.bool_]:
        """(B,) True where more draws are wanted."""
        return np.asarray(self._by_input(self._test.active).any(axis=1))

    @property
    def wanted(self) -> NDArray[np.int64]:
        """(B,) draws worth taking before the next `update`, as of `Decide`."""
        return np.asarray(self._by_input(self._test.wanted).max(axis=1))

    @property
    def status(self) -> NDArray[np.str_]:
        """(B, J) "continue", "yes", "no", "futile" or "undecided"."""
        own = self._by_input(self._test.status)
        yes = np.logical_and.accumulate(own == "yes", axis=1)
        no = np.logical_and.accumulate((own == "no")[:, ::-1], axis=1)[:, ::-1]
        other = np.where(self.active[:, None], "continue", "undecided")
        told = np.where(yes, "yes", np.where(no, "no", np.where(self._futile, "futile", other)))
        return np.where(self._void[:, None], "undecided", told)

    def update(self, counts: ArrayLike) -> None:
        """Add votes; inputs that have all their answers ignore theirs.

        Parameters
        ----------
        counts : (B, K) integers
            Votes since the last update; an input may have none.

        Raises
        ------
        ValueError
            As for `Decide`; nothing is taken then.
        """
        check_drawn(self.noise, counts)
        fresh = _validate.count_table(counts)
        if len(fresh) != len(self):
            raise ValueError(f"counts has {len(fresh)} row(s); allowed: {len(self)}, one per input")
        checked_columns(fresh, self._counts)
        taken = np.where(self.active[:, None], fresh, 0).astype(np.int64)
        self._test.update(np.repeat(fresh, self._steps, axis=0))
        self._counts = taken if self._counts is None else self._counts + taken
        # With what was given up, no larger radius can be told any more.
        gone = self._by_input(self._test.status) == "futile"
        below = np.logical_or.accumulate(gone, axis=1)
        if below.any():
            self._futile = below
            self._test.abstain(below.reshape(-1))

    def abstain(self, rows: NDArray[np.bool_], draws: ArrayLike = 0) -> None:
        """Leave inputs without any answer, such as those whose draws were no votes.

        Parameters
        ----------
        rows : (B,) bool
            Which; those that have all their answers keep them.
        draws : int or (B,) integers
            Draws of those inputs since the last update, to be added to ``n``.
        """
        stop = np.asarray(rows, dtype=bool) & self.active
        each = np.broadcast_to(np.asarray(draws), stop.shape)
        self._test.abstain(np.repeat(stop, self._steps), np.repeat(each, self._steps))
        self._void = self._void | stop

    def looks(self, rows: NDArray[np.int64]) -> list[list[list[int]]]:
        """Of some inputs, the votes when an answer was found, where draws went on after it.

        The counts that `replay` needs besides those of all draws, fewest first.
        """
        held = self._test.counts
        if held is None:
            return [[] for _ in rows]
        found = []
        for counts, n in zip(self._by_input(held)[rows], self.n[rows], strict=True):
            sums = {int(votes.sum()): votes for votes in counts}
            found.append([sums[size].tolist() for size in sorted(sums) if 0 < size < n])
        return found

    def replay(self, looks: Sequence[Sequence[ArrayLike]], counts: NDArray[np.int64]) -> None:
        """Take votes that were taken before, and ask for no more.

        Parameters
        ----------
        looks : (B,) sequences of (K,) integers
            Votes of each input at some earlier times, fewest first.
        counts : (B, K) integers
            All of its votes.
        """
        before = np.zeros_like(counts)
        for step in range(max(map(len, looks), default=0)):
            if not self.active.any():
                break
            sums = before.copy()
            for row, held in enumerate(looks):
                if step < len(held):
                    sums[row] = held[step]
            self.update(sums - before)
            before = sums
        if self.active.any():
            self.update(counts - before)
        # Without a further draw: nothing is void.
        void = self._void
        self.abstain(self.active)
        self._void = void

    def certificates(self) -> Certificates:
        """Balls of the largest radius with a "yes"; inputs without one abstain."""
        yes = (self.status == "yes").sum(axis=1)
        each = np.repeat(np.arange(self._inputs), self._steps)
        self._test.offset = None if self.offset is None else self.offset[each]
        best = np.arange(self._inputs) * self._steps + np.maximum(yes - 1, 0)
        table: Certificates = self._test.certificates()[best]
        votes = np.zeros((0, 0), dtype=np.int64) if self._counts is None else self._counts
        unknown = -np.inf if self.noise.scale == "probit" else -1.0
        none = yes == 0
        sizes: dict[str, Any] = {
            name: np.where(none, 0.0, getattr(table, name))
            for name in ("radius", "inscribed_radius", "proxy_radius")
        }
        return dataclasses.replace(
            table,
            **sizes,
            margin_lower=np.where(none, unknown, table.margin_lower),
            n=self.n,
            noise=str(self.noise),
            law=plain_law(self.noise),
            index=np.arange(len(self)),
            input_hash=content_hash(votes),
        )


def _repeated(top: NDArray[np.int64] | Selection, times: int) -> NDArray[np.int64] | Selection:
    """The class of each input, once for each of its radii."""
    if not isinstance(top, Selection):
        return np.repeat(_validate.array("top", top), times)
    counts = np.repeat(np.asarray(top.counts), times, axis=0)
    return Selection(np.repeat(top.top, times), counts, top.independent)
