"""Certified balls from counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Certificates, MarginBound, Selection, content_hash
from rsbounds.bounds.margin import MarginMethod, bound_of_claim, margin_method
from rsbounds.certificates.complete import settled
from rsbounds.certificates.exact import details_of, law_of_sample, nearer
from rsbounds.noises import Noise
from rsbounds.regions import Region


def plain_law(noise: Noise) -> dict[str, Any] | None:
    """The law as plain values; None of a law that is not registered and cannot be read back."""
    try:
        return noise.to_dict()
    except ValueError:
        return None


#: Inputs whose regions are made at a time: the region of a matrix holds copies of it.
_TOGETHER = 8


def radii(
    bound: MarginBound | NDArray[np.float64],
    noise: Noise,
    offset: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """(B,) radius, inscribed radius and proxy radius, by the names that `Certificates` has.

    Parameters
    ----------
    bound : MarginBound or (B,) float64
        The bound, or lower bounds on the margin on the law's scale.
    noise : Noise
        The law.
    offset : (B,) float64, optional
        Distances of the inputs from the points that the bound is about.
    """
    found = noise.certified_radius(bound) if isinstance(bound, MarginBound) else noise.radius(bound)
    found = nearer(found, offset)
    unknown = np.full(len(found), np.nan)
    sizes = {"radius": found, "inscribed_radius": unknown, "proxy_radius": unknown}
    if not noise.norm.startswith("scaled ") or type(noise).region is Noise.region:
        # A ball, whose sizes are its radius; or nobody says what has another shape.
        return sizes
    pairs = [
        (region.inscribed_radius(), region.proxy_radius())
        for region in _regions(bound, noise)
        if region.dimension is not None
    ]
    if pairs:
        inscribed, proxy = zip(*pairs, strict=True)
        sizes |= {
            "inscribed_radius": np.concatenate(inscribed), "proxy_radius": np.concatenate(proxy),
        }  # fmt: skip
    return sizes


def _regions(bound: MarginBound | NDArray[np.float64], noise: Noise) -> Iterator[Region]:
    """The regions of all rows, in a few parts."""
    if not noise.batch_shape or noise.curve_only:
        yield noise.region(bound)
        return
    lower = bound.lower if isinstance(bound, MarginBound) else bound
    for start in range(0, len(lower), _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        yield noise[rows].region(lower[rows])


def ball(
    bound: MarginBound,
    noise: Noise,
    input_hash: str | None = None,
    *,
    alpha: float,
    offset: NDArray[np.float64] | None = None,
) -> Certificates:
    """The certificates that a margin bound on the law's scale gives.

    ``alpha`` is what the bound's level was left of (`rsbounds.certificates.exact`).
    """
    return Certificates(
        candidate=bound.top,
        **radii(bound, noise, offset),
        margin_lower=bound.lower,
        n=bound.n,
        alpha=alpha,
        method=bound.method,
        guarantee=bound.guarantee,
        solved=bound.solved,
        noise=str(noise),
        norm=noise.norm,
        scale=bound.scale,
        index=np.arange(len(bound)),
        law=plain_law(noise),
        options=bound.options,
        input_hash=input_hash,
        details=details_of(noise, bound.n, offset),
    )


def certify(
    counts: ArrayLike,
    top: ArrayLike | Selection,
    *,
    noise: Noise,
    alpha: float = 0.001,
    method: str | MarginMethod | None = None,
    progress: bool | None = False,
    **options: Any,
) -> Certificates:
    """Certified radii of a smoothed classifier, from its votes under noise.

    With probability at least ``1 - alpha`` over the draws, for each row on its own, no
    perturbation smaller than ``radius`` in the law's norm changes the smoothed classifier's
    answer ``top`` (the margin method's theorem together with the noise law's, which the
    result names). The default method is proven. Where the noise is drawn on a lattice
    (``Gaussian(sigma, lattice="auto")``) that is so in floating point, for any classifier, and the
    result says what it took; else in real arithmetic (`rsbounds.sampling`). Where the law is
    enumerated (`rsbounds.noises.SplitUniform`) there is no error probability: alpha is 0.

    Parameters
    ----------
    counts : (B, K) or (K,) integers
        Votes for each class at each input, from ``n`` draws of ``noise`` fixed in advance;
        rows may have different n. Of a table without its inputs, certificates of a law on a lattice
        are about the inputs rounded to it; `Counts` know how far those are.
    top : int, (B,) integers or Selection
        Class to certify, fixed before ``counts`` were seen: a label, or `select_top` of an
        independent selection sample.
    noise : Noise
        The law the draws came from, such as ``Gaussian(sigma=0.25)``.
    alpha : float
        Error probability of each row's statement, in (0, 1); what exact noise takes included.
        A law that is enumerated uses none of it.
    method : str or MarginMethod, optional
        Margin bound, by name (`rsbounds methods` lists them) or as an object; by default the law's
        own: ``exact``, or ``runner-up`` where a law is known by its curve (`Laplace`).
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    **options
        Options of the method.

    Returns
    -------
    Certificates
        One entry per row, radii in units of the raw input.

    Raises
    ------
    ValueError
        Bad counts, top, alpha, noise, method or option; the message names the row.

    See Also
    --------
    rsbounds.select_top : The class, from an independent selection sample.
    rsbounds.margin_lower_bound : The bound that the radius comes from.
    rsbounds.certify_soft : The same for scores in place of votes.
    rsbounds.compare : Every method on the same counts.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.
    .. [2] G. Yang et al., "Randomized smoothing of all shapes and sizes", ICML 2020.

    Examples
    --------
    >>> import rsbounds
    >>> certificates = rsbounds.certify(
    ...     [[990, 8, 2], [400, 350, 250]], [0, 0], noise=rsbounds.Gaussian(sigma=0.5))
    >>> print(certificates)
    input  class     radius   margin     n
    -----  -----  ---------  -------  ----
    0          0     1.0104   4.0419  1000
    1          -  abstained  -0.0915  1000
    1 of 2 certified, mean l2 radius 0.50524
    gaussian(sigma=0.5), exact, alpha 0.001, guarantee: proven in real arithmetic
    """
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    noise, offset = law_of_sample(noise, counts)
    table = _validate.count_table(counts)
    chosen = margin_method(noise.default_method if method is None else method, options)
    how = settled(noise, counts, top, alpha=_validate.alpha(alpha), method=chosen)
    bound = bound_of_claim(
        table, how.claim, alpha=how.level, scale=noise.scale, method=how.method, progress=progress
    )
    return ball(bound, noise, content_hash(table), alpha=how.alpha, offset=offset)
