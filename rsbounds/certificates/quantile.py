"""Quantiles of real-valued outputs, certified at given radii."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import BoundedSamples, CertifiedQuantiles, content_hash
from rsbounds.bounds.proportion import lower_rank
from rsbounds.certificates.ball import plain_law
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import details_of, farther, law_of_sample, level_left
from rsbounds.noises import Noise

SIDES = ("lower", "upper", "both")
FAMILIES = ("output", "input", "all")
#: Samples that are put in order at a time.
_TOGETHER = 4_000_000


def certify_quantile(
    samples: ArrayLike | BoundedSamples,
    radii: ArrayLike,
    *,
    noise: Noise,
    q: float = 0.5,
    alpha: float = 0.001,
    side: Literal["lower", "upper", "both"] = "both",
    family: Literal["output", "input", "all"] = "output",
) -> CertifiedQuantiles:
    """Values between which a quantile of a real-valued output stays, at given radii.

    With probability at least ``1 - alpha`` over the draws, at all of ``radii`` together, every
    q-quantile of the output under noise at every perturbation of size at most the radius is at
    least ``lower`` and at most ``upper`` (median smoothing, Chiang et al. 2020, Lemma 1, for any
    law: P(Y' < v) <= roc(r, P(Y < v)) < q where P(Y < v) <= b = roc^-1(r, q), which an order
    statistic of the samples keeps to, and the same from above).

    Parameters
    ----------
    samples : (n,), (B, n) or (B, n, m) array_like, or BoundedSamples
        Outputs from ``n`` draws of ``noise``, n fixed in advance: of one input, of B inputs, or m
        outputs of each of B. Finite numbers: an output that may be infinite is clipped to numbers
        far outside before, which changes no quantile inside. `BoundedSamples` of one input are
        (n, m).
    radii : float or (R,) floats
        Radii >= 0 in the law's norm, in units of the raw input.
    noise : Noise
        The law the draws came from.
    q : float
        Which quantile, in (0, 1).
    alpha : float
        Error probability, in (0, 1); what exact noise takes included. It is shared evenly by the
        radii, the sides and what ``family`` says.
    side : {"lower", "upper", "both"}
        Which sides are certified.
    family : {"output", "input", "all"}
        What holds together: each output on its own, all outputs of an input (the corners of a
        box), or all there are.

    Returns
    -------
    CertifiedQuantiles
        (B, R) or (B, m, R) values; -inf and inf where nothing is certified.

    Raises
    ------
    ValueError
        Samples that are no finite numbers, or bad radii, noise, q, alpha, side or family.

    See Also
    --------
    rsbounds.certify_soft : Means of scores in [0, 1].
    rsbounds.mean_bound : Means without a radius.

    References
    ----------
    .. [1] P. Chiang, M. Curry, A. Abdelkader, A. Kumar, J. Dickerson and T. Goldstein, "Detection
       as regression: certified object detection with median smoothing", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> outputs = 3 + np.random.default_rng(0).normal(0, 0.5, size=10_000)   # x + noise at x = 3
    >>> found = rsbounds.certify_quantile(outputs, [0.0, 0.2], noise=rsbounds.Gaussian(0.5))
    >>> print(found)
    output  radius   lower            estimate   upper
    ------  ------  ------  ------------------  ------
    0          0.0  2.9753  2.9952372117722454  3.0233
    0          0.2  2.7753  2.9952372117722454  3.2334
    q 0.5, n 10000, l2 radius, side both, each output on its own
    gaussian(sigma=0.5), alpha 0.001, guarantee: proven in real arithmetic
    """
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    if not noise.unions:
        raise ValueError(
            f"noise is {noise}, whose constant is about probabilities of classes; allowed: a law "
            "whose curve holds for any set of outcomes"
        )
    sampled_only(noise, "quantiles")
    total, at = _validate.alpha(alpha), _checked_radii(radii)
    part = _validate.number("q", q, "a number in (0, 1)", lambda v: 0 < v < 1)
    _validate.choice("side", side, SIDES)
    _validate.choice("family", family, FAMILIES)
    table, single = _checked_table(samples)
    inputs, n, outputs = table.shape
    noise.check_rows(inputs)
    noise, offset = law_of_sample(noise, samples)
    statements = (2 if side == "both" else 1) * len(at)
    statements *= {"output": 1, "input": outputs, "all": inputs * outputs}[family]
    level = level_left(noise.spacing, total, n * (inputs if family == "all" else 1))
    share = _share(level, statements)
    ranks = {
        one: _ranks(noise, at, offset, target, n, share) if side in (one, "both") else None
        for one, target in (("lower", part), ("upper", 1.0 - part))
    }
    lower, upper, estimate = _values(table, ranks["lower"], ranks["upper"], part)
    shape = (inputs,) if single else (inputs, outputs)
    return CertifiedQuantiles(
        lower.reshape(*shape, len(at)), upper.reshape(*shape, len(at)), estimate.reshape(shape),
        at, part, n, total, side, family, str(noise), noise.norm, content_hash(table, "<f8"),
        plain_law(noise), details=details_of(noise, n, offset),
    )  # fmt: skip


def _checked_radii(radii: ArrayLike) -> NDArray[np.float64]:
    values = np.atleast_1d(_validate.real_array("radii", radii))
    if values.ndim != 1 or not len(values) or not ((values >= 0) & np.isfinite(values)).all():
        raise ValueError(f"radii is {radii!r}; allowed: one or more finite numbers >= 0")
    return values


def _checked_table(samples: Any) -> tuple[NDArray[Any], bool]:
    """(B, n, m) numbers, not copied and not looked at yet; whether outputs have no axis."""
    given = _validate.array(
        "samples", samples.values if isinstance(samples, BoundedSamples) else samples
    )
    if given.dtype.kind not in "iuf":
        raise ValueError(f"samples has type {given.dtype}; allowed: real numbers")
    single = given.ndim < 3
    if isinstance(samples, BoundedSamples):
        table, single = given.reshape(-1, *given.shape[-2:]), False
    elif given.ndim == 1:
        table = given[None, :, None]
    elif given.ndim == 2:
        table = given[:, :, None]
    else:
        table = given
    if table.ndim != 3 or 0 in table.shape:
        raise ValueError(
            f"samples has shape {given.shape}; allowed: (n,), (B, n) or (B, n, m), none of them 0"
        )
    return table, single


def _share(level: float, statements: int) -> float:
    share = level / statements * (1.0 - 1e-15)
    if share < 1e-300:
        raise ValueError(
            f"alpha leaves {share:g} for each of {statements} statements; allowed: >= 1e-300 each"
        )
    return share


def _ranks(
    noise: Noise,
    radii: NDArray[np.float64],
    offset: NDArray[np.float64] | None,
    target: float,
    n: int,
    share: float,
) -> NDArray[np.int64]:
    """(B, R) or (1, R) ranks of the order statistics; 0 where there is none."""
    levels = []
    for radius in radii.tolist():
        # Strictly below the target: an inverse is rounded down by more than an error of the curve.
        levels.append(np.atleast_1d(noise.roc_inverse(farther(radius, offset), target)))
    return lower_rank(n, np.stack(levels, axis=1), alpha=share)


def _values(
    table: NDArray[Any],
    low: NDArray[np.int64] | None,
    high: NDArray[np.int64] | None,
    q: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Order statistics at ranks from below and from above, (B, m, R), and the sample quantiles."""
    inputs, n, outputs = table.shape
    sides = [ranks for ranks in (low, high) if ranks is not None]
    size = (inputs, outputs, sides[0].shape[1])
    lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
    estimate = np.empty((inputs, outputs))
    middle = min(max(math.ceil(q * n), 1), n) - 1
    step = max(1, _TOGETHER // (n * outputs))
    for start in range(0, inputs, step):
        rows = slice(start, start + step)
        block = np.array(table[rows], dtype=np.float64)
        if not np.isfinite(block).all():
            i, draw, output = (int(v) for v in np.argwhere(~np.isfinite(block))[0])
            raise ValueError(
                f"samples of input {start + i}, draw {draw}, output {output} is "
                f"{block[i, draw, output]}; allowed: finite numbers (clip an output that may be "
                "infinite to numbers far outside)"
            )
        places = [middle]
        for ranks, above in ((low, False), (high, True)):
            if ranks is not None:
                some = ranks if len(ranks) == 1 else ranks[rows]
                there = np.unique(some[some > 0])
                places += (n - there if above else there - 1).tolist()
        block.partition(sorted(set(places)), axis=1)
        estimate[rows] = block[:, middle]
        for ranks, above, found in ((low, False, lower), (high, True, upper)):
            if ranks is not None:
                some = np.broadcast_to(ranks if len(ranks) == 1 else ranks[rows],
                                       (len(block), ranks.shape[1]))  # fmt: skip
                at = np.clip(n - some if above else some - 1, 0, n - 1)
                taken = np.take_along_axis(block, at[:, :, None], axis=1).transpose(0, 2, 1)
                found[rows] = np.where(some[:, None] > 0, taken, found[rows])
    return lower, upper, estimate
