"""Selection samples that are the estimation sample over again, told by their values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate

#: Chance, at most, with which independent samples are refused as copies.
SURPRISE = 0.2
#: Share of copied rows, and how much of the bet is placed on it.
_BETS = ((1.0, 0.9), (0.9, 0.025), (0.5, 0.025), (0.1, 0.025), (0.01, 0.025))


def refuse_copies(selection: NDArray[Any], counts: NDArray[Any]) -> None:
    """Refuse a selection sample whose rows are rows of the estimation sample, all or many.

    Given the selection counts x of a row, another sample of as many draws equals them with
    probability at most c = n!/(x_1! ... x_K!) prod (x_k/n)^x_k, the likelihood at its maximum:
    1 where one class has every vote, small where votes are spread. So a bet that pays 1/c on an
    equal row has mean 1 at most for independent samples, rows are independent, and their product
    exceeds 1/0.2 with probability at most 0.2 (Markov). Equal totals are needed for equal rows,
    which selection samples of the usual size do not have.

    Raises
    ------
    ValueError
        The product is that large.
    """
    if selection.shape != counts.shape:
        return
    # Here, since most selections have other totals: loading it takes half the time of a start.
    from scipy.special import gammaln, logsumexp, xlogy

    shares = np.array([share for share, _ in _BETS])
    with np.errstate(divide="ignore"):
        lose, win = np.log1p(-shares), np.log(shares)
    capital = np.log([stake for _, stake in _BETS])
    equal_rows = 0
    for start in range(0, len(counts), 4096):
        span = slice(start, start + 4096)
        x, n = _validate.count_rows(selection[span], start, "selection counts")
        # Not validated here: a row that equals a selection row is one of votes.
        y = counts[span]
        m = y.sum(axis=1, dtype=np.float64)
        log_chance = gammaln(n + 1.0) - xlogy(n, n) + (xlogy(x, x) - gammaln(x + 1.0)).sum(axis=1)
        equal = (x == y).all(axis=1)
        equal_rows += int(equal.sum())
        # Rows that equal chance explains for certain say nothing, nor do other totals.
        telling = (n == m) & (log_chance < -1e-9)
        pay = np.logaddexp(lose, win - log_chance[telling & equal, None])
        capital += pay.sum(axis=0)
        missed = int((telling & ~equal).sum())
        if missed:
            capital += missed * lose
    evidence = float(logsumexp(capital))
    if evidence >= -math.log(SURPRISE):
        chance = max(math.exp(-evidence), 1e-300)
        raise ValueError(
            f"top was selected from counts with the same values as those that are to be bounded, "
            f"in {equal_rows} of {len(counts)} rows, which independent samples have with a chance "
            f"of {chance:.1g} at most; allowed: an independent sample "
            "(select_top(counts, independent=True), --independent, if it is one)"
        )
