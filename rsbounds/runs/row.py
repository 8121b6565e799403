"""One finished input: its record, its checks, and its form in the store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.runs.kinds import KINDS, VOTES


@dataclass(frozen=True, eq=False)
class RunRow:
    """What a store keeps of one input.

    Every draw is accounted for: the counts of both samples and ``invalid`` add up to n0 + n
    (in a run of scores, which has no counts, ``invalid`` alone says what was not valid).
    An input that could not be read has counts of zero and ``invalid`` = n0 + n.

    Attributes
    ----------
    index : int
        Index of the input in its data set, and of its noise stream.
    label : int or None
        True class.
    digest : str
        What the input is known by: of its type, shape and bytes ("2:..."), or of its bytes.
    select, estimate : (K,) int64
        Counts of the selection and of the estimation sample; zeros in a run of scores.
    n0, n : int
        Draws of each, those without a valid answer included. Where a rule stops the draws, n is
        what this input took.
    invalid : int
        Draws of either sample without a valid answer; where there are any the input abstains.
    alpha, method, options, seed
        What the certificate was made with; options by name, as plain values.
    law : mapping
        The noise law of this input as plain values, every digit kept.
    top : int
        The class that was to be certified; -1 where the selection sample has no valid vote.
    radius, abstained
        The certificate.
    seconds : float
        Wall time of sampling and bounding.
    error : str
        Why there is no valid answer ("the file cannot be read", "NaN"); "" where there is.
    kind : str
        What was done with the input; the kinds and what each guarantees are in
        `rsbounds.runs.kinds`.
    evidence : mapping or None
        What else the certificate rests on, as plain values, by kind: of ``votes`` nothing; of
        ``decide`` the ``answer`` (as in `rsbounds.Decide`); of ``adaptive`` the votes of each
        of its ``looks``; of ``scores`` the class (``top``), the ``runner_up``, the bound on their
        ``margin``, the mean scores (``means``) and a hash of the scores (``content``). Where
        noise is drawn on a lattice, how far the input is from it (``offset``) besides.
    """

    index: int
    label: int | None
    digest: str
    select: NDArray[np.int64]
    estimate: NDArray[np.int64]
    n0: int
    n: int
    invalid: int
    alpha: float
    method: str
    options: Mapping[str, Any]
    law: Mapping[str, Any]
    seed: int
    top: int
    radius: float
    abstained: bool
    seconds: float
    error: str = ""
    kind: str = VOTES
    evidence: Mapping[str, Any] | None = None


def with_offset(evidence: Mapping[str, Any] | None, offset: float | None) -> Any:
    """Evidence of a row with the distance of its input from the lattice, where there is one."""
    return evidence if offset is None else {**(evidence or {}), "offset": offset}


def offset_held(row: RunRow) -> tuple[Mapping[str, Any] | None, float | None]:
    """The evidence of a row without that distance, and that distance."""
    if row.evidence is None or "offset" not in row.evidence:
        return row.evidence, None
    rest = {key: value for key, value in row.evidence.items() if key != "offset"}
    return rest or None, row.evidence["offset"]


#: Columns of the store's table, in order; ``checksum`` follows them.
_COLUMNS = (
    "idx", "label", "digest", "select_counts", "estimate_counts", "n0", "n", "invalid", "alpha",
    "method", "options", "law", "seed", "top", "radius", "abstained", "seconds", "error",
    "kind", "evidence",
)  # fmt: skip


def columns(form: int) -> tuple[str, ...]:
    """Columns of a format."""
    return _COLUMNS if form > 2 else _COLUMNS[: _COLUMNS.index("kind")]


# An encoder is made once: there are seven texts to a row.
_PLAIN = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_SEALED = json.JSONEncoder().encode


def plain(name: str, value: Any) -> str:
    """``value`` as JSON; floats keep every digit."""
    # An encoder takes longer over nothing than over the rest of a row.
    if value is None:
        return "null"
    if isinstance(value, dict) and not value:
        return "{}"
    try:
        return _PLAIN(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is {value!r} ({error}); allowed: plain values that JSON can carry"
        ) from None


def checksum(values: Sequence[Any]) -> str:
    """128 bits of the SHA-256 of a row's values, in hexadecimal."""
    return hashlib.sha256(_SEALED(values).encode()).hexdigest()[:32]


