"""Certificates of votes some of whose draws had no valid answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates, MarginBound, content_hash, plain_options
from rsbounds.bounds.margin import MarginMethod, bound_of_claim
from rsbounds.certificates.ball import ball
from rsbounds.certificates.complete import method_for, sampled_only, settled
from rsbounds.certificates.prediction import voted_top
from rsbounds.certificates.top_k import check_top_k
from rsbounds.claims import TopK, checked_k
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
    k: int = 1,
) -> Certificates:
    """`certify` (above k = 1 `certify_top_k`) of votes, for the classes that others chose.

    An input with any invalid draw abstains: a draw without an answer is no vote for anyone,
    and nothing is known about the class that the model would have given it.

    Parameters
    ----------
    select, estimate : (B, K) int64
        Votes of the selection and of the estimation sample; of an enumerated law the same.
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
    k : int
        Among how many classes the class stays.

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
    if checked_k(k, estimate.shape[1]) > 1:
        sampled_only(noise, "top-k")
        check_top_k(method, k)
    good = np.asarray(invalid) == 0
    alpha, method = method_for(noise, alpha, method)
    lower = np.full(len(good), -1.0 if noise.scale == "linear" else -np.inf)
    solved = np.ones(len(good), dtype=bool)
    # A law without a margin scale takes its radius from these two; a bad row keeps [0, 1].
    details: dict[str, NDArray[Any]] = {
        "p_a_lower": np.zeros(len(good)), "p_b_upper": np.ones(len(good)),
        "lead": np.zeros(len(good), dtype=np.int64),
        **({"p_t_upper": np.ones((len(good), k))} if k > 1 else {}),
    }  # fmt: skip
    if good.any():
        votes = estimate[good]
        how = settled(noise, votes, voted_top(select[good]), alpha=alpha, method=method)
        claim = how.claim
        if k > 1:
            claim = TopK(claim.classes, k, None, noise.unions)
        bound = bound_of_claim(votes, claim, alpha=how.level, scale=noise.scale, method=how.method)
        lower[good], solved[good] = bound.lower, bound.solved
        details = {key: values for key, values in details.items() if key in bound.details}
        for key, values in details.items():
            values[good] = bound.details[key]
    bound = MarginBound(
        lower, voted_top(select).top, estimate.sum(axis=1), alpha, noise.scale, method.name,
        method.guarantee, solved, details, plain_options(method),
    )  # fmt: skip
    found = ball(bound, noise, content_hash(estimate), alpha=alpha, offset=offset)
    return dataclasses.replace(found, k=k)
