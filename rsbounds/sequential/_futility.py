"""Is a later "yes" improbable? A guess that costs power where it is wrong, and never validity."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from rsbounds._kernels import kernel, part

#: Log-odds of the rival's share of what A leaves.
_NODES = np.linspace(-9.0, 9.0, 19)
#: Shares that are tried, in standard errors of the share seen.
_STEPS = np.linspace(-4.0, 4.0, 17)

#: Curves that were found, by what they depend on, and the most that are kept.
_FOUND: dict[Hashable, NDArray[np.float64]] = {}
_KEPT = 4096

#: (m, 3) expected votes of the questions (m,) to log capitals.
Capital = Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]


class Futility:
    """Predicts whether the capital can reach a level by the last draw.

    For each share v of the rival in what A leaves, the largest rest 1 - p_A with which the votes
    expected at the last draw reach the level. A row is hopeless where every point of that curve
    is too far from the votes so far: with n of N draws taken, the votes of all N deviate from
    the share q by n N / (N - n) KL(seen || q) more than half the square of a normal quantile.

    Parameters
    ----------
    capital : callable
        Log capital of expected votes.
    keys : sequence of hashables
        What each question is known by, together with ``last`` and ``level``: its curve is found
        once, not for every rule that asks it. None: by nothing.
    last : int
        Draws at the end.
    level : float
        The log capital to be reached.
    futility : float
        Chance of a later yes up to which a row is given up.
    """

    def __init__(
        self, capital: Capital, keys: Sequence[Hashable], last: int, level: float, futility: float
    ) -> None:
        self._last = last
        self._half_square = 0.5 * float(ndtri(0.5 * futility)) ** 2
        self._reach = np.empty((len(keys), len(_NODES)))
        whole = [None if key is None else (key, last, level) for key in keys]
        known = [None if key is None else _FOUND.get(key) for key in whole]
        new = np.array([i for i, curve in enumerate(known) if curve is None], dtype=np.int64)
        if new.size:
            self._reach[new] = _reached(lambda v, which: capital(v, new[which]), new.size, last,
                                        level)  # fmt: skip
        for i, curve in enumerate(known):
            if curve is not None:
                self._reach[i] = curve
            elif whole[i] is not None:
                if len(_FOUND) >= _KEPT:
                    _FOUND.clear()
                _FOUND[whole[i]] = self._reach[i].copy()

    def hopeless(self, votes: NDArray[np.int64], question: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(m,) whether a later yes is improbable, from (m, 3) votes."""
        found = np.empty(len(votes), dtype=np.bool_)
        _hopeless_rows(
            votes.astype(np.float64), question, self._reach, _NODES, _STEPS, float(self._last),
            self._half_square, found,
        )  # fmt: skip
        return found


def _reached(capital: Capital, rows: int, last: int, level: float) -> NDArray[np.float64]:
    """(rows, nodes) logarithms of the largest rests with which the level is reached."""
    share = np.tile(expit(_NODES), rows)
    question = np.repeat(np.arange(rows), len(_NODES))
    low, high = np.full(share.size, -28.0), np.full(share.size, -1e-6)
    for _ in range(24):
        middle = 0.5 * (low + high)
        rest = np.exp(middle)
        votes = last * np.stack([1 - rest, rest * share, rest * (1 - share)], axis=1)
        good = capital(votes, question) >= level
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    # Where not even votes for A alone get there, nothing does.
    sure = np.tile([float(last), 0.0, 0.0], (rows, 1))
    never = capital(sure, np.arange(rows)) < level
    return np.where(never[:, None], -1e9, low.reshape(rows, -1))


@part
def _deviation(p: float, q: float) -> float:
    """KL divergence of two coins, the second not a certain one."""
    first = p * math.log(p / q) if p > 0.0 else 0.0
    return first + ((1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0)


@kernel
def _hopeless_rows(
    votes: NDArray[np.float64],
    question: NDArray[np.int64],
    reach: NDArray[np.float64],
    nodes: NDArray[np.float64],
    steps: NDArray[np.float64],
    last: float,
    half_square: float,
    found: NDArray[np.bool_],
) -> None:
    """`Futility.hopeless`; half a vote more for each side keeps the rival's share off 0 and 1."""
    width = nodes[1] - nodes[0]
    for i in range(question.size):
        n = votes[i, 0] + votes[i, 1] + votes[i, 2]
        lost = n - votes[i, 0]
        # As it is: a row that lost no vote may have any rest, however small.
        rest = lost / n
        share = (votes[i, 1] + 0.5) / (lost + 1.0)
        odds = math.log(share / (1.0 - share))
        error = 1.0 / math.sqrt((lost + 1.0) * share * (1.0 - share))
        weight = n * last / max(last - n, 0.5)
        found[i] = True
        for step in steps:
            at = odds + step * error
            tried = min(max(1.0 / (1.0 + math.exp(-at)), 1e-15), 1.0 - 1e-15)
            place = min(max((at - nodes[0]) / width, 0.0), nodes.size - 1.0)
            left = min(int(place), nodes.size - 2)
            part_of = place - left
            low, high = reach[question[i], left], reach[question[i], left + 1]
            there = math.exp(low * (1.0 - part_of) + high * part_of)
            far = rest * _deviation(share, tried)
            if there <= 0.0:
                far = math.inf
            elif there < rest:
                far += _deviation(rest, there)
            elif abs(step) < 0.1:
                # Within reach as it is.
                far = 0.0
            if weight * far <= half_square:
                found[i] = False
                break
