"""What an inner solver is (`Solver` has the contract), and what solvers share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rsbounds._registry import Registry
from rsbounds._types import Scale
from rsbounds.solvers._taylor import inverse, polynomial


@dataclass(frozen=True)
class Region:
    """Outcomes (x1, x2) of n draws with x1 >= boundary[x2], boundary nondecreasing.

    Attributes
    ----------
    n : int
        Draws.
    boundary : (n + 1,) int64
        Smallest x1 inside for each x2; n + 1 where there is none.
    scale : {"linear", "probit"}
        Scale of the margin g.
    order : int
        0: the scale's own margin. Odd M: heuristics solve for the margin with Phi^-1
        replaced by its Taylor polynomial of order M at 1/2 (probit, q1 >= 1/2 >= q2), which
        is at most g there; proofs are about g itself.
    """

    n: int
    boundary: NDArray[np.int64]
    scale: Scale
    order: int = 0

    def probability(self, q1: float, q2: float) -> float:
        """Upper bound on P_q(region), within 1e-6 of it (relative)."""
        from rsbounds.solvers._trinomial import log_tail_upper

        # At q1 = 0 the kernel knows only that P <= 1; P grows with q1.
        q1 = max(q1, 1e-200)
        rest = max(1.0 - q1 - q2, 0.0)
        return math.exp(log_tail_upper(self.n, q1, q2, rest, self.boundary, 0))


@dataclass(frozen=True)
class Window:
    """Null points that count: q1 >= a1 and q2 <= b2."""

    a1: float = 0.0
    b2: float = 1.0


@dataclass(frozen=True)
class Solution:
    """What a solver found; `Solver` says what each number is."""

    value: float
    point: tuple[float, float, float]
    upper: float = math.inf
    evaluations: int = 0


@runtime_checkable
class Solver(Protocol):
    """A solver: a class whose objects are called; its fields are its options.

    Contract
    --------
    Given a monotone region and a level L, a solver looks for the q with g(q) <= L under which
    the region is most probable, inside {q1 >= a1, q2 <= b2}, and returns

    * ``value``: P_q(region) at the best point it found (a lower bound on the supremum),
    * ``point``: that q,
    * ``upper``: a *proven* upper bound on the supremum, or infinity if it proves nothing.

    A value above the error probability refutes L; only ``upper`` can accept it. Solvers know
    nothing of bounds; `rsbounds.bounds.margin` runs any of them under one outer search. To add
    one: a file, and one line in `rsbounds.solvers` (or an entry point of ``rsbounds.solvers``).

    Examples
    --------
    >>> import numpy as np
    >>> from rsbounds.solvers import SOLVERS, Region, Window
    >>> rank = np.minimum(np.arange(3, 14), 11)  # x1 >= x2 + 3
    >>> region = Region(n=10, boundary=rank, scale="linear")
    >>> found = SOLVERS["branch-and-bound"]()(region, 0.1, Window(), enough=1.0)
    >>> bool(found.value <= found.upper < found.value + 1e-4)
    True
    """

    def __call__(self, region: Region, level: float, window: Window, enough: float) -> Solution:
        """Solve; may stop as soon as a value exceeds ``enough``."""


SOLVERS: Registry[type[Solver]] = Registry("solver", "rsbounds.solvers")
SOLVERS.require(Solver)


def curve_range(region: Region, level: float, window: Window) -> tuple[float, float]:
    """Range of q2 on the curve g = level inside the window (empty if reversed)."""
    from scipy.special import ndtr, ndtri

    if region.scale == "linear":
        return max(0.0, -level, window.a1 - level), min(window.b2, 0.5 * (1.0 - level))
    if region.order:
        start = 0.5 - inverse(level, region.order)
        return start, min(window.b2, 0.5 - inverse(0.5 * level, region.order))
    start = float(ndtr(ndtri(window.a1) - level)) if window.a1 > 0 else 0.0
    return start, min(window.b2, float(ndtr(-0.5 * level)))


def on_curve(region: Region, level: float, q2: float) -> tuple[float, float, float]:
    """The point of the curve g = level with that q2."""
    from scipy.special import ndtr, ndtri

    if region.scale == "linear":
        q1 = q2 + level
    elif region.order:
        q1 = 0.5 + inverse(level - polynomial(0.5 - q2, region.order), region.order)
    else:
        q1 = float(ndtr(ndtri(q2) + level))
    q1 = min(max(q1, 0.0), 1.0 - q2)
    return q1, q2, max(1.0 - q1 - q2, 0.0)


def polished(
    region: Region, level: float, low: float, high: float
) -> tuple[float, tuple[float, float, float], int]:
    """(value, point, evaluations) of the best point with log q2 between two numbers.

    Brent's search for one maximum: the last digits, which neither a condensed program nor a
    Gaussian process resolves.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_q2: float) -> float:
        q1, q2, _ = on_curve(region, level, math.exp(log_q2))
        return -math.log(max(region.probability(q1, q2), 1e-290))

    if not high > low:
        point = on_curve(region, level, math.exp(low))
        return region.probability(point[0], point[1]), point, 1
    # The tail carries an error of 1e-7: narrower steps would follow its noise.
    found = minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5, "maxiter": 40}
    )
    point = on_curve(region, level, math.exp(float(found.x)))
    return math.exp(-float(found.fun)), point, int(found.nfev)
