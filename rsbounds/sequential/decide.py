"""Is the certified radius at least r? Stop as soon as either answer is proven."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Certificates, Selection
from rsbounds.bounds.mean._one_sided import log_capital
from rsbounds.bounds.mean.beta_binomial import checked_prior
from rsbounds.noises import Noise
from rsbounds.sequential._checked import (
    checked_increments,
    checked_law,
    checked_rows,
    checked_total,
)
from rsbounds.sequential._record import certificates


class Decide:
    """Sequential decision between "the radius is at least r" and "it is not".

    The radius is that of the complement bound, p_B = 1 - p_A (Cohen et al. 2019): it is at
    least r exactly if p_A >= p0, p0 = Phi(r/sigma) for Gaussian noise. Two gamblers bet on
    votes against "p_A <= p0" and against "p_A >= p0", each with a beta mixture cut to the
    other side of p0; the first capital to reach 1/alpha gives the answer. Whatever p_A is,
    only one of the two answers is wrong, and its capital is a nonnegative supermartingale: the
    probability of ever giving a wrong answer is at most alpha, over both answers together
    (Ville 1939; mixtures as in Robbins 1970). No alpha is divided.

    Answer "yes" is a certificate for the class ``top``. Answer "no" says that p_A < p0, so
    that no bound with p_B = 1 - p_A can reach r. Both rest on draws, with one exception: where
    the law's largest radius is below r (uniform noise: r > half_width), p0 is above 1 and "no"
    needs none. With Gaussian noise every r has its p0 < 1; "yes" takes about
    ln(1/alpha)/(1 - p0) draws or more, and a row that asks for more than it can have (1e12
    from r/sigma = 7 on, at alpha 0.001) ends with "no" or at its limit.

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
    prior : (float, float)
        Parameters of the beta mixture.
    limit : int, optional
        Draws after which a row without an answer becomes ``undecided``; 1e12 at most, which is
        also the default.

    Raises
    ------
    ValueError
        An argument out of range.

    See Also
    --------
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
        prior: tuple[float, float] = (0.5, 0.5),
        limit: int | None = None,
    ) -> None:
        self.noise = checked_law(noise)
        self.alpha = _validate.alpha(alpha)
        self.prior = checked_prior(prior)
        self.limit = (
            _validate.MAX_N
            if limit is None
            else _validate.integer("limit", limit, low=1, high=_validate.MAX_N)
        )
        self._selection = top if isinstance(top, Selection) else None
        self._seen: NDArray[np.int64] | None = None
        self.radius, self.top = checked_rows(radius, top)
        rows = self.radius.size
        noise.check_rows(rows)
        unit = np.broadcast_to(noise.radius_per_margin, (rows,))
        usable = (unit >= 1e-290) & (unit <= 1e290)
        if not usable.all():
            raise ValueError(
                f"noise is {noise}, whose radius is {unit[~usable][0]:g} for a margin of one; "
                "allowed: laws with 1e-290 <= that radius <= 1e290"
            )
        with np.errstate(over="ignore"):
            half = self.radius / unit / 2
        small = (half < 1e-290) | (self.radius < 2e-290)
        if small.any():
            raise ValueError(
                f"radius is {self.radius[small][0]:g} with {noise}; allowed: radii of at least "
                f"{2e-290 * max(unit[small][0], 1.0):g} there"
            )
        # The certificate rounds down, so "yes" has to prove a shade more than r; "no" has to
        # refute a shade less.
        above, below = half * (1.0 + 1e-14) + 1e-15, half * (1.0 - 1e-14) - 1e-15
        self._yes = _thresholds(above, noise.scale == "probit")
        self._no = _thresholds(below, noise.scale == "probit")
        self._successes = np.zeros(rows, dtype=np.int64)
        self._n = np.zeros(rows, dtype=np.int64)
        self._answer = np.zeros(rows, dtype=np.int8)
        if noise.scale == "linear":
            # Where not even p_A = 1 buys the radius, the answer needs no draws.
            self._answer[below > 0.5] = -1
        self._answer[self.top == NO_CLASS] = -2

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
    def active(self) -> NDArray[np.bool_]:
        """(B,) True where more draws are wanted."""
        return np.asarray(self._answer == 0)

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
        """(B,) "continue", "yes", "no" or "undecided"."""
        return np.array(["undecided", "no", "continue", "yes"])[self._answer + 2]

    def update(self, counts: ArrayLike) -> None:
        """Add votes; rows that have their answer ignore theirs.

        Parameters
        ----------
        counts : (K,) or (B, K) integers
            Votes since the last update; a row may have none.

        Raises
        ------
        ValueError
            Wrong number of rows, entries that are not whole numbers >= 0, or votes that bring
            all counts so far to those that the class was selected from, where independent
            samples agree with a chance of 20 % at most (see `select_top`); nothing is taken then.
        """
        if not self.active.any():
            raise ValueError("counts were given after every answer; allowed: while active.any()")
        fresh, total = checked_increments(counts, self.top, self._selection, self._seen)
        grow = self.active
        # A row without a class has its answer, whatever is looked up for it.
        votes = fresh[np.arange(len(fresh)), np.where(grow, self.top, 0)]
        sums = self._n + np.where(grow, total, 0)
        checked_total(sums)
        self._successes = self._successes + np.where(grow, votes, 0)
        self._n = sums
        if self._selection is not None and not self._selection.independent:
            # All votes given, those of rows with their answer too: the sample to compare.
            self._seen = fresh if self._seen is None else self._seen + fresh
        rows = np.flatnonzero(grow & (self._n > 0))
        if rows.size == 0:
            return
        s = self._successes[rows]
        f = self._n[rows] - s
        level = -math.log(self.alpha)
        yes, no = self._yes[:, rows], self._no[:, rows]
        says_yes = log_capital(s, f, yes[0], yes[1], self.prior) >= level
        says_no = log_capital(f, s, no[1], no[0], self.prior[::-1]) >= level
        answer = np.where(says_yes, 1, np.where(says_no, -1, 0))
        answer[(answer == 0) & (self._n[rows] >= self.limit)] = -2
        self._answer[rows] = answer

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
        self._answer[stop] = -2

    def certificates(self) -> Certificates:
        """Balls of radius r where the answer is yes; the other rows abstain."""
        unknown = -math.inf if self.noise.scale == "probit" else -1.0
        # The law rounds the radius of a margin down, by less than 8e-15 of it. The thresholds
        # have proven a margin that is larger by more than that.
        with np.errstate(over="ignore"):
            margin = self.radius / self.noise.radius_per_margin * (1.0 + 8e-15)
        return certificates(
            np.where(self._answer == 1, margin, unknown),
            self.top,
            self.n,
            noise=self.noise,
            alpha=self.alpha,
            method="decide",
            guarantee="proven",
            solved=np.ones(len(self), dtype=bool),
            options={"prior": list(self.prior), "limit": self.limit},
            votes=np.column_stack([self._successes, self._n]),
        )


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
