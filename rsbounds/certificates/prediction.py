"""Choosing the class: PREDICT with abstention, and the selection sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._parallel import map_rows
from rsbounds._types import NO_CLASS, Counts, Predictions, Selection
from rsbounds.certificates.complete import check_complete
from rsbounds.certificates.exact import level_left


def select_top(counts: ArrayLike, *, independent: bool = False) -> Selection:
    """The class with most votes in a selection sample (the lowest index on a tie).

    Pass the result as ``top`` of `certify`: the class is then fixed before the estimation
    counts are seen, which every bound here needs. The selection counts are remembered, and
    `certify`, `Decide` and `Adaptive` refuse those same counts, or copies: counts that equal them
    in so many rows that independent samples do so with a chance of 20 % at most. (Rows of other
    totals are never equal; where one class has every vote, equal rows say nothing.) An estimation
    sample that contains the selection sample cannot be told from an independent one: that they are
    apart is up to the caller.

    Parameters
    ----------
    counts : (B, K) or (K,) integers
        Votes of a small sample (n0 = 100 is usual) that serves no other purpose.
    independent : bool
        The estimation counts are known to be of another sample; do not compare their values.

    Returns
    -------
    Selection
        Top classes and the counts they come from.

    Raises
    ------
    ValueError
        Bad counts; the message names the row.

    See Also
    --------
    rsbounds.certify : Certifies the class that is chosen here.
    rsbounds.predict : An answer with an error probability of its own.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.

    Examples
    --------
    >>> import rsbounds
    >>> rsbounds.select_top([[3, 96, 1], [50, 20, 30]]).top
    array([1, 0])
    """
    table = _validate.count_table(counts)

    def work(start: int, stop: int) -> dict[str, NDArray[Any]]:
        rows, _ = _validate.count_rows(table[start:stop], start)
        return {"top": rows.argmax(axis=1)}

    return Selection(map_rows(work, len(table), chunk=65536)["top"], table, independent)


def voted_top(counts: NDArray[np.int64]) -> Selection:
    """`select_top` of a sample of its own stream, in which rows may have no vote: no class."""
    top = np.where(counts.any(axis=1), counts.argmax(axis=1), NO_CLASS)
    return Selection(top, counts, True)


def predict(counts: ArrayLike, *, alpha: float = 0.001) -> Predictions:
    """PREDICT: the smoothed classifier's answer, or an abstention.

    With probability at least ``1 - alpha`` each row abstains or returns the class of largest
    probability under noise (Cohen et al. 2019, Proposition 2, after Hung and Fithian 2019):
    the two leading counts are compared by a two-sided binomial test. It says nothing about
    perturbed inputs; `certify` does.

    Parameters
    ----------
    counts : (B, K) or (K,) integers
        Votes for each class. `Counts` of a law that is enumerated give the answer itself, without
        an error probability.
    alpha : float
        Probability of a wrong answer, in (0, 1).

    Returns
    -------
    Predictions
        Class, abstention and p-value for each row.

    Raises
    ------
    ValueError
        Bad counts or alpha; the message names the row.

    See Also
    --------
    rsbounds.certify : A radius in which the answer stays.
    rsbounds.select_top : The class to certify.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.
    .. [2] K. Hung and W. Fithian, "Rank verification for exponential families", Annals of
       Statistics 47 (2019).

    Examples
    --------
    >>> import rsbounds
    >>> answers = rsbounds.predict([[80, 15, 5], [51, 49, 0]], alpha=0.001)
    >>> answers.candidate, answers.abstained
    (array([0, 0]), array([False,  True]))
    >>> (answers.top == [0, 0]).mean()  # an abstention equals no label
    np.float64(0.5)
    """
    from rsbounds.certificates._predict_kernel import two_sided_p_values

    table = _validate.count_table(counts)
    total = _validate.alpha(alpha)
    if isinstance(counts, Counts) and counts.cells is not None:
        return _known_answers(table, counts.cells)
    lattice = counts.lattice if isinstance(counts, Counts) else None
    most = 0 if lattice is None else int(_validate.count_rows(table)[1].max())
    level = level_left(lattice, total, most)

    def work(start: int, stop: int) -> dict[str, NDArray[Any]]:
        rows, _ = _validate.count_rows(table[start:stop], start)
        leading = np.sort(np.partition(rows, rows.shape[1] - 2, axis=1)[:, -2:], axis=1)
        return {"top": rows.argmax(axis=1), "p": two_sided_p_values(leading[:, 1], leading[:, 0])}

    joined = map_rows(work, len(table), chunk=16384)
    return Predictions(joined["top"], ~(joined["p"] <= level), joined["p"], total)


def _known_answers(table: NDArray[Any], cells: int) -> Predictions:
    """The answers themselves, where every cell of an enumerated law was counted."""
    check_complete(cells, table, f"of {cells} cells")
    top = select_top(table).top
    return Predictions(top, np.zeros(len(top), dtype=bool), np.zeros(len(top)), 0.0)


def predict_votes(counts: Counts, invalid: NDArray[np.int64], *, alpha: float) -> Predictions:
    """`predict` of votes some of whose draws had no valid answer: those inputs abstain.

    Parameters
    ----------
    counts : Counts
        The votes.
    invalid : (B,) int64
        Draws without a valid answer, which are in no count.
    alpha : float
        Probability of a wrong answer, in (0, 1).
    """
    good = np.asarray(invalid) == 0
    candidate, p_value = np.full(len(good), NO_CLASS), np.ones(len(good))
    abstained, spent = ~good, _validate.alpha(alpha)
    if good.any():
        valid = Counts(
            counts.values[good], counts.role, counts.seed, lattice=counts.lattice,
            cells=counts.cells,
        )  # fmt: skip
        found = predict(valid, alpha=alpha)
        candidate[good], abstained[good] = found.candidate, found.abstained
        p_value[good], spent = found.p_value, found.alpha
    return Predictions(candidate, abstained, p_value, spent)
