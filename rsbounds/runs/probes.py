"""Is it the same model on the same data? What a run compares before it is taken up again.

A model has no name that could be trusted: a function hides its weights, a layer can be replaced
by another with the same parameters. So a store keeps what the model answered on a few inputs,
raw and with noise, and a call that takes the run up must get the same answers, up to what
another machine rounds differently. Inputs are known by digests of their type, shape and bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._parallel import Progress
from rsbounds.runs.plan import RunPlan
from rsbounds.runs.row import RunRow
from rsbounds.runs.store import RunStore
from rsbounds.runs.subject import Answers, Failure, Item, Subject, attempt, read
from rsbounds.streams import CounterStream

#: Inputs that the model is asked about.
INPUTS = 3
#: Noisy copies of each: a few where the model answers with scores, which hardly coincide; more
#: where it answers with classes, each of which says little.
SCORED_COPIES, CLASS_COPIES = 3, 31
#: Inputs that may fail before a run is refused because none can be read or answered.
PATIENCE = 10
#: Differences that count as rounding, relative to the largest score. Single precision on another
#: machine stays near 1e-5 in deep networks; bfloat16 differs by 2e-3 and more.
ROUNDING, COARSE_ROUNDING = 1e-4, 2e-2
_COARSE = ("float16", "bfloat16")
_FACT = "probes"
#: How digests begin that cover type and shape.
_KIND = "2:"


def digest(x: NDArray[Any], like: str = _KIND) -> str:
    """What an input is known by: the start of the SHA-256 of its type, shape and bytes.

    ``like`` is a stored digest to compare with: earlier versions took the bytes only.
    """
    held = np.ascontiguousarray(x)
    kind = _KIND if like.startswith(_KIND) else ""
    facts = f"{x.dtype.str}{list(x.shape)}" if kind else ""
    return kind + hashlib.sha256(facts.encode() + held.tobytes()).hexdigest()[:16]


def probe_model(subject: Subject, plan: RunPlan, indices: Iterable[int], stop: bool) -> list[Any]:
    """Ask the model about the first inputs that can be read; plain values for the store.

    Raises
    ------
    ValueError
        No input of the first few can be read and answered (with ``stop``: any of them).
    """
    probes: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for i in indices:
        answered = attempt(i, lambda i=i: _ask(subject, plan, i))  # type: ignore[misc]
        if isinstance(answered, Failure):
            failures.append(answered)
            if stop:
                raise ValueError(answered.sentence()) from answered.cause
        else:
            probes.append(answered)
        if len(probes) == INPUTS or len(failures) == PATIENCE:
            break
    if not probes:
        first = failures[0]
        raise ValueError(
            f"no input could be certified ({len(failures)} tried); {first.sentence()}"
        ) from first.cause
    return probes


def check_model(subject: Subject, plan: RunPlan, store: Any, held: Sequence[Any]) -> None:
    """Refuse a model that answers the stored probes otherwise.

    Raises
    ------
    ValueError
        The first difference.
    """
    for probe in held:
        index = int(probe["index"])
        like = str(probe["digest"])
        given = attempt(
            index,
            lambda i=index, d=like: _ask(subject, plan, i, d),  # type: ignore[misc]
        )
        if isinstance(given, Failure):
            raise ValueError(
                f"store {str(store)!r} was made when input {index} could be certified; "
                f"{given.sentence()}"
            ) from given.cause
        what = _difference(probe, given)
        if what is not None:
            raise ValueError(
                f"store {str(store)!r} was made with {what}; allowed: the model, data and "
                "arithmetic that the store was made with, or another store"
            )


def check_rows(
    subject: Subject,
    plan: RunPlan,
    store: Any,
    met: Sequence[tuple[int, str, int | None]],
    progress: bool | None = None,
) -> None:
    """Refuse a data set whose inputs or labels are not those of the finished inputs.

    Parameters
    ----------
    met : sequence of (index, digest, label)
        Of the finished inputs.

    Raises
    ------
    ValueError
        The first difference.
    """
    with Progress(len(met), "finished inputs compared", progress) as bar:
        for index, stored, label in met:
            item = read(subject, plan.num_classes, index)
            if isinstance(item, Failure):
                raise ValueError(
                    f"store {str(store)!r} holds input {index}, which cannot be read any more; "
                    f"{item.sentence()}"
                ) from item.cause
            check_digest(store, index, stored, item.x)
            if item.label != label:
                raise ValueError(
                    f"store {str(store)!r} was made with label {label} for input {index}; this "
                    f"run has label {item.label}"
                )
            bar.advance(1)


def check_digest(store: Any, index: int, stored: str, x: NDArray[Any]) -> None:
    """Refuse an input that is not the one met before."""
    if digest(x, stored) != stored:
        raise ValueError(
            f"input {index} is not the one that store {str(store)!r} was made with; allowed: the "
            "same data set, which returns the same input at each access (no random augmentation)"
        )


def finished(rows: Iterable[RunRow]) -> list[tuple[int, str, int | None]]:
    """What `check_rows` compares of stored rows."""
    return [(row.index, row.digest, row.label) for row in rows]


def held_probes(store: RunStore) -> list[Any] | None:
    """The probes of a store; None where it has none."""
    return store.facts().get(_FACT)


def keep_probes(store: RunStore, probes: Sequence[Any]) -> None:
    """Keep probes with the run."""
    store.set_fact(_FACT, list(probes))


def _ask(subject: Subject, plan: RunPlan, index: int, like: str = _KIND) -> dict[str, Any]:
    """The model's answers at an input, raw and with noise; its digest as that of ``like``."""
    item = read(subject, plan.num_classes, index)
    if isinstance(item, Failure):
        raise ValueError(item.reason) from item.cause
    # Answers that are no votes are refused here, before there is anything to store.
    plan.work().ask(subject, item.x, index)
    copies = _copies(item, plan, SCORED_COPIES)
    answers = subject.answers(copies)
    if answers.values.ndim == 1:
        answers = subject.answers(_copies(item, plan, CLASS_COPIES))
    return {
        "index": index,
        "digest": digest(item.x, like),
        "noise": [float(value) for value in copies[1].reshape(-1)[:3]],
        **_plain(answers),
    }