def encode(row: RunRow, config: Mapping[str, Any], form: int) -> tuple[Any, ...]:
    """The row as the store's columns, checksum last; a row that makes no sense is refused."""
    check(row, config)
    values = (
        int(row.index), None if row.label is None else int(row.label), row.digest,
        _text_of(row.select), _text_of(row.estimate),
        int(row.n0), int(row.n), int(row.invalid), float(row.alpha), row.method,
        plain("options", dict(row.options)), plain("law", dict(row.law)), str(int(row.seed)),
        # SQLite keeps no sign of zero.
        int(row.top), float(row.radius) + 0.0, int(row.abstained), float(row.seconds) + 0.0,
        "".join(c if c.isprintable() else " " for c in row.error),
        row.kind, plain("evidence", row.evidence),
    )[: len(columns(form))]  # fmt: skip
    return (*values, checksum(values))


def decode(stored: Sequence[Any], config: Mapping[str, Any], form: int) -> RunRow:
    """The row that `encode` wrote.

    Raises
    ------
    ValueError
        The values are not those that were written.
    """
    *values, seal = stored
    if checksum(values) != seal:
        raise ValueError(f"input {values[0]!r} is not as it was written (checksum)")
    row = written(stored, form)
    check(row, config)
    return row


def written(stored: Sequence[Any], form: int) -> RunRow:
    """The row of stored columns, unchecked."""
    held = dict(zip(columns(form), stored, strict=False))
    index, select, estimate = (held.pop(k) for k in ("idx", "select_counts", "estimate_counts"))
    for name in ("options", "law", "seed", "evidence"):
        if name in held:
            held[name] = _loaded(held[name])
    held["abstained"] = bool(held["abstained"])
    return RunRow(
        index=index, select=counts_of(select), estimate=counts_of(estimate), **held
    )  # fmt: skip


def _loaded(text: str) -> Any:
    """The plain values of a column."""
    # Rows of a run have most of their options and laws in common. Each has a mapping of its own
    # of values that nobody can change.
    items = _flat(text) if len(text) < _SHORT else None
    return json.loads(text) if items is None else dict(items)


_SHORT = 500


@lru_cache(maxsize=128)
def _flat(text: str) -> tuple[tuple[str, Any], ...] | None:
    """The items of a mapping of single values; None for any other text."""
    value = json.loads(text)
    if not isinstance(value, dict) or any(isinstance(v, (dict, list)) for v in value.values()):
        return None
    return tuple(value.items())


def _text_of(counts: NDArray[np.int64]) -> str:
    """Counts as a JSON list."""
    return f"[{','.join(map(str, counts.tolist()))}]"


def counts_of(text: str) -> NDArray[np.int64]:
    """The counts that a JSON list holds."""
    counts = np.array(json.loads(text))
    if counts.ndim != 1 or counts.dtype != np.int64:
        raise ValueError(f"counts are {text!r}; allowed: a list of integers")
    return counts


