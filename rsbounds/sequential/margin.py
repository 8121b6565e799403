"""Is the certified radius above r? An any-time test against every competitor at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Selection
from rsbounds.certificates.exact import check_drawn, level_left
from rsbounds.noises import Noise
from rsbounds.sequential import _tangents
from rsbounds.sequential._capital import capital_rows, evidence_rows
from rsbounds.sequential._checked import (
    checked_curve,
    checked_rows,
    checked_sums,
)
from rsbounds.sequential._state import compared, plain

#: Share of the stakes that does not look at the selection sample.
_FLAT = 0.1


class MarginTest:
    """Capital against "the certified radius is at most r", valid whenever it is looked at.

    For a class A and one competitor c the radius exceeds r exactly where p_A > h(p_c), h the curve
    of the noise law at r (Gaussian noise: Phi(Phi^-1(b) + 2 r / sigma)). h is concave, so that each
    of its tangents is a bet that loses on average under every p with p_A <= h(p_c). A fixed
    mixture of such bets, over places on the curve and stakes, is a nonnegative supermartingale
    there that starts at 1: for every p whose radius is at most r, the probability that the
    capital ever reaches 1/alpha is at most alpha (Ville 1939).

    *All competitors.* If the radius is at most r then p_A <= h(p_c) for one class c, and the least
    capital over all competitors is at most that one's. The capital falls as votes move from the
    rest to the competitor, so the least is that against the largest other count. No alpha is
    divided by the number of classes.

    *The selection sample* weighs the bets by how well their alternatives explain it (a tenth of
    the stakes is left as it is): it is independent of the votes, so that weights that depend on
    it are as good as weights fixed in advance.

    The capital depends on the counts alone: votes may come in any order and number, one look or
    a thousand give the same capital, and what was stopped can go on from its counts (`state`,
    `restore`).

    Parameters
    ----------
    radius : float or (B,) float array_like
        The radius r > 0 in question, in units of the raw input.
    top : int, (B,) integers or Selection
        Class of each input, fixed before the counts are seen; `rsbounds.NO_CLASS` where there is
        none, whose capital stays at 0.
    noise : Noise
        The law the draws come from.
    index : (B,) integers, optional
        Which inputs the rows are, kept in the state.

    Raises
    ------
    ValueError
        An argument out of range, or a law without a curve.

    See Also
    --------
    rsbounds.Decide : Yes or no, with a rule that stops.

    References
    ----------
    .. [1] J. Ville, "Etude critique de la notion de collectif", 1939.
    .. [2] P. Gruenwald, R. de Heide and W. Koolen, "Safe testing", Journal of the Royal Statistical
       Society B 86 (2024).

    Examples
    --------
    >>> import rsbounds
    >>> test = rsbounds.MarginTest(0.5, top=0, noise=rsbounds.Gaussian(sigma=0.5))
    >>> test.update([970, 20, 10])
    >>> bool(test.proven(alpha=0.001)[0])
    True
    """

    def __init__(
        self,
        radius: ArrayLike,
        top: ArrayLike | Selection,
        *,
        noise: Noise,
        index: ArrayLike | None = None,
    ) -> None:
        self.noise = checked_curve(noise)
        self._selection = top if isinstance(top, Selection) else None
        self.radius, self.top = checked_rows(radius, top)
        rows = self.radius.size
        noise.check_rows(rows)
        self.index = checked_index(index, rows)
        self._counts: NDArray[np.int64] | None = None
        self._factors, self._liked, self.group, self.questions = _tables(self.radius, noise)
        self._weights = _tangents.weights()
        self._earlier = np.zeros((rows, 3))
        if self._selection is not None:
            picked = np.asarray(self._selection.counts)
            if len(picked) != rows:
                raise ValueError(
                    f"top was selected from counts of {len(picked)} rows; allowed: {rows}, as "
                    "many as there are radii"
                )
            self._earlier = three_cells(picked, self.top).astype(np.float64)
        self._evidence = np.empty(rows)
        evidence_rows(self._earlier, self.group, self._liked, self._weights, self._evidence)

    def __len__(self) -> int:
        return self.radius.size

    def __repr__(self) -> str:
        draws = 0 if self._counts is None else int(self._counts.sum())
        return f"MarginTest({len(self)} inputs, {draws} draws)"

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws seen."""
        if self._counts is None:
            return np.zeros(len(self), dtype=np.int64)
        return np.asarray(self._counts.sum(axis=1))

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """(B, K) votes seen; None before the first."""
        return None if self._counts is None else self._counts.copy()

    def update(self, counts: ArrayLike) -> None:
        """Add votes.

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
        self._counts, _ = checked_sums(counts, self.top, self._selection, self._counts)

    @property
    def log_capital(self) -> NDArray[np.float64]:
        """(B,) logarithm of the capital, rounded down; 0 before the first votes."""
        if self._counts is None:
            capital = np.zeros(len(self))
        else:
            capital = self.capital_of(three_cells(self._counts, self.top), np.arange(len(self)))
        return np.where(self.top == NO_CLASS, -math.inf, capital)

    def capital_of(self, votes: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log capital of (m, 3) votes for the class, a competitor and the rest, in given rows."""
        return self._bet(votes, rows, self._earlier[rows])

    def plain_capital(self, votes: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """`capital_of` as it is without a selection sample."""
        return self._bet(votes, rows, np.zeros((len(rows), 3)))

    def _bet(
        self, votes: NDArray[Any], rows: NDArray[np.int64], earlier: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        capital = np.empty(len(rows))
        capital_rows(
            votes.astype(np.float64), earlier, self._evidence[rows], self.group[rows],
            self._factors, self._liked, self._weights, _FLAT, capital,
        )  # fmt: skip
        return capital

    def proven(self, *, alpha: float) -> NDArray[np.bool_]:
        """(B,) whether the radius is proven to exceed r, with error probability alpha.

        The probability that this is ever true of a row whose radius is at most r is at most alpha.
        With noise on a lattice the radius is that about the inputs rounded to it.

        Parameters
        ----------
        alpha : float
            In (0, 1).
        """
        level = level_left(self.noise.spacing, _validate.alpha(alpha), _validate.MAX_N)
        return self.log_capital >= -math.log(level) * (1.0 + 1e-15)

    def state(self) -> dict[str, Any]:
        """What a later `restore` needs, as plain values: the question, and the counts."""
        prior = None if self._selection is None else np.asarray(self._selection.counts)
        return {
            "radius": self.radius.tolist(),
            "law": plain(self.noise),
            "top": self.top.tolist(),
            "prior": None if prior is None else prior.tolist(),
            "index": None if self.index is None else self.index.tolist(),
            "counts": None if self._counts is None else self._counts.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the counts of a `state`.

        Parameters
        ----------
        state : mapping
            Of a test of the same question.

        Raises
        ------
        ValueError
            Another radius, law, class, selection sample or input, or counts smaller than those
            that are here already; the difference is named.
        """
        self._counts = compared(self.state(), state)


def checked_index(index: ArrayLike | None, rows: int) -> NDArray[np.int64] | None:
    """(B,) numbers of inputs, or None."""
    if index is None:
        return None
    numbers = np.atleast_1d(_validate.array("index", index))
    if numbers.shape != (rows,) or numbers.dtype.kind not in "iu":
        raise ValueError(f"index is {index!r}; allowed: an integer for each of {rows} rows")
    return numbers.astype(np.int64)


def three_cells(counts: NDArray[Any], top: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B, 3) votes for the top class, for the largest other class, and for the rest."""
    rows = np.arange(len(counts))
    at = np.where(top == NO_CLASS, 0, top)
    own = counts[rows, at]
    others = counts.copy()
    others[rows, at] = -1
    rival = others.max(axis=1)
    return np.stack([own, rival, counts.sum(axis=1) - own - rival], axis=1)


def _tables(
    radius: NDArray[np.float64], noise: Noise
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], list[Hashable]]:
    """Bets and alternatives of each different question, which of them a row has, and their names.

    The name is None where nothing short tells one law from another.
    """
    names: list[Hashable]
    if noise.curve_only:
        kinds: dict[tuple[float, int], int] = {}
        many = bool(noise.batch_shape)
        group = np.array(
            [kinds.setdefault((r, i if many else 0), len(kinds)) for i, r in enumerate(radius)]
        )
        made = [
            _tangents.bets(_tangents.curve_lines(noise[i] if many else noise, r)) for r, i in kinds
        ]
        names = [None] * len(kinds)
    else:
        # A shade more than the radius takes: the certificate rounds down.
        margin, _ = margins(radius, noise)
        different, group = np.unique(margin, return_inverse=True)
        made = [_tangents.scale_bets(m, noise.scale) for m in different.tolist()]
        names = [(noise.scale, m) for m in different.tolist()]
    factors, liked = (np.stack(part) for part in zip(*made, strict=True))
    return factors, liked, group.astype(np.int64), names


def margins(
    radius: NDArray[np.float64], noise: Noise
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Margins a shade above and a shade below the one that each radius takes."""
    unit = np.broadcast_to(noise.radius_per_margin, radius.shape)
    usable = (unit >= 1e-290) & (unit <= 1e290)
    if not usable.all():
        raise ValueError(
            f"noise is {noise}, whose radius is {unit[~usable][0]:g} for a margin of one; "
            "allowed: laws with 1e-290 <= that radius <= 1e290"
        )
    with np.errstate(over="ignore"):
        half = radius / unit / 2
    small = (half < 1e-290) | (radius < 2e-290)
    if small.any():
        raise ValueError(
            f"radius is {radius[small][0]:g} with {noise}; allowed: radii of at least "
            f"{2e-290 * max(unit[small][0], 1.0):g} there"
        )
    # "Yes" has to prove a shade more than r; "no" has to refute a shade less.
    above, below = half * (1.0 + 1e-14) + 1e-15, half * (1.0 - 1e-14) - 1e-15
    with np.errstate(over="ignore"):
        return 2.0 * above, 2.0 * below
