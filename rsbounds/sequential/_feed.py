"""Draws for a stopping rule, until every row has its answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._parallel import Progress
from rsbounds.sequential.adaptive import Adaptive
from rsbounds.sequential.decide import Decide
from rsbounds.sequential.ladder import Ladder

#: A stopping rule: what it wants, and what it makes of it.
Rule = Decide | Adaptive | Ladder

#: What a rule asks for: rows (r,), first draws and ends of draws.
Request = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
#: What it is given: (r, K) votes and (r,) draws that were no votes.
Reply = tuple[NDArray[np.int64], NDArray[Any]]
#: Draws what is asked for.
Draw = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], Reply]


def requests(test: Rule) -> Generator[Request, Reply, NDArray[np.bool_]]:
    """What a rule asks for, look by look; a row with a draw that was no vote abstains.

    Returns
    -------
    (B,) bool
        Rows with a draw that was no vote.
    """
    bad = np.zeros(len(test), dtype=bool)
    while test.active.any():
        wanted = test.wanted
        rows = np.flatnonzero(wanted)
        first = test.n[rows]
        votes, none = yield rows, first, first + wanted[rows]
        invalid = np.zeros(len(test), dtype=bool)
        invalid[rows] = none > 0
        bad |= invalid
        test.abstain(invalid, wanted)
        if test.active.any():
            counts = np.zeros((len(test), votes.shape[1]), dtype=np.int64)
            counts[rows] = np.where(invalid[rows, None], 0, votes)
            test.update(counts)
    return bad


def feed(test: Rule, draw: Draw, bar: Progress | None = None) -> NDArray[np.bool_]:
    """Draw what a rule asks for, all rows together.

    Parameters
    ----------
    test : Decide, Adaptive or Ladder
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
    asking, reply, still = requests(test), None, int(test.active.sum())
    while True:
        try:
            wanted = next(asking) if reply is None else asking.send(reply)
        except StopIteration as end:
            if bar is not None:
                bar.advance(still)
            return end.value  # type: ignore[no-any-return]
        if bar is not None:
            bar.advance(still - int(test.active.sum()))
            still = int(test.active.sum())
        reply = draw(*wanted)