def _copies(item: Item, plan: RunPlan, count: int) -> NDArray[Any]:
    """(1 + count, ...): the input, and noisy copies of it.

    The noise is that of the selection sample, drawn on the CPU whatever the model runs on. No
    bound rests on these answers.
    """
    kind = np.float32 if item.x.dtype == np.float32 else np.float64
    copies = np.empty((1 + count, *item.x.shape), dtype=kind)
    copies[0] = item.x
    law = plan.noise.at(item.index)
    stream = CounterStream(law, item.x.shape, seed=plan.seed, role="select")
    stream.add(copies[1:].reshape(count, -1), copies[0].reshape(-1), item.index, 0)
    return copies


def _plain(answers: Answers) -> dict[str, Any]:
    """Answers as values that JSON keeps to the last bit, NaN and infinities included."""
    values = answers.values
    width = "<i8" if values.ndim == 1 else "<f8" if answers.kind.startswith("float64") else "<f4"
    packed = base64.b64encode(np.ascontiguousarray(values, dtype=width).tobytes()).decode()
    return {
        "kind": answers.kind, "shape": list(values.shape), "type": width, "answers": packed,
        "weights": answers.weights,
    }  # fmt: skip


def _values(probe: Mapping[str, Any]) -> NDArray[Any]:
    flat = np.frombuffer(base64.b64decode(probe["answers"]), dtype=probe["type"])
    return flat.reshape(probe["shape"])


def _difference(held: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """What the store was made with and this run has not, in words; None where they agree."""
    where = f"input {held['index']}"
    if held["digest"] != given["digest"]:
        return (
            f"another {where} (the data set has changed, or returns another input at each access)"
        )
    if not np.allclose(held["noise"], given["noise"], rtol=1e-4, atol=1e-6):
        return f"other noise at {where} (another version of the library draws it)"
    if held["kind"] != given["kind"] or held["shape"] != given["shape"]:
        return (
            f"a model that answers with {held['kind']} of shape {held['shape']}; this run's "
            f"answers with {given['kind']} of shape {given['shape']}"
        )
    a, b = _values(held), _values(given)
    if a.ndim == 1:
        apart, allowed = np.where(a != b, 1.0, 0.0), 0.0
    else:
        apart, allowed = _apart(a.astype(np.float64), b.astype(np.float64), str(held["kind"]))
    if (apart <= allowed).all():
        if held["weights"] != given["weights"]:
            # Behind a function, or too small a change to show here.
            return (
                f"a model whose weights have the hash {held['weights'] or 'none'}; this run's have "
                f"{given['weights'] or 'none'}"
            )
        return None
    row = int(np.argmax(apart.reshape(len(a), -1).max(axis=1) > allowed))
    return (
        f"a model that answered {_shown(a[row])} at {where} {'with' if row else 'without'} noise; "
        f"this run's answers {_shown(b[row])}"
    )


def _apart(
    a: NDArray[np.float64], b: NDArray[np.float64], kind: str
) -> tuple[NDArray[np.float64], float]:
    """Differences of scores relative to the largest, and what is allowed."""
    if min(_simplex_error(a), _simplex_error(b)) < 1e-3:
        # The rounding of a probability is relative to it: as large as that of its logit.
        a, b = (np.log(np.maximum(p, 1e-30)) for p in (a, b))
    usable = np.isfinite(a) & np.isfinite(b)
    same = usable | (a == b) | (np.isnan(a) & np.isnan(b))
    scale = float(np.abs(a[usable]).max(initial=0.0))
    allowed = COARSE_ROUNDING if any(name in kind for name in _COARSE) else ROUNDING
    gaps = np.abs(np.where(usable, a, 0.0) - np.where(usable, b, 0.0)) / max(scale, 1e-300)
    return np.where(same, gaps, np.inf), allowed


def _simplex_error(p: NDArray[np.float64]) -> float:
    """How far rows are from probabilities that add to one."""
    if not np.isfinite(p).all() or (p < 0).any():
        return np.inf
    return float(np.abs(p.sum(axis=1) - 1.0).max())


def _shown(values: NDArray[Any]) -> str:
    if values.ndim == 0:
        return f"class {int(values)}"
    start = ", ".join(f"{v:.6g}" for v in values[:3])
    return f"[{start}{', ...' if len(values) > 3 else ''}]"
