"""Laws whose cells are all counted: nothing is sampled, and nothing is left to chance.

The votes of an enumerated law (`rsbounds.noises.SplitUniform` and others with ``cells``) are one
from each of its cells, so that shares of votes are known. What is a bound elsewhere is then the
margin itself, alpha is 0, and the class may come from the same votes: it is the smoothed
classifier's answer, the lowest index on a tie. All of it rests on the votes being all that there
are, which is checked wherever votes come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Guarantee, Selection
from rsbounds.bounds.margin import MarginMethod, Problem, claimed
from rsbounds.certificates.exact import level_left
from rsbounds.claims import Claim, checked_claim
from rsbounds.noises import Noise


@dataclass(frozen=True)
class AllCells(MarginMethod):
    """The margin itself, where the votes are those of all cells of an enumerated law.

    Probability has no part in it. It bounds nothing from a sample and is no registered method:
    `settled` takes it where no cell is missing. ``lead`` is the number of votes by which the class
    is ahead, one more where it also wins ties: an answer that k cells can turn stays while
    2 k < lead.
    """

    name: ClassVar[str] = "all-cells"
    guarantee: ClassVar[Guarantee] = "deterministic"
    source: ClassVar[str] = "counting"
    cost: ClassVar[str] = "nothing"
    choose: ClassVar[str] = "never: laws that are enumerated bring it along"

    def rows(self, problem: Problem) -> Mapping[str, NDArray[Any]]:
        n, ahead = problem.n, problem.top_counts - problem.other_counts
        p_a, p_b = problem.top_counts / n, problem.other_counts / n
        low, high = np.nextafter(p_a, 0.0), np.nextafter(p_b, 1.0)
        if problem.probit:
            lower = problem.margin(low, high)
        else:
            lower = np.where(ahead % n == 0, ahead // n, np.nextafter(ahead / n, -1.0))
        # A class with a higher index loses ties, so that it has to gain one vote more.
        behind = np.arange(problem.counts.shape[1]) > problem.top[:, None]
        rivals = problem.counts - behind
        rivals[np.arange(len(n)), problem.top] = -2
        lead = problem.top_counts - rivals.max(axis=1)
        return {"lower": lower, "lead": lead, "p_a_lower": low, "p_b_upper": high}


class Settled(NamedTuple):
    """How counts are bounded: the claim, its alpha, what is left of that for the method."""

    claim: Claim
    alpha: float
    level: float
    method: MarginMethod


def settled(
    noise: Noise,
    counts: ArrayLike,
    top: ArrayLike | Selection | Claim,
    *,
    alpha: float,
    method: MarginMethod,
) -> Settled:
    """What certificates of a table of counts are to be made of, under a law of any kind.

    Parameters
    ----------
    noise : Noise
        The law.
    counts : (B, K) array
        The table.
    top : int, (B,) integers, Selection or Claim
        What is claimed.
    alpha : float
        Error probability, checked; an enumerated law uses none of it.
    method : MarginMethod
        The method that was asked for; of an enumerated law the default, which has nothing to do.

    Raises
    ------
    ValueError
        Counts that are not from every cell of an enumerated law, a method for samples where there
        are none, or what `claimed` refuses.
    """
    table = _validate.count_table(counts)
    total, chosen = method_for(noise, alpha, method)
    if noise.cells is None:
        draws = 0 if noise.spacing is None else int(_validate.count_rows(table)[1].max())
        level = level_left(noise.spacing, total, draws)
        return Settled(claimed(top, table, chosen), total, level, chosen)
    check_complete(noise.cells, table, str(noise))
    return Settled(checked_claim(top, *table.shape), total, total, chosen)


def method_for(noise: Noise, alpha: float, method: MarginMethod) -> tuple[float, MarginMethod]:
    """Alpha and the method that were asked for; of an enumerated law 0 and `AllCells`.

    Raises
    ------
    ValueError
        A method for samples where there are none.
    """
    if noise.cells is None:
        return alpha, method
    if method.name not in (noise.default_method, AllCells.name):
        raise ValueError(
            f"method is {method.name!r}; allowed with noise {noise}, whose cells are all counted: "
            f"{noise.default_method!r}"
        )
    return 0.0, AllCells()


def check_complete(cells: int, table: NDArray[Any], of: str) -> None:
    """Raise ValueError unless each row has one vote from each of so many cells."""
    n = _validate.count_rows(table)[1]
    if (n != cells).any():
        row = int(np.argmax(n != cells))
        raise ValueError(
            f"counts row {row} sums to {n[row]}; allowed with noise {of}: {cells}, one vote from "
            "each of its cells"
        )


def draws_of(noise: Noise, n: Any, default: int | None = None, *, name: str = "n") -> int:
    """How many draws an input takes: those asked for, or all cells of an enumerated law.

    Raises
    ------
    ValueError
        Another number than that of the cells, or none for a law that is sampled.
    """
    if noise.cells is None:
        chosen = default if n is None else n
        return _validate.integer(name, chosen, low=1, high=_validate.MAX_N)
    if n is not None and n != noise.cells:
        raise ValueError(
            f"{name} is {n!r}; allowed with noise {noise}: {noise.cells}, all of its cells, or None"
        )
    return noise.cells


def sampled_only(noise: Noise, what: str) -> None:
    """Raise ValueError where a law is enumerated, with which ``what`` makes no sense."""
    if noise.cells is not None:
        raise ValueError(
            f"noise is {noise}, whose {noise.cells} cells are counted and not sampled; allowed for "
            f"{what}: laws that are sampled (certify needs one look at all cells)"
        )
