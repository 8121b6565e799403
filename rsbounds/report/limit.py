"""Where valid bounds end: the likelihood limit of the margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._kernels import kernel
from rsbounds._numerics import normal_quantile
from rsbounds._types import NO_CLASS, Scale, Selection
from rsbounds.bounds.margin._orderings import divergence_limit
from rsbounds.bounds.margin._rows import largest_other
from rsbounds.claims import checked_claim
from rsbounds.noises import Noise

#: Added to each cell, so that a class without votes has a (tiny) share to vary.
PSEUDO = 1e-6


@dataclass(frozen=True, eq=False)
class LikelihoodLimit:
    """Where valid bounds on the margin end; itself no bound, so not a `MarginBound`.

    Attributes
    ----------
    level : (B,) float64
        The limits, on ``scale``.
    top, n : (B,) int64
        Class and draws of each row.
    alpha : float
        Error probability of the bounds that it is held against.
    scale : {"linear", "probit"}
        p_A - p_c, or Phi^-1(p_A) - Phi^-1(p_c).
    """

    level: NDArray[np.float64]
    top: NDArray[np.int64]
    n: NDArray[np.int64]
    alpha: float
    scale: Scale

    def __len__(self) -> int:
        return len(self.level)

    def curve(self, noise: Noise) -> LimitCurve:
        """The radii that margins at the limit would give under a noise law on this scale."""
        if noise.scale != self.scale:
            raise ValueError(f"noise is {noise}; allowed: a law on the {self.scale} scale")
        return LimitCurve(noise.radius(self.level), self.top, noise.norm)


@dataclass(frozen=True, eq=False)
class LimitCurve:
    """Radii at the likelihood limit, to be drawn beside certified ones; they certify nothing.

    Attributes
    ----------
    radius : (B,) float64
        Radius that a margin at the limit would give.
    candidate : (B,) int64
        Class of each row.
    norm : str
        Norm of the radius.
    """

    radius: NDArray[np.float64]
    candidate: NDArray[np.int64]
    norm: str

    @property
    def top(self) -> NDArray[np.int64]:
        """(B,) ``candidate``, and `rsbounds.NO_CLASS` where the radius is 0."""
        return np.where(self.radius > 0, self.candidate, NO_CLASS)

    def __len__(self) -> int:
        return len(self.radius)


@kernel
def _kernel(
    counts: NDArray[np.int64],
    top: NDArray[np.int64],
    n: NDArray[np.int64],
    z: float,
    probit: bool,
    out: NDArray[np.float64],
) -> None:
    for i in range(n.size):
        x1 = counts[i, top[i]]
        x2 = largest_other(counts[i], top[i])
        if x1 == 0 and probit:
            continue
        y1, y2, y3 = x1 + PSEUDO, x2 + PSEUDO, n[i] - x1 - x2 + PSEUDO
        level, _, _ = divergence_limit(y1, y2, y3, z, probit, False)
        out[i] = level if probit else max(level, -1.0)


def likelihood_limit(
    counts: ArrayLike, top: ArrayLike | Selection, *, alpha: float, scale: Scale
) -> LikelihoodLimit:
    """Margin at which the signed root of the likelihood ratio is the normal quantile of alpha.

    Not a bound: it holds with probability about 1 - alpha for large n only. But no valid bound
    lies above it on average as n grows, so the gap to it is what a better bound could gain.
    It agrees with the plug-in margin less z standard errors (delta method) to first order;
    unlike that, it is the same limit on both scales and takes skewness into account, so that
    it is worth reading at a hundred draws and where shares are near 0 or 1. It is about one
    class against the top class, the class with the largest other count.

    Parameters
    ----------
    counts, top, alpha, scale
        As in `margin_lower_bound`; for alpha above 1/2 the limit is the plug-in margin.

    Returns
    -------
    LikelihoodLimit
        On the probit scale the limit of a row without a vote for its top class is minus
        infinity.

    Raises
    ------
    ValueError
        As in `margin_lower_bound`.

    See Also
    --------
    rsbounds.compare : Every method on the same counts, with this limit below them.

    References
    ----------
    S. S. Wilks, "The large-sample distribution of the likelihood ratio for testing composite
    hypotheses", Annals of Mathematical Statistics 9 (1938).

    Examples
    --------
    >>> from rsbounds.report.limit import likelihood_limit
    >>> limit = likelihood_limit([[900, 80, 20]], 0, alpha=0.001, scale="linear")
    >>> print(f"{limit.level[0]:.3f}")
    0.761
    """
    table = _validate.count_table(counts)
    chosen = _validate.alpha(alpha)
    _validate.choice("scale", scale, ("linear", "probit"))
    classes = checked_claim(top, *table.shape).classes
    level, n = np.full(len(table), -np.inf), np.empty(len(table), dtype=np.int64)
    z = max(-normal_quantile(chosen), 1e-3)
    for start in range(0, len(table), 65536):
        span = slice(start, start + 65536)
        rows, n[span] = _validate.count_rows(table[span], start)
        _kernel(rows, classes[span], n[span], z, scale == "probit", level[span])
    return LikelihoodLimit(level, classes, n, chosen, scale)
