"""Certificates of votes some of whose draws had no valid answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Certificates, MarginBound, content_hash, plain_options
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
        One entry per row. ``candidate`` is `rsbounds.NO_CLASS` where the selection sample has
        no valid vote.

    Raises
    ------
    ValueError
        As in `certify`.
    """
    level, chosen = _validate.alpha(alpha), margin_method(method, {})
    good = np.asarray(invalid) == 0
    lower = np.full(len(good), -1.0 if noise.scale == "linear" else -np.inf)
    solved = np.ones(len(good), dtype=bool)
    top = np.where(select.any(axis=1), select.argmax(axis=1), NO_CLASS)
    # A law without a margin scale takes its radius from these two; a bad row keeps [0, 1].
    details = {"p_a_lower": np.zeros(len(good)), "p_b_upper": np.ones(len(good))}
    if good.any():
        # The two samples come from streams of their own: equal values are chance.
        top_good = select_top(select[good], independent=True)
        bound = margin_lower_bound(
            estimate[good], top_good, alpha=level, scale=noise.scale, method=chosen
        )
        lower[good], solved[good] = bound.lower, bound.solved
        details = {key: values for key, values in details.items() if key in bound.details}
        for key, values in details.items():
            values[good] = bound.details[key]
    n = estimate.sum(axis=1)
    bound = MarginBound(
        lower, top, n, level, noise.scale, chosen.name, chosen.guarantee, solved, details,
        plain_options(chosen),
    )  # fmt: skip
    return ball(bound, noise, content_hash(estimate))
