"""``rsbounds methods``: what is registered, and when to choose it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from rsbounds.commands._base import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _options(kind: Any) -> dict[str, Any]:
    """Names and defaults of the options; one without a default must be given."""
    missing = dataclasses.MISSING
    return {
        f.name: f.default_factory() if f.default_factory is not missing
        else "must be given" if f.default is missing else f.default
        for f in dataclasses.fields(kind)
    }  # fmt: skip


def _guarantee(kind: Any) -> str:
    """What a method with its default options guarantees."""
    try:
        return str(kind().guarantee)
    except Exception:
        # Options without defaults, as another package may have them.
        return "that of its options"


def _installed(kind: Any) -> bool:
    try:
        return bool(kind.usable())
    except Exception:
        return False


def _rows() -> list[dict[str, Any]]:
    from rsbounds.bounds.margin import MARGIN_METHODS
    from rsbounds.bounds.mean import MEAN_METHODS

    listed: list[tuple[str, str, Any]] = [
        ("margin", name, MARGIN_METHODS[name]) for name in MARGIN_METHODS.working()
    ]
    means = [(name, MEAN_METHODS[name]) for name in MEAN_METHODS.working()]
    listed += [("mean", name, kind) for name, kind in means if kind.fixed_n]
    rows = [
        {
            "name": name,
            "role": role,
            "guarantee": _guarantee(kind),
            "options": _options(kind),
            "cost": kind.cost,
            "choose": kind.choose,
            "source": kind.source,
            "installed": _installed(kind),
        }
        for role, name, kind in listed
    ]
    for name, kind in means:
        sequence = kind.sequence
        if sequence is None:
            continue
        rows.append(
            {
                "name": name,
                "role": "any-time mean",
                "guarantee": sequence.guarantee,
                "options": sequence.options(),
                "cost": sequence.memory,
                "choose": sequence.choose,
                "source": sequence.source,
                "installed": _installed(kind),
            }
        )
    return rows


def _run(given: argparse.Namespace) -> int:
    rows = _rows()
    if given.json:
        print(json.dumps(rows, default=str))
        return 0
    for row in rows:
        options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        print(f"{row['name']}  ({row['role']} bound, guarantee: {row['guarantee']})")
        print(f"    choose   {row['choose']}")
        print(f"    cost     {row['cost']}")
        print(f"    source   {row['source']}")
        print(f"    options  {options or 'none'}")
    return 0


METHODS = Command("what is registered, and when to choose it", _arguments, _run)
