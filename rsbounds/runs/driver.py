"""The loop of a run: read, sample, bound, store, show progress.

Inputs are taken in groups: sampled together, bounded in one call, stored in one transaction. A
group takes about a quarter of a second, which is what a crash can lose; no row depends on how
inputs were grouped.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from rsbounds import _text, _validate
from rsbounds._parallel import Progress
from rsbounds._types import Certificates
from rsbounds.noises import Noise
from rsbounds.runs import probes
from rsbounds.runs.kinds import Drawn, Kind
from rsbounds.runs.plan import RunPlan
from rsbounds.runs.row import RunRow, with_offset
from rsbounds.runs.store import RunStore
from rsbounds.runs.subject import Failure, Item, SmoothedSubject, Subject, attempt, read

#: Seconds that a group should take, and the most inputs and bytes that it may have.
_GROUP_SECONDS = 0.25
_GROUP_INPUTS = 4096
_GROUP_BYTES = 1 << 26
#: A group is at most so many times as large as the one before.
_GROWTH = 8
#: Failing inputs in a row after which something else than the inputs is to blame.
IN_A_ROW = 100
ON_ERROR = ("record", "stop")


@dataclass(frozen=True)
class RunSummary:
    """What a call of `run_inputs` did.

    Attributes
    ----------
    finished : int
        Inputs that this call finished.
    total : int
        Inputs in the store.
    invalid : tuple of int
        Indices of inputs with invalid answers, or that failed; they abstained.
    bounded : tuple of Certificates
        What was certified in this call, by groups; `certificates_of` takes them as they are.
    """

    finished: int
    total: int
    invalid: tuple[int, ...]
    bounded: tuple[Certificates, ...] = field(default=(), repr=False)


def begin(subject: Subject, plan: RunPlan, indices: Sequence[int], *, store: RunStore,
          on_error: str = "record", progress: bool | None = None) -> None:  # fmt: skip
    """Make sure that a store holds this run, and take failed inputs out of it again.

    The model is asked about a few inputs; a store that was begun before must hold the same
    answers, and every finished input must be the one that the data set returns now. Inputs
    that failed are no longer finished after it: the run tries them again.

    Raises
    ------
    ValueError
        Another model, data set or labels (the first difference is named), or no input of the
        first few can be certified.
    """
    _validate.choice("on_error", on_error, ON_ERROR)
    held = probes.held_probes(store)
    met = [row for row in store.rows() if not failed(row)]
    if held is None:
        stop = on_error == "stop"
        probes.keep_probes(store, probes.probe_model(subject, plan, indices, stop))
    else:
        probes.check_model(subject, plan, store.path, held)
    probes.check_rows(subject, plan, store.path, probes.finished(met), progress)
    store.forget([row.index for row in store.rows() if failed(row)])


def failed(row: RunRow) -> bool:
    """Whether an input could not be read or answered at all; the next call tries it again."""
    return bool(row.error) and not row.digest


def run_inputs(
    subject: Subject,
    plan: RunPlan,
    indices: Iterable[int],
    *,
    store: RunStore,
    on_error: str = "record",
    group: int | None = None,
    progress: bool | None = None,
    watch: Callable[[], None] | None = None,
) -> RunSummary:
    """Sample, certify and store every input that the store does not hold yet.

    Parameters
    ----------
    subject : Subject
        The inputs, and the model's votes on them; a `SmoothedSubject` where the plan has
        ``smoothing``.
    plan : RunPlan
        What is to be done with each.
    indices : iterable of int
        Inputs of the run.
    store : RunStore
        Open for writing; `begin` has checked that it holds this run.
    on_error : {"record", "stop"}
        What to do with an input that cannot be read or answered: keep it as invalid with the
        reason and go on (until 100 in a row failed), or stop.
    group : int, optional
        Inputs sampled together; as many as take about a quarter of a second by default.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    watch : callable, optional
        Called before each group; what it raises ends the run.

    Returns
    -------
    RunSummary
        What was done.

    Raises
    ------
    ValueError
        Bad arguments, a label that is no class, an input that came out otherwise than before,
        or a failing input with ``on_error="stop"``. The groups before it are stored.
    """
    _validate.choice("on_error", on_error, ON_ERROR)
    pace = _Pace(None if group is None else _validate.integer("group", group, low=1))
    known = {p["index"]: p["digest"] for p in probes.held_probes(store) or []}
    done = store.done()
    wanted = list(indices)
    todo = [i for i in wanted if i not in done]
    score = _Score(store.rows())
    work = plan.work()
    bounded: list[Certificates] = []
    in_a_row = at = 0
    with Progress(len(wanted), "inputs", progress) as bar:
        bar.advance(len(wanted) - len(todo))
        while at < len(todo):
            if watch is not None:
                watch()
            chunk = todo[at : at + pace.size]
            start = time.perf_counter()
            outcomes = _outcomes(subject, plan, chunk, known, store, on_error, work)
            took = time.perf_counter() - start
            rows = _rows(plan, work, outcomes, took / len(chunk))
            store.add_many(rows)
            score.add(rows)
            bounded += {id(o.made): o.made for o in outcomes if isinstance(o, _Done)}.values()
            for outcome in outcomes:
                in_a_row = in_a_row + 1 if isinstance(outcome, Failure) else 0
                if isinstance(outcome, Failure) and in_a_row == IN_A_ROW:
                    raise ValueError(
                        f"{IN_A_ROW} inputs in a row failed, the last: {outcome.sentence()}; the "
                        "same call tries them again"
                    ) from outcome.cause
            if in_a_row >= probes.PATIENCE:
                refuse_hopeless(store)
            at += len(chunk)
            pace.took(len(chunk), time.perf_counter() - start, outcomes)
            bar.note = score.note()
            bar.advance(len(chunk))
    return RunSummary(len(todo), len(store), tuple(sorted(score.invalid)), tuple(bounded))


def refuse_hopeless(store: RunStore) -> None:
    """Empty and refuse a store in which every input failed: no input is to blame for that.

    Raises
    ------
    ValueError
        The reason of the first.
    """
    rows = list(store.rows())
    if rows and all(map(failed, rows)):
        store.forget([row.index for row in rows])
        raise ValueError(
            f"no input could be certified ({len(rows)} tried); input {rows[0].index}: "
            f"{rows[0].error}"
        )


@contextmanager
def resumable(store: str | os.PathLike[str]) -> Iterator[None]:
    """Ctrl-C says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped; the finished inputs are in store {os.fspath(store)!r}, and the same call "
            "resumes the run"
        ) from None


