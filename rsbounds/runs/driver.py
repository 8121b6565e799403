"""The loop of a run: read, sample, bound, store, show progress.

Inputs with a fixed number of draws are taken in groups (`rsbounds.runs.groups`), those whose rules
stop the draws from a pool of open ones (`rsbounds.runs.pool`). No row depends on how.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rsbounds import _text, _validate
from rsbounds._parallel import Progress
from rsbounds._types import Certificates
from rsbounds.runs import probes
from rsbounds.runs.groups import Groups
from rsbounds.runs.kinds import FixedKind, Kind, StoppingKind
from rsbounds.runs.outcomes import Done, Outcome, Reader, Source, index_of
from rsbounds.runs.plan import RunPlan
from rsbounds.runs.pool import Pool
from rsbounds.runs.row import RunRow, with_offset
from rsbounds.runs.store import RunStore
from rsbounds.runs.subject import Failure, Subject

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
        Inputs sampled, or opened, together; by default as many as take about a quarter of a
        second, or as fill the model's batches.
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
    if group is not None:
        _validate.integer("group", group, low=1)
    known = {p["index"]: p["digest"] for p in probes.held_probes(store) or []}
    done = store.done()
    wanted = list(indices)
    todo = [i for i in wanted if i not in done]
    score = _Score(store.rows())
    work = plan.work()
    reader = Reader(subject, plan, known, store.path, on_error)
    source = _source(work, reader, todo, group)
    bounded: list[Certificates] = []
    in_a_row = 0
    with Progress(len(wanted), "inputs", progress) as bar:
        bar.advance(len(wanted) - len(todo))
        while source.left:
            if watch is not None:
                watch()
            start = time.perf_counter()
            outcomes = source.advance()
            rows = _rows(plan, work, outcomes)
            store.add_many(rows)
            score.add(rows)
            bounded += {id(o.made): o.made for o in outcomes if isinstance(o, Done)}.values()
            for outcome in outcomes:
                in_a_row = in_a_row + 1 if isinstance(outcome, Failure) else 0
                if isinstance(outcome, Failure) and in_a_row == IN_A_ROW:
                    raise ValueError(
                        f"{IN_A_ROW} inputs in a row failed, the last: {outcome.sentence()}; the "
                        "same call tries them again"
                    ) from outcome.cause
            if in_a_row >= probes.PATIENCE:
                refuse_hopeless(store)
            source.took(time.perf_counter() - start, outcomes)
            bar.note = score.note()
            bar.advance(len(outcomes))
    return RunSummary(len(todo), len(store), tuple(sorted(score.invalid)), tuple(bounded))


def _source(work: Kind, reader: Reader, todo: Sequence[int], group: int | None) -> Source:
    """What takes inputs through that kind of work."""
    if isinstance(work, StoppingKind):
        return Pool(reader, work, todo, group)
    assert isinstance(work, FixedKind)
    return Groups(reader, work, todo, group)


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


def _rows(plan: RunPlan, work: Kind, outcomes: Sequence[Outcome]) -> list[RunRow]:
    """The rows of a group."""
    shared: dict[str, Any] = {
        "n0": plan.n0, "alpha": plan.alpha, "method": plan.method, "options": dict(plan.options),
        "seed": plan.seed, "kind": plan.kind,
    }  # fmt: skip
    shares = not plan.noise.batch_shape and plan.smoothing is None
    one = plan.noise.to_dict() if shares else None
    nothing = np.zeros(plan.num_classes, dtype=np.int64)
    rows = []
    for outcome in outcomes:
        index = index_of(outcome)
        found = outcome.law() if isinstance(outcome, Done) else plan.noise.at(index)
        law = found.to_dict() if one is None else one
        if isinstance(outcome, Failure):
            n = plan.n if work.votes else 0
            rows.append(
                RunRow(
                    index=index, label=outcome.label, digest="", select=nothing, estimate=nothing,
                    n=n, invalid=plan.n0 + n, top=-1, radius=0.0, abstained=True, law=law,
                    error=outcome.reason,
                    seconds=outcome.seconds, **shared,
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
                seconds=outcome.seconds, **shared,
            )
        )  # fmt: skip
    return rows


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
