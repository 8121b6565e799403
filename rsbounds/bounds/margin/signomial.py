"""The paper's bound with a signomial program as its inner solver (extra ``solvers``)."""

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
from rsbounds.solvers.signomial import Signomial

#: Beyond this the table of monomials (n^2/2 of them) is too large to be worth it.
MAX_DRAWS = 400


@dataclass(frozen=True)
class SignomialMargin(MarginMethod):
    """Plug-in margin inverted with successive geometric programs, linear scale.

    With probability at least 1 - alpha the margin is at least the bound, where every
    accepted level was proven by branch and bound (``certify=True``); a local optimum alone
    proves nothing, and without the proof ``certified`` says so. Source:
    optimal-certified-radius, (7)-(9), with the observed value inside the tail. n up to 400.
    The paper's Taylor polynomial for the probit scale is not offered: `exact` needs none.

    Parameters
    ----------
    certify : bool
        Accept a level only with branch and bound's proof.
    starts : int
        Starting points of each program.
    tolerance : float
        Width at which the search over L stops.

    Examples
    --------
    >>> import rsbounds
    >>> bound = rsbounds.margin_lower_bound(  # doctest: +SKIP
    ...     [[9, 1, 0]], 0, alpha=0.05, scale="linear", method="signomial")
    """

    certify: bool = True
    starts: int = 3
    tolerance: float = 1e-3

    name: ClassVar[str] = "signomial"
    source: ClassVar[str] = "optimal-certified-radius, section 4.2, corrected"
    cost: ClassVar[str] = "about a second per level and row at n = 20"
    choose: ClassVar[str] = "to reproduce the paper; exact is tighter and a thousand times faster"
    chunk: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _validate.integer("starts", self.starts, low=1)
        _validate.positive("tolerance", self.tolerance)

    @classmethod
    def usable(cls) -> bool:
        return find_spec("cvxpy") is not None

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
        if scale != "linear":
            raise ValueError(
                "scale is 'probit'; allowed for method 'signomial': 'linear' (use 'exact')"
            )
        if n.max(initial=0) > MAX_DRAWS:
            raise ValueError(
                f"n is {int(n.max())}; allowed for method 'signomial': up to {MAX_DRAWS}"
            )
        solver = Signomial(self.starts)
        return searched_rows(solver, self.certify, counts, top, n, alpha, scale, self.tolerance)
