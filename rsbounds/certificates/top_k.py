"""Certified radii in which a class stays among the k most probable, from counts."""

from __future__ import annotations

import dataclasses
from typing import Any

from numpy.typing import ArrayLike

from rsbounds import _validate
from rsbounds._types import Certificates, Selection, content_hash
from rsbounds.bounds.margin import MarginMethod, bound_of_claim, claimed, margin_method
from rsbounds.certificates.ball import ball
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import law_of_sample, level_left
from rsbounds.claims import TopK, checked_k
from rsbounds.noises import Noise


def certify_top_k(
    counts: ArrayLike,
    label: ArrayLike | Selection,
    k: int,
    *,
    noise: Noise,
    alpha: float = 0.001,
    method: str | MarginMethod | None = None,
    progress: bool | None = False,
    **options: Any,
) -> Certificates:
    """Certified radii in which a class stays among the k most probable of the smoothed classifier.

    With probability at least ``1 - alpha`` over the draws, for each row on its own, at every
    perturbation smaller than ``radius`` fewer than k classes are at least as probable as ``label``
    (Jia et al. 2020, Theorem 1, from bounds that hold together only for the k classes that would
    have to pass it, intersection-union, and for their sums). In floating point or in real
    arithmetic as in `certify`.

    Parameters
    ----------
    counts : (B, K) or (K,) integers
        Votes for each class at each input, from ``n`` draws of ``noise`` fixed in advance.
    label : int, (B,) integers or Selection
        Class to certify, fixed before ``counts`` were seen: a label, or `select_top` of an
        independent selection sample.
    k : int
        Among how many classes, 1 to K - 1; 1 is `certify`.
    noise : Noise
        The law the draws came from. Under `Lipschitz`, whose constant is about one class at a time,
        classes are compared one by one.
    alpha : float
        Error probability of each row's statement, in (0, 1); what exact noise takes included.
    method : str or MarginMethod, optional
        "runner-up" (the default above k = 1), or "bonferroni"; with ``over="classes"`` that is the
        bound of Jia et al., which is never larger. Of k = 1 any margin method; "exact" by default,
        "runner-up" of a law without a margin scale.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    **options
        Options of the method.

    Returns
    -------
    Certificates
        One entry per row; ``k`` says what the rows are about. Above k = 1 ``margin_lower`` is the
        margin of `rsbounds.claims.TopK`.

    Raises
    ------
    ValueError
        Bad counts, label, k, noise, alpha, method or option; the message names the row.

    See Also
    --------
    rsbounds.certify : The answer itself, k = 1.
    rsbounds.certified_accuracy : Of these certificates, the certified top-k accuracy.

    References
    ----------
    .. [1] J. Jia, X. Cao, B. Wang and N. Z. Gong, "Certified robustness for top-k predictions
       against adversarial perturbations via randomized smoothing", ICLR 2020.

    Examples
    --------
    >>> import rsbounds
    >>> votes, law = [[400, 450, 100, 50]], rsbounds.Gaussian(sigma=0.5)
    >>> [rsbounds.certify_top_k(votes, 0, k, noise=law).radius.round(3)[0] for k in (1, 2, 3)]
    [np.float64(0.0), np.float64(0.177), np.float64(0.255)]
    """
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    sampled_only(noise, "top-k")
    noise, offset = law_of_sample(noise, counts)
    table = _validate.count_table(counts)
    among, total = checked_k(k, table.shape[1]), _validate.alpha(alpha)
    if isinstance(label, TopK):
        raise ValueError("label is a claim of kind TopK; allowed: classes, or select_top of others")
    if method is None:
        method = "exact" if among == 1 and not noise.curve_only else "runner-up"
    chosen = margin_method(method, options)
    if among > 1:
        check_top_k(chosen, among)
    claim: Any = claimed(label, table, chosen)
    if among > 1:
        claim = TopK(claim.classes, among, claim.selection, noise.unions)
    draws = 0 if noise.spacing is None else int(_validate.count_rows(table)[1].max())
    bound = bound_of_claim(
        table, claim, alpha=level_left(noise.spacing, total, draws), scale=noise.scale,
        method=chosen, progress=progress,
    )  # fmt: skip
    if among > 1 and noise.curve_only and "p_t_upper" not in bound.details:
        raise ValueError(
            f"method is {chosen.name!r}, which bounds no probabilities; allowed with noise "
            f"{noise.name}: runner-up, bonferroni"
        )
    found = ball(bound, noise, content_hash(table), alpha=total, offset=offset)
    return dataclasses.replace(found, k=among)


def check_top_k(method: MarginMethod, k: int) -> None:
    """Raise ValueError of a method that cannot prove `rsbounds.claims.TopK`."""
    if TopK not in method.claims:
        raise ValueError(
            f"method is {method.name!r} with k = {k}; allowed: runner-up, bonferroni, or one that "
            "can prove TopK"
        )
