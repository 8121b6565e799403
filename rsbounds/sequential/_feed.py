"""Draws for a stopping rule, until every row has its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._parallel import Progress
from rsbounds.sequential.adaptive import Adaptive
from rsbounds.sequential.decide import Decide

#: Rows (r,), first draws and ends of draws, to (r, K) votes and (r,) draws that were no votes.
Draw = Callable[
    [NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    tuple[NDArray[np.int64], NDArray[Any]],
]


def feed(test: Decide | Adaptive, draw: Draw, bar: Progress | None = None) -> NDArray[np.bool_]:
    """Draw what a rule asks for; a row with a draw that was no vote abstains.

    Parameters
    ----------
    test : Decide or Adaptive
        The rule; finished on return.
    draw : callable
        The votes of some rows on draws ``first`` to ``stop``, which differ from row to row.
    bar : Progress, optional
        Told of rows that are done.

    Returns
    -------
    (B,) bool
        Rows with a draw that was no vote.
    """
    bad = np.zeros(len(test), dtype=bool)
    while test.active.any():
        before, wanted = int(test.active.sum()), test.wanted
        rows = np.flatnonzero(wanted)
        first = test.n[rows]
        votes, none = draw(rows, first, first + wanted[rows])
        invalid = np.zeros(len(test), dtype=bool)
        invalid[rows] = none > 0
        bad |= invalid
        test.abstain(invalid, wanted)
        if test.active.any():
            counts = np.zeros((len(test), votes.shape[1]), dtype=np.int64)
            counts[rows] = np.where(invalid[rows, None], 0, votes)
            test.update(counts)
        if bar is not None:
            bar.advance(before - int(test.active.sum()))
    return bad
