"""Margins and certified balls from soft scores."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._numerics import EPS, margin_down
from rsbounds._types import (
    BoundedSamples,
    Certificates,
    MarginBound,
    Scale,
    Selection,
    content_hash,
    plain_options,
)
from rsbounds.bounds.mean import MeanMethod, mean_bound, mean_method
from rsbounds.bounds.mean._samples import checked_samples
from rsbounds.certificates.ball import ball
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import law_of_sample, level_left
from rsbounds.noises import Noise

Pair = Literal["split", "difference"]


def soft_margin_bound(
    scores: ArrayLike | BoundedSamples,
    top: ArrayLike | Selection,
    *,
    alpha: float,
    scale: Scale,
    pair: Pair = "split",
    share: float = 0.5,
    method: str | MeanMethod = "goal",
    **options: Any,
) -> MarginBound:
    """Lower confidence bound on the margin of the mean scores of a soft classifier.

    With probability at least ``1 - alpha`` over the draws, for each input on its own, the
    margin of ``top`` against every other class is at least ``lower``. For one other class c
    the bound holds at level alpha: from a lower bound on its mean score of A at
    ``share * alpha`` and an upper bound on that of c at the rest (optimal-certified-radius,
    3.3.2), or from a lower bound on the mean of X_A - X_c in [-1, 1] directly. The smallest
    over c is valid at alpha with no correction for the number of classes: the true runner-up
    is one fixed class (intersection-union).

    Parameters
    ----------
    scores : (n, K) or (B, n, K) array_like, or BoundedSamples
        Scores in [0, 1], one row per draw; n >= 2 fixed in advance.
    top : int, (B,) integers or Selection
        Class of each input, fixed before the scores were seen.
    alpha : float
        Error probability of each input's statement.
    scale : {"linear", "probit"}
        Margin p_A - p_c, or Phi^-1(p_A) - Phi^-1(p_c).
    pair : {"split", "difference"}
        How a pair of classes is bounded; "difference" is for the linear scale.
    share : float
        Share of alpha that "split" gives to the top class, in (0, 1).
    method : str or MeanMethod
        Bound on the mean.
    **options
        Options of a method given by name.

    Returns
    -------
    MarginBound
        One entry per input; ``details["runner_up"]`` is the class that gave the minimum.

    Raises
    ------
    ValueError
        Bad scores, top, alpha, scale, pair, share, method or option.

    See Also
    --------
    rsbounds.mean_bound : A bound on each mean.
    rsbounds.certify_soft : Radii from this bound.

    References
    ----------
    .. [1] I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
       Journal of the Royal Statistical Society B 86 (2024).

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> scores = np.random.default_rng(0).dirichlet([18, 1, 1], size=2000)
    >>> bound = rsbounds.soft_margin_bound(
    ...     scores, 0, alpha=0.001, scale="linear", pair="difference")
    >>> print(f"{bound.lower[0]:.2f}")
    0.84
    """
    level = _validate.alpha(alpha)
    _validate.choice("scale", scale, ("linear", "probit"))
    _validate.choice("pair", pair, ("split", "difference"))
    fraction = _validate.number("share", share, "a number in (0, 1)", lambda v: 0 < v < 1)
    if pair == "difference" and scale != "linear":
        raise ValueError("pair is 'difference' on the probit scale; allowed: 'split'")
    chosen = mean_method(method, options)
    table = _score_table(scores)
    inputs, n, classes = table.shape
    tops = _validate.class_indices(top.top if isinstance(top, Selection) else top, inputs, classes)
    lower = np.empty(inputs)
    runner_up = np.empty(inputs, dtype=np.int64)
    for i in range(inputs):
        columns = np.ascontiguousarray(table[i].T)
        others = np.delete(np.arange(classes), tops[i])
        if pair == "difference":
            margins = _difference(columns[tops[i]], columns[others], level, chosen)
        else:
            margins = _split(columns[tops[i]], columns[others], level, fraction, chosen, scale)
        lower[i] = margins.min()
        runner_up[i] = others[margins.argmin()]
    return MarginBound(
        lower,
        tops,
        np.full(inputs, n, dtype=np.int64),
        level,
        scale,
        f"soft {pair} {chosen.name}",
        chosen.guarantee,
        np.ones(inputs, dtype=bool),
        {"runner_up": runner_up},
        {"pair": pair, "share": fraction, **plain_options(chosen)},
    )


def _score_table(scores: ArrayLike | BoundedSamples) -> NDArray[np.float64]:
    if isinstance(scores, BoundedSamples) and tuple(scores.support) != (0.0, 1.0):
        raise ValueError(f"scores has support {scores.support}; allowed: (0, 1)")
    given = scores.values if isinstance(scores, BoundedSamples) else scores
    values = _validate.array("scores", given)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[2] < 2 or values.shape[1] < 2:
        raise ValueError(
            f"scores has shape {np.shape(scores)}; allowed: (n, K) or (B, n, K) with n >= 2 "
            "draws of K >= 2 classes"
        )
    flat, _ = checked_samples(values.reshape(-1, values.shape[2]), (0.0, 1.0), "scores")
    return flat.reshape(values.shape)


def _difference(
    a: NDArray[np.float64], others: NDArray[np.float64], alpha: float, method: MeanMethod
) -> NDArray[np.float64]:
    bound = mean_bound(
        np.clip(a - others, -1.0, 1.0), alpha=alpha, method=method, support=(-1.0, 1.0), axis=1
    )
    # Each difference was rounded, by at most EPS/2, and so was their mean.
    return np.maximum(bound.lower - EPS, -1.0)


def _split(
    a: NDArray[np.float64],
    others: NDArray[np.float64],
    alpha: float,
    share: float,
    method: MeanMethod,
    scale: Scale,
) -> NDArray[np.float64]:
    low = float(mean_bound(a, alpha=share * alpha, method=method).lower[0])
    # The rest of alpha is rounded down, so that the two shares never exceed it together.
    rest = (1.0 - share) * alpha * (1.0 - 4.0 * EPS)
    high = mean_bound(others, alpha=rest, side="upper", method=method, axis=1).upper
    # margin_down takes 1 - p_A rounded up and 1 - p_c rounded down.
    above = min(math.nextafter(1.0 - low, math.inf), 1.0)
    return np.array(
        [
            margin_down(
                low, above, p, max(math.nextafter(1.0 - p, -math.inf), 0.0), scale == "probit"
            )
            for p in high.tolist()
        ]
    )


def certify_soft(
    scores: ArrayLike | BoundedSamples,
    top: ArrayLike | Selection,
    *,
    noise: Noise,
    alpha: float = 0.001,
    pair: Pair = "split",
    share: float = 0.5,
    method: str | MeanMethod = "goal",
    **options: Any,
) -> Certificates:
    """Certified radii of a smoothed soft classifier, from its scores under noise.

    With probability at least ``1 - alpha`` over the draws, for each input on its own, ``top``
    has the largest mean score under noise at every point closer than ``radius``. With
    Gaussian noise this is R2 = sigma/2 (Phi^-1(p_A) - Phi^-1(p_c)) for mean scores p in
    [0, 1]; with `Lipschitz` it is R1 = (p_A - p_c)/(sqrt(2) L) (optimal-certified-radius,
    eq. 2 and 3). Source of the margin: `soft_margin_bound`.

    Parameters
    ----------
    scores : (n, K) or (B, n, K) array_like, or BoundedSamples
        Scores in [0, 1] from draws of ``noise``, such as softmax outputs.
    top : int, (B,) integers or Selection
        Class to certify, fixed before the scores were seen.
    noise : Noise
        The law the draws came from.
    alpha, pair, share, method, **options
        As in `soft_margin_bound`.

    Returns
    -------
    Certificates
        One entry per input, radii in units of the raw input.

    Raises
    ------
    ValueError
        As in `soft_margin_bound`, or ``noise`` is not a noise law.

    See Also
    --------
    rsbounds.soft_margin_bound : The bound that the radius comes from.
    rsbounds.certify : The same for votes.
    rsbounds.lipschitz_radius : The radius formula of `Lipschitz` on its own.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> scores = np.random.default_rng(0).dirichlet([18, 1, 1], size=2000)
    >>> found = rsbounds.certify_soft(scores, 0, noise=rsbounds.Gaussian(sigma=0.5))
    >>> print(f"{found.radius[0]:.2f}")
    0.71
    """
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    sampled_only(noise, "scores")
    total = _validate.alpha(alpha)
    noise, offset = law_of_sample(noise, scores)
    table = _score_table(scores)
    bound = soft_margin_bound(
        table,
        top,
        alpha=level_left(noise.spacing, total, table.shape[1]),
        scale=noise.scale,
        pair=pair,
        share=share,
        method=method,
        **options,
    )
    hashed = content_hash(np.asarray(scores), "<f8")
    return ball(bound, noise, hashed, alpha=total, offset=offset)