def check(row: RunRow, config: Mapping[str, Any]) -> None:
    """Refuse a row whose values cannot all be true of a run of that configuration."""
    given = config.get("num_classes")
    classes = len(row.estimate) if given is None else given
    if not isinstance(row.index, (np.integer, int)) or not 0 <= row.index < 2**63:
        raise ValueError(f"index is {row.index!r}; allowed: a whole number >= 0")
    kind = config.get("kind", VOTES)
    if row.kind != kind:
        _refuse(row, "kind", row.kind, f"{kind!r}, that of the run")
    _check_draws(row, classes)
    _check_certificate(row, classes)
    for name, text in (("digest", row.digest), ("method", row.method), ("error", row.error)):
        if not isinstance(text, str):
            _refuse(row, name, text, "text")
    if not isinstance(row.law, Mapping) or not isinstance(row.law.get("name"), str):
        _refuse(row, "law", row.law, "plain values with the law's name")
    if not isinstance(row.options, Mapping):
        _refuse(row, "options", row.options, "plain values by name")
    evidence, offset = offset_held(row)
    if on_lattice(row.law) != (offset is not None):
        _refuse(row, "offset", offset, "a distance where noise is on a lattice, else none")
    if offset is not None and not (type(offset) is float and 0 <= offset < math.inf):
        _refuse(row, "offset", offset, "a finite number >= 0")
    own = dataclasses.replace(row, evidence=evidence) if offset is not None else row
    fault = KINDS[kind].fault(own) if kind in KINDS else f"kind is {kind!r}"
    if fault is not None:
        raise ValueError(f"input {row.index}: {fault}")


def on_lattice(law: Mapping[str, Any]) -> bool:
    """Whether a law's plain values, or those of the law that it is around, have a lattice."""
    return any(
        (key == "lattice" and value is not None)
        or (isinstance(value, Mapping) and "name" in value and on_lattice(value))
        for key, value in law.items()
    )


def _refuse(row: RunRow, name: str, value: Any, allowed: str) -> None:
    value = value.item() if isinstance(value, np.generic) else value
    raise ValueError(f"input {row.index}: {name} is {value!r}; allowed: {allowed}")


def _check_draws(row: RunRow, classes: int) -> None:
    # Lists: numpy takes longer over a handful of numbers.
    select, estimate = row.select.tolist(), row.estimate.tolist()
    for name, counts in (("select", select), ("estimate", estimate)):
        values = getattr(row, name)
        if values.shape != (classes,) or values.dtype.kind not in "iu" or min(counts) < 0:
            _refuse(row, name, counts, f"{classes} whole numbers >= 0")
    for name, value in (("n0", row.n0), ("n", row.n), ("invalid", row.invalid)):
        if not isinstance(value, (np.integer, int)) or not 0 <= value <= 2 * _validate.MAX_N:
            _refuse(row, name, value, "a whole number >= 0")
    chosen, counted = sum(select), sum(estimate)
    # What is no valid answer is in no count; scores are in none at all.
    missing = row.n0 + row.n - chosen - counted - row.invalid
    if chosen > row.n0 or counted > row.n or missing < 0 or (missing and row.kind != "scores"):
        _refuse(
            row,
            "the sum of its counts",
            (chosen, counted),
            f"at most n0 = {row.n0} and n = {row.n}, and with the {row.invalid} invalid draws "
            "just as many",
        )


def _check_certificate(row: RunRow, classes: int) -> None:
    if row.label is not None and not 0 <= row.label < classes:
        _refuse(row, "label", row.label, f"0 to {classes - 1}, or none")
    if not (-1 if row.abstained else 0) <= row.top < classes:
        _refuse(row, "top", row.top, f"0 to {classes - 1}, or -1 where the input abstains")
    if not 0 < row.alpha < 1:
        _refuse(row, "alpha", row.alpha, "a number in (0, 1)")
    if not row.radius >= 0 or (row.abstained and row.radius > 0):
        _refuse(row, "radius", row.radius, "a number >= 0, and 0 where the input abstains")
    if not (row.abstained or row.radius > 0):
        _refuse(row, "abstained", row.abstained, "True where the radius is 0")
    if (row.invalid or row.error) and not row.abstained:
        _refuse(row, "abstained", row.abstained, "True where draws are invalid")
    if not math.isfinite(row.seconds):
        _refuse(row, "seconds", row.seconds, "a finite number")
    if row.seed < 0:
        _refuse(row, "seed", row.seed, "a whole number >= 0")
