"""Is the certified radius at least r? Stop as soon as there is an answer."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Certificates, Selection
from rsbounds.bounds.mean._one_sided import log_capital
from rsbounds.bounds.mean.beta_binomial import checked_prior
from rsbounds.certificates.exact import check_drawn, level_left
from rsbounds.noises import Noise
from rsbounds.sequential._checked import (
    checked_columns,
    checked_curve,
    checked_increments,
    checked_rows,
    checked_scale,
    checked_total,
)
from rsbounds.sequential._futility import Futility
from rsbounds.sequential._record import certificates
from rsbounds.sequential._refutes import Pieces
from rsbounds.sequential.margin import MarginTest, margins, three_cells

#: Every status, by its code plus 3.
STATUS = ("futile", "undecided", "no", "continue", "yes")
_FUTILE, _UNDECIDED, _NO, _OPEN, _YES = range(-3, 2)


class Decide:
    """Sequential decision: is the certified radius at least r?

    The radius is the one that `rsbounds.certify` bounds: that of the class against every other
    class. Two gamblers bet on votes, one against "the radius is at most r" (`MarginTest`, with
    the selection sample as its prior), one against "the radius is at least r"; the first capital
    to reach 1/alpha gives the answer. Whatever the truth is, only one of the two answers is
    wrong, and its capital is a nonnegative supermartingale: the probability of ever giving a
    wrong answer is at most alpha, over both answers together and however often one looks
    (Ville 1939). No alpha is divided, neither by answers nor by classes.

    "yes" is a certificate for the class ``top``; "no" says that no bound can reach r. It is
    proven against one competitor, the runner-up of the selection sample (all of them in equal
    parts where there is none), from the share of the pair's votes and the pair's share of all:
    it takes more draws than a "yes". Where only "yes" counts, ``no="futile"`` proves no "no": a
    row stops as ``futile`` when a later "yes" is improbable, which is a guess that wastes rows
    where it is wrong and leaves every "yes" as valid as it was.

    With ``competitors="complement"`` the radius is that of the bound p_B = 1 - p_A (Cohen et al.
    2019), which is smaller with more than two classes: it is at least r exactly if
    p_A >= p0, p0 = Phi(r/sigma) for Gaussian noise. Each side bets on "A or not" with a beta
    mixture of its own cut to its side of p0 (Robbins 1970).

    All answers rest on draws, with one exception: where the law's largest radius is below r
    (uniform noise: r > half_width) "no" needs none. With Gaussian noise "yes" takes about
    ln(1/alpha)/(1 - p0) draws or more, and a row that asks for more than it can have (1e12
    from r/sigma = 7 on, at alpha 0.001) ends without one.

    Parameters
    ----------
    radius : float or (B,) float array_like
        The radius r > 0 in question, in units of the raw input.
    top : int, (B,) integers or Selection
        Class of each input, fixed before the counts are seen; `rsbounds.NO_CLASS` where there is
        none to put to the test, so that the row stays undecided.
    noise : Noise
        The law the draws come from.
    alpha : float
        Error probability of each row's answer, in (0, 1).
    competitors : {"all", "complement"}
        Against every class, or with p_B = 1 - p_A.
    no : {"proven", "futile"}
        Whether rows without a "yes" stop by a proof, or as soon as one is improbable.
    futility : float
        Predicted chance of a later "yes", by the last draw, below which a row is given up.
    prior, prior_no : (float, float)
        Parameters of the beta mixtures: for "yes" (of the complement), and for "no".
    limit : int, optional
        Draws after which a row without an answer becomes ``undecided``; 1e12 at most, which is
        also the default.

    Attributes
    ----------
    offset : (B,) float64 or None
        Where the noise is drawn on a lattice, how far the inputs are from it, once they are
        known: r is then the radius about the lattice points, and certificates say what is left
        of it about the inputs.

    Raises
    ------
    ValueError
        An argument out of range.

    See Also
    --------
    rsbounds.MarginTest : The capital of "yes", without a rule that stops.
    rsbounds.Adaptive : Radii, in place of one yes or no.
    rsbounds.sample_until : Draws the votes that a rule asks for.

    References
    ----------
    .. [1] J. Ville, "Etude critique de la notion de collectif", 1939.
    .. [2] H. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
       Mathematical Statistics 41 (1970).
    .. [3] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.

    Examples
    --------
    >>> import rsbounds
    >>> test = rsbounds.Decide(0.5, top=0, noise=rsbounds.Gaussian(sigma=0.5))
    >>> while test.active.any():
    ...     test.update([97, 2, 1])
    >>> test.status, test.n
    (array(['yes'], dtype='<U9'), array([100]))
    """

    def __init__(
        self,
        radius: ArrayLike,
        top: ArrayLike | Selection,
        *,
        noise: Noise,
        alpha: float = 0.001,
        competitors: Literal["all", "complement"] = "all",
        no: Literal["proven", "futile"] = "proven",
        futility: float = 0.01,
        prior: tuple[float, float] = (0.5, 0.5),
        prior_no: tuple[float, float] = (1.0, 0.1),
        limit: int | None = None,
    ) -> None:
        _validate.choice("competitors", competitors, ("all", "complement"))
        _validate.choice("no", no, ("proven", "futile"))
        self.competitors, self.no = competitors, no
        plain = competitors == "complement" or no == "proven"
        self.noise = checked_scale(noise) if plain else checked_curve(noise)
        self.alpha = _validate.alpha(alpha)
        # An update may hold more draws than were wanted.
        self._level = level_left(noise.spacing, self.alpha, _validate.MAX_N)
        self.offset: NDArray[np.float64] | None = None
        self.futility = _validate.number(
            "futility", futility, "a number above 0 and below 1", lambda v: 0 < v < 1
        )
        self.prior = checked_prior(prior)
        self.prior_no = checked_prior(prior_no)
        self.limit = (
            _validate.MAX_N
            if limit is None
            else _validate.integer("limit", limit, low=1, high=_validate.MAX_N)
        )
        self._selection = top if isinstance(top, Selection) else None
        self.radius, self.top = checked_rows(radius, top)
        rows = self.radius.size
        noise.check_rows(rows)
        self._answer = np.zeros(rows, dtype=np.int8)
        if not noise.curve_only:
            self._set_thresholds()
        self._counts: NDArray[np.int64] | None = None
        self._seen: NDArray[np.int64] | None = None
        self._n = np.zeros(rows, dtype=np.int64)
        self._margin = (
            MarginTest(self.radius, self._named(), noise=noise) if competitors == "all" else None
        )
        self._futility: Futility | None = None
        self._question = np.arange(rows)
        self._answer[self.top == NO_CLASS] = _UNDECIDED

    def _named(self) -> NDArray[np.int64] | Selection:
        return self.top if self._selection is None else self._selection

    def _set_thresholds(self) -> None:
        above, below = (0.5 * margin for margin in margins(self.radius, self.noise))
        probit = self.noise.scale == "probit"
        self._yes, self._no = _thresholds(above, probit), _thresholds(below, probit)
        if self.noise.scale == "linear":
            # Where not even p_A = 1 buys the radius, the answer needs no draws.
            self._answer[below > 0.5] = _NO
        if self.competitors == "all" and self.no == "proven":
            some = np.maximum(below, 0.0)
            self._pieces = Pieces(2.0 * some, _thresholds(some, probit), probit)
            if self._selection is not None:
                picked = np.array(self._selection.counts)
                picked[np.arange(len(picked)), np.maximum(self._selection.top, 0)] = -1
                self._rival = np.broadcast_to(picked.argmax(axis=1), self.radius.shape)

    def __len__(self) -> int:
        return self.radius.size

    def __repr__(self) -> str:
        still = int(self.active.sum())
        return f"Decide({len(self)} inputs, {still} open, alpha {self.alpha:g})"

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws used; those of a row stop counting when it has its answer."""
        return self._n.copy()

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """(B, K) votes seen, of each row up to its answer; None before the first."""
        return None if self._counts is None else self._counts.copy()

    @property
    def active(self) -> NDArray[np.bool_]:
        """(B,) True where more draws are wanted."""
        return np.asarray(self._answer == _OPEN)

    @property
    def wanted(self) -> NDArray[np.int64]:
        """(B,) draws worth taking before the next `update`; 0 for a row with its answer.

        An eighth of the draws so far, and 64: few rounds, and few draws taken after the answer
        was there to be found. Any other number is as valid.
        """
        more = np.minimum(64 + self._n // 8, self.limit - self._n)
        return np.where(self.active, more, 0)

    @property
    def status(self) -> NDArray[np.str_]:
        """(B,) "continue", "yes", "no", "futile" or "undecided"."""
        return np.array(STATUS)[self._answer - _FUTILE]

    def update(self, counts: ArrayLike) -> None:
        """Add votes; rows that have their answer ignore theirs.

        Parameters
        ----------
        counts : (K,) or (B, K) integers
            Votes since the last update; a row may have none.

        Raises
        ------
        ValueError
            Wrong number of rows or classes, entries that are not whole numbers >= 0, or votes
            that bring all counts so far to those that the class was selected from, where
            independent samples agree with a chance of 20 % at most (see `select_top`); nothing
            is taken then.
        """
        if not self.active.any():
            raise ValueError("counts were given after every answer; allowed: while active.any()")
        check_drawn(self.noise, counts)
        fresh, total = checked_increments(counts, self.top, self._selection, self._seen)
        checked_columns(fresh, self._counts)
        grow = self.active
        taken = np.where(grow[:, None], fresh, 0)
        sums = self._n + np.where(grow, total, 0)
        checked_total(sums)
        self._counts = taken if self._counts is None else self._counts + taken
        self._n = sums
        if self._selection is not None and not self._selection.independent:
            # All votes given, those of rows with their answer too: the sample to compare.
            self._seen = fresh if self._seen is None else self._seen + fresh
        rows = np.flatnonzero(grow & (self._n > 0))
        if rows.size:
            self._answer_rows(rows, three_cells(self._counts[rows], self.top[rows]))

    def _answer_rows(self, rows: NDArray[np.int64], votes: NDArray[np.int64]) -> None:
        level = -math.log(self._level)
        answer = np.zeros(len(rows), dtype=np.int8)
        answer[self._capital(votes, rows) >= level * (1.0 + 1e-15)] = _YES
        left = np.flatnonzero((answer == _OPEN) & (self._n[rows] < self.limit))
        if self.no == "futile":
            answer[left[self._hopeless(rows[left], votes[left], level)]] = _FUTILE
        else:
            # At the limit a proof is as good as before it.
            left = np.flatnonzero(answer == _OPEN)
            answer[left[self._refuted(rows[left], votes[left], level)]] = _NO
        answer[(answer == _OPEN) & (self._n[rows] >= self.limit)] = _UNDECIDED
        self._answer[rows] = answer

    def _capital(self, votes: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log capital of "yes"."""
        if self._margin is not None:
            return self._margin.capital_of(votes, rows)
        p, q = self._yes[:, rows]
        return log_capital(votes[:, 0], votes[:, 1] + votes[:, 2], p, q, self.prior)

    def _refuted(
        self, rows: NDArray[np.int64], votes: NDArray[np.int64], level: float
    ) -> NDArray[np.bool_]:
        """Whether "the radius is at least r" is refuted."""
        if self.competitors == "complement":
            p, q = self._no[:, rows]
            against = votes[:, 1] + votes[:, 2]
            return log_capital(against, votes[:, 0], q, p, self.prior_no[::-1]) >= level
        assert self._counts is not None
        rival, price = votes[:, 1], 0.0
        if self._selection is None:
            # The mean of the capitals against each competitor is at least this part of one.
            price = math.log(self._counts.shape[1] - 1) * (1.0 + 1e-15)
        else:
            rival = self._counts[rows, self._rival[rows]]
        return self._pieces.refuted(
            votes[:, 0], rival, votes.sum(axis=1), rows, np.full(len(rows), level + price),
            self.prior_no[::-1],
        )  # fmt: skip

    def _hopeless(
        self, rows: NDArray[np.int64], votes: NDArray[np.int64], level: float
    ) -> NDArray[np.bool_]:
        if self._futility is None:
            # Rows with the same question share an answer.
            first, self._question, keys = self._questions()
            self._futility = Futility(
                lambda expected, which: self._expected(expected, first[which]), keys,
                self.limit, level, self.futility,
            )  # fmt: skip
        return self._futility.hopeless(votes, self._question[rows])

    def _questions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], list[Hashable]]:
        """A row of each different question, the question of each row, and their names."""
        # 1 - p0, which tells thresholds near 1 apart.
        key = self._margin.group if self._margin is not None else self._yes[1]
        values, first, which = np.unique(key, return_index=True, return_inverse=True)
        if self._margin is not None:
            return first, which, [self._margin.questions[group] for group in values.tolist()]
        return first, which, [("complement", q, self.prior) for q in values.tolist()]

    def _expected(self, votes: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log capital of "yes" for expected votes, without a selection sample."""
        if self._margin is not None:
            return self._margin.plain_capital(votes, rows)
        p, q = self._yes[:, rows]
        whole = votes.astype(np.int64)
        return log_capital(whole[:, 0], whole[:, 1] + whole[:, 2], p, q, self.prior)

    def abstain(self, rows: NDArray[np.bool_], draws: ArrayLike = 0) -> None:
        """Leave rows undecided, such as those whose draws were no votes.

        Parameters
        ----------
        rows : (B,) bool
            Which; those that have their answer keep it.
        draws : int or (B,) integers
            Draws of those rows since the last update, to be added to ``n``.
        """
        stop = np.asarray(rows, dtype=bool) & self.active
        self._n = self._n + np.where(stop, draws, 0)
        self._answer[stop] = _UNDECIDED

    def certificates(self) -> Certificates:
        """Balls of radius r where the answer is yes; the other rows abstain."""
        yes = self._answer == _YES
        unknown = -math.inf if self.noise.scale == "probit" else -1.0
        if self.noise.curve_only:
            # p_A > h(p_c) >= p_c is all that is known of the margin.
            margin = np.where(yes, 0.0, unknown)
        else:
            # The law rounds the radius of a margin down, by less than 8e-15 of it. The thresholds
            # have proven a margin that is larger by more than that.
            with np.errstate(over="ignore"):
                proven = self.radius / self.noise.radius_per_margin * (1.0 + 8e-15)
            margin = np.where(yes, proven, unknown)
        return certificates(
            margin,
            self.top,
            self.n,
            noise=self.noise,
            alpha=self.alpha,
            method="decide",
            guarantee="proven",
            solved=np.ones(len(self), dtype=bool),
            options={
                "competitors": self.competitors, "no": self.no, "futility": self.futility,
                "prior": list(self.prior), "prior_no": list(self.prior_no), "limit": self.limit,
            },
            votes=np.zeros((0, 0), dtype=np.int64) if self._counts is None else self._counts,
            most=_validate.MAX_N,
            offset=self.offset,
            radius=np.where(yes, self.radius, 0.0) if self.noise.curve_only else None,
        )  # fmt: skip


def _thresholds(half: NDArray[np.float64], probit: bool) -> NDArray[np.float64]:
    """The pairs (p0, 1 - p0) that half margins ask for, as (2, B) numbers.

    Each is rounded up, by more than the error of ndtr (below 3e-13 of its value as far as 38
    standard deviations), which lowers every capital. 1 - p0 is kept at 1e-300 or more, where
    the arithmetic still works: no capital is ever won against such a p0, and a capital
    against "p >= 1 - 1e-300" is one against every p0 beyond.
    """
    p, q = (ndtr(half), ndtr(-half)) if probit else (0.5 + half, 0.5 - half)
    p = np.minimum(p * (1.0 + 1e-15), 1.0)
    return np.array([p, np.maximum(q * (1.0 + 1e-12), 1e-300)])
