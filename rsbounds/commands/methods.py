"""``rsbounds methods``: what is registered, where it comes from, and when to choose it.

Contract
--------
Any package announces a registry of its own, under the role that its entries have, through an
entry point of the group ``rsbounds.registries``; those of the core stand below. Each entry is a
dataclass whose fields are its options. ``cost``, ``choose`` and ``source``, a line each, are
shown where it has them (in place of ``choose`` the first line of its docstring); so are
``guarantee``, ``usable`` and ``sequence`` (see `MarginMethod` and `MeanMethod`). What cannot be
loaded is left out with a warning.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import warnings
from typing import Any

from rsbounds._registry import Registry
from rsbounds.commands._base import Command

#: Registries by the role of their entries.
REGISTRIES: Registry[Registry[Any]] = Registry("registry", "rsbounds.registries")
REGISTRIES.require(Registry, instances=True)
REGISTRIES.register("margin", "rsbounds.bounds.margin:MARGIN_METHODS")
REGISTRIES.register("mean", "rsbounds.bounds.mean:MEAN_METHODS")
REGISTRIES.register("noise", "rsbounds.noises:NOISES")
REGISTRIES.register("solver", "rsbounds.solvers:SOLVERS")


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
    if not hasattr(kind, "usable"):
        return True
    try:
        return bool(kind.usable())
    except Exception:
        return False


def _row(role: str, name: str, kind: Any) -> dict[str, Any]:
    """What an entry says of itself."""
    return {
        "name": name,
        "role": role,
        "guarantee": _guarantee(kind) if hasattr(kind, "guarantee") else None,
        "options": _options(kind),
        "cost": getattr(kind, "cost", None),
        "choose": getattr(kind, "choose", None) or _first_line(kind),
        "source": getattr(kind, "source", None),
        "installed": _installed(kind),
    }


def _first_line(kind: Any) -> str | None:
    """The first sentence of the docstring, whose lines may break it."""
    text = inspect.getdoc(kind)
    return " ".join(text.split("\n\n")[0].split()) if text else None


def _any_time(role: str, name: str, kind: Any) -> dict[str, Any]:
    """The same of the form that holds at every time."""
    sequence = kind.sequence
    return {
        "name": name,
        "role": f"any-time {role}",
        "guarantee": sequence.guarantee,
        "options": sequence.options(),
        "cost": sequence.memory,
        "choose": sequence.choose,
        "source": sequence.source,
        "installed": _installed(kind),
    }


def _rows() -> list[dict[str, Any]]:
    rows = []
    for role in REGISTRIES.working():
        registry = REGISTRIES[role]
        kinds = [(name, registry[name]) for name in registry.working()]
        wanted = [(_row, *pair) for pair in kinds if getattr(pair[1], "fixed_n", True)]
        wanted += [(_any_time, *pair) for pair in kinds if getattr(pair[1], "sequence", None)]
        for describe, name, kind in wanted:
            try:
                rows.append({**describe(role, name, kind), "from": registry.origin(name)})
            except Exception as error:
                # Somebody else's entry that does not describe itself.
                warnings.warn(
                    f"left out: {role} {name!r} ({type(error).__name__}: {error})",
                    RuntimeWarning,
                    stacklevel=2,
                )
    return rows


def _run(given: argparse.Namespace) -> int:
    rows = _rows()
    if given.json:
        print(json.dumps(rows, default=str))
        return 0
    for row in rows:
        options = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        promise = "" if row["guarantee"] is None else f" bound, guarantee: {row['guarantee']}"
        print(f"{row['name']}  ({row['role']}{promise})")
        for text in ("choose", "cost", "source"):
            if row[text] is not None:
                print(f"    {text:8} {row[text]}")
        print(f"    options  {options or 'none'}")
        print(f"    from     {row['from']}")
    return 0


METHODS = Command("what is registered, where it comes from, when to choose it", _arguments, _run)
