"""What a rule that was stopped must have in common with the one that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.certificates.ball import plain_law
from rsbounds.noises import Noise


def plain(noise: Noise) -> Any:
    """A law as plain values; of one that is not registered, its name and parameters as text."""
    law = plain_law(noise)
    return str(noise) if law is None else law


def compared(own: Mapping[str, Any], given: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """The counts of a state, after all else in it was found to be what the rule has.

    Raises
    ------
    ValueError
        The states differ in what was asked, or the counts are smaller than the rule's.
    """
    if not isinstance(given, Mapping) or set(given) != set(own):
        raise ValueError(
            f"state has {sorted(given) if isinstance(given, Mapping) else given!r}; allowed: "
            f"{sorted(own)}"
        )
    for name, value in own.items():
        if name != "counts" and given[name] != value:
            raise ValueError(
                f"state has {name} {_short(given[name])}; allowed: {_short(value)}, as here"
            )
    if given["counts"] is None:
        counts = None
    else:
        table = _validate.count_table(given["counts"])
        counts = table.astype(np.int64)
        if (table != counts).any() or (counts < 0).any() or len(counts) != len(own["top"]):
            raise ValueError(
                f"state has counts of shape {table.shape}; allowed: whole numbers >= 0, one row "
                f"for each of {len(own['top'])} inputs"
            )
    if own["counts"] is not None:
        before = np.asarray(own["counts"])
        if counts is None or counts.shape != before.shape or (counts < before).any():
            raise ValueError(
                "state has counts that are smaller than, or of another shape than, those seen "
                "here; allowed: counts that have grown (votes of another input?)"
            )
    return counts


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
