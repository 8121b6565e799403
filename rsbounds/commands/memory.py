"""``rsbounds memory``: one classifier for the certificates of a stored run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import rsbounds
from rsbounds.commands._base import Command
from rsbounds.commands._output import (
    add_certificates,
    checked_output,
    show_certificates,
    write_certificates,
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("store", metavar="STORE", help="SQLite file of a run")
    add("--data", required=True, metavar="FILE",
        help="its inputs, in their type: .npz with 'inputs', or .npy")  # fmt: skip
    add("--memory", required=True, metavar="FILE",
        help="SQLite file of the memory; one that is there goes on")  # fmt: skip
    add("--alpha", type=float, help="error probability per input (default: the run's)")
    add("--family", action="store_true",
        help="share alpha over all inputs, so that the whole memory holds together")  # fmt: skip
    add("--finished", action="store_true",
        help="take the finished inputs though others before them are missing; such a memory does "
        "not go on when more are finished")  # fmt: skip
    add_certificates(parser)


def _inputs(path: str) -> NDArray[Any]:
    """The inputs in a file."""
    from rsbounds._reading import arrays

    kind = Path(path).suffix[1:]
    if kind not in ("npz", "npy") or not Path(path).is_file():
        raise ValueError(f"--data is {path!r}; allowed: an .npz or .npy file that exists")
    with open(path, "rb") as stream:
        found = arrays(stream, kind, f"--data {path!r}")
    if kind == "npy":
        return found[""]
    if "inputs" not in found:
        held = ", ".join(found) or "none"
        raise ValueError(f"--data {path!r} holds the arrays {held}; allowed: one named 'inputs'")
    return found["inputs"]


def _memory(given: argparse.Namespace) -> int:
    from rsbounds.runs import remember
    from rsbounds.runs.rebounding import stored_labels

    path = checked_output(
        given, given.output, (".tsv", ".jsonl"), [given.store, given.data, given.memory]
    )
    inputs = _inputs(given.data)
    with rsbounds.RunStore(given.store) as store:
        result = remember(
            store, inputs, given.memory, alpha=given.alpha, family=given.family,
            indices=sorted(store.done()) if given.finished else None,
        )  # fmt: skip
        level = None if result.alpha == store.config["alpha"] else result.alpha
        # Both are by index, and what was taken stands at the front.
        own = rsbounds.rebound(store, alpha=level)[: len(result)]
        labels = stored_labels(store)
    labels = None if labels is None else labels[: len(result)]
    changed = int((own.radius != result.radius).sum())
    write_certificates(result, path)
    show_certificates(given, result, labels, path=path, memory=given.memory, adjusted=changed)
    if not given.json:
        print(f"{changed} adjusted so that no two regions of different classes meet")
        print(f"memory: {given.memory} (the same command goes on)")
    return 0


MEMORY = Command(
    "one classifier for all certificates of a run: its regions, made disjoint where classes differ",
    _arguments,
    _memory,
)
