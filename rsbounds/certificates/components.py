"""Certified radii of the many components of one output, which hold together.

Bonferroni: each of M components gets alpha/M, so that all radii hold together (union bound).

Holm states one radius r for every component that it certifies, no more. Its hypotheses are fixed
before the counts are seen: "component i changes at a perturbation smaller than r". Each is tested
at levels a by whether its bound at a reaches r; a test that rejects at a does so at all larger
levels. With R rejected so far the others are tested at alpha/(M - R), until nothing changes. Let
m of the hypotheses be true. When the first true one is rejected, no more than M - m were before,
so that it is rejected at alpha/m too, which any of the m is with probability alpha at most
(Holm 1979). Nothing is assumed of how components depend on each other: they share their noise.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._parallel import map_rows
from rsbounds._types import Certificates, Selection, content_hash, plain_options
from rsbounds.bounds.margin import (
    MARGIN_METHODS,
    MarginMethod,
    bound_of_claim,
    claimed,
    margin_method,
)
from rsbounds.certificates.ball import plain_law, radii
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import details_of, law_of_sample, level_left, nearer
from rsbounds.claims import Claim, Top
from rsbounds.noises import Noise

#: Methods whose bound depends on n, the votes for the class and those for the strongest other class
#: alone, and falls with alpha for certain.
_OF_PAIRS = ("runner-up", "complement", "bonferroni")
#: Steps of Holm's procedure, which may be ended early: more are never needed but by design.
_STEPS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class _Components:
    """Rows of a table, each like a few of all (``like``), and which of those each one is like."""

    table: NDArray[Any]
    claim: Claim
    like: NDArray[np.int64]
    group: NDArray[np.int64]
    n: NDArray[np.int64]


def certify_components(
    counts: ArrayLike,
    top: ArrayLike | Selection,
    *,
    noise: Noise,
    alpha: float = 0.001,
    family: Literal["bonferroni", "holm"] = "bonferroni",
    radius: float | None = None,
    tau: float | None = None,
    method: str | MarginMethod = "runner-up",
    **options: Any,
) -> Certificates:
    """Certified radii of all components of one input's output (pixels, say), which hold together.

    With probability at least ``1 - alpha`` over the draws, for all components at once, no
    perturbation smaller than a component's radius changes its answer ``top``; components that
    abstain are not spoken of (Fischer et al. 2021, with radii from two-sided margins in place of
    p_A alone). "bonferroni" gives each component a radius of its own (union bound). "holm" fixes
    one radius in advance and certifies it for at least as many components (Holm 1979); of larger
    ones it says nothing. Components may depend on each other in any way.

    Parameters
    ----------
    counts : (M, K) integers
        Votes for each class at each component, from n draws of ``noise`` at one input. Small types
        save memory.
    top : int, (M,) integers or Selection
        Class of each component, fixed before ``counts`` were seen: `select_top` of an independent
        sample.
    noise : Noise
        The law of the input that the draws came from.
    alpha : float
        Probability of any wrong statement, in (0, 1); what exact noise takes included.
    family : {"bonferroni", "holm"}
        How alpha is shared.
    radius : float, optional
        The radius that "holm" certifies, > 0.
    tau : float, optional
        In place of it, in (0.5, 1): the radius that p_A > tau certifies.
    method : str or MarginMethod
        Margin bound; with "holm" runner-up with a number as ``split``, complement (that of Fischer
        et al.) or bonferroni, whose bounds are sure to fall with alpha.
    **options
        Options of the method.

    Returns
    -------
    Certificates
        One entry per component, in order: ``top.reshape(height, width)`` is the certified map.

    Raises
    ------
    ValueError
        Bad counts, top, noise, alpha, family, radius, tau, method or option.

    See Also
    --------
    rsbounds.certify : Rows on their own.
    rsbounds.certificates.family_alpha : Shares of alpha for a family of inputs.

    References
    ----------
    .. [1] M. Fischer, M. Baader and M. Vechev, "Scalable certified segmentation via randomized
       smoothing", ICML 2021.
    .. [2] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
       of Statistics 6 (1979).

    Examples
    --------
    >>> import rsbounds
    >>> votes, law = [[990, 8, 2], [700, 200, 100], [980, 15, 5]], rsbounds.Gaussian(sigma=0.25)
    >>> rsbounds.certify_components(votes, 0, noise=law).radius.round(3)
    array([0.486, 0.13 , 0.443])
    >>> found = rsbounds.certify_components(votes, 0, noise=law, family="holm", tau=0.75)
    >>> found.certified, found.radius.max().round(3)
    (array([ True, False,  True]), np.float64(0.169))
    """
    if not isinstance(noise, Noise) or noise.batch_shape:
        raise ValueError(
            f"noise is {noise!r}; allowed: the law of one input, such as Gaussian(sigma=0.25)"
        )
    sampled_only(noise, "components")
    total = _validate.alpha(alpha)
    _validate.choice("family", family, ("bonferroni", "holm"))
    chosen = margin_method(method, options)
    target = _target(noise, family, radius, tau, chosen)
    noise, offset = law_of_sample(noise, counts)
    table = _validate.count_table(counts)
    parts = _components(table, claimed(top, table, chosen), chosen)
    level = level_left(noise.spacing, total, int(parts.n.max()))
    if target is None:
        rows = _bonferroni(parts, level, noise, chosen, offset)
    else:
        rows = _holm(parts, level, noise, chosen, offset, target)
    return Certificates(
        candidate=parts.claim.classes, **rows, n=parts.n, alpha=total, method=chosen.name,
        guarantee=chosen.guarantee, noise=str(noise), norm=noise.norm, scale=noise.scale,
        index=np.arange(len(table)), law=plain_law(noise), options=plain_options(chosen),
        input_hash=content_hash(table), details=details_of(noise, parts.n, offset), family=family,
    )  # fmt: skip


def _target(noise: Noise, family: str, radius: Any, tau: Any, method: MarginMethod) -> float | None:
    """The radius that is fixed in advance; None of Bonferroni, which finds one for each."""
    if family == "bonferroni":
        if radius is not None or tau is not None:
            raise ValueError(
                "radius or tau is given with family 'bonferroni', which finds a radius for each "
                "component; allowed: neither, or family='holm'"
            )
        return None
    if (radius is None) == (tau is None):
        raise ValueError(
            f"radius is {radius!r} and tau is {tau!r}; allowed with family 'holm': one of them"
        )
    if not _of_pairs(method):
        raise ValueError(
            f"method is {method!r}; allowed with family 'holm': runner-up with a number as split, "
            "complement, bonferroni"
        )
    if radius is not None:
        return _validate.positive("radius", radius)
    share = _validate.number("tau", tau, "a number in (0.5, 1)", lambda v: 0.5 < v < 1)
    found = float(np.max(noise.radius_of_pair([share], [1.0 - share])))
    if not found > 0:
        raise ValueError(f"tau is {tau!r}, which certifies no radius under {noise}; allowed: more")
    return found


def _of_pairs(method: MarginMethod) -> bool:
    """Whether equal votes for the class and for the strongest other make equal bounds."""
    own = method.name in _OF_PAIRS and type(method) is MARGIN_METHODS[method.name]
    return own and not isinstance(getattr(method, "split", 0.5), str)


def _components(table: NDArray[Any], claim: Claim, method: MarginMethod) -> _Components:
    def work(start: int, stop: int) -> dict[str, NDArray[Any]]:
        rows, n = _validate.count_rows(table[start:stop], start)
        at = np.arange(len(rows)), claim.classes[start:stop]
        votes = rows[at]
        rows[at] = -1
        return {"n": n, "votes": votes, "others": rows.max(axis=1)}

    found = map_rows(work, len(table), chunk=16384)
    if not _of_pairs(method):
        every = np.arange(len(table))
        return _Components(table, claim, every, every, found["n"])
    columns = [found["n"], found["votes"], found["others"]]
    keys = np.zeros(len(table), dtype=np.int64)
    for column in columns:
        # The place among the distinct ones so far: a product of two places stays below M^2.
        values, place = np.unique(column, return_inverse=True)
        keys = np.unique(keys * len(values) + place, return_inverse=True)[1]
    _, like, group = np.unique(keys, return_index=True, return_inverse=True)
    return _Components(table, claim, like, group, found["n"])


def _margins(
    parts: _Components, which: NDArray[np.int64], alpha: float, noise: Noise, method: MarginMethod
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_], NDArray[np.float64]]:
    """Radii of some groups, whether they are solved, and their margins."""
    rows = parts.like[which]
    claim = _rows_of(parts.claim, rows)
    bound = bound_of_claim(parts.table[rows], claim, alpha=alpha, scale=noise.scale, method=method)
    return radii(bound, noise), bound.solved, bound.lower


def _rows_of(claim: Claim, rows: NDArray[np.int64]) -> Top:
    picked = None if claim.selection is None else claim.selection[rows]
    return Top(claim.classes[rows], picked)


def _share(level: float, statements: int) -> float:
    """An even part of a level, rounded down; all of it of one statement."""
    share = level if statements == 1 else level / statements * (1.0 - 1e-15)
    if share < 1e-300:
        raise ValueError(
            f"alpha leaves {share:g} for each of {statements} components; allowed: >= 1e-300 each"
        )
    return share


def _bonferroni(
    parts: _Components,
    level: float,
    noise: Noise,
    method: MarginMethod,
    offset: NDArray[np.float64] | None,
) -> dict[str, Any]:
    share = _share(level, len(parts.group))
    sizes, solved, margin = _margins(parts, np.arange(len(parts.like)), share, noise, method)
    rows: dict[str, Any] = {name: values[parts.group] for name, values in sizes.items()}
    rows["radius"] = nearer(rows["radius"], offset)
    return {**rows, "solved": solved[parts.group], "margin_lower": margin[parts.group]}


def _holm(
    parts: _Components,
    level: float,
    noise: Noise,
    method: MarginMethod,
    offset: NDArray[np.float64] | None,
    target: float,
) -> dict[str, Any]:
    total = len(parts.group)

    def reaching(rows: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
        """Which of some rows are certified at a level."""
        reached = np.zeros(len(parts.like))
        groups = np.flatnonzero(np.bincount(parts.group[rows], minlength=len(reached)))
        reached[groups] = _margins(parts, groups, share, noise, method)[0]["radius"]
        return rows & (nearer(reached[parts.group], offset) >= target)

    # What all of alpha does not certify, no share of it does.
    hopeful = reaching(np.ones(total, dtype=bool), level)
    done = np.zeros(total, dtype=bool)
    for _ in range(_STEPS):
        left = total - int(done.sum())
        if (done == hopeful).all():
            break
        new = reaching(hopeful & ~done, _share(level, left))
        if not new.any():
            break
        done |= new
    margin = _margin_of(noise, target)
    unknown = -1.0 if noise.scale == "linear" else -np.inf
    return {
        **{
            name: np.where(done, values[0], 0.0)
            for name, values in {**radii(np.array([margin]), noise), "radius": [target]}.items()
        },
        "solved": np.ones(total, dtype=bool),
        "margin_lower": np.where(done, margin, unknown),
    }


def _margin_of(noise: Noise, radius: float) -> float:
    """The smallest margin that certifies a radius, rounded down."""
    low, high = 0.0, 1.0
    while float(noise.radius([high])[0]) < radius and high < 1e6:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = 0.5 * (low + high)
        if float(noise.radius([middle])[0]) < radius:
            low = middle
        else:
            high = middle
    return low * (1.0 - 1e-14)
