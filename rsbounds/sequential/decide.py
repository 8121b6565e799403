"""Is the certified radius at least r? Stop as soon as either answer is proven."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, ndtr

from rsbounds import _validate
from rsbounds._types import Certificates, Selection
from rsbounds.noises import Noise
from rsbounds.sequential._record import certificates
from rsbounds.sequential.confidence import checked_prior

#: Allowance for the relative error of the incomplete beta function where it is above a
#: thousandth; scipy's is thousands of times more accurate there.
_BETA_ERROR = 1e-6


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
    that no bound with p_B = 1 - p_A can reach r.

    Parameters
    ----------
    radius : float or (B,) float array_like
        The radius r > 0 in question.
    top : int, (B,) integers or Selection
        Class of each input, fixed before the counts are seen.
    noise : Noise
        The law the draws come from.
    alpha : float
        Error probability of each row's answer, in (0, 1).
    prior : (float, float)
        Parameters of the beta mixture.
    limit : int, optional
        Draws after which a row without an answer becomes ``undecided``.

    Raises
    ------
    ValueError
        An argument out of range.

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
        if not isinstance(noise, Noise):
            raise ValueError(
                f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)"
            )
        self.noise = noise
        self.alpha = _validate.alpha(alpha)
        self.prior = checked_prior(prior)
        self.limit = None if limit is None else _validate.integer("limit", limit, low=1)
        self.top = np.atleast_1d(np.asarray(top.top if isinstance(top, Selection) else top))
        try:
            values = np.asarray(radius, dtype=np.float64)
            self.radius, _ = np.broadcast_arrays(np.atleast_1d(values), self.top)
        except (TypeError, ValueError):
            raise ValueError(
                f"radius is {radius!r}; allowed: a number, or one for each of {self.top.size} rows"
            ) from None
        if not ((self.radius > 0) & np.isfinite(self.radius)).all():
            raise ValueError(f"radius is {radius!r}; allowed: finite numbers > 0")
        rows = self.radius.size
        noise.check_rows(rows)
        self.top = np.broadcast_to(self.top, (rows,))
        half = self.radius / noise.radius_per_margin / 2
        # The certificate rounds down, so "yes" has to prove a shade more than r.
        half = half * (1.0 + 1e-14) + 1e-15
        if noise.scale == "probit":
            self._p0, self._q0 = ndtr(half), ndtr(-half)
        else:
            self._p0, self._q0 = 0.5 + half, np.maximum(0.5 - half, 0.0)
        self._successes = np.zeros(rows, dtype=np.int64)
        self._n = np.zeros(rows, dtype=np.int64)
        self._answer = np.zeros(rows, dtype=np.int8)
        # Where no p_A buys the radius, the answer needs no draws.
        self._answer[self._q0 < 1e-300] = -1

    def __len__(self) -> int:
        return self.radius.size

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

        An eighth of those so far: few rounds, and little is drawn in vain. Any other number
        is as valid.
        """
        more = 64 + self._n // 8
        if self.limit is not None:
            more = np.minimum(more, self.limit - self._n)
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
            Wrong number of rows, or entries that are not whole numbers >= 0; nothing is
            taken then.
        """
        votes, total = checked_votes(counts, self.top)
        if not self.active.any():
            raise ValueError("counts were given after every answer; allowed: while active.any()")
        grow = self.active
        self._successes = self._successes + np.where(grow, votes, 0)
        self._n = self._n + np.where(grow, total, 0)
        rows = np.flatnonzero(grow & (self._n > 0))
        if rows.size == 0:
            return
        s = self._successes[rows]
        f = self._n[rows] - s
        level = -math.log(self.alpha)
        p0, q0 = self._p0[rows], self._q0[rows]
        yes = log_capital(s, f, p0, q0, self.prior) >= level
        no = log_capital(f, s, q0, p0, self.prior[::-1]) >= level
        answer = np.where(yes, 1, np.where(no, -1, 0))
        if self.limit is not None:
            answer[(answer == 0) & (self._n[rows] >= self.limit)] = -2
        self._answer[rows] = answer

    def certificates(self) -> Certificates:
        """Balls of radius r where the answer is yes; the other rows abstain."""
        unknown = -math.inf if self.noise.scale == "probit" else -1.0
        # The law rounds its radius down; the margin proven is as much larger.
        margin = self.radius / self.noise.radius_per_margin * (1.0 + 8e-15)
        return certificates(
            np.where(self._answer == 1, margin, unknown),
            self.top,
            self.n,
            noise=self.noise,
            alpha=self.alpha,
            method="decide",
            guarantee="proven",
            certified=np.ones(len(self), dtype=bool),
        )


def log_capital(
    successes: NDArray[np.int64],
    failures: NDArray[np.int64],
    p0: NDArray[np.float64],
    q0: NDArray[np.float64],
    prior: tuple[float, float],
) -> NDArray[np.float64]:
    """Log capital against "p <= p0" of a beta mixture cut to p > p0, rounded down.

    B(a+s, b+f) / (B(a, b) p0^s q0^f) times the posterior mass above p0 over the prior mass
    above p0. Each likelihood ratio with p > p0 has mean at most one under p <= p0.
    """
    from rsbounds.sequential._beta_binomial import log_ratio_rows

    s, f = successes.astype(np.float64), failures.astype(np.float64)
    a, b = prior
    plain = np.empty(s.size)
    log_ratio_rows(s, f, p0, q0, a, b, plain)
    # I_{q0}(b, a) = 1 - I_{p0}(a, b), from its small argument.
    posterior = betainc(b + f, a + s, q0)
    before = betainc(b, a, q0)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.log(posterior) - np.log(before) - 2.0 * _BETA_ERROR
    # With little posterior mass above p0 there is nothing to win, and no accuracy to rely on.
    return np.where((posterior > 1e-3) & (before > 0), plain + gain, -math.inf)


def checked_votes(
    counts: ArrayLike, top: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes for the top class of each row, and all votes; a row may be empty."""
    rows, _ = checked_increments(counts, top)
    return rows[np.arange(len(rows)), top], rows.sum(axis=1)


def checked_increments(
    counts: ArrayLike, top: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B, K) votes since the last time, rows of zeros allowed, and their sums."""
    table = _validate.count_table(counts)
    if len(table) != top.size:
        raise ValueError(f"counts has {len(table)} row(s); allowed: {top.size}, one per input")
    _validate.class_indices(top, top.size, table.shape[1])
    # A row without votes is fine here: give it one for the check alone.
    padded = np.concatenate([table, np.ones((len(table), 1), dtype=table.dtype)], axis=1)
    rows, _ = _validate.count_rows(padded)
    rows = rows[:, :-1]
    return rows, rows.sum(axis=1)