def failures_note(store: RunStore) -> str | None:
    """A sentence on the inputs that abstain because of invalid answers; None if there are none."""
    bad = [row for row in store.rows() if row.invalid > 0]
    if not bad:
        return None
    shown = "; ".join(f"input {row.index}: {row.error}" for row in bad[:3])
    again = "; the same call tries failed inputs again" if any(map(failed, bad)) else ""
    return (
        f"{len(bad)} of {len(store)} inputs have invalid answers and abstain ({shown}"
        f"{'; ...' if len(bad) > 3 else ''}){again}"
    )


@dataclass(frozen=True, eq=False)
class _Done:
    """An input with what was drawn of it, one of a group, and its certificate."""

    item: Item
    drawn: Drawn
    made: Certificates
    place: int
    noise: Noise

    def law(self) -> Noise:
        """The law that this input was certified under."""
        return self.noise.at(self.place)


class _Refusal(Exception):
    """An input that the model failed on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class _Asked:
    """A subject whose failures are told from those of what is made of its answers."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.item, self.answers = subject.item, subject.answers

    def smoothed(self, inputs: Any, indices: Any) -> tuple[_Asked, Noise]:
        subject = cast(SmoothedSubject, self._subject)
        found, noise = _checked(indices, lambda: subject.smoothed(inputs, indices))
        return _Asked(found), noise

    def votes(self, inputs: Any, indices: Any, role: Any, spans: Any) -> Any:
        return _checked(indices, lambda: self._subject.votes(inputs, indices, role, spans))

    def scores(self, inputs: Any, indices: Any, role: Any, n: int, scoring: Any) -> Any:
        return _checked(indices, lambda: self._subject.scores(inputs, indices, role, n, scoring))


def _checked(indices: Sequence[int], ask: Callable[[], Any]) -> Any:
    answer = attempt(indices[0], ask)
    if isinstance(answer, Failure):
        raise _Refusal(answer)
    return answer


def _outcomes(
    subject: Subject,
    plan: RunPlan,
    chunk: Sequence[int],
    known: dict[int, str],
    store: RunStore,
    on_error: str,
    work: Kind,
) -> list[_Done | Failure]:
    """What became of each input of a group, in its order."""
    outcomes: dict[int, _Done | Failure] = {}
    alike: dict[Any, list[Item]] = {}
    for i in chunk:
        item = read(subject, plan.num_classes, i)
        if isinstance(item, Failure):
            outcomes[i] = _refused(item, on_error)
            continue
        if i in known:
            # Read once before, when the model was probed.
            probes.check_digest(store.path, i, known[i], item.x)
        alike.setdefault((item.x.shape, item.x.dtype), []).append(item)
    for items in alike.values():
        for outcome in _drawn(subject, plan, items, work):
            if isinstance(outcome, Failure):
                outcome = _refused(outcome, on_error)
            outcomes[_index(outcome)] = outcome
    return [outcomes[i] for i in chunk]


