"""Inputs whose rules stop at different times, interleaved so that the model's batches stay full.

Some inputs are open at once. A round draws a whole number of batches for what their rules want;
an input that has its answer is done, and others are opened when those that are left no longer fill
a round. Every draw is keyed by its input and number, and a rule looks at numbers of draws that
follow from its own counts alone: no row depends on what else was open, on the batch size or on the
clock. A crash loses the draws of the inputs that are open.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds.certificates import voted_top
from rsbounds.noises import Noise
from rsbounds.runs.groups import GROUP_BYTES, GROUP_INPUTS
from rsbounds.runs.kinds import Drawn, StoppingKind
from rsbounds.runs.kinds._base import offset_from
from rsbounds.runs.outcomes import Asked, Done, Outcome, Reader, Refusal
from rsbounds.runs.subject import Failure, Item
from rsbounds.sequential._feed import requests

#: Full batches of a round, and of the selection samples of inputs that are opened together.
_ROUND_BATCHES, _OPENING_BATCHES = 16, 8
#: Seconds that a round takes at least, where the model is so fast.
_ROUND_SECONDS = 0.1
#: The most draws of a round.
_ROUND_DRAWS = 1 << 22


class Pool:
    """Takes inputs through a stopping rule, several at once.

    Parameters
    ----------
    reader : Reader
        Of the run.
    work : StoppingKind
        What is done with each input.
    todo : sequence of int
        The inputs.
    group : int, optional
        The most inputs that are opened together; as many as fill a round by default.
    """

    def __init__(
        self, reader: Reader, work: StoppingKind, todo: Sequence[int], group: int | None
    ) -> None:
        self._reader, self._work, self._todo = reader, work, list(todo)
        self._group, self._at = group, 0
        self._asked = Asked(reader.subject)
        self._open: list[_Cohort] = []
        self._batch = 0
        self._draws = 0
        #: Draws that an input wants when it is opened, as the last ones did.
        self._first = 64

    @property
    def left(self) -> bool:
        return bool(self._open) or self._at < len(self._todo)

    def advance(self) -> list[Outcome]:
        outcomes = self._opened()
        start = time.perf_counter()
        drawn = self._round()
        took = time.perf_counter() - start
        for cohort in self._open:
            outcomes += cohort.finished(self._work, took / max(drawn, 1))
        self._open = [cohort for cohort in self._open if cohort.wants]
        if drawn:
            quick = int(drawn / max(took, 1e-9) * _ROUND_SECONDS)
            least = _ROUND_BATCHES * self._batch
            self._draws = min(max(quick, least), max(_ROUND_DRAWS, least))
        return [self._reader.refused(o) if isinstance(o, Failure) else o for o in outcomes]

    def took(self, seconds: float, outcomes: Sequence[Outcome]) -> None:
        """A round is as long as its draws."""

    # -- inputs that are opened ------------------------------------------------------------

    def _opened(self) -> list[Outcome]:
        """Open inputs until they fill a round; those that could not be."""
        outcomes: list[Outcome] = []
        held = sum(cohort.bytes for cohort in self._open)
        wanted = sum(cohort.wants for cohort in self._open)
        while self._at < len(self._todo) and (wanted < self._draws or not self._draws):
            alike: dict[Any, list[Item]] = {}
            room = self._room(wanted)
            while room > 0 and self._at < len(self._todo):
                item = self._reader.read(self._todo[self._at])
                if isinstance(item, Item) and held and held + item.x.nbytes > GROUP_BYTES:
                    # What is open has to be done first.
                    room = -1
                    break
                self._at += 1
                room -= 1
                if isinstance(item, Failure):
                    outcomes.append(item)
                else:
                    held += item.x.nbytes
                    alike.setdefault((item.x.shape, item.x.dtype), []).append(item)
            for items in alike.values():
                for one in self._begun(items):
                    if isinstance(one, Failure):
                        outcomes.append(one)
                    else:
                        self._open.append(one)
                        wanted += one.wants
            if room < 0 or outcomes or self._reader.plan.smoothing is not None:
                break
        return outcomes

    def _room(self, wanted: int) -> int:
        """How many inputs to open now."""
        if self._group is not None:
            return self._group
        if not self._draws or self._reader.plan.smoothing is not None:
            # What a batch is, is asked with the first input; a law that is found for an input
            # takes longer than its draws.
            return 1
        fill = math.ceil((self._draws - wanted) / self._first)
        whole = math.ceil(_OPENING_BATCHES * self._batch / self._reader.plan.n0)
        return min(max(fill, whole), GROUP_INPUTS)

    def _begun(self, items: list[Item]) -> list[_Cohort | Failure]:
        """Inputs of one shape with their classes and rules; one by one where they fail together."""
        plan = self._reader.plan
        inputs, indices = np.stack([item.x for item in items]), [item.index for item in items]
        asked, noise = self._asked, plan.noise.at(indices)
        start = time.perf_counter()
        try:
            if plan.smoothing is not None:
                asked, noise = asked.smoothed(inputs, indices)
                self._work.check_law(noise)
            select, invalid = asked.votes(inputs, indices, "select", [(0, plan.n0)] * len(items))
        except Refusal as refusal:
            if len(items) == 1:
                return [dataclasses.replace(refusal.failure, label=items[0].label)]
            return [self._begun([item])[0] for item in items]
        if not self._draws:
            self._batch = asked.batch_size(inputs[0], indices[0])
            self._draws = _ROUND_BATCHES * self._batch
        seconds = (time.perf_counter() - start) / len(items)
        cohort = _Cohort(items, inputs, asked, noise, select, invalid, self._work, seconds)
        if cohort.wants:
            self._first = max(1, cohort.wants // len(items))
        return [cohort]

    # -- rounds ----------------------------------------------------------------------------

    def _round(self) -> int:
        """Draw for the open inputs, the oldest first; how many draws that were."""
        total = min(sum(cohort.wants for cohort in self._open), self._draws)
        if total > self._batch:
            total -= total % self._batch
        lanes: dict[Any, list[tuple[_Cohort, list[_Part]]]] = {}
        left = total
        for cohort in self._open:
            parts = cohort.parts(left)
            if not parts:
                continue
            left -= sum(part.stop - part.first for part in parts)
            lanes.setdefault(cohort.lane, []).append((cohort, parts))
        for lane in lanes.values():
            self._draw(lane)
        return total - left

    def _draw(self, lane: list[tuple[_Cohort, list[_Part]]]) -> None:
        """Ask about parts of several cohorts in one call."""
        flat = [(cohort, part) for cohort, parts in lane for part in parts]
        items = [cohort.item(part.row) for cohort, part in flat]
        try:
            votes, none = lane[0][0].asked.votes(
                np.stack([item.x for item in items]),
                [item.index for item in items],
                "estimate",
                [(part.first, part.stop) for _, part in flat],
            )
        except Refusal as refusal:
            if len(flat) > 1:
                for cohort, part in flat:
                    self._draw([(cohort, [part])])
                return
            cohort, part = flat[0]
            cohort.fail(part.row, refusal.failure)
            return
        for place, (cohort, part) in enumerate(flat):
            cohort.take(part, votes[place], int(none[place]))


@dataclasses.dataclass(frozen=True)
class _Part:
    """Draws ``first`` to ``stop`` of an input of a cohort."""

    row: int
    first: int
    stop: int


class _Cohort:
    """Inputs that were opened together, which one rule looks at together."""

    def __init__(
        self,
        items: list[Item],
        inputs: NDArray[Any],
        asked: Asked,
        noise: Noise,
        select: NDArray[np.int64],
        invalid: NDArray[np.int64],
        work: StoppingKind,
        seconds: float,
    ) -> None:
        #: Those without all their answers.
        self._items: dict[int, Item] = dict(enumerate(items))
        self.asked = asked
        self.lane = (id(asked), inputs.shape[1:], inputs.dtype)
        self._noise, self._select = noise, select
        self._offset = offset_from(noise, inputs)
        self._rule = work.rule(voted_top(select), noise, self._offset)
        self._rule.abstain(invalid > 0)
        self._votes, self._invalid = np.zeros_like(select), invalid.copy()
        self._rounds: list[list[list[int]]] = [[] for _ in items]
        self._seconds, self._taken = np.full(len(items), seconds), np.zeros(len(items), np.int64)
        self._told = np.zeros(len(items), dtype=bool)
        self._failures: dict[int, Failure] = {}
        self._asking = requests(self._rule)
        #: Of each input, its votes of the look that is being drawn, and draws that were none.
        self._look, self._none = np.zeros_like(select), np.zeros(len(items), np.int64)
        self._at, self._stop = np.zeros(len(items), np.int64), np.zeros(len(items), np.int64)
        self._rows = np.zeros(0, dtype=np.int64)
        self._next(None)

    @property
    def bytes(self) -> int:
        """What the open inputs take."""
        return sum(item.x.nbytes for item in self._items.values())

    def item(self, row: int) -> Item:
        """An input that is open."""
        return self._items[row]

    @property
    def wants(self) -> int:
        """Draws left of this look; 0 where every input has its answer."""
        return int((self._stop - self._at).sum())

    def _next(self, reply: Any) -> None:
        try:
            rows, first, stop = next(self._asking) if reply is None else self._asking.send(reply)
        except StopIteration:
            return
        self._rows = rows
        self._at[rows], self._stop[rows] = first, stop
        self._look[rows], self._none[rows] = 0, 0

    def parts(self, room: int) -> list[_Part]:
        """What to draw now, at most so many draws."""
        found = []
        for row in np.flatnonzero(self._at < self._stop).tolist():
            first, stop = int(self._at[row]), int(self._stop[row])
            take = min(stop - first, room)
            if take <= 0:
                break
            found.append(_Part(row, first, first + take))
            room -= take
        return found

    def take(self, part: _Part, votes: NDArray[np.int64], none: int) -> None:
        """Add what was drawn."""
        self._look[part.row] += votes
        self._none[part.row] += none
        self._at[part.row] = part.stop
        self._taken[part.row] += part.stop - part.first

    def fail(self, row: int, failure: Failure) -> None:
        """An input that the model failed on: the rule is told that its draws were no votes."""
        self._failures[row] = dataclasses.replace(failure, label=self._items[row].label)
        self._none[row] += self._stop[row] - self._at[row]
        self._at[row] = self._stop[row]

    def finished(self, work: StoppingKind, each: float) -> list[Outcome]:
        """Look, where every draw of the look is there; the inputs that are done by it."""
        self._seconds += self._taken * each
        self._taken[:] = 0
        if self._rows.size and not self.wants:
            rows, self._rows = self._rows, np.zeros(0, dtype=np.int64)
            votes, none = self._look[rows], self._none[rows]
            self._votes[rows] += votes
            self._invalid[rows] += none
            for row, counts, bad in zip(rows.tolist(), votes.tolist(), none.tolist(), strict=True):
                if not bad:
                    self._rounds[row].append(counts)
            self._next((votes, none))
        done = np.flatnonzero(~self._rule.active & ~self._told)
        if not done.size:
            return []
        self._told[done] = True
        return self._outcomes(work, done)

    def _outcomes(self, work: StoppingKind, done: NDArray[np.int64]) -> list[Outcome]:
        items = {row: self._items.pop(row) for row in done.tolist()}
        failed = [row for row in items if row in self._failures]
        rows = np.array([row for row in items if row not in self._failures], dtype=np.int64)
        outcomes: list[Outcome] = [
            dataclasses.replace(self._failures[row], seconds=float(self._seconds[row]))
            for row in failed
        ]
        if not rows.size:
            return outcomes
        evidence = work.evidence(self._rule, self._rounds, rows)
        offset = None if self._offset is None else self._offset[rows]
        drawn = Drawn(
            self._select[rows], self._votes[rows], self._invalid[rows], self._rule.n[rows],
            evidence, offset,
        )  # fmt: skip
        made = dataclasses.replace(
            self._rule.certificates()[rows],
            index=np.array([items[row].index for row in rows.tolist()]),
        )
        noise = self._noise.at(rows.tolist())
        return outcomes + [
            Done(items[row], drawn, made, j, noise, float(self._seconds[row]))
            for j, row in enumerate(rows.tolist())
        ]
