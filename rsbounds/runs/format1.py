"""Reading stores of format 1, which had no checksums and one law for all inputs."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from rsbounds.runs.row import RunRow, check, counts_of

_SELECT = (
    "SELECT idx, label, digest, select_counts, estimate_counts, n0, n, invalid, alpha, method, "
    "noise, seed, top, radius, abstained, seconds FROM inputs ORDER BY idx"
)


def rows(database: sqlite3.Connection, config: Mapping[str, Any]) -> Iterator[RunRow]:
    """The inputs; what each of them repeats of the configuration must agree with it."""
    shared = tuple(config[key] for key in ("n0", "n", "alpha", "method", "seed"))
    text = _law_text(config["noise"])
    for values in database.execute(_SELECT):
        index, label, digest, select, estimate, n0, n, invalid, alpha, method, noise, *rest = values
        seed, top, radius, abstained, seconds = rest
        if (n0, n, alpha, method, int(seed)) != shared or noise != text:
            raise ValueError(f"input {index!r} was made with other settings than its run")
        row = RunRow(
            index, label, digest, counts_of(select), counts_of(estimate), n0, n, invalid, alpha,
            method, config["options"], config["noise"], int(seed), top, radius, bool(abstained),
            seconds,
        )  # fmt: skip
        # Format 1 stored labels without checking them.
        check(dataclasses.replace(row, label=None), config)
        yield row


def _law_text(law: Mapping[str, Any]) -> str:
    """The six-digit text that format 1 kept with each input."""
    parameters = ", ".join(
        f"{key}={_law_text(value)}" if isinstance(value, dict) else f"{key}={value:g}"
        for key, value in law.items()
        if key != "name"
    )
    return f"{law['name']}({parameters})"
