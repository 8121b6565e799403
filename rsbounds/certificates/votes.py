"""Certificates of votes some of whose draws had no valid answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates, MarginBound, content_hash, plain_options
from rsbounds.bounds.margin import MarginMethod, bound_of_claim, claimed
from rsbounds.certificates.ball import ball
from rsbounds.certificates.exact import level_left
from rsbounds.certificates.prediction import voted_top
from rsbounds.noises import Noise


def certify_votes(
    select: NDArray[np.int64],
    estimate: NDArray[np.int64],
    invalid: NDArray[np.int64],
    *,
    noise: Noise,
    alpha: float,
    method: MarginMethod,
    offset: NDArray[np.float64] | None = None,
) -> Certificates:
    """`certify` of an estimation sample, for the classes that a selection sample chose.

    An input with any invalid draw abstains: a draw without an answer is no vote for anyone,
    and nothing is known about the class that the model would have given it.

    Parameters
    ----------
    select, estimate : (B, K) int64
        Votes of the selection and of the estimation sample.
    invalid : (B,) int64
        Draws of either sample without a valid answer.
    noise : Noise
        The law the draws came from.
    alpha : float
        Error probability, checked where it was given.
    method : MarginMethod
        Margin bound.
    offset : (B,) float64, optional
        Distances of the inputs from the lattice, where the noise was drawn on one.

    Returns
    -------
    Certificates
        One entry per row. ``candidate`` is `rsbounds.NO_CLASS` where the selection sample has
        no valid vote.

    Raises
    ------
    ValueError
        As in `certify`.
    """
    good = np.asarray(invalid) == 0
    n = estimate.sum(axis=1)
    level = level_left(noise.spacing, alpha, int(n.max(initial=0)))
    lower = np.full(len(good), -1.0 if noise.scale == "linear" else -np.inf)
    solved = np.ones(len(good), dtype=bool)
    # A law without a margin scale takes its radius from these two; a bad row keeps [0, 1].
    details = {"p_a_lower": np.zeros(len(good)), "p_b_upper": np.ones(len(good))}
    if good.any():
        votes = estimate[good]
        claim = claimed(voted_top(select[good]), votes, method)
        bound = bound_of_claim(votes, claim, alpha=level, scale=noise.scale, method=method)
        lower[good], solved[good] = bound.lower, bound.solved
        details = {key: values for key, values in details.items() if key in bound.details}
        for key, values in details.items():
            values[good] = bound.details[key]
    bound = MarginBound(
        lower, voted_top(select).top, n, level, noise.scale, method.name, method.guarantee, solved,
        details, plain_options(method),
    )  # fmt: skip
    return ball(bound, noise, content_hash(estimate), alpha=alpha, offset=offset)
