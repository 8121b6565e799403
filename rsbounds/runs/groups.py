"""Inputs in groups: sampled together, bounded in one call, stored in one transaction.

A group takes about a quarter of a second, which is what a crash can lose; no row depends on how
inputs were grouped.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsbounds.runs.kinds import FixedKind
from rsbounds.runs.outcomes import Asked, Done, Outcome, Reader, Refusal, index_of
from rsbounds.runs.subject import Failure, Item

#: Seconds that a group should take, and the most inputs and bytes that it may have.
_GROUP_SECONDS = 0.25
GROUP_INPUTS = 4096
GROUP_BYTES = 1 << 26
#: A group is at most so many times as large as the one before.
_GROWTH = 8


class Groups:
    """Takes inputs group by group.

    Parameters
    ----------
    reader : Reader
        Of the run.
    work : FixedKind
        What is done with each input.
    todo : sequence of int
        The inputs.
    group : int, optional
        Inputs of a group; as many as take about a quarter of a second by default.
    """

    def __init__(
        self, reader: Reader, work: FixedKind, todo: Sequence[int], group: int | None
    ) -> None:
        self._reader, self._work, self._todo = reader, work, list(todo)
        self._fixed, self._size = group is not None, 1 if group is None else group
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._todo)

    def advance(self) -> list[Outcome]:
        chunk = self._todo[self._at : self._at + self._size]
        self._at += len(chunk)
        start = time.perf_counter()
        outcomes: dict[int, Outcome] = {}
        alike: dict[Any, list[Item]] = {}
        for index in chunk:
            item = self._reader.read(index)
            if isinstance(item, Failure):
                outcomes[index] = item
            else:
                alike.setdefault((item.x.shape, item.x.dtype), []).append(item)
        for items in alike.values():
            for outcome in self._drawn(items):
                if isinstance(outcome, Failure):
                    outcome = self._reader.refused(outcome)
                outcomes[index_of(outcome)] = outcome
        seconds = (time.perf_counter() - start) / len(chunk)
        return [dataclasses.replace(outcomes[index], seconds=seconds) for index in chunk]

    def _drawn(self, items: list[Item]) -> list[Outcome]:
        """What was drawn of inputs of one shape; one by one where they fail together."""
        plan = self._reader.plan
        inputs, indices = np.stack([item.x for item in items]), [item.index for item in items]
        asked, noise = Asked(self._reader.subject), plan.noise.at(indices)
        try:
            if plan.smoothing is not None:
                asked, noise = asked.smoothed(inputs, indices)
                self._work.check_law(noise)
            drawn, made = self._work.take(asked, inputs, indices, noise)
        except Refusal as refusal:
            if len(items) == 1:
                return [dataclasses.replace(refusal.failure, label=items[0].label)]
            return [self._drawn([item])[0] for item in items]
        made = dataclasses.replace(made, index=np.array(indices))
        return [Done(item, drawn, made, j, noise, 0.0) for j, item in enumerate(items)]

    def took(self, seconds: float, outcomes: Sequence[Outcome]) -> None:
        if self._fixed:
            return
        room = int(_GROUP_SECONDS / max(seconds / len(outcomes), 1e-9))
        largest = max((o.item.x.nbytes for o in outcomes if isinstance(o, Done)), default=1)
        self._size = max(
            1, min(room, _GROWTH * self._size, GROUP_INPUTS, GROUP_BYTES // max(largest, 1))
        )
