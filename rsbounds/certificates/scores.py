"""Certificates of scores some of whose draws had no valid answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import NO_CLASS, Certificates, MarginBound, content_hash, plain_options
from rsbounds.bounds.mean import MeanMethod
from rsbounds.certificates.ball import ball
from rsbounds.certificates.exact import level_left
from rsbounds.certificates.soft import soft_margin_bound
from rsbounds.noises import Noise


class Scores(NamedTuple):
    """Scores of one input, and draws without a valid answer.

    Attributes
    ----------
    select, estimate : (n0, K) and (n, K) float64
        Scores in [0, 1] of the selection and of the estimation sample.
    invalid : int
        Draws of either without a valid answer; where there are any the input abstains.
    """

    select: NDArray[np.float64]
    estimate: NDArray[np.float64]
    invalid: int


@dataclass(frozen=True)
class ScoreRow:
    """What is left of the scores of an input; ``top`` and ``runner_up`` are None if it is bad.

    Attributes
    ----------
    top, runner_up : int or None
        The class put to the test, and the class that gave the smallest margin.
    margin : float or None
        Lower bound on the margin; None where nothing is known.
    means : tuple of float
        Mean scores of the estimation sample.
    content : str
        SHA-256 of its scores.
    """

    top: int | None
    runner_up: int | None
    margin: float | None
    means: tuple[float, ...]
    content: str


def score_rows(
    samples: Iterable[Scores],
    *,
    noise: Noise,
    alpha: float,
    method: MeanMethod,
    pair: Literal["split", "difference"],
    share: float,
) -> list[ScoreRow]:
    """Bound the margin of one input after the other; arguments as in `certify_soft`."""
    rows = []
    for sample in samples:
        if sample.invalid:
            # A draw without an answer says nothing about the mean of all.
            rows.append(ScoreRow(None, None, None, (), ""))
            continue
        top = int(sample.select.mean(axis=0).argmax())
        bound = soft_margin_bound(
            sample.estimate, top, alpha=level_left(noise.spacing, alpha, len(sample.estimate)),
            scale=noise.scale, pair=pair, share=share, method=method,
        )  # fmt: skip
        margin = float(bound.lower[0])
        rows.append(
            ScoreRow(
                top, int(bound.details["runner_up"][0]), margin if np.isfinite(margin) else None,
                tuple(sample.estimate.mean(axis=0).tolist()),
                content_hash(sample.estimate, "<f8"),
            )
        )  # fmt: skip
    return rows


def certify_score_rows(
    rows: Iterable[ScoreRow],
    n: NDArray[np.int64],
    *,
    noise: Noise,
    alpha: float,
    method: MeanMethod,
    pair: Literal["split", "difference"],
    share: float,
    offset: NDArray[np.float64] | None = None,
) -> Certificates:
    """The certificates of inputs whose margins were bounded, at the alpha they were bounded at.

    Parameters
    ----------
    rows : iterable of ScoreRow
        From `score_rows`.
    n : (B,) int64
        Draws of the estimation sample of each.
    noise, alpha, method, pair, share
        What `score_rows` was given, and the law of all inputs.
    offset : (B,) float64, optional
        Distances of the inputs from the lattice, where the noise was drawn on one.

    Returns
    -------
    Certificates
        One entry per row.
    """
    kept = list(rows)
    unknown = -1.0 if noise.scale == "linear" else -np.inf
    bound = MarginBound(
        np.array([unknown if row.margin is None else row.margin for row in kept]),
        np.array([NO_CLASS if row.top is None else row.top for row in kept], dtype=np.int64),
        n,
        alpha,
        noise.scale,
        f"soft {pair} {method.name}",
        method.guarantee,
        np.ones(len(kept), dtype=bool),
        {},
        {"pair": pair, "share": share, **plain_options(method)},
    )
    hashed = contents_hash(row.content for row in kept)
    return ball(bound, noise, hashed, alpha=alpha, offset=offset)


def contents_hash(contents: Iterable[str]) -> str:
    """One hash for the scores of several inputs, from the hash of each."""
    return hashlib.sha256(" ".join(contents).encode()).hexdigest()
