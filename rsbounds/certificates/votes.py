"""Certificates of votes some of whose draws had no valid answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Certificates, MarginBound
from rsbounds.bounds.margin import MarginMethod, margin_lower_bound, margin_method
from rsbounds.certificates.ball import ball
from rsbounds.certificates.prediction import select_top
from rsbounds.noises import Noise


def certify_votes(
    select: NDArray[np.int64],
    estimate: NDArray[np.int64],
    invalid: NDArray[np.int64],
    *,
    noise: Noise,
    alpha: float,
    method: str | MarginMethod,
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
    noise, alpha, method
        As in `certify`.

    Returns
    -------
    Certificates
        One entry per row. ``top`` is -1 where the selection sample has no valid vote.

    Raises
    ------
    ValueError
        As in `certify`.
    """
    level, chosen = _validate.alpha(alpha), margin_method(method, {})
    good = np.asarray(invalid) == 0
    lower = np.full(len(good), -1.0 if noise.scale == "linear" else -np.inf)
    proved = np.ones(len(good), dtype=bool)
    top = np.where(select.any(axis=1), select.argmax(axis=1), -1)
    if good.any():
        bound = margin_lower_bound(
            estimate[good], select_top(select[good]), alpha=level, scale=noise.scale, method=chosen
        )
        lower[good], proved[good] = bound.lower, bound.certified
    n = estimate.sum(axis=1)
    return ball(
        MarginBound(lower, top, n, level, noise.scale, chosen.name, chosen.guarantee, proved), noise
    )
