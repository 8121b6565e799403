"""The file that a training goes on from: written whole or not at all, read without pickle.

It is a dictionary of plain values and tensors, which ``torch.load(..., weights_only=True)`` reads:
the model's state dict under ``"model"``, what the rest of the training needs, and what it was
made with (`configuration`, `architecture`), which a call with anything else is refused by.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rsbounds import _text

#: Says that a dictionary is a checkpoint, and of which form.
KIND, FORMAT = "rsbounds_torch training", 1
_SHOWN = 3
_KEYS = (
    "architecture", "configuration", "model", "optimizer", "scaler", "epoch", "drawn", "factor",
    "history",
)  # fmt: skip

Values = dict[str, Any]


def architecture(model: torch.nn.Module) -> Values:
    """What a model is made of: its modules in words, and the shapes and types of its tensors."""
    tensors = {
        name: f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    return {"modules": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model)), "tensors": tensors}


def write_checkpoint(path: Path, values: Values) -> None:
    """Write a checkpoint; the file takes its name when it is whole."""
    held = io.BytesIO()
    # Into memory first: a full disk is then an OSError, and not torch's.
    torch.save({"kind": KIND, "format": FORMAT, **values}, held)
    with _text.complete_file(path, "wb") as stream:
        stream.write(held.getbuffer())  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> Values:
    """A checkpoint as `write_checkpoint` was given it, on the CPU.

    Raises
    ------
    ValueError
        Not a whole checkpoint of this form.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {first}") from None
    if not is_checkpoint(held):
        raise ValueError(f"file {str(path)!r} is no checkpoint of a training")
    if held.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint {str(path)!r} has format {held.get('format')!r}; allowed: {FORMAT}, that "
            "of this version"
        )
    missing = [key for key in _KEYS if key not in held]
    if missing:
        raise ValueError(f"checkpoint {str(path)!r} lacks {', '.join(missing)}; it is not whole")
    return dict(held)


def is_checkpoint(held: Any) -> bool:
    """Whether a loaded file is a checkpoint, and not a bare state dict."""
    return isinstance(held, dict) and held.get("kind") == KIND


def refuse_other(path: Path, held: Values, wanted: Values) -> None:
    """Raise ValueError where a checkpoint is of another model or of another training.

    ``wanted`` has ``architecture`` and ``configuration`` as the checkpoint should have them.
    """
    said = _other_model(held["architecture"], wanted["architecture"])
    if said is not None:
        raise ValueError(f"checkpoint {str(path)!r} is of another model: {said}")
    mine, theirs = flat(wanted["configuration"]), flat(held["configuration"])
    for key in [*mine, *theirs]:
        if mine.get(key) != theirs.get(key):
            raise ValueError(
                f"checkpoint {str(path)!r} has {key} = {theirs.get(key)!r} where this call has "
                f"{mine.get(key)!r}; allowed: the same, or another folder"
            )


def flat(values: Mapping[str, Any], before: str = "") -> Values:
    """Nested settings with names like ``loss.copies``."""
    found: Values = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def _other_model(held: Values, wanted: Values) -> str | None:
    """How two models differ, in a sentence; None where they do not."""
    mine, theirs = wanted["tensors"], held["tensors"]
    for key in mine:
        if key in theirs and mine[key] != theirs[key]:
            return f"its {key} is {theirs[key]}, this model's {mine[key]}"
    for what, keys in (
        ("it has", [key for key in theirs if key not in mine]),
        ("it lacks", [key for key in mine if key not in theirs]),
    ):
        if keys:
            more = "" if len(keys) <= _SHOWN else f" and {len(keys) - _SHOWN} more"
            return f"{what} {', '.join(keys[:_SHOWN])}{more}"
    pairs = zip(held["modules"].splitlines(), wanted["modules"].splitlines(), strict=False)
    for theirs_line, mine_line in pairs:
        if theirs_line != mine_line:
            return f"its {theirs_line.strip()} is {mine_line.strip()} in this model"
    return None if held["modules"] == wanted["modules"] else "its modules are others"