def _refused(failure: Failure, on_error: str) -> Failure:
    if on_error == "stop":
        raise ValueError(failure.sentence()) from failure.cause
    return failure


def _drawn(subject: Subject, plan: RunPlan, items: list[Item], work: Kind) -> list[_Done | Failure]:
    """What was drawn of inputs of one shape; one by one where they fail together."""
    inputs, indices = np.stack([item.x for item in items]), [item.index for item in items]
    asked, noise = _Asked(subject), plan.noise.at(indices)
    try:
        if plan.smoothing is not None:
            asked, noise = asked.smoothed(inputs, indices)
            work.check_law(noise)
        drawn, made = work.take(asked, inputs, indices, noise)
    except _Refusal as refusal:
        if len(items) == 1:
            return [dataclasses.replace(refusal.failure, label=items[0].label)]
        return [_drawn(subject, plan, [item], work)[0] for item in items]
    made = dataclasses.replace(made, index=np.array(indices))
    return [_Done(item, drawn, made, j, noise) for j, item in enumerate(items)]


def _rows(
    plan: RunPlan, work: Kind, outcomes: Sequence[_Done | Failure], seconds: float
) -> list[RunRow]:
    """The rows of a group."""
    shared: dict[str, Any] = {
        "n0": plan.n0, "alpha": plan.alpha, "method": plan.method, "options": dict(plan.options),
        "seed": plan.seed, "seconds": seconds, "kind": plan.kind,
    }  # fmt: skip
    shares = not plan.noise.batch_shape and plan.smoothing is None
    one = plan.noise.to_dict() if shares else None
    nothing = np.zeros(plan.num_classes, dtype=np.int64)
    rows = []
    for outcome in outcomes:
        index = _index(outcome)
        found = outcome.law() if isinstance(outcome, _Done) else plan.noise.at(index)
        law = found.to_dict() if one is None else one
        if isinstance(outcome, Failure):
            n = plan.n if work.votes else 0
            rows.append(
                RunRow(
                    index=index, label=outcome.label, digest="", select=nothing, estimate=nothing,
                    n=n, invalid=plan.n0 + n, top=-1, radius=0.0, abstained=True, law=law,
                    error=outcome.reason, **shared,
                    evidence=with_offset(work.nothing, None if found.spacing is None else 0.0),
                )
            )  # fmt: skip
            continue
        drawn, made, j = outcome.drawn, outcome.made, outcome.place
        bad, n = int(drawn.invalid[j]), int(drawn.n[j])
        rows.append(
            RunRow(
                index=index, label=outcome.item.label, digest=probes.digest(outcome.item.x),
                select=drawn.select[j], estimate=drawn.estimate[j], n=n, invalid=bad,
                # A store keeps -1 where there was no class to put to the test.
                top=max(-1, int(made.candidate[j])), radius=float(made.radius[j]),
                abstained=bool(made.abstained[j]), law=law,
                evidence=with_offset(
                    drawn.evidence[j], None if drawn.offset is None else float(drawn.offset[j])
                ),
                error=f"the model answered NaN on {bad} of {plan.n0 + n} draws" if bad else "",
                **shared,
            )
        )  # fmt: skip
    return rows


def _index(outcome: _Done | Failure) -> int:
    return outcome.index if isinstance(outcome, Failure) else outcome.item.index


class _Pace:
    """How many inputs to take together."""

    def __init__(self, fixed: int | None) -> None:
        self._fixed = fixed
        self.size = 1 if fixed is None else fixed

    def took(self, inputs: int, seconds: float, outcomes: Sequence[_Done | Failure]) -> None:
        """Learn from a group."""
        if self._fixed is not None:
            return
        room = int(_GROUP_SECONDS / max(seconds / inputs, 1e-9))
        largest = max((o.item.x.nbytes for o in outcomes if isinstance(o, _Done)), default=1)
        self.size = max(
            1, min(room, _GROWTH * self.size, _GROUP_INPUTS, _GROUP_BYTES // max(largest, 1))
        )


class _Score:
    """Certified accuracy so far, and which inputs are invalid."""

    def __init__(self, rows: Iterable[RunRow]) -> None:
        self._correct = self._labelled = 0
        self.invalid: list[int] = []
        self.add(rows)

    def add(self, rows: Iterable[RunRow]) -> None:
        for row in rows:
            if row.invalid:
                self.invalid.append(row.index)
            if row.label is not None:
                self._labelled += 1
                self._correct += int(not row.abstained and row.top == row.label)

    def note(self) -> str:
        if not self._labelled:
            return ""
        share = _text.share(self._correct / self._labelled, self._labelled)
        return f"certified accuracy {share}"
