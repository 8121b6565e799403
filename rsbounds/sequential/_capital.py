"""The capital of a mixture of bets, from counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rsbounds._kernels import kernel, part


@part
def _preference(
    j: int, a: float, c: float, rest: float, alternatives: NDArray[np.float64]
) -> float:
    """Log likelihood that earlier votes give a bet's alternative."""
    return float(a * alternatives[0, j] + c * alternatives[1, j] + rest * alternatives[2, j])


@kernel
def evidence_rows(
    earlier: NDArray[np.float64],
    group: NDArray[np.int64],
    alternatives: NDArray[np.float64],
    weights: NDArray[np.float64],
    evidence: NDArray[np.float64],
) -> None:
    """Log of the mixture's likelihood of (B, 3) earlier votes, by which they are weighed."""
    size = weights.size
    terms = np.empty(size)
    for i in range(group.size):
        table = alternatives[group[i]]
        top = -math.inf
        for j in range(size):
            terms[j] = weights[j] + _preference(
                j, earlier[i, 0], earlier[i, 1], earlier[i, 2], table
            )
            top = max(top, terms[j])
        total = 0.0
        for j in range(size):
            total += math.exp(terms[j] - top)
        # Rounded up, so that the weights never add to more than 1.
        evidence[i] = top + math.log(total) + 1e-12 * (1.0 + abs(top))


@kernel
def capital_rows(
    votes: NDArray[np.float64],
    earlier: NDArray[np.float64],
    evidence: NDArray[np.float64],
    group: NDArray[np.int64],
    factors: NDArray[np.float64],
    alternatives: NDArray[np.float64],
    weights: NDArray[np.float64],
    flat: float,
    capital: NDArray[np.float64],
) -> None:
    """Log capital of (B, 3) votes for A, the competitor and the rest, rounded down.

    A share ``flat`` of the stakes has the weights as they are, the others are weighed by the
    likelihood of the earlier votes under their alternatives. No earlier votes: all as they are.
    """
    size = weights.size
    # Log wins of each bet, as it is and weighed.
    plain, weighed = np.empty(size), np.empty(size)
    for i in range(group.size):
        a, c, rest = votes[i, 0], votes[i, 1], votes[i, 2]
        table, liked = factors[group[i]], alternatives[group[i]]
        before = earlier[i, 0] + earlier[i, 1] + earlier[i, 2]
        log_flat = math.log(flat) if before > 0 else 0.0
        log_rest = math.log(1.0 - flat)
        top = -math.inf
        for j in range(size):
            gain, paid, left = a * table[0, j], c * table[1, j], rest * table[2, j]
            # Three products, two sums: below four roundings of each term.
            won = gain + paid + left - 1e-15 * (gain - paid - left)
            plain[j] = won + weights[j] + log_flat
            weighed[j] = plain[j]
            if before > 0:
                weighed[j] = (
                    won
                    + log_rest
                    + (
                        weights[j]
                        + _preference(j, earlier[i, 0], earlier[i, 1], earlier[i, 2], liked)
                        - evidence[i]
                    )
                )
            top = max(top, plain[j], weighed[j])
        total = 0.0
        for j in range(size):
            # What is below e^-40 of the largest is given away.
            if plain[j] > top - 40.0:
                total += math.exp(plain[j] - top)
            if before > 0 and weighed[j] > top - 40.0:
                total += math.exp(weighed[j] - top)
        capital[i] = top + math.log(total) - 1e-12 - 1e-15 * abs(top)
