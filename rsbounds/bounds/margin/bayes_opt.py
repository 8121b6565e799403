"""The paper's bound with Bayesian optimisation as its inner solver (extra ``solvers``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Guarantee, Scale
from rsbounds.bounds.margin._base import MarginMethod
from rsbounds.bounds.margin._inner import searched_rows
from rsbounds.solvers.bayes_opt import BayesOpt


@dataclass(frozen=True)
class BayesOptMargin(MarginMethod):
    """Plug-in margin inverted with Lemma 1's early-stopped Bayesian search.

    With probability at least 1 - alpha the margin is at least the bound, where every
    accepted level was proven by branch and bound (``certify=True``); without it nothing is
    proven and ``certified`` says so. Source: optimal-certified-radius, (7)-(9) and Lemma 1,
    with the observed value inside the tail. Seconds per level: for single rows; `exact` is
    the method to use.

    Parameters
    ----------
    certify : bool
        Accept a level only with branch and bound's proof.
    calls, seed : int
        Evaluations per level and seed of the search.
    tolerance : float
        Width at which the search over L stops.

    Examples
    --------
    >>> import rsbounds
    >>> bound = rsbounds.margin_lower_bound(  # doctest: +SKIP
    ...     [[9, 1, 0]], 0, alpha=0.05, scale="linear", method="bayes-opt")
    """

    certify: bool = True
    calls: int = 20
    seed: int = 0
    tolerance: float = 1e-3

    name: ClassVar[str] = "bayes-opt"
    source: ClassVar[str] = "optimal-certified-radius, Lemma 1, corrected"
    cost: ClassVar[str] = "seconds per level and row"
    choose: ClassVar[str] = "to reproduce the paper; exact is tighter and a thousand times faster"
    chunk: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _validate.integer("calls", self.calls, low=10)
        _validate.positive("tolerance", self.tolerance)

    @classmethod
    def usable(cls) -> bool:
        return find_spec("skopt") is not None

    @property
    def guarantee(self) -> Guarantee:
        return "proven" if self.certify else "none"

    def rows(
        self,
        counts: NDArray[np.int64],
        top: NDArray[np.int64],
        n: NDArray[np.int64],
        alpha: float,
        scale: Scale,
        selection: NDArray[np.int64] | None,
    ) -> Mapping[str, NDArray[Any]]:
        solver = BayesOpt(self.calls, self.seed)
        return searched_rows(solver, self.certify, counts, top, n, alpha, scale, self.tolerance)
